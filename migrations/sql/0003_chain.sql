-- Chain-worker: what it was asked to do, what it sent, what it saw.
-- Amounts are integers of minor units. Both bounds are in each CHECK, because NaN passes a lower one.
CREATE SCHEMA chain;

-- The contracts this schema belongs to. Another deployment needs another schema.
CREATE TABLE chain.deployment (
    one        boolean PRIMARY KEY CHECK (one),
    chain_id   bigint NOT NULL CHECK (chain_id > 0),
    token      bytea NOT NULL CHECK (length(token) = 20),
    channels   bytea NOT NULL CHECK (length(channels) = 20)
);

-- Who may act. `fence` grows with every change of holder; whoever writes holds it, and locks the row while it does.
CREATE TABLE chain.leases (
    name       text PRIMARY KEY,
    holder     uuid NOT NULL,
    fence      bigint NOT NULL CHECK (fence > 0),
    expires_at timestamptz NOT NULL
);

-- kind: 1 batch of withdrawals, 2 funding of a vault, 3 approval of the token.
-- status: 1 signed, 2 broadcast, 3 mined, 4 final, 5 failed (a final block holds its revert), 6 displaced (a final
-- block's nonce is past it and none of its forms was mined). One nonce has one calldata, ever.
CREATE TABLE chain.transactions (
    sender         bytea NOT NULL CHECK (length(sender) = 20),
    nonce          bigint NOT NULL CHECK (nonce >= 0),
    kind           smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
    status         smallint NOT NULL CHECK (status BETWEEN 1 AND 6),
    target         bytea NOT NULL CHECK (length(target) = 20),
    calldata       bytea NOT NULL,
    gas            bigint NOT NULL CHECK (gas > 0),
    amount         numeric(39) NOT NULL CHECK (amount >= 0 AND amount < 340282366920938463463374607431768211456),
    correlation_id text NOT NULL,
    tx_hash        bytea CHECK (length(tx_hash) = 32),
    block          bigint,
    block_hash     bytea CHECK (length(block_hash) = 32),
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (sender, nonce),
    CHECK (status NOT IN (3, 4, 5) OR (tx_hash IS NOT NULL AND block IS NOT NULL AND block_hash IS NOT NULL))
);
CREATE INDEX transactions_open ON chain.transactions (sender, nonce) WHERE status < 4;

-- The signed forms of a transaction: the first, and one for each raise of its fees.
CREATE TABLE chain.attempts (
    sender       bytea NOT NULL,
    nonce        bigint NOT NULL,
    attempt      int NOT NULL CHECK (attempt > 0),
    tx_hash      bytea NOT NULL UNIQUE CHECK (length(tx_hash) = 32),
    raw          bytea NOT NULL,
    max_fee      numeric(39) NOT NULL CHECK (max_fee >= 0 AND max_fee < 340282366920938463463374607431768211456),
    priority_fee numeric(39) NOT NULL CHECK (priority_fee >= 0 AND priority_fee <= max_fee),
    signed_at    timestamptz NOT NULL,
    broadcast_at timestamptz,
    PRIMARY KEY (sender, nonce, attempt),
    FOREIGN KEY (sender, nonce) REFERENCES chain.transactions (sender, nonce)
);

-- kind: 1 withdraw, 2 fund vault. status: 1 planned, 2 sent (its transaction tells the rest), 3 done, 4 failed.
-- `digest` is what both sides signed of a withdrawal: the same order is one row, however often it is sent.
CREATE TABLE chain.commands (
    id             uuid PRIMARY KEY,
    hub            bytea NOT NULL CHECK (length(hub) = 20),
    kind           smallint NOT NULL CHECK (kind BETWEEN 1 AND 2),
    status         smallint NOT NULL CHECK (status BETWEEN 1 AND 4),
    digest         bytea UNIQUE CHECK (length(digest) = 32),
    request_id     bytea CHECK (length(request_id) = 32),
    amount         numeric(39) NOT NULL CHECK (amount >= 0 AND amount < 340282366920938463463374607431768211456),
    valid_until    bigint,
    body           jsonb NOT NULL,
    correlation_id text NOT NULL,
    sender         bytea,
    nonce          bigint,
    tries          int NOT NULL DEFAULT 0,
    not_before     timestamptz NOT NULL,
    failure        text,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    FOREIGN KEY (sender, nonce) REFERENCES chain.transactions (sender, nonce),
    CHECK (kind <> 1 OR (digest IS NOT NULL AND request_id IS NOT NULL AND valid_until IS NOT NULL)),
    CHECK (status <> 2 OR nonce IS NOT NULL)
);
CREATE INDEX commands_planned ON chain.commands (hub, kind, id) WHERE status = 1;
CREATE INDEX commands_sent ON chain.commands (sender, nonce) WHERE status = 2;
CREATE INDEX commands_request ON chain.commands (request_id) WHERE request_id IS NOT NULL;

-- How far the chain was read. `scanned_*` is the newest block whose logs are below; `final_*` the newest final one.
CREATE TABLE chain.cursor (
    one             boolean PRIMARY KEY CHECK (one),
    scanned_block   bigint NOT NULL CHECK (scanned_block >= 0),
    scanned_hash    bytea NOT NULL CHECK (length(scanned_hash) = 32),
    final_block     bigint NOT NULL CHECK (final_block >= 0 AND final_block <= scanned_block),
    final_hash      bytea NOT NULL CHECK (length(final_hash) = 32),
    final_timestamp bigint NOT NULL CHECK (final_timestamp >= 0)
);

-- Hashes of the blocks that may still be orphaned, to find where a reorganisation began.
CREATE TABLE chain.blocks (
    number bigint PRIMARY KEY CHECK (number >= 0),
    hash   bytea NOT NULL CHECK (length(hash) = 32)
);

-- status: 1 seen, 2 final, 3 orphaned.
CREATE TABLE chain.logs (
    block_hash bytea NOT NULL CHECK (length(block_hash) = 32),
    log_index  bigint NOT NULL CHECK (log_index >= 0),
    block      bigint NOT NULL CHECK (block >= 0),
    tx_hash    bytea NOT NULL CHECK (length(tx_hash) = 32),
    request_id bytea CHECK (length(request_id) = 32),
    status     smallint NOT NULL CHECK (status BETWEEN 1 AND 3),
    body       jsonb NOT NULL,
    PRIMARY KEY (block_hash, log_index)
);
CREATE INDEX logs_seen ON chain.logs (block, log_index) WHERE status = 1;
CREATE INDEX logs_request ON chain.logs (request_id) WHERE request_id IS NOT NULL;

-- The hubs served, the vault as of the newest final block, and how far their events were handed over.
CREATE TABLE chain.hubs (
    hub          bytea PRIMARY KEY CHECK (length(hub) = 20),
    vault        numeric(39) CHECK (vault >= 0 AND vault < 340282366920938463463374607431768211456),
    last_seq     bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    pushed_seq   bigint NOT NULL DEFAULT 0 CHECK (pushed_seq BETWEEN 0 AND last_seq),
    pushed_block bigint NOT NULL DEFAULT 0 CHECK (pushed_block >= 0)
);

-- Final events for the hubs' internal API, in the order of the chain.
CREATE TABLE chain.hub_events (
    hub            bytea NOT NULL REFERENCES chain.hubs (hub),
    seq            bigint NOT NULL CHECK (seq > 0),
    id             uuid NOT NULL UNIQUE,
    correlation_id text NOT NULL,
    body           jsonb NOT NULL,
    PRIMARY KEY (hub, seq)
);

CREATE TABLE chain.outbox (
    id             uuid PRIMARY KEY,
    exchange       text NOT NULL,
    routing_key    text NOT NULL,
    correlation_id text NOT NULL,
    body           jsonb NOT NULL,
    created_at     timestamptz NOT NULL,
    published_at   timestamptz
);
CREATE INDEX outbox_unpublished ON chain.outbox (id) WHERE published_at IS NULL;

CREATE TABLE chain.inbox (
    message_id  uuid PRIMARY KEY,
    received_at timestamptz NOT NULL
);
