//! What is old is given up, and nothing that is still needed: before and after, the same questions
//! get the same answers.

use crate::harness::{Answer, Hub, Server, testbed, transfer};
use account_service::retention::{Keep, Retention, RetentionMetrics};
use account_service::store::retention::{self, Step, Week};
use account_service::store::tower;
use hub_core::ChannelId;
use hub_core::encoding::decode_states;
use reqwest::Method;
use runtime::telemetry::{Build, Metrics};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeMap;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How old the old rows are, in days.
const AGE: i64 = 70;

pub fn keep(keys: Option<u16>, journal: Option<u16>) -> Keep {
    Keep {
        keep_keys_days: keys,
        keep_journal_days: journal,
        archive_journal: false,
    }
}

pub async fn round(pool: &PgPool, keep: Keep) {
    let metrics = Metrics::new(&Build::new("account-service", "test")).unwrap();
    let metrics = RetentionMetrics::register(&metrics).unwrap();
    let mut retention = Retention::new(pool.clone(), keep, metrics);
    retention.round(OffsetDateTime::now_utc()).await.unwrap();
}

/// Makes everything posted so far [`AGE`] days old, in the partitions that it would then lie in.
pub async fn age(server: &Server) {
    let owner = PgPool::connect(&server.bed.database_url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "DO $$
         DECLARE monday timestamptz := date_trunc('week', now() - interval '{AGE} days', 'UTC') - interval '14 days';
         BEGIN
            WHILE monday < date_trunc('week', now(), 'UTC') LOOP
                PERFORM account.make_week('operations', monday), account.make_week('batch_states', monday);
                monday := monday + interval '7 days';
            END LOOP;
         END $$;
         CREATE FUNCTION older(id uuid) RETURNS uuid LANGUAGE sql AS $$
            SELECT (lpad(to_hex(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint - {AGE}::bigint * 86400000), 12, '0')
                || substr(replace(id::text, '-', ''), 13))::uuid $$;
         UPDATE account.operations SET id = older(id), batch = older(batch), payer_previous = older(payer_previous),
            payee_previous = older(payee_previous), created_at = created_at - interval '{AGE} days';
         UPDATE account.operation_keys SET operation = older(operation);
         UPDATE account.batches SET id = older(id), created_at = created_at - interval '{AGE} days', handed = true;
         UPDATE account.batch_states SET id = older(id);
         UPDATE account.heads SET batch = older(batch), newest = older(newest);
         UPDATE account.carried c SET batch = older(batch), thread = account.bits_id((
            SELECT bit_xor(account.id_bits(id)) FROM (
                SELECT newest AS id FROM account.heads h WHERE h.account_id = c.account
                UNION ALL SELECT id FROM account.operations o WHERE c.account IN (o.payer, o.payee) AND outcome = 1
                UNION ALL SELECT payer_previous FROM account.operations o WHERE o.payer = c.account AND outcome = 1
                UNION ALL SELECT payee_previous FROM account.operations o WHERE o.payee = c.account AND outcome = 1
            ) i));
         UPDATE account.kept_leaves SET batch = older(batch);
         UPDATE account.retention SET keys_from = older(keys_from), journal_from = older(journal_from),
            whole_from = older(whole_from), states_from = older(states_from), copied_to = older(copied_to)
         WHERE states_from > '01000000-0000-0000-0000-000000000000';
         UPDATE hub.journal SET created_at = created_at - interval '{AGE} days';
         DROP FUNCTION older;"
    )))
    .execute(&owner)
    .await
    .unwrap();
    owner.close().await;
}

pub async fn send(server: &Server, key: &str, body: &Value) -> Answer {
    let request = server.request(Method::POST, "/v1/transfers");
    server
        .send(request.header("Idempotency-Key", key).json(body))
        .await
}

pub fn at(days: i64) -> String {
    let at = OffsetDateTime::now_utc() - Duration::days(days);
    at.format(&Rfc3339).unwrap()
}

/// The channel of an account.
pub async fn channel(server: &Server, account: &str) -> ChannelId {
    crate::chain::channel(server, account).await
}

/// What callers see of an account that may not change by giving up what is old.
pub async fn view(server: &Server, account: &str) -> Value {
    let get = async |path: String| server.get(&path).await.ok(200);
    let channel = channel(server, account).await;
    let mut between = get(format!("/v1/accounts/{account}/balances?at={}", at(35))).await;
    between["as_of"] = Value::Null;
    json!({
        "account": get(format!("/v1/accounts/{account}")).await,
        "between": between,
        "latest": get(format!("/v1/channels/{channel}/states/latest")).await,
        "proof": get(format!("/v1/channels/{channel}/states/latest/proof")).await,
        "entries": get(format!("/v1/accounts/{account}/entries?from={}", at(1))).await,
    })
}

/// The newest state of every channel that a watchtower copies when it begins anew, and up to which
/// batch it asks account-service alone: what comes later it asks the hub for as well.
pub async fn copies(pool: &PgPool, hub: &Hub) -> (BTreeMap<ChannelId, u64>, u64) {
    let mut newest = BTreeMap::new();
    let mut note = |states: Vec<hub_core::State>| {
        for state in states {
            let known = newest.entry(state.channel_id).or_default();
            *known = state.version.max(*known);
        }
    };
    let now = OffsetDateTime::now_utc() + Duration::hours(1);
    let page = tower::page(pool, hub.serve.hub_id, 0, 1_000, now)
        .await
        .unwrap();
    assert!(!page.more);
    for batch in page.committed {
        note(decode_states(&batch.states).unwrap());
    }
    let (client, address) = (hub.client(), hub_core::Address([9; 20]));
    let mut after = page.next;
    loop {
        let shown = client.attestations(address, after).await.unwrap();
        for batch in &shown.batches {
            note(batch.states().unwrap());
        }
        if !shown.more {
            return (newest, page.next);
        }
        after = shown.last;
    }
}

pub async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

pub const ERASED: &str = "SELECT count(*) FROM account.batches b WHERE b.fate = 1
    AND NOT EXISTS (SELECT 1 FROM account.batch_states s WHERE s.id = b.id)";

/// Two accounts with a past, of which the first alone moves now; and the answers of old requests.
pub struct Scene {
    pub server: Server,
    pub hub: Hub,
    pub active: String,
    pub dormant: String,
    pub other: String,
    old: Value,
}

impl Scene {
    pub async fn new() -> Self {
        let bed = testbed().await;
        let hub = Hub::start(&bed).await;
        let server = Server::on_hub(bed, &hub, |_| {}).await;
        let active = server.account(&server.admin, "1000").await;
        let dormant = server.account(&server.admin, "1000").await;
        let other = server.account(&server.admin, "1000").await;
        let mut body = transfer(&dormant, &active, "10");
        body["client_ref"] = "once".into();
        let old = send(&server, "old", &body).await.ok(201);
        for _ in 0..3 {
            server
                .post("/v1/transfers", &transfer(&active, &other, "1"))
                .await
                .ok(201);
        }
        let mut scene = Self {
            server,
            hub,
            active,
            dormant,
            other,
            old,
        };
        scene.age().await;
        scene
    }

    /// Lets [`AGE`] days go by; a new process goes on.
    pub async fn age(&mut self) {
        self.server.finish().await;
        age(&self.server).await;
        let mut again = self.server.replica(&self.hub).await;
        // The first one has the database.
        std::mem::swap(&mut self.server.bed, &mut again.bed);
        // Keys and references are their owner's.
        again.admin = self.server.admin.clone();
        again.until_ready().await;
        self.server = again;
    }

    pub fn pool(&self) -> &PgPool {
        &self.server.pool
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_needed_is_the_same_after_old_rows_are_given_up() {
    let scene = Scene::new().await;
    let (server, pool) = (&scene.server, scene.pool());
    let recent = transfer(&scene.active, &scene.other, "5");
    let kept = send(server, "recent", &recent).await.ok(201);
    let accounts = [&scene.active, &scene.dormant, &scene.other];
    let mut before = Vec::new();
    for account in accounts {
        before.push(view(server, account).await);
    }
    let (copied, _) = copies(pool, &scene.hub).await;
    let old_state = scene.old["entries"][1]["version"].as_u64().unwrap();

    // By default nothing goes.
    round(pool, Keep::default()).await;
    assert_eq!(count(pool, ERASED).await, 0);
    assert_eq!(
        send(
            server,
            "old",
            &transfer(&scene.dormant, &scene.active, "10")
        )
        .await
        .status,
        422
    );

    round(pool, keep(None, Some(30))).await;
    assert!(count(pool, ERASED).await > 0);
    let marks = retention::marks(pool).await.unwrap();
    let gone =
        "SELECT count(*) FROM account.operations WHERE created_at < now() - interval '35 days'";
    assert_eq!(count(pool, gone).await, 0);
    assert!(
        marks.journal_from > retention::first_id(OffsetDateTime::now_utc() - Duration::days(AGE))
    );
    for (account, before) in accounts.into_iter().zip(before) {
        assert_eq!(view(server, account).await, before);
    }
    let (still, up_to) = copies(pool, &scene.hub).await;
    assert_eq!(still, copied);
    let first = "SELECT min(b.batch_id) FROM account.batches b JOIN account.kept_leaves k ON k.batch = b.id";
    assert!(i64::try_from(up_to).unwrap() < count(pool, first).await);

    // A request of the time that is kept is answered as it was.
    let again = send(server, "recent", &recent).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.ok(201), kept);
    // An old key is free again, a reference never: money is not moved twice.
    let mut body = transfer(&scene.dormant, &scene.active, "10");
    body["client_ref"] = "once".into();
    send(server, "old", &body)
        .await
        .is(409, "DUPLICATE_CLIENT_REF");
    let path = format!("/v1/transfers/{}", scene.old["id"].as_str().unwrap());
    server.get(&path).await.is(404, "TRANSFER_NOT_FOUND");
    let channel = channel(server, &scene.active).await;
    let path = format!("/v1/channels/{channel}/states/{old_state}/proof");
    server.get(&path).await.is(404, "STATE_NOT_FOUND");

    // Everybody goes on, the dormant one as well.
    server
        .post(
            "/v1/transfers",
            &transfer(&scene.dormant, &scene.active, "1"),
        )
        .await
        .ok(201);
    server
        .post(
            "/v1/transfers",
            &transfer(&scene.active, &scene.dormant, "1"),
        )
        .await
        .ok(201);
    assert_eq!(server.available(&scene.dormant).await, "990");
    // Its old state is still what it had when the journal began.
    let path = format!("/v1/accounts/{}/balances?at={}", scene.dormant, at(35));
    assert_eq!(server.get(&path).await.ok(200)["available"], "990");
    let path = format!("/v1/accounts/{}/balances?at={}", scene.dormant, at(AGE + 1));
    server.get(&path).await.is(404, "STATE_NOT_FOUND");
    let erased = count(pool, ERASED).await;
    round(pool, keep(None, Some(30))).await;
    assert_eq!(count(pool, ERASED).await, erased);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_gave_up_old_states_starts_anew_and_signs_on() {
    let mut scene = Scene::new().await;
    scene.hub.stop().await;
    let url = scene.server.bed.role_url("chub_hub");
    let pool = runtime::pg::connect(&url, 2).await.unwrap();
    let metrics = Metrics::new(&Build::new("hub", "test")).unwrap();
    let metrics = hub::metrics::HubMetrics::new(&metrics).unwrap();
    let id = scene.hub.serve.hub_id;
    let now = OffsetDateTime::now_utc();
    let states = "SELECT count(*) FROM hub.journal WHERE states IS NOT NULL";
    let before = count(&pool, states).await;
    let round = async |days| {
        let retention = hub::retention::Retention::new(pool.clone(), id, days, metrics.clone());
        retention.round(now).await.unwrap();
    };
    round(None).await;
    assert_eq!(count(&pool, states).await, before);
    round(Some(30)).await;
    let after = count(&pool, states).await;
    assert!(after < before, "{after} of {before}");
    let bare = "SELECT count(*) FROM hub.heads h JOIN hub.journal j
        ON j.hub_id = h.hub_id AND j.batch_id IN (h.held_batch, h.signed_batch) WHERE j.states IS NULL";
    assert_eq!(count(&pool, bare).await, 0);
    scene.hub.restart_with(|_| {}).await;
    scene.server.until_ready().await;
    let server = &scene.server;
    for (from, to) in [
        (&scene.dormant, &scene.active),
        (&scene.active, &scene.other),
    ] {
        server
            .post("/v1/transfers", &transfer(from, to, "1"))
            .await
            .ok(201);
    }
    // What they were in is superseded now, but only for a moment: it is looked at again later.
    round(Some(30)).await;
    assert!(count(&pool, states).await <= after + 2);
    assert_eq!(count(&pool, bare).await, 0);
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_that_something_needs_stays_whole() {
    let mut scene = Scene::new().await;
    // A running one would complete what waits here for its money.
    scene.server.finish().await;
    let url = scene.server.bed.role_url("chub_account");
    let pool = &runtime::pg::connect(&url, 2).await.unwrap();
    let before = OffsetDateTime::now_utc() - Duration::days(30);
    let rows = "SELECT count(*) FROM account.operations";
    let all = count(pool, rows).await;
    let drop = async || {
        let week = retention::drop_oldest_week(pool, before, false)
            .await
            .unwrap();
        (week, count(pool, rows).await)
    };
    let needed = |by: &str| (Week::Needed(by.to_owned()), all);
    let execute = async |sql: &'static str| {
        let done = sqlx::query(sql).execute(pool).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{sql}");
    };
    // A key must not outlive its operation.
    assert_eq!(drop().await, needed("keys"));

    // Keys wait for an issuance that waits.
    let issuance = "UPDATE account.operations SET outcome = 3 WHERE id = (SELECT id FROM account.operations WHERE kind = 1 ORDER BY id LIMIT 1)";
    execute(issuance).await;
    let waits: Uuid = sqlx::query_scalar("SELECT id FROM account.operations WHERE outcome = 3")
        .fetch_one(pool)
        .await
        .unwrap();
    while let Step::Done { .. } = retention::drop_keys(pool, before, 2).await.unwrap() {}
    assert_eq!(retention::marks(pool).await.unwrap().keys_from, waits);
    execute("UPDATE account.operations SET outcome = 1 WHERE outcome = 3").await;
    while let Step::Done { .. } = retention::drop_keys(pool, before, 2).await.unwrap() {}
    // Of all keys the reference alone is left.
    assert_eq!(
        count(pool, "SELECT count(*) FROM account.operation_keys").await,
        1
    );

    // Two weeks without rows come before theirs.
    for _ in 0..2 {
        assert_eq!(drop().await, (Week::Dropped, all));
    }
    execute("UPDATE account.operations SET outcome = 3 WHERE id = (SELECT id FROM account.operations WHERE kind = 1 ORDER BY id LIMIT 1)").await;
    assert_eq!(drop().await, needed("pending"));
    execute("UPDATE account.operations SET outcome = 1 WHERE outcome = 3").await;

    execute(
        "INSERT INTO account.withdrawals (id, hub_id, account_id, channel_id, epoch, amount, to_address, status,
            correlation_id, created_at, updated_at)
         SELECT o.id, o.hub_id, o.payer, h.channel_id, 0, 1, decode(repeat('ab', 20), 'hex'), 3, 'test', now(), now()
         FROM account.operations o JOIN account.heads h ON h.account_id = o.payer WHERE o.kind = 3 ORDER BY o.id LIMIT 1",
    )
    .await;
    assert_eq!(drop().await, needed("withdrawals"));
    execute("UPDATE account.withdrawals SET status = 5").await;

    // Completed long after it was ordered: its batch is young.
    sqlx::query("UPDATE account.operations SET batch = account.first_id(now()) WHERE id = $1")
        .bind(waits)
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(drop().await, needed("batches"));
    sqlx::query(
        "UPDATE account.operations SET batch = account.first_id('2026-01-01') WHERE id = $1",
    )
    .bind(waits)
    .execute(pool)
    .await
    .unwrap();

    // A long read holds it up, and does not hold up callers.
    let mut server = scene.server.replica(&scene.hub).await;
    server.admin = scene.server.admin.clone();
    server.until_ready().await;
    let mut reader = pool.begin().await.unwrap();
    count_in(&mut reader).await;
    assert_eq!(drop().await, needed("busy"));
    server
        .post("/v1/transfers", &transfer(&scene.active, &scene.other, "1"))
        .await
        .ok(201);
    reader.rollback().await.unwrap();
    let (week, left) = drop().await;
    assert_eq!(
        (week, left),
        (Week::Dropped, 1),
        "only what was posted just now"
    );
    pool.close().await;
}

async fn count_in(connection: &mut sqlx::PgConnection) {
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM account.operations")
        .fetch_one(connection)
        .await
        .unwrap();
    assert!(rows > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_week_is_there_for_the_operator_and_nowhere_else() {
    let scene = Scene::new().await;
    let pool = scene.pool();
    let operations = count(pool, "SELECT count(*) FROM account.operations").await;
    let states = count(pool, "SELECT count(*) FROM account.batch_states").await;
    let archive = Keep {
        archive_journal: true,
        ..keep(None, Some(30))
    };
    round(pool, archive).await;
    assert_eq!(
        count(pool, "SELECT count(*) FROM account.operations").await,
        0
    );
    let owner = PgPool::connect(&scene.server.bed.database_url)
        .await
        .unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = 'account_archive'::regnamespace AND relkind = 'r'",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    let mut archived = [0; 2];
    for table in tables {
        let sql = format!("SELECT count(*) FROM account_archive.{table}");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&owner)
            .await
            .unwrap();
        archived[usize::from(table.starts_with("batch_states_"))] += rows;
    }
    assert_eq!(archived, [operations, states]);
    owner.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posting_goes_on_when_no_week_has_a_partition_and_later_weeks_still_get_theirs() {
    let (server, _hub) = Server::with_hub(|_| {}).await;
    let owner = PgPool::connect(&server.bed.database_url).await.unwrap();
    let weeks: Vec<String> = sqlx::query_scalar(
        "SELECT inhrelid::regclass::text FROM pg_inherits
         WHERE inhparent IN ('account.operations'::regclass, 'account.batch_states'::regclass)
           AND inhrelid::regclass::text !~ '_rest$'",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(weeks.len() >= 10, "{weeks:?}");
    for week in &weeks {
        let sql = format!("DROP TABLE {week}");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&owner)
            .await
            .unwrap();
    }
    let payer = server.account(&server.admin, "10").await;
    let payee = server.account(&server.admin, "0").await;
    let body = transfer(&payer, &payee, "3");
    let first = send(&server, "key", &body).await.ok(201);
    assert_eq!(send(&server, "key", &body).await.ok(201), first);
    let now = OffsetDateTime::now_utc();
    let figures = retention::figures(&server.pool, now).await.unwrap();
    assert!(figures.astray);
    assert_eq!(figures.weeks_ahead, 0);
    round(&server.pool, Keep::default()).await;
    let figures = retention::figures(&server.pool, now).await.unwrap();
    assert_eq!(figures.weeks_ahead, 4, "all but the week that has begun");
    server
        .post("/v1/transfers", &transfer(&payee, &payer, "1"))
        .await
        .ok(201);
    assert_eq!(server.available(&payee).await, "2");
    owner.close().await;
    server.stop().await;
}
