-- States in weeks, as operations are: what is old lies apart from what is written, and can go as a whole.

-- The states of a committed batch in leaf order, 214 bytes each. Ids of batches begin with the time (UUIDv7).
CREATE TABLE account.batch_states (
    id     uuid PRIMARY KEY,
    states bytea NOT NULL
) PARTITION BY RANGE (id);
-- Hashes don't compress; trying costs more than all else in the insert.
ALTER TABLE account.batch_states ALTER COLUMN states SET STORAGE EXTERNAL;
CREATE TABLE account.batch_states_rest PARTITION OF account.batch_states DEFAULT;

-- Makes the partition of a week, if it is missing, and says how many it made. A week whose first rows found no
-- partition keeps them among the rest.
CREATE FUNCTION account.make_week(parent text, monday timestamptz) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    name text := parent || '_' || to_char(monday AT TIME ZONE 'UTC', 'YYYY_MM_DD');
BEGIN
    IF to_regclass('account.' || name) IS NOT NULL THEN
        RETURN 0;
    END IF;
    -- Apart first and then attached: that takes no lock that readers or writers wait for.
    EXECUTE format('CREATE TABLE account.%I (LIKE account.%I INCLUDING ALL)', name, parent);
    EXECUTE format('ALTER TABLE account.%I ATTACH PARTITION account.%I FOR VALUES FROM (%L) TO (%L)',
        parent, name, account.first_id(monday), account.first_id(monday + interval '7 days'));
    RETURN 1;
EXCEPTION WHEN duplicate_table OR unique_violation OR check_violation THEN
    RETURN 0; -- another replica was first, or the week has begun without
END $$;
REVOKE EXECUTE ON FUNCTION account.make_week FROM PUBLIC;

-- As before, for operations and for states; says how many partitions it made.
CREATE OR REPLACE FUNCTION account.make_partitions(ahead timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '1s' AS $$
DECLARE
    monday timestamptz := date_trunc('week', now(), 'UTC');
    made   int := 0;
BEGIN
    WHILE monday <= ahead LOOP
        made := made + account.make_week('operations', monday) + account.make_week('batch_states', monday);
        monday := monday + interval '7 days';
    END LOOP;
    RETURN made;
END $$;

-- Old batches get the weeks they would have had.
DO $$
DECLARE
    monday timestamptz := (SELECT date_trunc('week', min(created_at), 'UTC') FROM account.batches);
BEGIN
    WHILE monday < now() LOOP
        PERFORM account.make_week('batch_states', monday);
        monday := monday + interval '7 days';
    END LOOP;
END $$;
SELECT account.make_partitions(now() + interval '28 days');
INSERT INTO account.batch_states (id, states)
SELECT id, states FROM account.batches WHERE fate = 1 AND states IS NOT NULL;
ALTER TABLE account.batches DROP COLUMN states;
-- Dropping a column leaves its bytes where they are; writing the table anew does not.
CLUSTER account.batches USING batches_pkey;
ALTER TABLE account.batches SET WITHOUT CLUSTER;
