-- What an application does with the billing sample. A line is one statement; `~` before it: its rows have no order.
INSERT INTO coin_charge (member_id, coin_type, amount, price, currency, channel, charged_at) VALUES (1, 'gold', 100, 9.90, 'EUR', 'card', '2026-01-05 10:00'), (3, 'blue', 40, 3.50, 'USD', 'gift', '2026-01-06 09:15'), (4, 'gold', 60, 5.00, 'USD', 'card', '2026-01-06 18:40')
SELECT LAST_INSERT_ID()
INSERT INTO coin_charge (member_id, coin_type, amount, price, currency, channel, charged_at) VALUES (2, 'gold', 20, 1.90, 'EUR', 'store', '2026-01-07 10:00')
SELECT LAST_INSERT_ID()
SELECT id, amount, price FROM coin_charge WHERE member_id = 3
SELECT id, member_id, charged_at FROM coin_charge ORDER BY charged_at DESC LIMIT 2
~ SELECT coin_type, COUNT(*) AS charges, SUM(price) AS paid FROM coin_charge GROUP BY coin_type
SELECT coin_type, COUNT(*) AS charges, SUM(price) AS paid FROM coin_charge GROUP BY coin_type ORDER BY coin_type
SELECT COUNT(*), MIN(price), MAX(charged_at), AVG(amount) FROM coin_charge
INSERT INTO coin_balance (member_id, coin_type, amount, updated_at) VALUES (1, 'gold', 100, '2026-01-05 10:00'), (3, 'blue', 40, '2026-01-06 09:15'), (4, 'gold', 60, '2026-01-06 18:40')
INSERT INTO coin_balance (member_id, coin_type, amount, updated_at) VALUES (1, 'gold', 25, '2026-01-08') ON DUPLICATE KEY UPDATE amount = amount + 25, updated_at = '2026-01-08'
SELECT member_id, coin_type, amount FROM coin_balance ORDER BY member_id, coin_type
BEGIN
SELECT amount FROM coin_balance WHERE member_id = 1 AND coin_type = 'gold' FOR UPDATE
UPDATE coin_balance SET amount = amount - 10, updated_at = '2026-01-09' WHERE member_id = 1 AND coin_type = 'gold'
INSERT INTO coin_use (member_id, product_id, amount, memo, used_at) VALUES (1, 8, 10, NULL, '2026-01-09 08:00')
COMMIT
BEGIN
INSERT INTO coin_transfer (member_id, peer_id, amount, message, transferred_at) VALUES (1, 4, -10, 'for lunch', '2026-01-09 12:00'), (4, 1, 10, 'for lunch', '2026-01-09 12:00')
UPDATE coin_balance SET amount = amount - 10 WHERE member_id = 1 AND coin_type = 'gold'
UPDATE coin_balance SET amount = amount + 10 WHERE member_id = 4 AND coin_type = 'gold'
COMMIT
BEGIN
UPDATE coin_balance SET amount = 0
SELECT SUM(amount) FROM coin_balance
ROLLBACK
SELECT SUM(amount) FROM coin_balance
SELECT b.member_id, b.amount, COUNT(c.id) FROM coin_balance b LEFT JOIN coin_charge c ON c.member_id = b.member_id GROUP BY b.member_id, b.amount ORDER BY b.member_id
SELECT b.member_id FROM coin_balance b WHERE EXISTS (SELECT 1 FROM coin_use u WHERE u.member_id = b.member_id) ORDER BY 1
SELECT member_id, message FROM coin_transfer WHERE member_id IN (1, 4) ORDER BY id
SELECT t.id, p.message FROM coin_transfer t JOIN coin_transfer p ON p.member_id = t.peer_id AND p.peer_id = t.member_id ORDER BY t.id
SELECT DISTINCT currency FROM coin_charge ORDER BY currency
SELECT u.member_id, p.name FROM coin_use u JOIN global.product p ON p.id = u.product_id ORDER BY u.id
SELECT c.member_id, ch.name, c.price * ch.fee_percent / 100 AS fee FROM coin_charge c JOIN global.charge_channel ch ON ch.code = c.channel ORDER BY c.id
SELECT name, price_coins FROM global.product WHERE on_sale = 1 ORDER BY price_coins, id
SELECT DATE(charged_at) AS day, SUM(price) FROM coin_charge GROUP BY DATE(charged_at) ORDER BY day
SELECT member_id, SUM(amount) AS total FROM coin_charge GROUP BY member_id HAVING SUM(amount) > 30 ORDER BY total DESC
SELECT currency, SUM(price) AS paid FROM coin_charge GROUP BY currency HAVING paid > 5 ORDER BY currency
SELECT member_id, amount, RANK() OVER (ORDER BY amount DESC) AS place FROM coin_charge ORDER BY place, member_id
(SELECT member_id, amount FROM coin_charge) UNION ALL (SELECT member_id, -amount FROM coin_use) ORDER BY member_id, amount
DELETE FROM coin_transfer WHERE member_id = 1
DELETE FROM coin_charge WHERE charged_at < '2026-01-06'
SELECT COUNT(*) FROM coin_charge
UPDATE coin_charge SET channel = 'card' WHERE channel = 'gift'
SELECT id, channel FROM coin_charge ORDER BY id
