//! `account.hubs`: the terms of every hub this service was ever connected to.

use hub_client::Terms;
use sqlx::PgPool;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

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

/// Stores why nothing is signed any more. The first reason stays until an operator clears it.
pub async fn fence(pool: &PgPool, hub_id: Uuid, why: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE account.hubs SET fence = coalesce(fence, $2) WHERE hub_id = $1")
        .bind(hub_id)
        .bind(why)
        .execute(pool)
        .await
        .map(drop)
}

/// Hubs with the fence that is up for them.
pub async fn fences(pool: &PgPool) -> sqlx::Result<Vec<(Uuid, Option<String>)>> {
    sqlx::query_as("SELECT hub_id, fence FROM account.hubs ORDER BY hub_id")
        .fetch_all(pool)
        .await
}

/// Lifts the fence of a hub; whether there was one.
pub async fn lift_fence(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<bool> {
    let done =
        sqlx::query("UPDATE account.hubs SET fence = NULL WHERE hub_id = $1 AND fence IS NOT NULL")
            .bind(hub_id)
            .execute(pool)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Why nothing is signed, if so.
pub async fn read_fence(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT fence FROM account.hubs WHERE hub_id = $1")
        .bind(hub_id)
        .fetch_optional(pool)
        .await
        .map(Option::flatten)
}
