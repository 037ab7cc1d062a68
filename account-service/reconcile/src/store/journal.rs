//! `account.operations`: sums by account and by hub, with what the dropped ones add up to.

use super::{Differing, channel, differing};
use futures_util::stream::BoxStream;
use hub_core::{Amount, ChannelId};
use runtime::pg::PgAmount;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// An account whose operations don't add up to its head, or don't reach as far.
#[derive(Debug, Clone)]
pub struct Balance {
    /// The account's channel.
    pub channel: ChannelId,
    /// The account.
    pub account: String,
    /// User balance and the user's locks of the head, with its version.
    pub head: String,
    /// The same by the journal.
    pub journal: String,
    /// The journal's sum, when it can be a balance.
    pub journal_total: Option<Amount>,
    /// Whether only the versions differ.
    pub same_total: bool,
}

const DIFFERING: &str = "
    SELECT h.channel_id, coalesce(h.account_id, j.account)::text AS account,
           h.user_balance + h.user_locked AS head_total, coalesce(j.net, 0) AS net,
           h.version AS head_version, j.version
    FROM account.heads h
    FULL JOIN (
        SELECT e.account, sum(e.amount) AS net, max(e.version) AS version
        FROM (
            SELECT payee AS account, amount, payee_version AS version
            FROM account.operations WHERE outcome = 1 AND payee IS NOT NULL
            UNION ALL
            SELECT payer, -amount, payer_version
            FROM account.operations WHERE outcome = 1 AND payer IS NOT NULL
            UNION ALL
            SELECT account, net, version FROM account.carried
        ) e
        GROUP BY e.account
    ) j ON j.account = h.account_id
    WHERE h.user_balance + h.user_locked IS DISTINCT FROM coalesce(j.net, 0)
       OR h.version IS DISTINCT FROM j.version";

/// Accounts whose head is not the sum of their operations.
pub fn differing_balances(connection: &mut PgConnection) -> BoxStream<'_, sqlx::Result<PgRow>> {
    sqlx::query(DIFFERING).fetch(connection)
}

/// From a row of [`differing_balances`].
pub fn balance_of(row: &PgRow) -> sqlx::Result<Balance> {
    let head_total: Option<PgAmount> = row.try_get("head_total")?;
    let head_version: Option<i64> = row.try_get("head_version")?;
    let version: Option<i64> = row.try_get("version")?;
    // A sum below zero is no amount.
    let net = row.try_get::<PgAmount, _>("net").ok().map(|net| net.0);
    let shown = |total: Option<Amount>, version: Option<i64>| {
        let total = total.map_or("less than nothing".to_owned(), |total| total.to_string());
        let version = version.map_or("none".to_owned(), |version| version.to_string());
        format!("total={total} version={version}")
    };
    Ok(Balance {
        channel: channel(row, "channel_id")?.unwrap_or_default(),
        account: row.try_get("account")?,
        head: head_total.map_or("no head".to_owned(), |total| {
            shown(Some(total.0), head_version)
        }),
        journal: shown(net, version),
        journal_total: net,
        same_total: head_total.is_some() && head_total.map(|total| total.0) == net,
    })
}

/// How many accounts have operations or a head.
pub async fn count_heads(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM account.heads")
        .fetch_one(connection)
        .await?;
    Ok(count.cast_unsigned())
}

const LAST_ENTRIES: &str = "
    SELECT h.account_id::text AS key, concat('an operation of version ', h.version, ' with balance ', h.user_balance) AS expected,
           'none' AS found
    FROM account.heads h
    WHERE NOT EXISTS (
            SELECT 1 FROM account.operations o WHERE o.payer = h.account_id AND o.outcome = 1
              AND o.payer_version = h.version AND o.payer_balance = h.user_balance)
      AND NOT EXISTS (
            SELECT 1 FROM account.operations o WHERE o.payee = h.account_id AND o.outcome = 1
              AND o.payee_version = h.version AND o.payee_balance = h.user_balance)
      AND NOT EXISTS (
            SELECT 1 FROM account.carried c WHERE c.account = h.account_id AND c.version = h.version)
    ORDER BY h.account_id LIMIT $1";

/// Accounts of which no operation has the balance that the head has.
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

/// The totals of each hub.
pub async fn totals(connection: &mut PgConnection) -> sqlx::Result<Vec<(Uuid, Totals)>> {
    let rows = sqlx::query(
        "SELECT hub_id,
                coalesce(sum(amount) FILTER (WHERE kind = 1), 0) AS issued,
                coalesce(sum(amount) FILTER (WHERE kind = 2), 0) AS redeemed,
                coalesce(sum(amount) FILTER (WHERE kind = 4), 0) AS withdrawn,
                coalesce(sum(amount) FILTER (WHERE kind = 5), 0) AS deposited,
                coalesce(sum(amount) FILTER (WHERE kind = 6), 0) AS refunded,
                coalesce(sum(amount) FILTER (WHERE kind = 8), 0) AS settled,
                coalesce(sum(amount) FILTER (WHERE kind = 9), 0) AS gained,
                coalesce(sum(amount) FILTER (WHERE kind = 10), 0) AS lost
         FROM (
            SELECT hub_id, kind, amount FROM account.operations WHERE outcome = 1
            UNION ALL
            SELECT hub_id, kind, amount FROM account.carried_totals
         ) o GROUP BY hub_id",
    )
    .fetch_all(connection)
    .await?;
    let amount = |row: &PgRow, column| row.try_get::<PgAmount, _>(column).map(|value| value.0);
    rows.iter()
        .map(|row| {
            let totals = Totals {
                issued: amount(row, "issued")?,
                redeemed: amount(row, "redeemed")?,
                withdrawn: amount(row, "withdrawn")?,
                deposited: amount(row, "deposited")?,
                refunded: amount(row, "refunded")?,
                settled: amount(row, "settled")?,
                gained: amount(row, "gained")?,
                lost: amount(row, "lost")?,
            };
            Ok((row.try_get("hub_id")?, totals))
        })
        .collect()
}
