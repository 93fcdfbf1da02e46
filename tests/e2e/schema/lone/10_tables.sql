CREATE TABLE IF NOT EXISTS memo (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  body VARCHAR(200)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS numbered (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  u INT UNIQUE,
  n INT
);

CREATE TABLE IF NOT EXISTS auto_insert_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO auto_insert_seq (id, next_id, cache) VALUES (0, 1, 1000);
CREATE TABLE IF NOT EXISTS auto_vexplain_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO auto_vexplain_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE IF NOT EXISTS auto_child_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO auto_child_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE IF NOT EXISTS auto_upsert_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO auto_upsert_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE IF NOT EXISTS auto_java_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO auto_java_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE IF NOT EXISTS sbtest1_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO sbtest1_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE IF NOT EXISTS sbtest2_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO sbtest2_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE IF NOT EXISTS sbtest3_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO sbtest3_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE IF NOT EXISTS sbtest4_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT IGNORE INTO sbtest4_seq (id, next_id, cache) VALUES (0, 1, 1000);
