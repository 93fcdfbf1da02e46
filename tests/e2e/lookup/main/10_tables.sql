CREATE TABLE ticket_idx (number BIGINT NOT NULL PRIMARY KEY, member_number BIGINT UNSIGNED NOT NULL);
CREATE TABLE label_idx (
  label BIGINT UNSIGNED NOT NULL, id BIGINT NOT NULL, member_number BIGINT UNSIGNED NOT NULL, PRIMARY KEY (label, id)
);
CREATE TABLE code_idx (code INT NOT NULL PRIMARY KEY, keyspace_id VARBINARY(16) NOT NULL);
CREATE TABLE ticket_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
INSERT INTO ticket_seq (id, next_id, cache) VALUES (0, 1000, 10);
