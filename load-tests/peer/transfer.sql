\set payer random(1, :accounts)
\set payee (:payer + random(1, :accounts - 1) - 1) % :accounts + 1
BEGIN;
SELECT id, balance FROM accounts WHERE id IN (:payer, :payee) ORDER BY id FOR UPDATE;
UPDATE accounts SET balance = balance - 1 WHERE id = :payer;
UPDATE accounts SET balance = balance + 1 WHERE id = :payee;
INSERT INTO transfers (payer, payee, amount) VALUES (:payer, :payee, 1) RETURNING id AS transfer \gset
INSERT INTO entries (transfer_id, account_id, amount) VALUES (:transfer, :payer, -1), (:transfer, :payee, 1);
COMMIT;
