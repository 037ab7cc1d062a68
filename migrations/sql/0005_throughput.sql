-- What many rows and years of them need.

-- Hashes don't compress; trying costs more than all else in the insert.
ALTER TABLE account.batches ALTER COLUMN states SET STORAGE EXTERNAL;

-- What is used at most once, for ever: the first 16 bytes of SHA-256 over owner, route and idempotency key, or over
-- owner, a zero and the caller's reference. The one index that every new operation is held against, so as small as it can be.
CREATE TABLE account.operation_keys (
    key       uuid PRIMARY KEY,
    operation uuid NOT NULL
);
INSERT INTO account.operation_keys (key, operation)
SELECT encode(substring(sha256(uuid_send(owner) || int2send(route) || convert_to(idem_key, 'UTF8')) FOR 16), 'hex')::uuid, id
FROM account.operations
UNION ALL
SELECT encode(substring(sha256(uuid_send(owner) || int2send(0::smallint) || convert_to(client_ref, 'UTF8')) FOR 16), 'hex')::uuid, id
FROM account.operations WHERE client_ref IS NOT NULL;

-- Ids of operations begin with the time (UUIDv7), so ranges of them are weeks: the indexes that are written to stay small.
ALTER TABLE account.operations RENAME TO operations_before;
CREATE TABLE account.operations (LIKE account.operations_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (id);
ALTER TABLE account.operations ADD PRIMARY KEY (id);
CREATE TABLE account.operations_rest PARTITION OF account.operations DEFAULT;
INSERT INTO account.operations SELECT * FROM account.operations_before;
DROP TABLE account.operations_before;
CREATE INDEX operations_client_ref ON account.operations (client_ref, owner) WHERE client_ref IS NOT NULL;
CREATE INDEX operations_payer ON account.operations (payer, payer_version, id) WHERE payer IS NOT NULL;
CREATE INDEX operations_payee ON account.operations (payee, payee_version, id) WHERE payee IS NOT NULL;
CREATE INDEX operations_pending ON account.operations (hub_id, id) WHERE outcome = 3;

-- The smallest UUIDv7 of a moment.
CREATE FUNCTION account.first_id(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions of the weeks up to `ahead`, where they are missing; account-service asks for it. Gives up after a
-- second, to be asked again: a long read must not hold up whoever writes.
CREATE FUNCTION account.make_partitions(ahead timestamptz) RETURNS int
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
            EXCEPTION WHEN duplicate_table OR unique_violation THEN
                NULL; -- another replica was first
            END;
        END IF;
        monday := monday + interval '7 days';
    END LOOP;
    RETURN made;
END $$;
REVOKE EXECUTE ON FUNCTION account.make_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account.make_partitions TO chub_account;
SELECT account.make_partitions(now() + interval '28 days');
