//! Schema `hub`, against `account`.

use super::{Differing, channel, differing, hash};
use futures_util::stream::BoxStream;
use hub_core::{Amount, ChannelId, Hash32, State, encoding};
use runtime::pg::PgAmount;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// A channel as both sides have it.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The channel.
    pub channel: ChannelId,
    /// What the hub has.
    pub hub: Option<HubHead>,
    /// Version and hash that account-service has, with the sum of balances and locks.
    pub account: Option<AccountHead>,
}

/// The hub's row of a channel.
#[derive(Debug, Clone, Copy)]
pub struct HubHead {
    /// Its columns as a state, that it signed.
    pub signed: State,
    /// The hash it names; zero when it is none.
    pub state_hash: Hash32,
    /// The newest state it holds with both signatures, if what is stored is a state.
    pub held: Option<State>,
}

/// What account-service has of a channel.
#[derive(Debug, Clone, Copy)]
pub struct AccountHead {
    /// Its columns as a state.
    pub state: State,
    /// The hash it names; zero when it is none.
    pub state_hash: Hash32,
}

const PAIRS: &str = "
    SELECT coalesce(b.channel_id, h.channel_id) AS channel_id, b.channel_id IS NOT NULL AS at_hub,
           h.channel_id IS NOT NULL AS at_account,
           b.epoch AS b_epoch, b.version AS b_version, b.ack_version AS b_ack_version,
           b.hub_balance AS b_hub_balance, b.user_balance AS b_user_balance, b.hub_locked AS b_hub_locked,
           b.user_locked AS b_user_locked, b.withdrawn AS b_withdrawn, b.deposited AS b_deposited,
           b.credited AS b_credited, b.locks_hash AS b_locks_hash, b.transfers_root AS b_transfers_root,
           b.state_hash AS b_state_hash, b.held_state,
           h.epoch::bigint AS h_epoch, h.version AS h_version, h.ack_version AS h_ack_version,
           h.hub_balance AS h_hub_balance, h.user_balance AS h_user_balance, h.hub_locked AS h_hub_locked,
           h.user_locked AS h_user_locked, h.withdrawn AS h_withdrawn, h.deposited AS h_deposited,
           h.credited AS h_credited, h.locks_hash AS h_locks_hash, h.transfers_root AS h_transfers_root,
           h.state_hash AS h_state_hash
    FROM hub.heads b FULL JOIN account.heads h ON h.channel_id = b.channel_id";

/// Column names of one side of [`PAIRS`].
macro_rules! columns {
    ($side:literal) => {
        [
            concat!($side, "_epoch"),
            concat!($side, "_version"),
            concat!($side, "_ack_version"),
            concat!($side, "_hub_balance"),
            concat!($side, "_user_balance"),
            concat!($side, "_hub_locked"),
            concat!($side, "_user_locked"),
            concat!($side, "_withdrawn"),
            concat!($side, "_deposited"),
            concat!($side, "_credited"),
            concat!($side, "_locks_hash"),
            concat!($side, "_transfers_root"),
            concat!($side, "_state_hash"),
        ]
    };
}

const HUB: [&str; 13] = columns!("b");
const ACCOUNT: [&str; 13] = columns!("h");

/// All channels that either side has.
pub fn pairs(connection: &mut PgConnection) -> BoxStream<'_, sqlx::Result<PgRow>> {
    sqlx::query(PAIRS).fetch(connection)
}

/// From a row of [`pairs`].
pub fn pair_of(row: &PgRow) -> sqlx::Result<Pair> {
    let channel = channel(row, "channel_id")?.unwrap_or_default();
    let mut pair = Pair {
        channel,
        hub: None,
        account: None,
    };
    if row.try_get("at_hub")? {
        let (signed, state_hash) = state_of(row, channel, &HUB)?;
        let held = encoding::decode_state(row.try_get("held_state")?).ok();
        pair.hub = Some(HubHead {
            signed,
            state_hash,
            held,
        });
    }
    if row.try_get("at_account")? {
        let (state, state_hash) = state_of(row, channel, &ACCOUNT)?;
        pair.account = Some(AccountHead { state, state_hash });
    }
    Ok(pair)
}

fn state_of(
    row: &PgRow,
    channel_id: ChannelId,
    columns: &[&str; 13],
) -> sqlx::Result<(State, Hash32)> {
    let amount =
        |at: usize| -> sqlx::Result<Amount> { Ok(row.try_get::<PgAmount, _>(columns[at])?.0) };
    let number = |at: usize| -> sqlx::Result<u64> {
        Ok(row.try_get::<i64, _>(columns[at])?.cast_unsigned())
    };
    let word =
        |at: usize| -> sqlx::Result<Hash32> { Ok(hash(row, columns[at])?.unwrap_or_default()) };
    let state = State {
        channel_id,
        epoch: u32::try_from(number(0)?).unwrap_or(u32::MAX),
        version: number(1)?,
        ack_version: number(2)?,
        hub_balance: amount(3)?,
        user_balance: amount(4)?,
        hub_locked: amount(5)?,
        user_locked: amount(6)?,
        withdrawn: amount(7)?,
        deposited: amount(8)?,
        credited: amount(9)?,
        locks_hash: word(10)?,
        transfers_root: word(11)?,
    };
    Ok((state, word(12)?))
}

/// A difference between the sides' books, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// `account.batches`: the hub knows it as committed, and it is not.
    BatchLost,
    /// `hub.journal`: a batch that was committed is missing, another, or burned there.
    JournalUnlike,
    /// `hub.withdrawals`: what the hub signed is not the order.
    OrderUnlike,
    /// `hub.withdrawals`: the hub's signature was given for an order that it has not.
    OrderMissing,
    /// `account.hubs`: the terms are not the hub's.
    TermsUnlike,
}

const BATCH_LOST: &str = "
    SELECT concat(j.hub_id, '/', j.batch_id) AS key,
           concat('committed, root=0x', encode(j.root, 'hex')) AS expected,
           CASE WHEN b.batch_id IS NULL THEN 'none' ELSE 'burned' END AS found
    FROM hub.journal j
    LEFT JOIN account.batches b ON b.hub_id = j.hub_id AND b.batch_id = j.batch_id
    WHERE j.fate = 1 AND (b.batch_id IS NULL OR b.fate = 2)
    ORDER BY j.hub_id, j.batch_id LIMIT $1";

const JOURNAL_UNLIKE: &str = "
    SELECT concat(b.hub_id, '/', b.batch_id) AS key,
           concat('committed, depth=', b.depth, ' root=0x', encode(b.root, 'hex'), ' prev_root=0x', encode(b.prev_root, 'hex'),
                  ' user_signature=0x', encode(b.user_signature, 'hex')) AS expected,
           CASE WHEN j.batch_id IS NULL THEN 'none'
                ELSE concat(CASE j.fate WHEN 1 THEN 'committed' WHEN 2 THEN 'burned' ELSE 'open' END, ', depth=', j.depth,
                  ' root=0x', encode(j.root, 'hex'), ' prev_root=0x', encode(j.prev_root, 'hex'),
                  ' user_signature=0x', encode(j.user_signature, 'hex')) END AS found
    FROM account.batches b
    LEFT JOIN hub.journal j ON j.hub_id = b.hub_id AND j.batch_id = b.batch_id
    WHERE b.fate = 1 AND (j.batch_id IS NULL OR j.fate = 2 OR j.depth <> b.depth OR j.root <> b.root
       OR j.prev_root <> b.prev_root OR j.user_signature <> b.user_signature)
    ORDER BY b.hub_id, b.batch_id LIMIT $1";

const ORDER_UNLIKE: &str = "
    SELECT concat(s.hub_id, '/', s.order_id) AS key,
           CASE WHEN w.id IS NULL THEN 'an order of this id'
                ELSE concat('to=0x', encode(w.to_address, 'hex'), ' prev_total=', w.prev_total, ' valid_until=', w.valid_until,
                  ' channel=0x', encode(w.channel_id, 'hex'), '/', w.epoch) END AS expected,
           concat('to=0x', encode(s.to_address, 'hex'), ' prev_total=', s.prev_total, ' valid_until=', s.valid_until,
                  ' channel=0x', encode(s.channel_id, 'hex'), '/', s.epoch) AS found
    FROM hub.withdrawals s LEFT JOIN account.withdrawals w ON w.id = s.order_id
    WHERE w.id IS NULL OR (w.status NOT IN (3, 4) AND (w.to_address <> s.to_address OR w.channel_id <> s.channel_id
       OR w.epoch <> s.epoch OR w.prev_total IS DISTINCT FROM s.prev_total
       OR w.valid_until IS DISTINCT FROM s.valid_until))
    ORDER BY s.hub_id, s.order_id LIMIT $1";

const ORDER_MISSING: &str = "
    SELECT concat(w.hub_id, '/', w.id) AS key, concat('the order of ', w.amount, ' that the hub signed') AS expected,
           'none' AS found
    FROM account.withdrawals w
    LEFT JOIN hub.withdrawals s ON s.hub_id = w.hub_id AND s.order_id = w.id
    WHERE w.status IN (3, 4, 5) AND s.order_id IS NULL
      AND (w.id < (SELECT journal_from FROM account.retention)
        OR EXISTS (SELECT 1 FROM account.operations o WHERE o.id = w.id))
    ORDER BY w.hub_id, w.id LIMIT $1";

const TERMS_UNLIKE: &str = "
    SELECT a.hub_id::text AS key, h.terms::text AS expected, a.terms::text AS found
    FROM account.hubs a JOIN hub.hubs h ON h.hub_id = a.hub_id
    WHERE a.terms <> h.terms ORDER BY a.hub_id LIMIT $1";

/// Rows that differ, in key order.
pub async fn find(
    connection: &mut PgConnection,
    difference: Difference,
    limit: i64,
) -> sqlx::Result<Vec<Differing>> {
    let query = match difference {
        Difference::BatchLost => BATCH_LOST,
        Difference::JournalUnlike => JOURNAL_UNLIKE,
        Difference::OrderUnlike => ORDER_UNLIKE,
        Difference::OrderMissing => ORDER_MISSING,
        Difference::TermsUnlike => TERMS_UNLIKE,
    };
    let rows = sqlx::query(query).bind(limit).fetch_all(connection).await?;
    rows.iter().map(differing).collect()
}
