-- A close that is seen before the settlement of the epoch before it is final. `later_close` is its
-- epoch: nothing is signed in that one when it begins.
ALTER TABLE hub.channel_facts ADD COLUMN later_close bigint CHECK (later_close > epoch);
