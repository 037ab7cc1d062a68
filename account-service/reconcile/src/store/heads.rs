//! `account.heads` with `account.accounts`: a row for each channel that either of them names.

use super::{channel, hash};
use futures_util::stream::BoxStream;
use hub_core::{Amount, ChannelId, ChannelParams, Hash32, State};
use runtime::pg::{PgAmount, PgParams};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// A channel as the account schema has it.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// The account that has it, if one does.
    pub account: Option<Account>,
    /// Its head, if there is one.
    pub head: Option<Head>,
}

/// What `account.accounts` says about a channel.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// Its hub.
    pub hub_id: Uuid,
    /// The channel's parameters, if what is stored is that.
    pub params: Option<ChannelParams>,
}

/// A head row.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The account it names.
    pub account_id: Uuid,
    /// The hub it names.
    pub hub_id: Uuid,
    /// Its columns as a state. Hashes of another length than 32 bytes read as zero: the row is
    /// then not the state that was signed.
    pub state: State,
    /// The hash it names; zero when it is none.
    pub state_hash: Hash32,
}

const ALL: &str = "
    SELECT coalesce(h.channel_id, a.channel_id) AS channel_id,
           a.id AS account, a.hub_id AS account_hub, a.params,
           h.account_id, h.hub_id, h.epoch, h.version, h.ack_version, h.hub_balance,
           h.user_balance, h.hub_locked, h.user_locked, h.withdrawn, h.deposited, h.credited,
           h.locks_hash, h.transfers_root, h.state_hash
    FROM account.heads h FULL JOIN account.accounts a ON a.channel_id = h.channel_id";

/// All channels.
pub fn all(connection: &mut PgConnection) -> BoxStream<'_, sqlx::Result<PgRow>> {
    sqlx::query(ALL).fetch(connection)
}

/// How many accounts there are.
pub async fn count_accounts(connection: &mut PgConnection) -> sqlx::Result<usize> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM account.accounts")
        .fetch_one(connection)
        .await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// A channel from a row of [`all`].
pub fn channel_of(row: &PgRow) -> sqlx::Result<Channel> {
    let account = row
        .try_get::<Option<Uuid>, _>("account")?
        .map(|id| -> sqlx::Result<Account> {
            let params = row.try_get::<PgParams, _>("params");
            Ok(Account {
                id,
                hub_id: row.try_get("account_hub")?,
                params: params.ok().map(|params| params.0),
            })
        })
        .transpose()?;
    let id = channel(row, "channel_id")?.unwrap_or_default();
    let head = row
        .try_get::<Option<Uuid>, _>("account_id")?
        .map(|account_id| head_of(row, id, account_id))
        .transpose()?;
    Ok(Channel { id, account, head })
}

fn head_of(row: &PgRow, channel_id: ChannelId, account_id: Uuid) -> sqlx::Result<Head> {
    let amount = |column| -> sqlx::Result<Amount> { Ok(row.try_get::<PgAmount, _>(column)?.0) };
    Ok(Head {
        account_id,
        hub_id: row.try_get("hub_id")?,
        state: State {
            channel_id,
            epoch: row.try_get::<i32, _>("epoch")?.cast_unsigned(),
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            ack_version: row.try_get::<i64, _>("ack_version")?.cast_unsigned(),
            hub_balance: amount("hub_balance")?,
            user_balance: amount("user_balance")?,
            hub_locked: amount("hub_locked")?,
            user_locked: amount("user_locked")?,
            withdrawn: amount("withdrawn")?,
            deposited: amount("deposited")?,
            credited: amount("credited")?,
            locks_hash: hash(row, "locks_hash")?.unwrap_or_default(),
            transfers_root: hash(row, "transfers_root")?.unwrap_or_default(),
        },
        state_hash: hash(row, "state_hash")?.unwrap_or_default(),
    })
}
