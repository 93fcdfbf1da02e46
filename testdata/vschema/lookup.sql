CREATE TABLE member (
  id BIGINT NOT NULL PRIMARY KEY,
  email VARCHAR(64) COLLATE utf8mb4_0900_ai_ci,
  city VARCHAR(64) COLLATE utf8mb4_0900_ai_ci NOT NULL,
  age INT
);
CREATE TABLE slogan (id BIGINT NOT NULL PRIMARY KEY, motto VARCHAR(64) COLLATE utf8mb4_bin);
CREATE TABLE listener (id BIGINT NOT NULL, code INT, at DATETIME, PRIMARY KEY (id, at));
CREATE TABLE email_idx (email VARCHAR(64) COLLATE utf8mb4_0900_ai_ci NOT NULL PRIMARY KEY, keyspace_id VARBINARY(16));
CREATE TABLE city_idx (
  city VARCHAR(64) COLLATE utf8mb4_0900_ai_ci NOT NULL, id BIGINT NOT NULL, keyspace_id VARBINARY(16), PRIMARY KEY (city, id)
);
CREATE TABLE unlike_idx (unlike VARCHAR(64) COLLATE utf8mb4_0900_ai_ci NOT NULL, keyspace_id VARBINARY(16) NOT NULL);
CREATE TABLE ticket (
  member_id BIGINT NOT NULL,
  number BIGINT NOT NULL,
  label VARCHAR(64) COLLATE utf8mb4_0900_ai_ci,
  code INT,
  other INT,
  PRIMARY KEY (member_id, number)
);
