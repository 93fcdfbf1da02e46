CREATE TABLE kinds (
  id BIGINT NOT NULL PRIMARY KEY,
  t_tiny TINYINT, t_utiny TINYINT UNSIGNED, t_bool BOOL,
  t_small SMALLINT, t_usmall SMALLINT UNSIGNED,
  t_medium MEDIUMINT, t_umedium MEDIUMINT UNSIGNED,
  t_int INT, t_uint INT UNSIGNED,
  t_big BIGINT, t_ubig BIGINT UNSIGNED,
  t_float FLOAT, t_double DOUBLE, t_decimal DECIMAL(30, 10), t_udecimal DECIMAL(10, 0) UNSIGNED,
  t_bit BIT(20), t_bit1 BIT(1),
  t_date DATE, t_time TIME, t_time6 TIME(6), t_datetime DATETIME, t_datetime6 DATETIME(6),
  t_timestamp TIMESTAMP NULL DEFAULT NULL, t_timestamp3 TIMESTAMP(3) NULL DEFAULT NULL, t_year YEAR,
  t_char CHAR(10), t_varchar VARCHAR(200), t_latin VARCHAR(50) CHARACTER SET latin1,
  t_bin BINARY(8), t_varbin VARBINARY(100),
  t_tinyblob TINYBLOB, t_blob BLOB, t_mediumblob MEDIUMBLOB, t_longblob LONGBLOB,
  t_tinytext TINYTEXT, t_text TEXT, t_mediumtext MEDIUMTEXT, t_longtext LONGTEXT,
  t_enum ENUM('small', 'medium', 'large'), t_set SET('a', 'b', 'c'),
  t_json JSON
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;
CREATE TABLE item (
  id BIGINT NOT NULL PRIMARY KEY,
  n INT,
  s VARCHAR(20),
  KEY by_n (n)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;
CREATE TABLE auto (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  s VARCHAR(200)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;
CREATE TABLE files (
  id BIGINT NOT NULL PRIMARY KEY,
  body LONGBLOB
);
CREATE TABLE numbers (
  id BIGINT NOT NULL PRIMARY KEY,
  pad VARCHAR(200) NOT NULL
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci
