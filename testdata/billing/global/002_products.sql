-- What coins are spent on. Small, unsharded.
CREATE TABLE product (
  id INT NOT NULL PRIMARY KEY,
  sku VARCHAR(32) NOT NULL,
  name VARCHAR(100) NOT NULL,
  price_coins INT NOT NULL,
  on_sale TINYINT(1) NOT NULL DEFAULT 1,
  UNIQUE KEY sku (sku)
) DEFAULT CHARSET = utf8mb4;

INSERT INTO product (id, sku, name, price_coins, on_sale) VALUES
  (1, 'STICKER-CAT', 'Cat stickers', 50, 1),
  (2, 'STICKER-DOG', 'Dog stickers', 50, 1),
  (3, 'STICKER-SEASON', 'Stickers of the season', 70, 1),
  (4, 'THEME-DARK', 'Dark theme', 120, 1),
  (5, 'THEME-SEA', 'Théma « mer »', 120, 1),
  (6, 'EMOJI-PACK-1', 'Emoji pack 😀', 30, 1),
  (7, 'EMOJI-PACK-2', 'Emoji pack 🚀', 30, 1),
  (8, 'GAME-LIFE', 'One more life', 10, 1),
  (9, 'GAME-SKIP', 'Skip a level', 15, 1),
  (10, 'OLD-BUNDLE', 'Bundle of last year', 200, 0);

-- How coins are bought.
CREATE TABLE charge_channel (
  code VARCHAR(16) NOT NULL PRIMARY KEY,
  name VARCHAR(64) NOT NULL,
  fee_percent DECIMAL(5, 2) NOT NULL
) DEFAULT CHARSET = utf8mb4;

INSERT INTO charge_channel (code, name, fee_percent) VALUES
  ('card', 'Credit card', 2.90),
  ('carrier', 'Phone bill', 12.00),
  ('store', 'App store', 15.00),
  ('gift', 'Gift code', 0.00);
