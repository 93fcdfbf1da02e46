CREATE TABLE member (
  id BIGINT NOT NULL PRIMARY KEY,
  email VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci,
  city VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL,
  age INT,
  UNIQUE KEY email (email)
);
CREATE TABLE email_idx (
  email VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL PRIMARY KEY,
  keyspace_id VARBINARY(16) NOT NULL
);
CREATE TABLE city_idx (
  city VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL,
  id BIGINT NOT NULL,
  keyspace_id VARBINARY(16) NOT NULL,
  PRIMARY KEY (city, id)
);
CREATE TABLE ticket (
  member_id BIGINT NOT NULL,
  number BIGINT NOT NULL,
  label VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci,
  code INT,
  PRIMARY KEY (member_id, number),
  UNIQUE KEY (number),
  UNIQUE KEY (code)
);
