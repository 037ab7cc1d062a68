//! `account.api_keys`.

use hub_core::Hash32;
use runtime::pg::PgHash;
use sqlx::{PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// A key as stored.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub owner: Uuid,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Requests a minute, if limited.
    pub rate_limit: Option<u32>,
    /// When it ends.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was taken back.
    pub revoked_at: Option<OffsetDateTime>,
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub owner: Uuid,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Requests a minute, if limited.
    pub rate_limit: Option<u32>,
    /// When it ends.
    pub expires_at: Option<OffsetDateTime>,
    /// Now.
    pub created_at: OffsetDateTime,
}

/// Stores a key.
pub async fn insert(pool: &PgPool, new: &NewKey, secret_hash: Hash32) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO account.api_keys (id, owner, secret_hash, scopes, rate_limit, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new.id)
    .bind(new.owner)
    .bind(PgHash(secret_hash))
    .bind(&new.scopes)
    .bind(new.rate_limit.map(u32::cast_signed))
    .bind(new.created_at)
    .bind(new.expires_at)
    .execute(pool)
    .await
    .map(drop)
}

/// The key whose secret has this hash.
pub async fn by_hash(pool: &PgPool, secret_hash: Hash32) -> sqlx::Result<Option<ApiKey>> {
    let row = sqlx::query(
        "SELECT id, owner, scopes, rate_limit, expires_at, revoked_at
         FROM account.api_keys WHERE secret_hash = $1",
    )
    .bind(PgHash(secret_hash))
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        Ok(ApiKey {
            id: row.try_get("id")?,
            owner: row.try_get("owner")?,
            scopes: row.try_get("scopes")?,
            rate_limit: row
                .try_get::<Option<i32>, _>("rate_limit")?
                .map(i32::cast_unsigned),
            expires_at: row.try_get("expires_at")?,
            revoked_at: row.try_get("revoked_at")?,
        })
    })
    .transpose()
}

/// Takes a key back. Says whether it was there and in use.
pub async fn revoke(pool: &PgPool, id: Uuid, now: OffsetDateTime) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE account.api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
    )
    .bind(id)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes when keys were last used. Several replicas may say so in any order.
pub async fn touch(pool: &PgPool, used: &[(Uuid, OffsetDateTime)]) -> sqlx::Result<()> {
    let (ids, times): (Vec<_>, Vec<_>) = used.iter().copied().unzip();
    sqlx::query(
        "UPDATE account.api_keys k SET last_used_at = greatest(k.last_used_at, u.used_at)
         FROM unnest($1::uuid[], $2::timestamptz[]) AS u(id, used_at) WHERE k.id = u.id",
    )
    .bind(ids)
    .bind(times)
    .execute(pool)
    .await
    .map(drop)
}
