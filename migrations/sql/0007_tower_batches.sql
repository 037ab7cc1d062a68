-- What was copied of committed batches and not folded into chain.copies yet: appended as it comes, since a row for each
-- state of each transfer would cost as much as posting it did. `kept` counts up in the order in which they came.
CREATE TABLE chain.copied_batches (
    hub            bytea NOT NULL CHECK (length(hub) = 20),
    batch_id       bigint NOT NULL CHECK (batch_id > 0),
    kept           bigint GENERATED ALWAYS AS IDENTITY,
    prev_root      bytea NOT NULL CHECK (length(prev_root) = 32),
    hub_signature  bytea NOT NULL CHECK (length(hub_signature) = 65),
    user_signature bytea NOT NULL CHECK (length(user_signature) = 65),
    states         bytea NOT NULL CHECK (length(states) % 214 = 0),
    PRIMARY KEY (hub, batch_id)
);
-- Hashes don't compress; trying costs more than all else in the insert.
ALTER TABLE chain.copied_batches ALTER COLUMN states SET STORAGE EXTERNAL;
CREATE INDEX copied_batches_kept ON chain.copied_batches (hub, kept);
CREATE INDEX channels_hub ON chain.channels (hub);
