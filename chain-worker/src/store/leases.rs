//! `chain.leases`, `chain.deployment`: who may act, and for which contracts.

use hub_core::{Address, Domain};
use runtime::pg::PgAddress;
use sqlx::{PgConnection, PgExecutor};
use std::time::Duration;
use uuid::Uuid;

/// Takes or renews a lease. Returns the fencing token, or nothing while another one holds it.
pub async fn acquire(
    db: impl PgExecutor<'_>,
    name: &str,
    holder: Uuid,
    ttl: Duration,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "INSERT INTO chain.leases (name, holder, fence, expires_at)
         VALUES ($1, $2, 1, now() + make_interval(secs => $3))
         ON CONFLICT (name) DO UPDATE SET
            fence = leases.fence + CASE WHEN leases.holder = $2 THEN 0 ELSE 1 END,
            holder = $2, expires_at = now() + make_interval(secs => $3)
         WHERE leases.holder = $2 OR leases.expires_at < now()
         RETURNING fence",
    )
    .bind(name)
    .bind(holder)
    .bind(ttl.as_secs_f64())
    .fetch_optional(db)
    .await
}

/// Gives a lease up before its time, so that the next holder need not wait.
pub async fn release(db: impl PgExecutor<'_>, name: &str, holder: Uuid) -> sqlx::Result<()> {
    sqlx::query("UPDATE chain.leases SET expires_at = now() WHERE name = $1 AND holder = $2")
        .bind(name)
        .bind(holder)
        .execute(db)
        .await
        .map(drop)
}

/// Whether this token still counts. While the transaction lasts it does: who wants to take the
/// lease over waits for the row.
pub async fn hold(db: &mut PgConnection, name: &str, fence: i64) -> sqlx::Result<bool> {
    let row: Option<i32> =
        sqlx::query_scalar("SELECT 1 FROM chain.leases WHERE name = $1 AND fence = $2 FOR SHARE")
            .bind(name)
            .bind(fence)
            .fetch_optional(db)
            .await?;
    Ok(row.is_some())
}

/// Notes which contracts this schema is about; `false` when it is about others.
pub async fn claim_deployment(
    db: &mut PgConnection,
    domain: &Domain,
    token: Address,
) -> sqlx::Result<bool> {
    sqlx::query(
        "INSERT INTO chain.deployment (one, chain_id, token, channels) VALUES (true, $1, $2, $3)
         ON CONFLICT (one) DO NOTHING",
    )
    .bind(super::int(domain.chain_id))
    .bind(PgAddress(token))
    .bind(PgAddress(domain.verifying_contract))
    .execute(&mut *db)
    .await?;
    let known: (i64, PgAddress, PgAddress) =
        sqlx::query_as("SELECT chain_id, token, channels FROM chain.deployment")
            .fetch_one(db)
            .await?;
    let ours = (
        super::int(domain.chain_id),
        PgAddress(token),
        PgAddress(domain.verifying_contract),
    );
    Ok(known == ours)
}
