//! What never changes about an account: the part of `account.accounts` the engine works with.

use crate::engine::NewAccount;
use hub_core::{Address, ChannelId, ChannelParams};
use runtime::pg::{PgAddress, PgChannelId, PgParams};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// An account as far as it never changes.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// Owner of the API keys that may use it.
    pub owner: Uuid,
    /// Its hub.
    pub hub_id: Uuid,
    /// Its asset.
    pub asset: String,
    /// Its channel.
    pub channel: ChannelId,
    /// Its channel's parameters.
    pub params: ChannelParams,
    /// Where payouts go unless an order names another address.
    pub chain_address: Option<Address>,
}

/// Reads accounts by id; unknown ones are left out.
pub async fn load(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Account>> {
    let rows = sqlx::query(
        "SELECT id, owner, hub_id, asset, channel_id, params, chain_address
         FROM account.accounts WHERE id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Account {
                id: row.try_get("id")?,
                owner: row.try_get("owner")?,
                hub_id: row.try_get("hub_id")?,
                asset: row.try_get("asset")?,
                channel: row.try_get::<PgChannelId, _>("channel_id")?.0,
                params: row.try_get::<PgParams, _>("params")?.0,
                chain_address: row
                    .try_get::<Option<PgAddress>, _>("chain_address")?
                    .map(|address| address.0),
            })
        })
        .collect()
}

/// Inserts opened accounts.
pub async fn insert(
    connection: &mut PgConnection,
    accounts: &[(&Account, &NewAccount)],
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let ids: Vec<_> = accounts.iter().map(|(a, _)| a.id).collect();
    let owners: Vec<_> = accounts.iter().map(|(a, _)| a.owner).collect();
    let hubs: Vec<_> = accounts.iter().map(|(a, _)| a.hub_id).collect();
    let external: Vec<_> = accounts
        .iter()
        .map(|(_, n)| n.external_id.clone())
        .collect();
    let assets: Vec<_> = accounts.iter().map(|(a, _)| a.asset.clone()).collect();
    let addresses: Vec<_> = accounts
        .iter()
        .map(|(a, _)| a.chain_address.map(PgAddress))
        .collect();
    let channels: Vec<_> = accounts
        .iter()
        .map(|(a, _)| PgChannelId(a.channel))
        .collect();
    let params: Vec<_> = accounts.iter().map(|(a, _)| PgParams(a.params)).collect();
    let metadata: Vec<_> = accounts.iter().map(|(_, n)| Json(&n.metadata)).collect();
    let done = sqlx::query(
        "INSERT INTO account.accounts (id, owner, hub_id, external_id, asset, status, chain_address,
            channel_id, params, metadata, version, created_at)
         SELECT n.id, n.owner, n.hub_id, n.external_id, n.asset, 1, n.chain_address,
            n.channel_id, n.params, n.metadata, 1, $10
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bytea[],
            $7::bytea[], $8::bytea[], $9::jsonb[])
            AS n(id, owner, hub_id, external_id, asset, chain_address, channel_id, params, metadata)",
    )
    .bind(ids)
    .bind(owners)
    .bind(hubs)
    .bind(external)
    .bind(assets)
    .bind(addresses)
    .bind(channels)
    .bind(params)
    .bind(metadata)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Which of these (owner, external id) pairs are taken.
pub async fn taken_external_ids(
    pool: &PgPool,
    owners: &[Uuid],
    external_ids: &[&str],
) -> sqlx::Result<Vec<(Uuid, String)>> {
    sqlx::query_as(
        "SELECT a.owner, a.external_id FROM account.accounts a
         JOIN unnest($1::uuid[], $2::text[]) AS w(owner, external_id)
            ON a.owner = w.owner AND a.external_id = w.external_id",
    )
    .bind(owners)
    .bind(external_ids)
    .fetch_all(pool)
    .await
}
