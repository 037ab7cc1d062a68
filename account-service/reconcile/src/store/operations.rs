//! `account.operations` that moved something, in the order of their batches, with what the dropped
//! ones add up to.

use super::copy::{Fields, there};
use super::feed::{Groups, groups};
use futures_util::stream::BoxStream;
use hub_core::Amount;
use runtime::pg::{PgAmount, decode_numeric};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

/// An operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its id.
    pub id: Uuid,
    /// Its hub.
    pub hub_id: Uuid,
    /// Stored kind.
    pub kind: i16,
    /// How much.
    pub amount: Amount,
    /// The side of the payer.
    pub payer: Option<Side>,
    /// The side of the payee.
    pub payee: Option<Side>,
}

/// One side of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// The account.
    pub account: Uuid,
    /// Version of the state it is part of.
    pub version: Option<i64>,
    /// User balance after it.
    pub balance: Option<Amount>,
    /// Index of the state in the batch.
    pub leaf: Option<i32>,
    /// The account's operation before this one.
    pub previous: Option<Uuid>,
}

const BY_BATCH: &str = "
    SELECT batch, id, hub_id, kind, amount, payer, payer_version, payer_balance, payer_leaf, payer_previous,
           payee, payee_version, payee_balance, payee_leaf, payee_previous
    FROM account.operations WHERE outcome = 1 ORDER BY batch";

/// All of them.
pub fn by_batch(connection: PgConnection) -> Groups<Operation> {
    groups(connection, BY_BATCH, |fields| {
        let batch = fields.uuid()?;
        let operation = Operation {
            id: there(fields.uuid()?)?,
            hub_id: there(fields.uuid()?)?,
            kind: there(fields.small()?)?,
            amount: there(fields.amount()?)?,
            payer: side(fields)?,
            payee: side(fields)?,
        };
        Ok((batch, operation))
    })
}

fn side(fields: &mut Fields<'_>) -> sqlx::Result<Option<Side>> {
    let account = fields.uuid()?;
    let version = fields.big()?;
    // What is no amount is not the balance after it either, and is named as that.
    let balance = fields.bytes()?.and_then(|b| decode_numeric(b).ok());
    let leaf = fields.int()?;
    let previous = fields.uuid()?;
    Ok(account.map(|account| Side {
        account,
        version,
        balance,
        leaf,
        previous,
    }))
}

/// What the dropped operations of an account add up to, in minor units.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// The account.
    pub account: Uuid,
    /// What came in, less what went out.
    pub net: Amount,
    /// Whether more went out.
    pub is_negative: bool,
    /// The newest version they are part of.
    pub version: i64,
    /// Their ids, each exclusive-or'd with the one before it.
    pub thread: Uuid,
}

/// What was carried of each account.
pub fn carried(connection: &mut PgConnection) -> BoxStream<'_, sqlx::Result<PgRow>> {
    sqlx::query(
        "SELECT account, abs(net) AS net, net < 0 AS negative, version, thread FROM account.carried",
    )
    .fetch(connection)
}

/// From a row of [`carried`].
pub fn carried_of(row: &PgRow) -> sqlx::Result<Carried> {
    Ok(Carried {
        account: row.try_get("account")?,
        net: row.try_get::<PgAmount, _>("net")?.0,
        is_negative: row.try_get("negative")?,
        version: row.try_get("version")?,
        thread: row.try_get("thread")?,
    })
}

/// What the dropped operations of each hub and kind add up to.
pub async fn carried_totals(
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<((Uuid, i16), Amount)>> {
    let rows = sqlx::query("SELECT hub_id, kind, amount FROM account.carried_totals")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let key = (row.try_get("hub_id")?, row.try_get("kind")?);
            Ok((key, row.try_get::<PgAmount, _>("amount")?.0))
        })
        .collect()
}
