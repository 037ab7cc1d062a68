-- Account-service: who has an account, the heads of their channels, every operation, every batch.
-- Amounts are integers of minor units. Both bounds are in each CHECK, because NaN passes a lower one.
CREATE SCHEMA account;

CREATE TABLE account.api_keys (
    id           uuid PRIMARY KEY,
    owner        uuid NOT NULL,
    secret_hash  bytea NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    scopes       text[] NOT NULL,
    rate_limit   int CHECK (rate_limit > 0),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);

-- `fence` says why nothing is signed any more; an operator sets it back to null after a look.
CREATE TABLE account.hubs (
    hub_id         uuid PRIMARY KEY,
    terms          jsonb NOT NULL,
    connected_at   timestamptz NOT NULL,
    fence          text
);

-- status: 1 active, 2 frozen, 3 closing, 4 closed. heads.status follows in the same transaction.
CREATE TABLE account.accounts (
    id            uuid PRIMARY KEY,
    owner         uuid NOT NULL,
    hub_id        uuid NOT NULL,
    external_id   text,
    asset         text NOT NULL,
    status        smallint NOT NULL CHECK (status BETWEEN 1 AND 4),
    chain_address bytea CHECK (length(chain_address) = 20),
    channel_id    bytea NOT NULL UNIQUE CHECK (length(channel_id) = 32),
    params        jsonb NOT NULL,
    metadata      jsonb NOT NULL,
    version       bigint NOT NULL CHECK (version > 0),
    created_at    timestamptz NOT NULL,
    UNIQUE (owner, external_id)
);

-- The newest co-signed state of each channel. status: 1 open, 2 frozen by an operator, 3 closed.
-- `state_hash` is the hash both parties signed; a row
-- that does not hash to it was edited, and its channel is frozen.
CREATE TABLE account.heads (
    channel_id     bytea PRIMARY KEY CHECK (length(channel_id) = 32),
    account_id     uuid NOT NULL,
    hub_id         uuid NOT NULL,
    status         smallint NOT NULL CHECK (status BETWEEN 1 AND 3),
    epoch          int NOT NULL CHECK (epoch >= 0),
    version        bigint NOT NULL CHECK (version BETWEEN 0 AND 281474976710655),
    ack_version    bigint NOT NULL CHECK (ack_version BETWEEN 0 AND version),
    hub_balance    numeric(29) NOT NULL CHECK (hub_balance >= 0 AND hub_balance < 79228162514264337593543950336),
    user_balance   numeric(29) NOT NULL CHECK (user_balance >= 0 AND user_balance < 79228162514264337593543950336),
    hub_locked     numeric(29) NOT NULL CHECK (hub_locked >= 0 AND hub_locked < 79228162514264337593543950336),
    user_locked    numeric(29) NOT NULL CHECK (user_locked >= 0 AND user_locked < 79228162514264337593543950336),
    withdrawn      numeric(39) NOT NULL CHECK (withdrawn >= 0 AND withdrawn < 340282366920938463463374607431768211456),
    deposited      numeric(39) NOT NULL CHECK (deposited >= 0 AND deposited < 340282366920938463463374607431768211456),
    credited       numeric(39) NOT NULL CHECK (credited >= 0 AND credited < 340282366920938463463374607431768211456),
    locks_hash     bytea NOT NULL,
    transfers_root bytea NOT NULL,
    state_hash     bytea NOT NULL,
    batch          uuid NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX heads_account ON account.heads (account_id);

-- What account-service knows from the chain about channels that ever touched it (others have no row).
CREATE TABLE account.channel_facts (
    channel_id      bytea NOT NULL,
    epoch           int NOT NULL,
    executed        numeric(39) NOT NULL CHECK (executed >= 0 AND executed < 340282366920938463463374607431768211456),
    seen_deposits   numeric(39) NOT NULL CHECK (seen_deposits >= 0 AND seen_deposits < 340282366920938463463374607431768211456),
    final_deposits  numeric(39) NOT NULL CHECK (final_deposits >= 0 AND final_deposits < 340282366920938463463374607431768211456),
    PRIMARY KEY (channel_id, epoch)
);

-- One row per request that moved money or was refused: the idempotency record, the journal and the
-- answer in one. outcome: 1 done, 2 refused (answer in `extra`), 3 pending funding, 4 failed.
CREATE TABLE account.operations (
    id            uuid PRIMARY KEY,
    hub_id        uuid NOT NULL,
    kind          smallint NOT NULL CHECK (kind BETWEEN 1 AND 8),
    outcome       smallint NOT NULL CHECK (outcome BETWEEN 1 AND 4),
    owner         uuid NOT NULL,
    route         smallint NOT NULL,
    idem_key      text NOT NULL,
    request_hash  bytea NOT NULL,
    payer         uuid,
    payee         uuid,
    amount        numeric(39) NOT NULL CHECK (amount >= 0 AND amount < 340282366920938463463374607431768211456),
    payer_version bigint,
    payee_version bigint,
    payer_balance numeric(29),
    payee_balance numeric(29),
    payer_leaf    int,
    payee_leaf    int,
    batch         uuid,
    client_ref    text,
    extra         jsonb,
    created_at    timestamptz NOT NULL,
    UNIQUE (owner, route, idem_key)
);
CREATE UNIQUE INDEX operations_client_ref ON account.operations (owner, client_ref) WHERE client_ref IS NOT NULL;
CREATE INDEX operations_payer ON account.operations (payer, payer_version, id) WHERE payer IS NOT NULL;
CREATE INDEX operations_payee ON account.operations (payee, payee_version, id) WHERE payee IS NOT NULL;
CREATE INDEX operations_pending ON account.operations (hub_id, id) WHERE outcome = 3;

-- Fate of every hub batch: the primary key decides between committed (1) and burned (2). `id` is made here
-- before the hub is asked; `batch_id` is the hub's counter, part of what is signed.
CREATE TABLE account.batches (
    hub_id         uuid NOT NULL,
    batch_id       bigint NOT NULL CHECK (batch_id > 0),
    id             uuid UNIQUE,
    fate           smallint NOT NULL CHECK (fate IN (1, 2)),
    handed         boolean NOT NULL,
    root           bytea,
    prev_root      bytea,
    depth          smallint,
    hub_signature  bytea,
    user_signature bytea,
    states         bytea,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (hub_id, batch_id),
    CHECK (fate = 2 OR (id IS NOT NULL AND root IS NOT NULL AND prev_root IS NOT NULL AND depth IS NOT NULL
        AND hub_signature IS NOT NULL AND user_signature IS NOT NULL AND states IS NOT NULL))
);
CREATE INDEX batches_unhanded ON account.batches (hub_id, batch_id) WHERE NOT handed;

-- status: 1 requested, 2 awaiting_approval, 3 submitted, 4 confirming, 5 completed, 6 failed, 7 cancelled.
CREATE TABLE account.withdrawals (
    id             uuid PRIMARY KEY,
    hub_id         uuid NOT NULL,
    account_id     uuid NOT NULL,
    channel_id     bytea NOT NULL,
    epoch          int NOT NULL,
    amount         numeric(29) NOT NULL CHECK (amount > 0 AND amount < 79228162514264337593543950336),
    to_address     bytea NOT NULL CHECK (length(to_address) = 20),
    status         smallint NOT NULL CHECK (status BETWEEN 1 AND 7),
    prev_total     numeric(39),
    valid_until    bigint,
    hub_signature  bytea,
    user_signature bytea,
    tx_hash        bytea,
    confirmations  bigint NOT NULL DEFAULT 0,
    failure        text,
    cancelled      boolean NOT NULL DEFAULT false,
    expired        boolean NOT NULL DEFAULT false,
    correlation_id text NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
CREATE INDEX withdrawals_open ON account.withdrawals (hub_id, channel_id, id) WHERE status < 5;
CREATE INDEX withdrawals_account ON account.withdrawals (account_id, id);

-- status: 1 seen, 2 final, 3 credited, 4 orphaned.
CREATE TABLE account.deposits (
    id           uuid PRIMARY KEY,
    hub_id       uuid NOT NULL,
    account_id   uuid NOT NULL,
    channel_id   bytea NOT NULL,
    epoch        int NOT NULL,
    amount       numeric(29) NOT NULL CHECK (amount > 0 AND amount < 79228162514264337593543950336),
    status       smallint NOT NULL CHECK (status BETWEEN 1 AND 4),
    block        bigint NOT NULL,
    block_hash   bytea NOT NULL,
    tx_hash      bytea NOT NULL,
    log_index    bigint NOT NULL,
    operation_id uuid,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    UNIQUE (block_hash, log_index)
);
CREATE INDEX deposits_account ON account.deposits (account_id, id);
CREATE INDEX deposits_uncredited ON account.deposits (hub_id, id) WHERE status = 2;

CREATE TABLE account.chain_marks (
    hub_id          uuid PRIMARY KEY,
    final_block     bigint NOT NULL,
    final_timestamp bigint NOT NULL
);

CREATE TABLE account.outbox (
    id             uuid PRIMARY KEY,
    exchange       text NOT NULL,
    routing_key    text NOT NULL,
    correlation_id text NOT NULL,
    body           jsonb NOT NULL,
    created_at     timestamptz NOT NULL,
    published_at   timestamptz
);
CREATE INDEX outbox_unpublished ON account.outbox (id) WHERE published_at IS NULL;

CREATE TABLE account.inbox (
    message_id  uuid PRIMARY KEY,
    received_at timestamptz NOT NULL
);

-- status: 1 running, 2 clean, 3 breaks, 4 failed.
CREATE TABLE account.recon_runs (
    id          uuid PRIMARY KEY,
    status      smallint NOT NULL CHECK (status BETWEEN 1 AND 4),
    block       bigint,
    checks      jsonb NOT NULL,
    failure     text,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz
);

CREATE TABLE account.recon_breaks (
    id          uuid PRIMARY KEY,
    run_id      uuid NOT NULL REFERENCES account.recon_runs (id),
    check_id    text NOT NULL,
    class       text NOT NULL,
    severity    text NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    row_key     text NOT NULL,
    expected    text NOT NULL,
    found       text NOT NULL,
    status      text NOT NULL,
    resolution  text,
    created_at  timestamptz NOT NULL
);
CREATE INDEX recon_breaks_run ON account.recon_breaks (run_id, id);
