-- The operations of an account are a thread: its head names the newest one, and each names the one before it, on either
-- side. So a history is read by primary keys, whatever weeks it lies in, and no index is written in random places.
ALTER TABLE account.operations ADD COLUMN payer_previous uuid, ADD COLUMN payee_previous uuid;
ALTER TABLE account.heads ADD COLUMN newest uuid;

-- Bits that are exclusive-or'd over a thread: of all operations and all those before them, only the newest one is left.
CREATE FUNCTION account.id_bits(id uuid) RETURNS bit(128) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ('x' || replace(id::text, '-', ''))::bit(128);
CREATE FUNCTION account.bits_id(bits bit(128)) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (lpad(to_hex(bits::bit(64)::bigint), 16, '0') || lpad(to_hex((bits << 64)::bit(64)::bigint), 16, '0'))::uuid;

-- What the dropped part of a thread comes to: each operation of it, exclusive-or'd with the one before it.
ALTER TABLE account.carried ADD COLUMN thread uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
ALTER TABLE account.carried ALTER COLUMN thread DROP DEFAULT;

-- What is here already is threaded in the order in which it was listed.
CREATE TEMP TABLE threads AS
SELECT id, account, debit, lag(id) OVER thread AS previous, lead(id) OVER thread IS NULL AS newest
FROM (
    SELECT id, payer AS account, payer_version AS version, true AS debit FROM account.operations
    WHERE outcome = 1 AND payer IS NOT NULL AND payer_version IS NOT NULL
    UNION ALL
    SELECT id, payee, payee_version, false FROM account.operations
    WHERE outcome = 1 AND payee IS NOT NULL AND payee_version IS NOT NULL
) sides
WINDOW thread AS (PARTITION BY account ORDER BY version, id);
UPDATE account.operations o SET payer_previous = t.previous
FROM threads t WHERE t.id = o.id AND t.debit AND t.previous IS NOT NULL;
UPDATE account.operations o SET payee_previous = t.previous
FROM threads t WHERE t.id = o.id AND NOT t.debit AND t.previous IS NOT NULL;
UPDATE account.heads h SET newest = t.id FROM threads t WHERE t.account = h.account_id AND t.newest;
DROP TABLE threads;

-- One operation in 64 is a mark on its accounts' threads, to begin to read near a version or a time.
DROP INDEX account.operations_payer;
DROP INDEX account.operations_payee;
CREATE INDEX operations_payer_marks ON account.operations (payer, payer_version, id)
WHERE get_byte(uuid_send(id), 15) < 4 AND outcome = 1;
CREATE INDEX operations_payee_marks ON account.operations (payee, payee_version, id)
WHERE get_byte(uuid_send(id), 15) < 4 AND outcome = 1;

-- As before, with the thread, and with the newest state of each account found in one pass.
CREATE OR REPLACE FUNCTION account.drop_oldest_week(before timestamptz, archive boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '200ms' AS $$
DECLARE
    mark   account.retention;
    oldest record;
    young  uuid := account.first_id(before);
BEGIN
    SELECT * INTO mark FROM account.retention FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 'busy';
    END IF;
    SELECT * INTO oldest FROM account.oldest_week('account.operations');
    IF oldest.upper IS NULL OR oldest.upper > young THEN
        RETURN 'none';
    ELSIF mark.keys_from < oldest.upper THEN
        RETURN 'keys';
    ELSIF EXISTS (SELECT 1 FROM account.operations WHERE id < oldest.upper AND outcome = 3) THEN
        RETURN 'pending';
    ELSIF EXISTS (SELECT 1 FROM account.withdrawals WHERE id < oldest.upper AND status < 5) THEN
        RETURN 'withdrawals';
    ELSIF EXISTS (SELECT 1 FROM account.operations WHERE id < oldest.upper AND batch >= young) THEN
        RETURN 'batches';
    END IF;
    INSERT INTO account.carried AS c (account, net, version, batch, leaf, thread)
    SELECT account, net, version, substr(newest, 21, 36)::uuid, substr(newest, 57)::int, thread
    FROM (
        SELECT account, sum(amount) AS net, max(version) AS version,
            max((lpad(version::text, 20, '0') || batch || leaf) COLLATE "C") AS newest,
            account.bits_id(bit_xor(account.id_bits(id) # previous)) AS thread
        FROM (
            SELECT id, payee AS account, amount, payee_version AS version, batch, payee_leaf AS leaf,
                coalesce(account.id_bits(payee_previous), 0::bit(128)) AS previous
            FROM account.operations WHERE id < oldest.upper AND outcome = 1 AND payee IS NOT NULL
            UNION ALL
            SELECT id, payer, -amount, payer_version, batch, payer_leaf,
                coalesce(account.id_bits(payer_previous), 0::bit(128))
            FROM account.operations WHERE id < oldest.upper AND outcome = 1 AND payer IS NOT NULL
        ) e GROUP BY account
    ) s
    ON CONFLICT (account) DO UPDATE SET net = c.net + excluded.net, version = greatest(c.version, excluded.version),
        batch = CASE WHEN excluded.version > c.version THEN excluded.batch ELSE c.batch END,
        leaf = CASE WHEN excluded.version > c.version THEN excluded.leaf ELSE c.leaf END,
        thread = account.bits_id(account.id_bits(c.thread) # account.id_bits(excluded.thread));
    INSERT INTO account.carried_totals AS c (hub_id, kind, amount)
    SELECT hub_id, kind, sum(amount) FROM account.operations WHERE id < oldest.upper AND outcome = 1 GROUP BY hub_id, kind
    ON CONFLICT (hub_id, kind) DO UPDATE SET amount = c.amount + excluded.amount;
    UPDATE account.retention SET journal_from = oldest.upper, whole_from = greatest(whole_from, young);
    DELETE FROM account.operations_rest WHERE id < oldest.upper;
    EXECUTE format('ALTER TABLE account.operations DETACH PARTITION account.%I', oldest.name);
    IF archive THEN
        EXECUTE format('ALTER TABLE account.%I SET SCHEMA account_archive', oldest.name);
    ELSE
        EXECUTE format('DROP TABLE account.%I', oldest.name);
    END IF;
    RETURN 'dropped';
EXCEPTION WHEN lock_not_available THEN
    RETURN 'busy';
END $$;
