-- Retention: what may go when it is old, and what stays of it. Nothing goes unless a service is told to.

-- How far the journal reaches back. Operations below `journal_from` are dropped; below `keys_from` their idempotency
-- keys are, references never. From the batch `whole_from` on, every operation of every batch is here.
CREATE TABLE account.retention (
    one          boolean PRIMARY KEY CHECK (one),
    keys_from    uuid NOT NULL,
    journal_from uuid NOT NULL CHECK (journal_from <= keys_from),
    whole_from   uuid NOT NULL CHECK (whole_from >= journal_from)
);
INSERT INTO account.retention (one, keys_from, journal_from, whole_from)
VALUES (true, '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000',
    '00000000-0000-0000-0000-000000000000');

-- What the dropped operations of an account add up to, the newest version that they led to, and where that state is.
CREATE TABLE account.carried (
    account uuid PRIMARY KEY,
    net     numeric NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    batch   uuid NOT NULL,
    leaf    int NOT NULL CHECK (leaf BETWEEN 0 AND 4095)
);

-- What the dropped operations of a hub moved, by kind.
CREATE TABLE account.carried_totals (
    hub_id uuid NOT NULL,
    kind   smallint NOT NULL CHECK (kind > 0),
    amount numeric NOT NULL CHECK (amount >= 0 AND amount < 'Infinity'),
    PRIMARY KEY (hub_id, kind)
);

-- Where the detached weeks lie that an operator wants to take away by himself.
CREATE SCHEMA account_archive;

-- The states of a batch go when nothing needs them; its number, fate, roots and signatures stay for ever.
ALTER TABLE account.batches DROP CONSTRAINT batches_check;
ALTER TABLE account.batches ADD CONSTRAINT batches_check CHECK (fate = 2 OR (id IS NOT NULL AND root IS NOT NULL
    AND prev_root IS NOT NULL AND depth IS NOT NULL AND hub_signature IS NOT NULL AND user_signature IS NOT NULL));
ALTER TABLE hub.journal ALTER COLUMN states DROP NOT NULL;

-- How far batches were looked at, and those up to there whose states something still needs.
CREATE TABLE account.states_marks (
    hub_id   uuid PRIMARY KEY,
    batch_id bigint NOT NULL CHECK (batch_id >= 0)
);
CREATE TABLE account.kept_batches (
    hub_id   uuid NOT NULL,
    batch_id bigint NOT NULL,
    PRIMARY KEY (hub_id, batch_id)
);
CREATE TABLE hub.states_marks (
    hub_id   uuid PRIMARY KEY,
    batch_id bigint NOT NULL CHECK (batch_id >= 0)
);
CREATE TABLE hub.kept_batches (
    hub_id   uuid NOT NULL,
    batch_id bigint NOT NULL,
    PRIMARY KEY (hub_id, batch_id)
);

-- Drops the oldest week of operations if it ends before `before` and nothing needs it, or puts it into the archive.
-- Returns `dropped`, or why it was not: `none` is so old, `keys` of it are still there, issuances are `pending`,
-- `withdrawals` are open, its operations are in younger `batches`, or another one is at it (`busy`).
-- Rows so old are written no more once none is pending, so they are added up without a lock. What detaching waits
-- for holds up whoever posts meanwhile: it gives up soon, to be asked again.
CREATE FUNCTION account.drop_oldest_week(before timestamptz, archive boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '200ms' AS $$
DECLARE
    mark   account.retention;
    oldest record;
    upper  uuid;
    young  uuid := account.first_id(before);
BEGIN
    SELECT * INTO mark FROM account.retention FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 'busy';
    END IF;
    SELECT c.relname, to_timestamp(right(c.relname, 10) || ' +00', 'YYYY_MM_DD TZH') AS monday INTO oldest
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'account.operations'::regclass AND c.relname ~ '^operations_\d{4}_\d{2}_\d{2}$'
    ORDER BY c.relname LIMIT 1;
    upper := account.first_id(oldest.monday + interval '7 days');
    IF upper IS NULL OR upper > young THEN
        RETURN 'none';
    ELSIF mark.keys_from < upper THEN
        RETURN 'keys';
    ELSIF EXISTS (SELECT 1 FROM account.operations WHERE id < upper AND outcome = 3) THEN
        RETURN 'pending';
    ELSIF EXISTS (SELECT 1 FROM account.withdrawals WHERE id < upper AND status < 5) THEN
        RETURN 'withdrawals';
    ELSIF EXISTS (SELECT 1 FROM account.operations WHERE id < upper AND batch >= young) THEN
        RETURN 'batches';
    END IF;
    INSERT INTO account.carried AS c (account, net, version, batch, leaf)
    SELECT s.account, s.net, s.version, p.batch, p.leaf
    FROM (
        SELECT account, sum(amount) AS net, max(version) AS version FROM (
            SELECT payee AS account, amount, payee_version AS version FROM account.operations
            WHERE id < upper AND outcome = 1 AND payee IS NOT NULL
            UNION ALL
            SELECT payer, -amount, payer_version FROM account.operations
            WHERE id < upper AND outcome = 1 AND payer IS NOT NULL
        ) e GROUP BY account
    ) s, LATERAL (
        SELECT batch, payer_leaf AS leaf FROM account.operations
        WHERE id < upper AND payer = s.account AND payer_version = s.version AND outcome = 1
        UNION ALL
        SELECT batch, payee_leaf FROM account.operations
        WHERE id < upper AND payee = s.account AND payee_version = s.version AND outcome = 1
        LIMIT 1
    ) p
    ON CONFLICT (account) DO UPDATE SET net = c.net + excluded.net, version = greatest(c.version, excluded.version),
        batch = CASE WHEN excluded.version > c.version THEN excluded.batch ELSE c.batch END,
        leaf = CASE WHEN excluded.version > c.version THEN excluded.leaf ELSE c.leaf END;
    INSERT INTO account.carried_totals AS c (hub_id, kind, amount)
    SELECT hub_id, kind, sum(amount) FROM account.operations WHERE id < upper AND outcome = 1 GROUP BY hub_id, kind
    ON CONFLICT (hub_id, kind) DO UPDATE SET amount = c.amount + excluded.amount;
    UPDATE account.retention SET journal_from = upper, whole_from = greatest(whole_from, young);
    DELETE FROM account.operations_rest WHERE id < upper;
    EXECUTE format('ALTER TABLE account.operations DETACH PARTITION account.%I', oldest.relname);
    IF archive THEN
        EXECUTE format('ALTER TABLE account.%I SET SCHEMA account_archive', oldest.relname);
    ELSE
        EXECUTE format('DROP TABLE account.%I', oldest.relname);
    END IF;
    RETURN 'dropped';
EXCEPTION WHEN lock_not_available THEN
    RETURN 'busy';
END $$;
REVOKE EXECUTE ON FUNCTION account.drop_oldest_week FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account.drop_oldest_week TO chub_account;

-- As before, but a week whose first operations found no partition keeps them among the rest, and the weeks after it
-- still get theirs.
CREATE OR REPLACE FUNCTION account.make_partitions(ahead timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '1s' AS $$
DECLARE
    monday timestamptz := date_trunc('week', now(), 'UTC');
    made   int := 0;
    name   text;
BEGIN
    WHILE monday <= ahead LOOP
        name := 'operations_' || to_char(monday AT TIME ZONE 'UTC', 'YYYY_MM_DD');
        IF to_regclass('account.' || name) IS NULL THEN
            BEGIN
                -- Apart first and then attached: that takes no lock that readers or writers wait for.
                EXECUTE format('CREATE TABLE account.%I (LIKE account.operations INCLUDING ALL)', name);
                EXECUTE format('ALTER TABLE account.operations ATTACH PARTITION account.%I FOR VALUES FROM (%L) TO (%L)',
                    name, account.first_id(monday), account.first_id(monday + interval '7 days'));
                made := made + 1;
            EXCEPTION WHEN duplicate_table OR unique_violation OR check_violation THEN
                NULL; -- another replica was first, or the week has begun without
            END;
        END IF;
        monday := monday + interval '7 days';
    END LOOP;
    RETURN made;
END $$;
