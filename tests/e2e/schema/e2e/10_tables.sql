CREATE TABLE IF NOT EXISTS customer (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  name VARCHAR(64) NOT NULL,
  email VARCHAR(100),
  city VARCHAR(40) NOT NULL,
  balance DECIMAL(12, 2) NOT NULL,
  born DATE NOT NULL,
  note TEXT,
  score DOUBLE NOT NULL,
  KEY by_city (city)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS orders (
  customer_id BIGINT UNSIGNED NOT NULL,
  id BIGINT UNSIGNED NOT NULL,
  amount DECIMAL(10, 2) NOT NULL,
  status VARCHAR(8) NOT NULL,
  placed DATETIME NOT NULL,
  PRIMARY KEY (customer_id, id),
  KEY by_status (status)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS person (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  age INT NOT NULL,
  motto VARCHAR(100)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS session (
  token VARBINARY(32) NOT NULL PRIMARY KEY,
  seen DATETIME(6)
);

CREATE TABLE IF NOT EXISTS country (
  code CHAR(2) NOT NULL PRIMARY KEY,
  name VARCHAR(40) NOT NULL
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS kinds (
  id BIGINT NOT NULL PRIMARY KEY,
  t_tiny TINYINT, t_utiny TINYINT UNSIGNED, t_bool BOOL,
  t_small SMALLINT, t_usmall SMALLINT UNSIGNED,
  t_medium MEDIUMINT, t_umedium MEDIUMINT UNSIGNED,
  t_int INT, t_uint INT UNSIGNED ZEROFILL,
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
  t_json JSON, t_point POINT
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS kinds_parameters (
  id BIGINT NOT NULL PRIMARY KEY,
  t_tiny TINYINT, t_utiny TINYINT UNSIGNED, t_bool BOOL,
  t_small SMALLINT, t_usmall SMALLINT UNSIGNED,
  t_medium MEDIUMINT, t_umedium MEDIUMINT UNSIGNED,
  t_int INT, t_uint INT UNSIGNED ZEROFILL,
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
  t_json JSON, t_point POINT
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS kinds_java (
  id BIGINT NOT NULL PRIMARY KEY,
  t_tiny TINYINT, t_utiny TINYINT UNSIGNED, t_bool BOOL,
  t_small SMALLINT, t_usmall SMALLINT UNSIGNED,
  t_medium MEDIUMINT, t_umedium MEDIUMINT UNSIGNED,
  t_int INT, t_uint INT UNSIGNED ZEROFILL,
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
  t_json JSON, t_point POINT
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS blobs (
  id BIGINT NOT NULL PRIMARY KEY,
  body LONGBLOB,
  length BIGINT
);

CREATE TABLE IF NOT EXISTS big (
  id BIGINT NOT NULL PRIMARY KEY,
  n INT NOT NULL,
  pad VARCHAR(100) NOT NULL
);

CREATE TABLE IF NOT EXISTS flat (
  id BIGINT NOT NULL PRIMARY KEY,
  pad VARCHAR(200) NOT NULL
);

CREATE TABLE IF NOT EXISTS padded (
  id BIGINT NOT NULL PRIMARY KEY,
  s VARCHAR(20)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_insert (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_update (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_transaction (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_completion (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_completion_emptied (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_prepared (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_multi (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_killed (
  id BIGINT NOT NULL PRIMARY KEY,
  n INT NOT NULL
);

CREATE TABLE IF NOT EXISTS w_cli (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_driver (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_kill (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_java (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_vexplain (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  n INT NOT NULL
);

CREATE TABLE IF NOT EXISTS auto_vexplain (
  id BIGINT NOT NULL AUTO_INCREMENT,
  note VARCHAR(20),
  PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS auto_insert (
  id BIGINT NOT NULL AUTO_INCREMENT,
  owner BIGINT NOT NULL DEFAULT 0,
  s VARCHAR(200),
  PRIMARY KEY (id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS auto_child (
  id BIGINT NOT NULL AUTO_INCREMENT,
  owner BIGINT NOT NULL DEFAULT 0,
  s VARCHAR(200),
  PRIMARY KEY (id), KEY by_owner (owner)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS auto_upsert (
  id BIGINT NOT NULL AUTO_INCREMENT,
  owner BIGINT NOT NULL,
  n INT,
  PRIMARY KEY (id), UNIQUE KEY (owner)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS auto_java (
  id BIGINT NOT NULL AUTO_INCREMENT,
  owner BIGINT NOT NULL DEFAULT 0,
  s VARCHAR(200),
  PRIMARY KEY (id)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_gather (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_lock (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL DEFAULT 0,
  n INT,
  s VARCHAR(200),
  UNIQUE KEY by_id_and_s (id, s)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS copies (
  id BIGINT NOT NULL PRIMARY KEY,
  f FLOAT, d DOUBLE, n DECIMAL(30, 10), b BIT(40), z INT UNSIGNED ZEROFILL DEFAULT 7,
  ts TIMESTAMP NULL DEFAULT NULL, ts6 TIMESTAMP(6) NULL DEFAULT NULL, y YEAR, t TIME, dt DATETIME(6),
  u VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, l VARCHAR(20) CHARACTER SET latin1,
  w VARCHAR(20) CHARACTER SET ucs2, bin VARBINARY(20), e ENUM('a', 'b'), s SET('x', 'y', 'z'), j JSON, p POINT,
  g BIGINT GENERATED ALWAYS AS (id * 2) VIRTUAL,
  h BIGINT GENERATED ALWAYS AS (id * 3) STORED,
  c CHAR(5) DEFAULT 'pad',
  KEY by_u (u), UNIQUE KEY by_f_and_id (f, id), CONSTRAINT positive CHECK (z > 0)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_move (
  id BIGINT NOT NULL PRIMARY KEY,
  member BIGINT NOT NULL,
  u INT,
  n INT CHECK (n < 1000),
  f FLOAT, d DOUBLE, m DECIMAL(20, 5), b BIT(9), ts TIMESTAMP(3) NULL DEFAULT NULL, dt DATETIME(6), y YEAR, t TIME,
  touched TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP,
  s VARCHAR(60), l VARCHAR(20) CHARACTER SET latin1, bin VARBINARY(20), e ENUM('a', 'b'), k SET('x', 'y'), j JSON, p POINT,
  g BIGINT GENERATED ALWAYS AS (n * 2) STORED,
  h BIGINT GENERATED ALWAYS AS (member + 1) VIRTUAL,
  c CHAR(5) DEFAULT 'pad',
  UNIQUE KEY by_u (member, u)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_move_key (
  member BIGINT UNSIGNED NOT NULL,
  id INT NOT NULL,
  n INT,
  PRIMARY KEY (member, id)
);

CREATE TABLE IF NOT EXISTS w_move_watched (
  id BIGINT NOT NULL PRIMARY KEY,
  member BIGINT NOT NULL,
  n INT
);
CREATE TRIGGER w_move_watch BEFORE INSERT ON w_move_watched FOR EACH ROW SET NEW.n = NEW.n + 1;

CREATE TABLE IF NOT EXISTS w_found (
  id BIGINT NOT NULL PRIMARY KEY,
  owner BIGINT,
  n INT,
  s VARCHAR(60)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS w_found_part (
  w_id BIGINT NOT NULL,
  id BIGINT NOT NULL,
  price DECIMAL(10, 2),
  PRIMARY KEY (id, w_id)
);
