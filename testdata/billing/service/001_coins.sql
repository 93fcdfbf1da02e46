-- Every table is sharded by the member. Ids come from the sequences in keyspace global.

-- What a member has: one row per kind of coin.
CREATE TABLE coin_balance (
  id BIGINT NOT NULL,
  member_id BIGINT NOT NULL,
  coin_type VARCHAR(8) NOT NULL,
  amount BIGINT NOT NULL DEFAULT 0,
  updated_at DATETIME(3) NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY member_coin (member_id, coin_type)
) DEFAULT CHARSET = utf8mb4;

-- Coins bought.
CREATE TABLE coin_charge (
  id BIGINT NOT NULL,
  member_id BIGINT NOT NULL,
  coin_type VARCHAR(8) NOT NULL,
  amount BIGINT NOT NULL,
  price DECIMAL(12, 2) NOT NULL,
  currency CHAR(3) NOT NULL,
  channel VARCHAR(16) NOT NULL,
  charged_at DATETIME(3) NOT NULL,
  PRIMARY KEY (id),
  KEY member_time (member_id, charged_at)
) DEFAULT CHARSET = utf8mb4;

-- Coins spent on a product.
CREATE TABLE coin_use (
  id BIGINT NOT NULL,
  member_id BIGINT NOT NULL,
  product_id INT NOT NULL,
  amount BIGINT NOT NULL,
  memo VARCHAR(200) NULL,
  used_at DATETIME(3) NOT NULL,
  PRIMARY KEY (id),
  KEY member_time (member_id, used_at),
  KEY product (product_id)
) DEFAULT CHARSET = utf8mb4;

-- Coins given to another member: one row at each of the two, with the sign of its side.
CREATE TABLE coin_transfer (
  id BIGINT NOT NULL,
  member_id BIGINT NOT NULL,
  peer_id BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  message VARCHAR(200) NULL,
  transferred_at DATETIME(3) NOT NULL,
  PRIMARY KEY (id),
  KEY member_time (member_id, transferred_at),
  KEY peer (peer_id)
) DEFAULT CHARSET = utf8mb4;
