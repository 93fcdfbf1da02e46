-- Sequences hand out the ids of the sharded tables: id 0 holds the next value and the block size.
CREATE TABLE coin_balance_seq (
  id INT NOT NULL PRIMARY KEY,
  next_id BIGINT NOT NULL,
  cache BIGINT NOT NULL
) COMMENT 'vitess_sequence';
INSERT INTO coin_balance_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE coin_charge_seq (
  id INT NOT NULL PRIMARY KEY,
  next_id BIGINT NOT NULL,
  cache BIGINT NOT NULL
) COMMENT 'vitess_sequence';
INSERT INTO coin_charge_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE coin_use_seq (
  id INT NOT NULL PRIMARY KEY,
  next_id BIGINT NOT NULL,
  cache BIGINT NOT NULL
) COMMENT 'vitess_sequence';
INSERT INTO coin_use_seq (id, next_id, cache) VALUES (0, 1, 1000);

CREATE TABLE coin_transfer_seq (
  id INT NOT NULL PRIMARY KEY,
  next_id BIGINT NOT NULL,
  cache BIGINT NOT NULL
) COMMENT 'vitess_sequence';
INSERT INTO coin_transfer_seq (id, next_id, cache) VALUES (0, 1, 1000);
