-- States go in whole weeks. What something still needs of them is kept leaf by leaf.

-- A state of a batch whose states are gone, with the siblings from leaf to root, 32 bytes each: with the batch's row
-- it proves itself.
CREATE TABLE account.kept_leaves (
    batch uuid NOT NULL,
    leaf  int NOT NULL CHECK (leaf BETWEEN 0 AND 4095),
    state bytea NOT NULL,
    path  bytea NOT NULL,
    PRIMARY KEY (batch, leaf)
);

-- States of batches below `states_from` are gone. Below `copied_to` all were looked at, and what is needed of them is
-- in kept_leaves.
ALTER TABLE account.retention
    ADD COLUMN states_from uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    ADD COLUMN copied_to uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
-- Before, they went batch by batch, and only below the journal.
UPDATE account.retention SET states_from = journal_from
WHERE EXISTS (SELECT 1 FROM account.states_marks WHERE batch_id > 0);
DROP TABLE account.states_marks;
DROP TABLE account.kept_batches;

-- The oldest week that has a partition, and the smallest id above it; nulls when there is none.
CREATE FUNCTION account.oldest_week(parent regclass, OUT name text, OUT upper uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT c.relname::text,
           account.first_id(to_timestamp(right(c.relname, 10) || ' +00', 'YYYY_MM_DD TZH') + interval '7 days')
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = parent AND c.relname ~ '_\d{4}_\d{2}_\d{2}$'
    ORDER BY c.relname LIMIT 1
$$;

-- Drops the oldest week of states if all of them were looked at, or puts it into the archive. Returns `dropped`, or
-- why it was not: `none` was looked at as a whole, the hub has not confirmed batches of it (`unhanded`), the newest
-- state of a channel (`heads`) or the one where the journal begins (`carried`) is not kept, or another one is at it
-- (`busy`). What detaching waits for holds up whoever posts meanwhile: it gives up soon, to be asked again.
CREATE FUNCTION account.drop_oldest_states(archive boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '200ms' AS $$
DECLARE
    mark   account.retention;
    oldest record;
BEGIN
    SELECT * INTO mark FROM account.retention FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 'busy';
    END IF;
    SELECT * INTO oldest FROM account.oldest_week('account.batch_states');
    IF oldest.upper IS NULL OR oldest.upper > mark.copied_to OR oldest.upper > mark.journal_from THEN
        RETURN 'none';
    ELSIF EXISTS (SELECT 1 FROM account.batches WHERE NOT handed AND id < oldest.upper) THEN
        RETURN 'unhanded';
    ELSIF EXISTS (SELECT 1 FROM account.heads h WHERE h.batch < oldest.upper AND NOT EXISTS (
            SELECT 1 FROM account.kept_leaves k
            WHERE k.batch = h.batch AND substring(k.state FROM 3 FOR 32) = h.channel_id)) THEN
        RETURN 'heads';
    ELSIF EXISTS (SELECT 1 FROM account.carried c WHERE c.batch < oldest.upper AND NOT EXISTS (
            SELECT 1 FROM account.kept_leaves k WHERE k.batch = c.batch AND k.leaf = c.leaf)) THEN
        RETURN 'carried';
    END IF;
    UPDATE account.retention SET states_from = greatest(states_from, oldest.upper);
    DELETE FROM account.batch_states_rest WHERE id < oldest.upper;
    EXECUTE format('ALTER TABLE account.batch_states DETACH PARTITION account.%I', oldest.name);
    IF archive THEN
        EXECUTE format('ALTER TABLE account.%I SET SCHEMA account_archive', oldest.name);
    ELSE
        EXECUTE format('DROP TABLE account.%I', oldest.name);
    END IF;
    RETURN 'dropped';
EXCEPTION WHEN lock_not_available THEN
    RETURN 'busy';
END $$;
REVOKE EXECUTE ON FUNCTION account.drop_oldest_states FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account.drop_oldest_states TO chub_account;
