-- Opening an account writes its parameters into three tables: as bytes in their stored form, a third of what they were.

-- The stored form of parameters: layout, four addresses, custodial, capacity, two periods, cap, bounty, salt.
CREATE FUNCTION account.params_bytes(p jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    WITH n AS (SELECT (p ->> 'capacity')::numeric AS capacity, (p ->> 'penaltyCap')::numeric AS cap, 4294967296::numeric AS w)
    SELECT 'P1'::bytea || decode(concat(substr(p ->> 'hub', 3), substr(p ->> 'hubSigner', 3), substr(p ->> 'user', 3),
            substr(p ->> 'userSigner', 3), CASE WHEN (p ->> 'custodial')::boolean THEN '01' ELSE '00' END), 'hex')
        || substr(int8send(div(capacity, w * w)::bigint), 5) || substr(int8send(mod(div(capacity, w), w)::bigint), 5)
        || substr(int8send(mod(capacity, w)::bigint), 5)
        || substr(int8send((p ->> 'challengePeriod')::bigint), 5) || substr(int8send((p ->> 'selfDelay')::bigint), 5)
        || substr(int8send(div(cap, w * w)::bigint), 5) || substr(int8send(mod(div(cap, w), w)::bigint), 5)
        || substr(int8send(mod(cap, w)::bigint), 5)
        || substr(int8send((p ->> 'bountyBps')::bigint), 7) || decode(substr(p ->> 'salt', 3), 'hex')
    FROM n
$$;
ALTER TABLE account.accounts ALTER COLUMN params TYPE bytea USING account.params_bytes(params);
ALTER TABLE hub.channels ALTER COLUMN params TYPE bytea USING account.params_bytes(params);
ALTER TABLE chain.channels ALTER COLUMN params TYPE bytea USING account.params_bytes(params);
DROP FUNCTION account.params_bytes;
ALTER TABLE account.accounts ADD CHECK (length(params) = 149);
ALTER TABLE hub.channels ADD CHECK (length(params) = 149);
ALTER TABLE chain.channels ADD CHECK (length(params) = 149);

-- From a channel to its account leads its head, which is inserted with the account and has the channel once; from an
-- account to its head, the channel.
ALTER TABLE account.accounts DROP CONSTRAINT accounts_channel_id_key;
DROP INDEX account.heads_account;

-- The worker counts the channels of a hub once a minute; to write this for each of them costs more.
DROP INDEX chain.channels_hub;
