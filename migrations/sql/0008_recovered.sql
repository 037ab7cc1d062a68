-- kind: 9 gained and 10 lost: what a state of a batch that was lost and is back changed, as far as nobody can tell it.
ALTER TABLE account.operations DROP CONSTRAINT operations_kind_check;
-- Partitions that were made apart and then attached have the constraint as their own as well.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'account.operations'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS operations_kind_check', part);
    END LOOP;
END $$;
ALTER TABLE account.operations ADD CONSTRAINT operations_kind_check CHECK (kind BETWEEN 1 AND 10);
ALTER TABLE IF EXISTS account.carried_totals DROP CONSTRAINT carried_totals_kind_check;
ALTER TABLE IF EXISTS account.carried_totals ADD CONSTRAINT carried_totals_kind_check CHECK (kind BETWEEN 1 AND 10);
