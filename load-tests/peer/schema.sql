-- A ledger as most people would write it: balances, transfers, two entries each.
CREATE TABLE accounts (
    id      bigint PRIMARY KEY,
    balance bigint NOT NULL CHECK (balance >= 0)
) WITH (fillfactor = 70);

CREATE TABLE transfers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payer      bigint NOT NULL,
    payee      bigint NOT NULL,
    amount     bigint NOT NULL CHECK (amount > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE entries (
    transfer_id bigint NOT NULL,
    account_id  bigint NOT NULL,
    amount      bigint NOT NULL,
    PRIMARY KEY (transfer_id, account_id)
);
CREATE INDEX entries_account ON entries (account_id, transfer_id);
