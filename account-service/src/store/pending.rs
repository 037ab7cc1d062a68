//! `account.operations`: issuances that wait for funding, and those that waited in vain.

use crate::engine::Refused;
use hub_core::Amount;
use runtime::pg::PgAmount;
use sqlx::types::Json;
use sqlx::{PgPool, Row};
use uuid::Uuid;

/// Issuances that wait for funding, oldest first behind `after`: id, account, amount. Those of
/// frozen accounts and of channels that are being closed are left out: they would stand before all
/// others, and take up headroom, until somebody unfreezes them or the settlement is final.
pub async fn waiting(
    pool: &PgPool,
    hub_id: Uuid,
    limit: i64,
    after: Uuid,
) -> sqlx::Result<Vec<(Uuid, Uuid, Amount)>> {
    let rows = sqlx::query(
        "SELECT o.id, o.payee, o.amount FROM account.operations o
         WHERE o.hub_id = $1 AND o.outcome = 3 AND o.payee IS NOT NULL AND o.id > $3
           AND NOT EXISTS (SELECT 1 FROM account.accounts a
                JOIN account.heads h ON h.channel_id = a.channel_id
                WHERE a.id = o.payee AND h.status IN (2, 4))
         ORDER BY o.id LIMIT $2",
    )
    .bind(hub_id)
    .bind(limit)
    .bind(after)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let amount: PgAmount = row.try_get("amount")?;
            Ok((row.try_get("id")?, row.try_get("payee")?, amount.0))
        })
        .collect()
}

/// Ends an issuance that can't be made, with the reason. One row, or none when it does not wait
/// any more.
pub async fn fail(pool: &PgPool, id: Uuid, why: &Refused) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "UPDATE account.operations
         SET outcome = 4, extra = coalesce(extra, '{}') || jsonb_build_object('failure', $2::jsonb)
         WHERE id = $1 AND outcome = 3",
    )
    .bind(id)
    .bind(Json(why))
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
