//! `account.heads` and `account.channel_facts`: the newest co-signed state of each channel.

use hub_core::{Amount, ChannelId, Facts, Hash32, State, Typed};
use runtime::columns;
use runtime::pg::{PgAmount, PgChannelId, PgHash};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// Whether a channel takes part in money movements. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum ChannelStatus {
    /// Yes.
    Open = 1,
    /// An operator froze its account.
    Frozen = 2,
    /// Its account is closed.
    Closed = 3,
    /// It is being closed on chain.
    Closing = 4,
}

impl ChannelStatus {
    fn from_stored(stored: i16) -> Self {
        match stored {
            1 => Self::Open,
            2 => Self::Frozen,
            4 => Self::Closing,
            _ => Self::Closed,
        }
    }
}

/// A head row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The state.
    pub state: State,
    /// The hash both parties signed.
    pub state_hash: Hash32,
    /// The batch that carries the signatures.
    pub batch: Uuid,
    /// The newest operation of the account, where the thread of them begins.
    pub newest: Option<Uuid>,
    /// The hub's number of that batch.
    pub batch_id: u64,
    /// Whether the channel takes part.
    pub status: ChannelStatus,
    /// What the chain says about the channel.
    pub facts: Facts,
}

impl Head {
    /// Whether the columns are the state that was signed.
    pub fn is_intact(&self) -> bool {
        self.state.hash_struct() == self.state_hash
    }
}

const LOAD: &str = "
    SELECT h.channel_id, h.status, h.epoch, h.version, h.ack_version, h.hub_balance, h.user_balance,
           h.hub_locked, h.user_locked, h.withdrawn, h.deposited, h.credited, h.locks_hash,
           h.transfers_root, h.state_hash, h.batch, h.newest, b.batch_id,
           f.executed, f.final_deposits, w.floor
    FROM account.heads h
    LEFT JOIN account.batches b ON b.id = h.batch
    LEFT JOIN account.channel_facts f ON f.channel_id = h.channel_id AND f.epoch = h.epoch
    LEFT JOIN LATERAL (
        SELECT max(w.prev_total + w.amount) AS floor FROM account.withdrawals w
        WHERE w.hub_id = h.hub_id AND w.channel_id = h.channel_id AND w.epoch = h.epoch
          AND w.status < 5 AND w.prev_total IS NOT NULL AND NOT w.expired
    ) w ON h.withdrawn > 0
    WHERE h.channel_id = ANY($1)";

/// Reads heads with what is known of their channels; a channel without a row is left out.
pub async fn load(
    connection: &mut PgConnection,
    channels: &[ChannelId],
) -> sqlx::Result<Vec<Head>> {
    let ids: Vec<_> = channels.iter().copied().map(PgChannelId).collect();
    let rows = sqlx::query(LOAD).bind(ids).fetch_all(connection).await?;
    rows.iter().map(head_of).collect()
}

fn head_of(row: &PgRow) -> sqlx::Result<Head> {
    let amount = |column| row.try_get::<PgAmount, _>(column).map(|value| value.0);
    let maybe = |column| {
        row.try_get::<Option<PgAmount>, _>(column)
            .map(|value| value.map_or(Amount::ZERO, |value| value.0))
    };
    let state = State {
        channel_id: row.try_get::<PgChannelId, _>("channel_id")?.0,
        epoch: unsigned(row.try_get::<i32, _>("epoch")?),
        version: unsigned(row.try_get::<i64, _>("version")?),
        ack_version: unsigned(row.try_get::<i64, _>("ack_version")?),
        hub_balance: amount("hub_balance")?,
        user_balance: amount("user_balance")?,
        hub_locked: amount("hub_locked")?,
        user_locked: amount("user_locked")?,
        withdrawn: amount("withdrawn")?,
        deposited: amount("deposited")?,
        credited: amount("credited")?,
        locks_hash: row.try_get::<PgHash, _>("locks_hash")?.0,
        transfers_root: row.try_get::<PgHash, _>("transfers_root")?.0,
    };
    let executed = maybe("executed")?;
    Ok(Head {
        state,
        state_hash: row.try_get::<PgHash, _>("state_hash")?.0,
        batch: row.try_get("batch")?,
        newest: row.try_get("newest")?,
        batch_id: unsigned(row.try_get::<Option<i64>, _>("batch_id")?.unwrap_or(0)),
        status: ChannelStatus::from_stored(row.try_get("status")?),
        facts: Facts {
            executed,
            withdraw_floor: executed.max(maybe("floor")?),
            final_deposits: maybe("final_deposits")?,
            credit_signed: Amount::ZERO,
            closing: false,
        },
    })
}

/// A stored number that a CHECK keeps from being negative.
fn unsigned<S, U: TryFrom<S> + Default>(stored: S) -> U {
    U::try_from(stored).unwrap_or_default()
}

/// One head that a batch moves on: what must be there, and what comes in its place.
#[derive(Debug, Clone, Copy)]
pub struct Advance {
    /// The head as the batch was computed from it.
    pub from: Head,
    /// The new state.
    pub to: State,
    /// Its hash.
    pub to_hash: Hash32,
    /// The newest operation of the account from now on.
    pub newest: Option<Uuid>,
}

/// One pass: a look-up by key and the update, for each row in the order of the arrays, which come
/// sorted. The settings of [`crate::store::POSTING`] leave the planner no other way; joined in any
/// other order, two replicas would wait for each other.
const ADVANCE: &str = "
    UPDATE account.heads h SET
        version = w.new_version, ack_version = w.new_ack, state_hash = w.new_hash,
        hub_balance = w.new_hub_balance, user_balance = w.new_user_balance,
        hub_locked = w.new_hub_locked, user_locked = w.new_user_locked,
        withdrawn = w.new_withdrawn, deposited = w.new_deposited, credited = w.new_credited,
        locks_hash = w.new_locks_hash, transfers_root = w.new_transfers_root, newest = w.new_newest, batch = $25
    FROM unnest($1::bytea[], $2::int[], $3::bigint[], $4::bytea[], $5::numeric[], $6::numeric[],
            $7::numeric[], $8::numeric[], $9::numeric[], $10::numeric[], $11::numeric[],
            $12::bigint[], $13::bigint[], $14::bytea[], $15::numeric[], $16::numeric[],
            $17::numeric[], $18::numeric[], $19::numeric[], $20::numeric[], $21::numeric[],
            $22::bytea[], $23::bytea[], $24::uuid[])
        AS w(channel_id, epoch, version, state_hash, hub_balance, user_balance,
            hub_locked, user_locked, withdrawn, deposited, credited,
            new_version, new_ack, new_hash, new_hub_balance, new_user_balance,
            new_hub_locked, new_user_locked, new_withdrawn, new_deposited, new_credited,
            new_locks_hash, new_transfers_root, new_newest)
    WHERE h.channel_id = w.channel_id AND h.status = 1 AND h.epoch = w.epoch
      AND h.version = w.version AND h.state_hash = w.state_hash
      AND h.hub_balance = w.hub_balance AND h.user_balance = w.user_balance
      AND h.hub_locked = w.hub_locked AND h.user_locked = w.user_locked
      AND h.withdrawn = w.withdrawn AND h.deposited = w.deposited AND h.credited = w.credited";

/// Moves heads on, where each row still is what the batch was computed from: version, every
/// balance, hash and status. `advances` are in channel id order, and so are the locks. Returns how many moved; any
/// number below the number asked for means the whole batch must be rolled back.
pub async fn advance(
    connection: &mut PgConnection,
    advances: &[Advance],
    batch: Uuid,
) -> sqlx::Result<u64> {
    columns!(advances, Advance { from: Head { state: from, state_hash, .. }, to, to_hash, newest } => {
        channels: PgChannelId(to.channel_id),
        epochs: from.epoch.cast_signed(),
        versions: from.version.cast_signed(),
        hashes: PgHash(*state_hash),
        hub_balances: PgAmount(from.hub_balance),
        user_balances: PgAmount(from.user_balance),
        hub_locked: PgAmount(from.hub_locked),
        user_locked: PgAmount(from.user_locked),
        withdrawn: PgAmount(from.withdrawn),
        deposited: PgAmount(from.deposited),
        credited: PgAmount(from.credited),
        new_versions: to.version.cast_signed(),
        new_acks: to.ack_version.cast_signed(),
        new_hashes: PgHash(*to_hash),
        new_hub_balances: PgAmount(to.hub_balance),
        new_user_balances: PgAmount(to.user_balance),
        new_hub_locked: PgAmount(to.hub_locked),
        new_user_locked: PgAmount(to.user_locked),
        new_withdrawn: PgAmount(to.withdrawn),
        new_deposited: PgAmount(to.deposited),
        new_credited: PgAmount(to.credited),
        new_locks_hashes: PgHash(to.locks_hash),
        new_transfers_roots: PgHash(to.transfers_root),
        new_newest: *newest,
    });
    let done = sqlx::query(ADVANCE)
        .bind(channels)
        .bind(epochs)
        .bind(versions)
        .bind(hashes)
        .bind(hub_balances)
        .bind(user_balances)
        .bind(hub_locked)
        .bind(user_locked)
        .bind(withdrawn)
        .bind(deposited)
        .bind(credited)
        .bind(new_versions)
        .bind(new_acks)
        .bind(new_hashes)
        .bind(new_hub_balances)
        .bind(new_user_balances)
        .bind(new_hub_locked)
        .bind(new_user_locked)
        .bind(new_withdrawn)
        .bind(new_deposited)
        .bind(new_credited)
        .bind(new_locks_hashes)
        .bind(new_transfers_roots)
        .bind(new_newest)
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// A head of a channel that a batch opens.
#[derive(Debug, Clone, Copy)]
pub struct NewHead {
    /// The account.
    pub account: Uuid,
    /// The first co-signed state.
    pub state: State,
    /// Its hash.
    pub state_hash: Hash32,
    /// The newest operation of the account.
    pub newest: Option<Uuid>,
}

const INSERT: &str = "
    INSERT INTO account.heads (channel_id, account_id, hub_id, status, epoch, version, ack_version,
        hub_balance, user_balance, hub_locked, user_locked, withdrawn, deposited, credited,
        locks_hash, transfers_root, state_hash, batch, newest)
    SELECT n.channel_id, n.account_id, $1, 1, 0, n.version, 0, n.hub_balance, 0, 0, 0, 0, 0, 0,
        $7, $7, n.state_hash, $2, n.newest
    FROM unnest($3::bytea[], $4::uuid[], $5::numeric[], $6::bytea[], $8::bigint[], $9::uuid[])
        AS n(channel_id, account_id, hub_balance, state_hash, version, newest)";

/// Inserts the heads of opened channels: everything is the hub's.
pub async fn insert(
    connection: &mut PgConnection,
    hub_id: Uuid,
    batch: Uuid,
    heads: &[NewHead],
) -> sqlx::Result<u64> {
    columns!(heads, head => {
        channels: PgChannelId(head.state.channel_id),
        accounts: head.account,
        balances: PgAmount(head.state.hub_balance),
        hashes: PgHash(head.state_hash),
        versions: head.state.version.cast_signed(),
        newest: head.newest,
    });
    let done = sqlx::query(INSERT)
        .bind(hub_id)
        .bind(batch)
        .bind(channels)
        .bind(accounts)
        .bind(balances)
        .bind(hashes)
        .bind(PgHash(Hash32::ZERO))
        .bind(versions)
        .bind(newest)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
