//! `account.hubs` and what the chain says about them.

use hub_client::Terms;
use sqlx::types::Json;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;

/// A hub this service works with.
#[derive(Debug, Clone)]
pub struct Hub {
    /// What its channels are opened with.
    pub terms: Terms,
    /// When it was last connected to.
    pub connected_at: OffsetDateTime,
    /// The newest final block, once known.
    pub final_block: Option<u64>,
}

/// All hubs, oldest first.
pub async fn list(pool: &PgPool) -> sqlx::Result<Vec<Hub>> {
    let rows = sqlx::query(
        "SELECT h.terms, h.connected_at, m.final_block
         FROM account.hubs h LEFT JOIN account.chain_marks m ON m.hub_id = h.hub_id
         ORDER BY h.hub_id",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Hub {
                terms: row.try_get::<Json<Terms>, _>("terms")?.0,
                connected_at: row.try_get("connected_at")?,
                final_block: row
                    .try_get::<Option<i64>, _>("final_block")?
                    .map(i64::cast_unsigned),
            })
        })
        .collect()
}
