//! `account.heads` against the journal, and what the journal adds up to.

use super::copy::{Fields, there};
use super::{Differing, differing};
use hub_core::{Amount, ChannelId};
use sqlx::PgConnection;
use uuid::Uuid;

/// What the head of an account says that its operations add up to.
#[derive(Debug, Clone, Copy)]
pub struct Balance {
    /// The account's channel.
    pub channel: ChannelId,
    /// The account.
    pub account: Uuid,
    /// User balance and the user's locks.
    pub total: Amount,
    /// The version.
    pub version: i64,
    /// The newest operation.
    pub newest: Option<Uuid>,
}

/// The balances of all heads, as a constant to be copied.
pub const BALANCES: &str =
    "SELECT channel_id, account_id, user_balance + user_locked, version, newest FROM account.heads";

/// From a row of [`BALANCES`].
pub fn balance_of(fields: &mut Fields<'_>) -> sqlx::Result<Balance> {
    Ok(Balance {
        channel: fields
            .bytes()?
            .and_then(ChannelId::from_slice)
            .unwrap_or_default(),
        account: there(fields.uuid()?)?,
        total: there(fields.amount()?)?,
        version: there(fields.big()?)?,
        newest: fields.uuid()?,
    })
}

const LAST_ENTRIES: &str = "
    SELECT h.account_id::text AS key, concat('a newest operation of version ', h.version) AS expected,
           'none' AS found
    FROM account.heads h
    WHERE NOT EXISTS (
            SELECT 1 FROM account.operations o WHERE o.id = h.newest AND o.outcome = 1
              AND (o.payer = h.account_id AND o.payer_version = h.version
                OR o.payee = h.account_id AND o.payee_version = h.version))
      AND NOT EXISTS (
            SELECT 1 FROM account.carried c WHERE c.account = h.account_id AND c.version = h.version)
    ORDER BY h.account_id LIMIT $1";

/// Accounts whose newest operation is not of the version that the head has.
pub async fn without_last_entry(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<Differing>> {
    let rows = sqlx::query(LAST_ENTRIES)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(differing).collect()
}

/// What operations moved between a hub and its users, or users and the chain, in minor units.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Hub to users.
    pub issued: Amount,
    /// Users to hub.
    pub redeemed: Amount,
    /// Users to chain.
    pub withdrawn: Amount,
    /// Chain to users.
    pub deposited: Amount,
    /// Withdrawals given back.
    pub refunded: Amount,
    /// What left with settlements on chain.
    pub settled: Amount,
    /// What came in by batches that were lost and are back, and nobody can tell where from.
    pub gained: Amount,
    /// What went out by them.
    pub lost: Amount,
}
