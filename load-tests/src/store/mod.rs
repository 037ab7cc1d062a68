//! What the benchmarks read from, and do to, their own system's database as its owner.

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Row as _};
use std::collections::BTreeMap;
use std::str::FromStr as _;
use uuid::Uuid;

/// Tables of a plain double-entry ledger.
const PEER_SCHEMA: &str = include_str!("../../peer/schema.sql");
/// Name of the peer's database.
pub const PEER_DATABASE: &str = "peer";

/// Settings of the server that say whether a commit is on disk when it is answered.
const DURABILITY: [&str; 5] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "server_version",
];

/// What decides about durability, as the server sees it.
pub async fn durability(pool: &PgPool) -> anyhow::Result<BTreeMap<String, String>> {
    let rows = sqlx::query("SELECT name, setting FROM pg_settings WHERE name = ANY($1)")
        .bind(DURABILITY.as_slice())
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Settings of roles or databases that differ from the server's, durability among them.
pub async fn overrides(pool: &PgPool) -> anyhow::Result<Vec<String>> {
    let lists: Vec<Vec<String>> =
        sqlx::query_scalar("SELECT setconfig FROM pg_db_role_setting WHERE setconfig IS NOT NULL")
            .fetch_all(pool)
            .await?;
    Ok(lists.concat())
}

/// Accounts of a hub that have money.
pub async fn funded_accounts(pool: &PgPool, hub: Uuid) -> anyhow::Result<Vec<Uuid>> {
    let rows = sqlx::query_scalar(
        "SELECT account_id FROM account.heads WHERE hub_id = $1 AND user_balance > 0 ORDER BY account_id",
    );
    Ok(rows.bind(hub).fetch_all(pool).await?)
}

/// Accounts of a hub without money.
pub async fn empty_accounts(pool: &PgPool, hub: Uuid) -> anyhow::Result<Vec<Uuid>> {
    let rows = sqlx::query_scalar(
        "SELECT account_id FROM account.heads WHERE hub_id = $1 AND user_balance = 0 ORDER BY account_id",
    );
    Ok(rows.bind(hub).fetch_all(pool).await?)
}

/// What a database holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Channels.
    pub channels: i64,
    /// Rows of the journal.
    pub operations: i64,
    /// Batches that both parties signed.
    pub batches: i64,
    /// Bytes on disk.
    pub bytes: i64,
}

/// Counts everything; reads whole tables.
pub async fn counts(pool: &PgPool) -> anyhow::Result<Counts> {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM account.heads), (SELECT count(*) FROM account.operations),
                (SELECT count(*) FROM account.batches WHERE fate = 1), pg_database_size(current_database())",
    )
    .fetch_one(pool)
    .await?;
    Ok(Counts {
        channels: row.try_get(0)?,
        operations: row.try_get(1)?,
        batches: row.try_get(2)?,
        bytes: row.try_get(3)?,
    })
}

/// How often each of these idempotency keys stands in the journal as done. A list of transfers
/// has keys of its own for its items; those are not asked for here. Looks at the rows of the last
/// two hours, by their ids, and not by way of the keys' own table: that has each key once by its
/// definition, and would hide a second effect.
pub async fn effects(pool: &PgPool, keys: &[String]) -> anyhow::Result<BTreeMap<String, i64>> {
    let rows = sqlx::query(
        "SELECT idem_key, count(*) FROM account.operations
         WHERE id >= account.first_id(now() - interval '2 hours')
           AND outcome = 1 AND idem_key = ANY($1) GROUP BY idem_key",
    )
    .bind(keys)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Money in all accounts, in minor units, as text.
pub async fn total(pool: &PgPool) -> anyhow::Result<String> {
    let sum = sqlx::query_scalar("SELECT coalesce(sum(user_balance), 0)::text FROM account.heads");
    Ok(sum.fetch_one(pool).await?)
}

/// Writes all dirty pages, so that each measurement begins with a log as short as the others'.
pub async fn checkpoint(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("CHECKPOINT").execute(pool).await?;
    Ok(())
}

/// Bytes and syncs of the server's log since its start.
pub async fn log_position(pool: &PgPool) -> anyhow::Result<(i64, i64)> {
    let row = sqlx::query("SELECT wal_bytes::bigint, wal_sync FROM pg_stat_wal");
    let row = row.fetch_one(pool).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Makes the peer's database with this many accounts.
pub async fn make_peer(url: &str, accounts: i64) -> anyhow::Result<()> {
    let options = PgConnectOptions::from_str(url).context("DATABASE_URL")?;
    let owner = PgPool::connect_with(options.clone()).await?;
    sqlx::query("DROP DATABASE IF EXISTS peer WITH (FORCE)")
        .execute(&owner)
        .await?;
    sqlx::query("CREATE DATABASE peer").execute(&owner).await?;
    owner.close().await;
    let pool = PgPool::connect_with(options.database(PEER_DATABASE)).await?;
    sqlx::raw_sql(PEER_SCHEMA).execute(&pool).await?;
    sqlx::query("INSERT INTO accounts SELECT n, 1000000000 FROM generate_series(1, $1) n")
        .bind(accounts)
        .execute(&pool)
        .await?;
    sqlx::query("VACUUM ANALYZE accounts")
        .execute(&pool)
        .await?;
    pool.close().await;
    Ok(())
}
