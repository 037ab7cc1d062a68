//! Parameters of channels as they are stored.

use crate::harness::{migrate, testbed};
use hub_core::{Address, Amount, ChannelParams, Hash32};
use runtime::pg::PgParams;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

fn params() -> Vec<ChannelParams> {
    let usual = ChannelParams {
        hub: Address([0xa1; 20]),
        hub_signer: Address([0xb2; 20]),
        user: Address([0xc3; 20]),
        user_signer: Address([0x0d; 20]),
        custodial: true,
        capacity: Amount::new(10_u128.pow(28)),
        challenge_period: 86_400,
        self_delay: 60,
        penalty_cap: Amount::new(10_u128.pow(22)),
        bounty_bps: 500,
        salt: Hash32([0xee; 32]),
    };
    let least = ChannelParams {
        custodial: false,
        capacity: Amount::new(1),
        challenge_period: 0,
        self_delay: 0,
        penalty_cap: Amount::ZERO,
        bounty_bps: 0,
        salt: Hash32::ZERO,
        ..usual
    };
    let most = ChannelParams {
        capacity: Amount::MAX_BALANCE,
        challenge_period: u32::MAX,
        self_delay: u32::MAX,
        penalty_cap: Amount::new(u128::from(u64::MAX) << 32),
        bounty_bps: u16::MAX,
        ..usual
    };
    vec![usual, least, most]
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_were_kept_as_json_are_the_same_as_bytes_in_every_schema() {
    const AS_BYTES: i64 = 12;
    // The roles belong to all databases of the server.
    drop(testbed().await);
    let bed = stack::bare_testbed().await.unwrap();
    let owner = PgPool::connect(&bed.database_url).await.unwrap();
    migrate(&owner, 1..=AS_BYTES - 1).await;
    for (n, params) in (1_u8..).zip(params()) {
        for table in [
            "INSERT INTO account.accounts (id, owner, hub_id, asset, status, channel_id, params,
                metadata, version, created_at)
             VALUES ($3, $3, $3, 'INF', 1, $1, $2, '{}', 1, now())",
            "INSERT INTO hub.channels (channel_id, params, hub_id, opened_batch, created_at)
             VALUES ($1, $2, $3, 1, now())",
            "INSERT INTO chain.channels (channel_id, params, hub)
             VALUES ($1, $2, substring(uuid_send($3) || uuid_send($3) FOR 20))",
        ] {
            let row = sqlx::query(table).bind(vec![n; 32]).bind(Json(params));
            let row = row.bind(Uuid::from_bytes([n; 16]));
            row.execute(&owner).await.unwrap();
        }
    }
    migrate(&owner, AS_BYTES..=AS_BYTES).await;
    for table in [
        "SELECT params FROM account.accounts ORDER BY channel_id",
        "SELECT params FROM hub.channels ORDER BY channel_id",
        "SELECT params FROM chain.channels ORDER BY channel_id",
    ] {
        let rows: Vec<PgParams> = sqlx::query_scalar(table).fetch_all(&owner).await.unwrap();
        let found: Vec<_> = rows.into_iter().map(|row| row.0).collect();
        assert_eq!(found, params(), "{table}");
    }
    owner.close().await;
}
