-- Hub: what it signed, what it knows to be co-signed, what it saw on chain. Several hubs may share the schema.
-- Amounts are integers of minor units. Both bounds are in each CHECK, because NaN passes a lower one.
CREATE SCHEMA hub;

-- One row per hub. `session` is the process that may write for it: whoever started last. `generation` grows
-- when something outside that process changed rows, which then reads everything anew. `batch_floor`: no batch
-- up to it will be made any more. `version_floor`: no version up to it is signed in a channel without a head.
-- The account mark is the newest batch that a replica named; `imported`: after a restore, every committed batch
-- up to this one was given back.
CREATE TABLE hub.hubs (
    hub_id        uuid PRIMARY KEY,
    terms         jsonb NOT NULL,
    session       uuid NOT NULL,
    generation    bigint NOT NULL DEFAULT 0,
    batch_floor   bigint NOT NULL DEFAULT 0 CHECK (batch_floor >= 0),
    version_floor bigint NOT NULL DEFAULT 0 CHECK (version_floor >= 0),
    imported      bigint NOT NULL DEFAULT 0 CHECK (imported >= 0),
    account_batch bigint NOT NULL DEFAULT 0 CHECK (account_batch >= 0),
    account_root  bytea NOT NULL CHECK (length(account_root) = 32),
    fence         text,
    fenced_at     timestamptz
);

CREATE TABLE hub.channels (
    channel_id   bytea PRIMARY KEY CHECK (length(channel_id) = 32),
    hub_id       uuid NOT NULL,
    params       jsonb NOT NULL,
    opened_batch bigint NOT NULL,
    created_at   timestamptz NOT NULL
);

-- The newest state the hub signed in each channel, and the co-signed one it was derived from. The signed one
-- counts as held itself once its batch is committed here. `state_hash` is what was signed: a row that does not
-- hash to it was edited. `pending_increase`: the most that a signed state above the held one gives the user
-- beyond it. `max_signed` moves only upwards within an epoch.
CREATE TABLE hub.heads (
    channel_id       bytea PRIMARY KEY CHECK (length(channel_id) = 32),
    hub_id           uuid NOT NULL,
    epoch            bigint NOT NULL CHECK (epoch BETWEEN 0 AND 4294967295),
    max_signed       bigint NOT NULL CHECK (max_signed BETWEEN version AND 281474976710655),
    version          bigint NOT NULL CHECK (version BETWEEN 0 AND 281474976710655),
    ack_version      bigint NOT NULL CHECK (ack_version BETWEEN 0 AND version),
    hub_balance      numeric(29) NOT NULL CHECK (hub_balance >= 0 AND hub_balance < 79228162514264337593543950336),
    user_balance     numeric(29) NOT NULL CHECK (user_balance >= 0 AND user_balance < 79228162514264337593543950336),
    hub_locked       numeric(29) NOT NULL CHECK (hub_locked >= 0 AND hub_locked < 79228162514264337593543950336),
    user_locked      numeric(29) NOT NULL CHECK (user_locked >= 0 AND user_locked < 79228162514264337593543950336),
    withdrawn        numeric(39) NOT NULL CHECK (withdrawn >= 0 AND withdrawn < 340282366920938463463374607431768211456),
    deposited        numeric(39) NOT NULL CHECK (deposited >= 0 AND deposited < 340282366920938463463374607431768211456),
    credited         numeric(39) NOT NULL CHECK (credited >= 0 AND credited < 340282366920938463463374607431768211456),
    locks_hash       bytea NOT NULL CHECK (length(locks_hash) = 32),
    transfers_root   bytea NOT NULL CHECK (length(transfers_root) = 32),
    state_hash       bytea NOT NULL CHECK (length(state_hash) = 32),
    signed_batch     bigint NOT NULL CHECK (signed_batch >= 0),
    held_state       bytea NOT NULL CHECK (length(held_state) = 214),
    held_batch       bigint NOT NULL CHECK (held_batch >= 0),
    pending_increase numeric(39) NOT NULL CHECK (pending_increase >= 0 AND pending_increase < 340282366920938463463374607431768211456)
) WITH (fillfactor = 70);

-- Every batch, written before it is signed. The signature is made again from the row when asked for: its
-- nonce follows from key and message. fate: 1 committed (with the custody signature), 2 burned, null not known.
CREATE TABLE hub.journal (
    hub_id            uuid NOT NULL,
    batch_id          bigint NOT NULL CHECK (batch_id > 0),
    request_id        uuid NOT NULL,
    prev_root         bytea NOT NULL CHECK (length(prev_root) = 32),
    root              bytea NOT NULL CHECK (length(root) = 32),
    depth             smallint NOT NULL CHECK (depth BETWEEN 1 AND 12),
    states            bytea NOT NULL,
    operations_digest bytea NOT NULL CHECK (length(operations_digest) = 32),
    issued            numeric(39) NOT NULL CHECK (issued >= 0 AND issued < 340282366920938463463374607431768211456),
    fate              smallint CHECK (fate IN (1, 2)),
    user_signature    bytea CHECK (length(user_signature) = 65),
    created_at        timestamptz NOT NULL,
    PRIMARY KEY (hub_id, batch_id),
    UNIQUE (hub_id, request_id),
    CHECK ((fate IS NOT DISTINCT FROM 1) = (user_signature IS NOT NULL))
);
-- Hashes don't compress; trying costs more than all else in the insert.
ALTER TABLE hub.journal ALTER COLUMN states SET STORAGE EXTERNAL;
CREATE INDEX journal_open ON hub.journal (hub_id, batch_id) WHERE fate IS NULL;
CREATE INDEX journal_issued ON hub.journal (hub_id, created_at) WHERE issued > 0;

-- Withdrawal orders (kind 1) and their refunds (kind 2) as they stood in batches; one may be in several
-- batches of which at most one is committed.
CREATE TABLE hub.orders (
    hub_id     uuid NOT NULL,
    order_id   uuid NOT NULL,
    kind       smallint NOT NULL CHECK (kind IN (1, 2)),
    batch_id   bigint NOT NULL,
    channel_id bytea NOT NULL CHECK (length(channel_id) = 32),
    epoch      bigint NOT NULL,
    amount     numeric(29) NOT NULL CHECK (amount > 0 AND amount < 79228162514264337593543950336),
    to_address bytea CHECK (length(to_address) = 20),
    PRIMARY KEY (hub_id, order_id, kind, batch_id)
);

-- `Withdraw`s signed by the hub; the row is there before the signature leaves.
CREATE TABLE hub.withdrawals (
    hub_id      uuid NOT NULL,
    order_id    uuid NOT NULL,
    channel_id  bytea NOT NULL CHECK (length(channel_id) = 32),
    epoch       bigint NOT NULL,
    prev_total  numeric(39) NOT NULL CHECK (prev_total >= 0 AND prev_total < 340282366920938463463374607431768211456),
    amount      numeric(29) NOT NULL CHECK (amount > 0 AND amount < 79228162514264337593543950336),
    to_address  bytea NOT NULL CHECK (length(to_address) = 20),
    valid_until bigint NOT NULL CHECK (valid_until > 0),
    executed    boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (hub_id, order_id)
);
CREATE INDEX withdrawals_open ON hub.withdrawals (hub_id, channel_id) WHERE NOT executed;

-- What is final on chain about channels that ever touched it, in their current epoch; others have no row.
CREATE TABLE hub.channel_facts (
    hub_id         uuid NOT NULL,
    channel_id     bytea NOT NULL CHECK (length(channel_id) = 32),
    epoch          bigint NOT NULL,
    executed       numeric(39) NOT NULL CHECK (executed >= 0 AND executed < 340282366920938463463374607431768211456),
    final_deposits numeric(39) NOT NULL CHECK (final_deposits >= 0 AND final_deposits < 340282366920938463463374607431768211456),
    closing        boolean NOT NULL,
    PRIMARY KEY (hub_id, channel_id)
);

CREATE TABLE hub.chain_marks (
    hub_id          uuid PRIMARY KEY,
    final_block     bigint NOT NULL,
    final_timestamp bigint NOT NULL,
    vault           numeric(39) NOT NULL CHECK (vault >= 0 AND vault < 340282366920938463463374607431768211456),
    events          bigint NOT NULL DEFAULT 0 CHECK (events >= 0)
);

CREATE TABLE hub.inbox (
    hub_id      uuid NOT NULL,
    message_id  uuid NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (hub_id, message_id)
);
