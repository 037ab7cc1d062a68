-- Disputes: what the worker needs to answer a close by itself, and what settlements leave behind.

-- kind: 4 answers to closes, 5 settlements, 6 payouts that were due later, 7 closes.
ALTER TABLE chain.transactions DROP CONSTRAINT transactions_kind_check;
ALTER TABLE chain.transactions ADD CONSTRAINT transactions_kind_check CHECK (kind BETWEEN 1 AND 7);
-- kind: 3 close.
ALTER TABLE chain.commands DROP CONSTRAINT commands_kind_check;
ALTER TABLE chain.commands ADD CONSTRAINT commands_kind_check CHECK (kind BETWEEN 1 AND 3);

-- The channel of logs that are about a dispute or what it pays; null for others.
ALTER TABLE chain.logs ADD COLUMN channel_id bytea CHECK (length(channel_id) = 32);
CREATE INDEX logs_dispute ON chain.logs (channel_id, block, log_index) WHERE channel_id IS NOT NULL;

-- Parameters of the channels there are copies of; they never change.
CREATE TABLE chain.channels (
    channel_id bytea PRIMARY KEY CHECK (length(channel_id) = 32),
    hub        bytea NOT NULL CHECK (length(hub) = 20),
    params     jsonb NOT NULL
);

-- The worker's own copy of the newest co-signed state of each channel and epoch, with everything that the contract
-- wants to see: both signatures are over the batch, and `siblings` leads from the state to its root.
CREATE TABLE chain.copies (
    channel_id     bytea NOT NULL REFERENCES chain.channels (channel_id),
    epoch          bigint NOT NULL CHECK (epoch BETWEEN 0 AND 4294967295),
    version        bigint NOT NULL CHECK (version BETWEEN 1 AND 281474976710655),
    state          bytea NOT NULL CHECK (length(state) = 214),
    batch_id       bigint NOT NULL CHECK (batch_id > 0),
    root           bytea NOT NULL CHECK (length(root) = 32),
    prev_root      bytea NOT NULL CHECK (length(prev_root) = 32),
    depth          smallint NOT NULL CHECK (depth BETWEEN 1 AND 12),
    leaf           int NOT NULL CHECK (leaf BETWEEN 0 AND 4095),
    siblings       bytea NOT NULL CHECK (length(siblings) = depth * 32),
    hub_signature  bytea NOT NULL CHECK (length(hub_signature) = 65),
    user_signature bytea NOT NULL CHECK (length(user_signature) = 65),
    PRIMARY KEY (channel_id, epoch)
) WITH (fillfactor = 80);

-- How far each hub's batches were copied, and when a source last gave all it had.
CREATE TABLE chain.copy_marks (
    hub       bytea PRIMARY KEY CHECK (length(hub) = 20),
    batch_id  bigint NOT NULL DEFAULT 0 CHECK (batch_id >= 0),
    copied_at timestamptz
);

-- Closes that were seen and are not over: what became of each follows from chain.logs.
CREATE TABLE chain.disputes (
    channel_id bytea NOT NULL CHECK (length(channel_id) = 32),
    epoch      bigint NOT NULL CHECK (epoch BETWEEN 0 AND 4294967295),
    hub        bytea NOT NULL CHECK (length(hub) = 20),
    seen_at    timestamptz NOT NULL,
    over       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (channel_id, epoch)
);
CREATE INDEX disputes_open ON chain.disputes (hub) WHERE NOT over;

-- What was sent about a dispute. step: 1 challenge, 2 penalty, 3 settlement, 4 late payout.
CREATE TABLE chain.dispute_steps (
    channel_id bytea NOT NULL,
    epoch      bigint NOT NULL,
    step       smallint NOT NULL CHECK (step BETWEEN 1 AND 4),
    sender     bytea NOT NULL,
    nonce      bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (channel_id, epoch, sender, nonce),
    FOREIGN KEY (channel_id, epoch) REFERENCES chain.disputes (channel_id, epoch),
    FOREIGN KEY (sender, nonce) REFERENCES chain.transactions (sender, nonce)
);

-- status: 4 closing: a close was ordered or seen; nothing is signed until the settlement is final.
ALTER TABLE account.heads DROP CONSTRAINT heads_status_check;
ALTER TABLE account.heads ADD CONSTRAINT heads_status_check CHECK (status BETWEEN 1 AND 4);

-- status: 5 settled: it was in no balance when its epoch ended, so the settlement dealt with it.
ALTER TABLE account.deposits DROP CONSTRAINT deposits_status_check;
ALTER TABLE account.deposits ADD CONSTRAINT deposits_status_check CHECK (status BETWEEN 1 AND 5);

-- Closes of channels. status: 1 ordered (to be signed and sent), 2 sent, 3 seen on chain, 4 settled, 5 nothing came of it.
-- `state_hash` is the state that an ordered close posts; `valid_until` the last second at which it may be posted.
CREATE TABLE account.closings (
    id             uuid PRIMARY KEY,
    hub_id         uuid NOT NULL,
    account_id     uuid NOT NULL,
    channel_id     bytea NOT NULL CHECK (length(channel_id) = 32),
    epoch          int NOT NULL CHECK (epoch >= 0),
    status         smallint NOT NULL CHECK (status BETWEEN 1 AND 5),
    state_hash     bytea CHECK (length(state_hash) = 32),
    valid_until    bigint CHECK (valid_until > 0),
    correlation_id text NOT NULL,
    tx_hash        bytea CHECK (length(tx_hash) = 32),
    paid           numeric(39) CHECK (paid >= 0 AND paid < 340282366920938463463374607431768211456),
    operation_id   uuid,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
CREATE INDEX closings_channel ON account.closings (channel_id, epoch);
CREATE INDEX closings_open ON account.closings (hub_id, id) WHERE status < 3;
