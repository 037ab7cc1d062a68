//! `account.hubs`: the terms of every hub this service was ever connected to.

use hub_client::Terms;
use sqlx::PgPool;
use sqlx::types::Json;
use time::OffsetDateTime;

/// Notes a hub's terms as they are now.
pub async fn upsert(pool: &PgPool, terms: &Terms, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO account.hubs (hub_id, terms, connected_at) VALUES ($1, $2, $3)
         ON CONFLICT (hub_id) DO UPDATE SET terms = excluded.terms, connected_at = excluded.connected_at",
    )
    .bind(terms.hub_id)
    .bind(Json(terms))
    .bind(now)
    .execute(pool)
    .await
    .map(drop)
}
