-- Hashes don't compress; trying costs more than all else in the insert.
ALTER TABLE account.batches ALTER COLUMN states SET STORAGE EXTERNAL;
