//! The statements that callers wait for look up what they need in a journal of several weeks, and
//! read no big table from end to end.

use crate::harness::testbed;
use account_service::engine::{Kind, Route};
use account_service::store::accounts::Lookup;
use account_service::store::journal::KeyId;
use account_service::store::operations_read::{By, LineFilter};
use account_service::store::{
    self, accounts, batches_read, deposits_read, heads, import, journal, operations_read, pending,
    tower, withdrawals_read,
};
use hub_core::encoding::encode_states;
use hub_core::{Amount, ChannelId, State};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use std::collections::BTreeMap;
use std::time::Instant;
use time::OffsetDateTime;
use uuid::Uuid;

const HUB: Uuid = Uuid::from_u128(1);
const OWNER: Uuid = Uuid::from_u128(2);
/// Weeks with rows, operations in each, operations of a batch.
const WEEKS: i32 = 4;
const ROWS: i32 = 6_000;
const IN_BATCH: i32 = 4;
/// Each has as many operations as any other.
const ACCOUNTS: i32 = 300;
/// Bytes on disk that account-service keeps of a transfer with a reference: its row and its places in
/// the indexes, its two keys, two states, and its share of a batch's row, here of only four transfers.
const BYTES: i64 = 1_300;

fn account(n: u128) -> Uuid {
    Uuid::from_u128((0x7000_8000 << 32) | n)
}

fn channel(n: u128) -> ChannelId {
    let mut id = [0; 32];
    id[16..].copy_from_slice(&n.to_be_bytes());
    ChannelId(id)
}

/// Weeks of business, as the services would have left them behind.
async fn grow(owner: &PgPool) {
    let state = State::null(channel(1), 0, Amount::new(1_000));
    let states = vec![&state; usize::try_from(2 * IN_BATCH).unwrap()];
    let states = hex::encode(encode_states(states));
    let sql = format!(
        "CREATE FUNCTION id_at(at timestamptz, n int) RETURNS uuid LANGUAGE sql AS $$
            SELECT (left(account.first_id(at)::text, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
         DO $$
         DECLARE monday timestamptz := date_trunc('week', now(), 'UTC') - {WEEKS} * interval '7 days';
         BEGIN
            FOR week IN 1 .. {WEEKS} - 1 LOOP
                monday := monday + interval '7 days';
                PERFORM account.make_week('operations', monday), account.make_week('batch_states', monday);
            END LOOP;
         END $$;
         INSERT INTO account.hubs (hub_id, terms, connected_at) VALUES ('{HUB}', '{{}}', now());
         INSERT INTO account.accounts (id, owner, hub_id, asset, status, channel_id, params, metadata, version, created_at)
         SELECT ('00000000-0000-0000-7000-8000' || lpad(to_hex(n), 8, '0'))::uuid, '{OWNER}', '{HUB}', 'INF', 1,
            decode(lpad(to_hex(n), 64, '0'), 'hex'), decode(repeat('00', 149), 'hex'), '{{}}', 1, now()
         FROM generate_series(1, {ACCOUNTS}) n;
         INSERT INTO account.heads (channel_id, account_id, hub_id, status, epoch, version, ack_version, hub_balance,
            user_balance, hub_locked, user_locked, withdrawn, deposited, credited, locks_hash, transfers_root, state_hash, batch)
         SELECT channel_id, id, hub_id, 1, 0, 1, 0, 1000, 0, 0, 0, 0, 0, 0, decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), '{HUB}' FROM account.accounts;
         CREATE TABLE moves AS
         SELECT n, week, date_trunc('week', now(), 'UTC') - (week * interval '7 days') + n * interval '1 second' AS at,
            ({WEEKS} - week) * {ROWS} + n AS serial
         FROM generate_series(0, {WEEKS} - 1) week, generate_series(1, {ROWS}) n;
         INSERT INTO account.batches (hub_id, batch_id, id, fate, handed, root, prev_root, depth, hub_signature,
            user_signature, created_at)
         SELECT '{HUB}', serial / {IN_BATCH}, id_at(at, serial), 1, true, decode(repeat('00', 32), 'hex'),
            decode(repeat('00', 32), 'hex'), 1, decode(repeat('00', 64) || '1b', 'hex'),
            decode(repeat('00', 64) || '1b', 'hex'), at
         FROM moves WHERE n % {IN_BATCH} = 0;
         INSERT INTO account.batch_states (id, states)
         SELECT id_at(at, serial), '\\x{states}' FROM moves WHERE n % {IN_BATCH} = 0;
         INSERT INTO account.operations (id, hub_id, kind, outcome, owner, route, idem_key, request_hash, payer, payee,
            amount, payer_version, payee_version, payer_balance, payee_balance, payer_leaf, payee_leaf, batch,
            client_ref, created_at)
         SELECT id_at(at, serial), '{HUB}', 3, 1, '{OWNER}', 4, 'key-' || serial, decode(repeat('00', 32), 'hex'),
            ('00000000-0000-0000-7000-8000' || lpad(to_hex(serial % {ACCOUNTS} + 1), 8, '0'))::uuid,
            ('00000000-0000-0000-7000-8000' || lpad(to_hex((serial + 7) % {ACCOUNTS} + 1), 8, '0'))::uuid,
            1, serial, serial, 1, 1, 0, 1, id_at(at + ({IN_BATCH} - n % {IN_BATCH}) % {IN_BATCH} * interval '1 second',
                serial + ({IN_BATCH} - n % {IN_BATCH}) % {IN_BATCH}), 'ref-' || serial, at
         FROM moves;
         INSERT INTO account.operation_keys (key, operation)
         SELECT encode(substring(sha256(uuid_send(owner) || int2send(route) || convert_to(idem_key, 'UTF8')) FOR 16), 'hex')::uuid, id
         FROM account.operations;
         INSERT INTO account.kept_leaves (batch, leaf, state, path)
         SELECT id_at(now() - interval '1 year', n), 0, decode(repeat('ab', 214), 'hex'), decode(repeat('cd', 192), 'hex')
         FROM generate_series(1, {ROWS}) n;
         DROP TABLE moves;
         CREATE TABLE threads AS
         SELECT id, account, debit, lag(id) OVER w AS previous, lead(id) OVER w IS NULL AS newest
         FROM (SELECT id, payer AS account, payer_version AS version, true AS debit FROM account.operations
               UNION ALL SELECT id, payee, payee_version, false FROM account.operations) s
         WINDOW w AS (PARTITION BY account ORDER BY version, id);
         UPDATE account.operations o SET payer_previous = t.previous FROM threads t WHERE t.id = o.id AND debit;
         UPDATE account.operations o SET payee_previous = t.previous FROM threads t WHERE t.id = o.id AND NOT debit;
         UPDATE account.heads h SET newest = t.id FROM threads t WHERE t.account = h.account_id AND t.newest;
         DROP TABLE threads;
         CREATE TABLE threaded AS SELECT * FROM account.operations;
         TRUNCATE account.operations;
         INSERT INTO account.operations SELECT * FROM threaded ORDER BY id;
         DROP TABLE threaded;
         ANALYZE"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(owner)
        .await
        .unwrap();
}

/// Sequential scans and index scans of each table that is big: an empty week costs nothing to read.
async fn scans(owner: &PgPool) -> BTreeMap<String, (i64, i64)> {
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(owner)
        .await
        .unwrap();
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT s.relname::text, s.seq_scan, coalesce(s.idx_scan, 0)
         FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
         WHERE s.schemaname = 'account' AND c.reltuples > 5000
           AND (s.relname ~ '^operations_\\d' OR s.relname IN ('operation_keys', 'batches', 'kept_leaves'))
            OR s.schemaname = 'account' AND c.reltuples > 1000 AND s.relname ~ '^batch_states_\\d'",
    )
    .fetch_all(owner)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(name, seq, idx)| (name, (seq, idx)))
        .collect()
}

/// A connection tells the server's statistics what it read when it ends.
async fn until_alone(owner: &PgPool) {
    let begun = Instant::now();
    loop {
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'chub_account'",
        )
        .fetch_one(owner)
        .await
        .unwrap();
        if others == 0 {
            return;
        }
        assert!(begun.elapsed().as_secs() < 30, "{others} connections stay");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// An operation in the middle of the week before this one.
async fn some_operation(owner: &PgPool) -> (Uuid, i32) {
    let serial = (WEEKS - 1) * ROWS + ROWS / 2;
    let id = sqlx::query_scalar("SELECT id FROM account.operations WHERE idem_key = $1")
        .bind(format!("key-{serial}"))
        .fetch_one(owner)
        .await
        .unwrap();
    (id, serial)
}

/// What callers wait for, each at least once; every answer has something in it.
async fn read_everything(pool: &PgPool, id: Uuid, serial: i32) {
    let who = account(u128::from((serial % ACCOUNTS + 1).unsigned_abs()));
    let filter = LineFilter {
        account: who,
        kind: None,
        from: None,
        to: None,
        before: None,
        limit: 21,
    };
    assert_eq!(
        operations_read::lines(pool, &filter).await.unwrap().len(),
        21
    );
    let version = u64::from(serial.unsigned_abs());
    let states = batches_read::states(pool, who, version, 1).await.unwrap();
    assert_eq!(states.len(), 1);
    let last_week = OffsetDateTime::now_utc() - time::Duration::weeks(1);
    assert!(
        batches_read::state_at(pool, who, last_week)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        batches_read::proved(pool, states[0].batch, &states[0].state)
            .await
            .unwrap()
            .is_some()
    );
    let client_ref = format!("ref-{serial}");
    for by in [By::Id(id), By::ClientRef(&client_ref)] {
        let found = operations_read::get(pool, Kind::Transfer, Some(OWNER), by)
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
    }
    let key = KeyId::new(OWNER, Route::Transfers, &format!("key-{serial}"));
    assert_eq!(journal::find_keys(pool, &[key]).await.unwrap().len(), 1);
    assert_eq!(
        operations_read::request_hashes(pool, &[key])
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(
        pending::waiting(pool, HUB, 100, Uuid::nil())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        journal::still_pending(pool, &[id])
            .await
            .unwrap()
            .is_empty()
    );
    let of_account = withdrawals_read::Filter {
        account: Some(who),
        limit: 21,
        ..withdrawals_read::Filter::default()
    };
    assert!(
        withdrawals_read::list(pool, &of_account)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        deposits_read::pending_at(pool, who, last_week)
            .await
            .unwrap()
            .is_zero()
    );
    let batch = u64::from((serial / IN_BATCH).unsigned_abs());
    let now = OffsetDateTime::now_utc();
    let page = tower::page(pool, HUB, batch, 16, now).await.unwrap();
    assert_eq!(page.committed.len(), 16);
    let committed = import::committed(pool, HUB, batch, 16).await.unwrap();
    assert_eq!(committed.len(), 16);
    let mut connection = pool.acquire().await.unwrap();
    let head = heads::load(&mut connection, &[channel(1)]).await;
    assert_eq!(head.unwrap().len(), 1);
    let wanted = Lookup {
        id: who,
        owner: None,
    };
    let locked = accounts::lock(&mut connection, wanted).await.unwrap();
    assert!(locked.is_some_and(|account| account.empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_big_table_is_read_from_end_to_end_and_a_look_up_by_id_touches_one_week() {
    let bed = testbed().await;
    // One connection, so that what it has read itself can be counted before the others' work.
    let owner = PgPoolOptions::new().max_connections(1);
    let owner = owner.connect(&bed.database_url).await.unwrap();
    grow(&owner).await;
    let now = OffsetDateTime::now_utc();
    let figures = store::retention::figures(&owner, now).await.unwrap();
    let kept =
        figures.journal_bytes + figures.key_bytes + figures.state_bytes + figures.batch_bytes;
    let each = kept / i64::from(WEEKS * ROWS);
    println!("bytes of a transfer: {each}, {figures:?}");
    assert!((1_000..BYTES).contains(&each), "{each}: {figures:?}");
    let (id, serial) = some_operation(&owner).await;
    let week: String = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE oid = (SELECT tableoid FROM account.operations WHERE id = $1)",
    )
    .bind(id)
    .fetch_one(&owner)
    .await
    .unwrap();
    let states_week = week.replace("operations", "batch_states");
    let url = bed.role_url("chub_account");
    for settings in [&[][..], &store::POSTING] {
        let before = scans(&owner).await;
        let pool = runtime::pg::connect_with(&url, 1, settings).await.unwrap();
        // Often enough that the server would go over to a plan for any value, if it liked one.
        for _ in 0..8 {
            read_everything(&pool, id, serial).await;
        }
        pool.close().await;
        until_alone(&owner).await;
        let after = scans(&owner).await;
        assert_eq!(
            after.len(),
            2 * usize::try_from(WEEKS).unwrap() + 3,
            "{after:?}"
        );
        for (table, (seq, _)) in &after {
            assert_eq!(*seq, before[table].0, "{table} was read from end to end");
        }
        for week in [&week, &states_week] {
            assert!(after[week].1 > before[week].1, "{week} was looked up");
        }
    }
    // By its key and by its id: of all weeks only its own is looked at.
    let before = scans(&owner).await;
    let pool = runtime::pg::connect(&url, 1).await.unwrap();
    let key = KeyId::new(OWNER, Route::Transfers, &format!("key-{serial}"));
    for _ in 0..8 {
        journal::find_keys(&pool, &[key]).await.unwrap();
        let found = operations_read::get(&pool, Kind::Transfer, None, By::Id(id)).await;
        assert_eq!(found.unwrap().len(), 1);
    }
    pool.close().await;
    until_alone(&owner).await;
    let after = scans(&owner).await;
    for (table, (_, idx)) in &after {
        let looked_at = *idx > before[table].1;
        let expected = [&week, &states_week, "operation_keys"].contains(&table.as_str());
        assert_eq!(looked_at, expected, "{table}");
    }
    // A state by its account and version: its week of states alone, and no kept leaf for the proof.
    let before = after;
    let pool = runtime::pg::connect(&url, 1).await.unwrap();
    let who = account(u128::from((serial % ACCOUNTS + 1).unsigned_abs()));
    let version = u64::from(serial.unsigned_abs());
    for _ in 0..8 {
        let states = batches_read::states(&pool, who, version, 1).await.unwrap();
        let proved = batches_read::proved(&pool, states[0].batch, &states[0].state).await;
        assert_eq!(proved.unwrap().unwrap().siblings.len(), 3);
    }
    pool.close().await;
    until_alone(&owner).await;
    let after = scans(&owner).await;
    let states = after
        .iter()
        .filter(|(table, _)| table.starts_with("batch_states_"));
    for (table, (_, idx)) in states {
        let looked_at = *idx > before[table].1;
        assert_eq!(looked_at, *table == states_week, "{table}");
    }
    owner.close().await;
}
