//! Weeks of states go as a whole, although accounts that never moved again have their newest state
//! in them: what is needed of them is kept leaf by leaf.

use crate::harness::{Server, transfer};
use crate::retention::{ERASED, Scene, channel, count, keep, round, view};
use account_service::store::leaves::{self, Copied};
use account_service::store::retention::{self, Step, Week};
use hub_core::Address;
use hub_core::ChannelId;
use hub_core::proof::ChannelProof;
use reconcile::{ChainError, ChainNumbers, ChainView, ChannelNumbers, CheckId, Options};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeSet;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const LEFT: &str =
    "SELECT count(*) FROM account.batch_states s, account.retention r WHERE s.id < r.journal_from";
const LEAVES: &str = "SELECT count(*) FROM account.kept_leaves";

/// A chain on which nothing has happened.
struct Nothing;

impl ChainView for Nothing {
    async fn newest_final(&self) -> Result<u64, ChainError> {
        Ok(1)
    }

    async fn numbers(&self, _: u64, _: &[Address]) -> Result<ChainNumbers, ChainError> {
        Ok(ChainNumbers::default())
    }

    async fn channels(
        &self,
        _: u64,
        channels: &[ChannelId],
    ) -> Result<Vec<ChannelNumbers>, ChainError> {
        Ok(vec![ChannelNumbers::default(); channels.len()])
    }
}

/// What a reconciliation names: check, table and key; but not that no chain stands behind the hub.
async fn breaks(server: &Server) -> BTreeSet<(CheckId, &'static str, String)> {
    let owner = PgPool::connect(&server.bed.database_url).await.unwrap();
    sqlx::query(
        "INSERT INTO account.chain_marks (hub_id, final_block, final_timestamp)
         SELECT hub_id, 1, extract(epoch FROM now())::bigint FROM account.hubs ON CONFLICT DO NOTHING",
    )
    .execute(&owner)
    .await
    .unwrap();
    owner.close().await;
    let pool = PgPool::connect(&server.bed.role_url("chub_recon"))
        .await
        .unwrap();
    let report = reconcile::run(&pool, &Nothing, &Options::default())
        .await
        .unwrap();
    pool.close().await;
    let compared = |id| report.checks.iter().any(|c| c.id == id && c.compared > 0);
    assert!(compared(CheckId::R2) && compared(CheckId::R3) && compared(CheckId::R4));
    let named = report.breaks.into_iter();
    let named = named.filter(|b| b.check != CheckId::R6);
    named.map(|b| (b.check, b.table, b.key)).collect()
}

async fn views(scene: &Scene) -> Value {
    let server = &scene.server;
    json!([
        view(server, &scene.active).await,
        view(server, &scene.dormant).await,
        view(server, &scene.other).await,
    ])
}

async fn proof(server: &Server, account: &str, version: &str) -> Value {
    let channel = channel(server, account).await;
    let path = format!("/v1/channels/{channel}/states/{version}/proof");
    server.get(&path).await.ok(200)
}

async fn pay(server: &Server, from: &str, to: &str, amount: &str) {
    let body = transfer(from, to, amount);
    server.post("/v1/transfers", &body).await.ok(201);
}

/// What came of it when nobody else held the locks it takes, as the service waits for it.
async fn until_free<F>(drop: impl Fn() -> F) -> Week
where
    F: Future<Output = sqlx::Result<Week>>,
{
    for _ in 0..100 {
        match drop().await.unwrap() {
            Week::Needed(by) if by == "busy" => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            week => return week,
        }
    }
    panic!("others hold the locks for ever");
}

/// Gives up the operations that are older than a month, and says below which id states may go.
async fn drop_journal(pool: &PgPool) -> Uuid {
    let before = OffsetDateTime::now_utc() - Duration::days(30);
    while let Step::Done { .. } = retention::drop_keys(pool, before, 100).await.unwrap() {}
    let mut weeks = 0;
    let drop = || retention::drop_oldest_week(pool, before, false);
    while until_free(drop).await == Week::Dropped {
        weeks += 1;
    }
    assert!(weeks > 2);
    retention::marks(pool).await.unwrap().journal_from
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_and_balances_are_the_same_without_the_weeks_and_edited_leaves_are_found() {
    let scene = Scene::new().await;
    let (server, pool) = (&scene.server, scene.pool());
    let superseded = proof(server, &scene.active, "latest").await;
    let version = &superseded["state_typed_data"]["message"]["version"];
    let version = version
        .as_str()
        .map_or_else(|| version.to_string(), str::to_owned);
    pay(server, &scene.active, &scene.other, "5").await;
    let before = views(&scene).await;
    let then = proof(server, &scene.active, &version).await;
    assert_eq!(then["merkle"], superseded["merkle"]);

    round(pool, keep(None, Some(30))).await;
    assert_eq!(count(pool, LEFT).await, 0);
    assert!(count(pool, ERASED).await >= 7);
    assert_eq!(count(pool, LEAVES).await, 3, "one for each account");
    let marks = retention::marks(pool).await.unwrap();
    assert!(marks.states_from > Uuid::nil() && marks.states_from <= marks.journal_from);
    assert_eq!(views(&scene).await, before);
    assert_eq!(proof(server, &scene.active, &version).await, then);
    for account in [&scene.active, &scene.dormant, &scene.other] {
        let proof = proof(server, account, "latest").await;
        let proof: ChannelProof = serde_json::from_value(proof).unwrap();
        assert_eq!(proof.verify(), Ok(()));
    }
    assert_eq!(breaks(server).await, BTreeSet::new());

    let place: String = sqlx::query_scalar(
        "UPDATE account.kept_leaves k SET state = set_byte(state, 60, (get_byte(state, 60) + 1) % 256)
         FROM account.heads h WHERE k.batch = h.batch RETURNING concat(k.batch, '/', k.leaf)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let named = (CheckId::R3, "kept_leaves", place);
    assert_eq!(breaks(server).await, BTreeSet::from([named]));
    // Nobody is handed what doesn't prove itself.
    let channel = channel(server, &scene.dormant).await;
    let path = format!("/v1/channels/{channel}/states/latest/proof");
    assert!(server.get(&path).await.status >= 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_through_a_week_stops_after_any_batch_and_goes_on_while_heads_move() {
    let scene = Scene::new().await;
    let (server, pool) = (&scene.server, scene.pool());
    let before = drop_journal(pool).await;
    let mut seen = views(&scene).await;
    let (mut steps, mut weeks) = (0, 0);
    loop {
        let mut other = pool.begin().await.unwrap();
        sqlx::query("SELECT 1 FROM account.retention FOR UPDATE")
            .execute(&mut *other)
            .await
            .unwrap();
        assert_eq!(leaves::copy(pool, before, 1).await.unwrap(), Copied::Busy);
        let busy = Week::Needed("busy".into());
        let drop = leaves::drop_oldest_week(pool, false);
        assert_eq!(drop.await.unwrap(), busy);
        other.rollback().await.unwrap();
        match leaves::copy(pool, before, 1).await.unwrap() {
            Copied::Some { batches: 0, .. } => {}
            Copied::Some { batches, .. } => {
                assert_eq!(batches, 1);
                steps += 1;
                // Not looked through, not dropped.
                let drop = leaves::drop_oldest_week(pool, false);
                assert_eq!(drop.await.unwrap(), Week::None);
                if steps == 4 {
                    pay(server, &scene.active, &scene.other, "2").await;
                    seen = views(&scene).await;
                }
            }
            Copied::Week => {
                // Whoever reads for long holds it up, and does not hold up callers.
                let mut reader = pool.begin().await.unwrap();
                sqlx::query("SELECT count(*) FROM account.batch_states")
                    .execute(&mut *reader)
                    .await
                    .unwrap();
                let drop = leaves::drop_oldest_week(pool, false);
                assert_eq!(drop.await.unwrap(), busy);
                pay(server, &scene.other, &scene.active, "1").await;
                seen = views(&scene).await;
                reader.rollback().await.unwrap();
                let drop = || leaves::drop_oldest_week(pool, false);
                assert_eq!(until_free(drop).await, Week::Dropped);
                weeks += 1;
            }
            Copied::None => break,
            stopped => panic!("{stopped:?}"),
        }
        assert_eq!(views(&scene).await, seen);
    }
    assert!(steps >= 7 && weeks > 2, "{steps} batches, {weeks} weeks");
    assert_eq!(count(pool, LEFT).await, 0);
    assert_eq!(count(pool, LEAVES).await, 3);
    assert_eq!(breaks(server).await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_of_states_that_something_needs_stays() {
    let mut scene = Scene::new().await;
    // A running one would tell the hub of the batch that it has not confirmed here.
    scene.server.finish().await;
    let url = scene.server.bed.role_url("chub_account");
    let pool = &runtime::pg::connect(&url, 2).await.unwrap();
    // As long as its operations are kept nothing goes.
    assert_eq!(
        leaves::copy(pool, Uuid::nil(), 16).await.unwrap(),
        Copied::None
    );
    let before = drop_journal(pool).await;
    let all = count(pool, "SELECT count(*) FROM account.batch_states").await;
    let old: Uuid =
        sqlx::query_scalar("SELECT id FROM account.batch_states ORDER BY id OFFSET 2 LIMIT 1")
            .fetch_one(pool)
            .await
            .unwrap();
    let execute = async |sql: &'static str| {
        let done = sqlx::query(sql).bind(old).execute(pool).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{sql}");
    };
    let stops = async || loop {
        match leaves::copy(pool, before, 16).await.unwrap() {
            Copied::Some { .. } => {}
            Copied::Week => {
                let week = until_free(|| leaves::drop_oldest_week(pool, false)).await;
                if let Week::Needed(by) = week {
                    return by;
                }
                assert_eq!(week, Week::Dropped);
            }
            Copied::Needed(by) => return by.to_owned(),
            stopped => return format!("{stopped:?}"),
        }
    };
    for (needed, undone, by) in [
        (
            "UPDATE account.batches SET handed = false WHERE id = $1",
            "UPDATE account.batches SET handed = true WHERE id = $1",
            "unhanded",
        ),
        (
            "UPDATE account.batches SET created_at = created_at + interval '1 year' WHERE id = $1",
            "UPDATE account.batches SET created_at = created_at - interval '1 year' WHERE id = $1",
            "operations",
        ),
        (
            "UPDATE account.batch_states SET states = set_byte(states, 50, 255 - get_byte(states, 50)) WHERE id = $1",
            "UPDATE account.batch_states SET states = set_byte(states, 50, 255 - get_byte(states, 50)) WHERE id = $1",
            "damaged",
        ),
        (
            "UPDATE account.batches SET fate = 2 WHERE id = $1",
            "UPDATE account.batches SET fate = 1 WHERE id = $1",
            "damaged",
        ),
    ] {
        execute(needed).await;
        assert_eq!(stops().await, by);
        execute(undone).await;
        let left = count(pool, "SELECT count(*) FROM account.batch_states").await;
        assert_eq!(left, all, "{by}");
    }
    while let Copied::Some { .. } = leaves::copy(pool, before, 16).await.unwrap() {}
    // Whatever the copying did: no head, and no place where the journal begins, loses its state.
    let owner = PgPool::connect(&scene.server.bed.database_url)
        .await
        .unwrap();
    let run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&owner).await.unwrap();
    };
    run("CREATE TABLE gone AS SELECT * FROM account.kept_leaves; DELETE FROM account.kept_leaves")
        .await;
    assert_eq!(stops().await, "heads");
    run("INSERT INTO account.kept_leaves SELECT * FROM gone; DROP TABLE gone").await;
    owner.close().await;
    execute("UPDATE account.carried SET leaf = leaf + 1000 WHERE batch <> $1 AND version = (SELECT max(version) FROM account.carried)").await;
    assert_eq!(stops().await, "carried");
    execute("UPDATE account.carried SET leaf = leaf - 1000 WHERE batch <> $1 AND version = (SELECT max(version) FROM account.carried)").await;
    assert_eq!(stops().await, "None");
    assert_eq!(count(pool, LEFT).await, 0);
    assert_eq!(breaks(&scene.server).await, BTreeSet::new());
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_down_late_with_an_old_id_goes_with_the_next_week() {
    let mut scene = Scene::new().await;
    let before = proof(&scene.server, &scene.dormant, "latest").await;
    let late: (Uuid, Vec<u8>) = sqlx::query_as(
        "SELECT s.id, s.states FROM account.batch_states s JOIN account.heads h ON h.batch = s.id
         WHERE h.channel_id = $1",
    )
    .bind(channel(&scene.server, &scene.dormant).await.0)
    .fetch_one(scene.pool())
    .await
    .unwrap();
    round(scene.pool(), keep(None, Some(30))).await;
    let rest = "SELECT count(*) FROM account.batch_states_rest";
    assert_eq!(count(scene.pool(), rest).await, 0);
    // As a recovery does it, on a backup that did not have the batch.
    let mut tx = scene.pool().begin().await.unwrap();
    for sql in [
        "INSERT INTO account.batch_states (id, states) VALUES ($1, $2)",
        "DELETE FROM account.kept_leaves WHERE batch = $1 AND length($2::bytea) > 0",
    ] {
        let done = sqlx::query(sql).bind(late.0).bind(&late.1);
        assert_eq!(done.execute(&mut *tx).await.unwrap().rows_affected(), 1);
    }
    leaves::note_late(&mut tx, late.0).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(scene.pool(), rest).await, 1);
    assert_eq!(proof(&scene.server, &scene.dormant, "latest").await, before);

    scene.age().await;
    round(scene.pool(), keep(None, Some(30))).await;
    assert_eq!(count(scene.pool(), rest).await, 0);
    assert_eq!(proof(&scene.server, &scene.dormant, "latest").await, before);
    assert_eq!(breaks(&scene.server).await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_leaves_go_when_nothing_needs_them_any_more() {
    let mut scene = Scene::new().await;
    round(scene.pool(), keep(None, Some(30))).await;
    pay(&scene.server, &scene.active, &scene.other, "5").await;
    let states = async |pool: &PgPool| -> BTreeSet<Vec<u8>> {
        let rows = sqlx::query_scalar("SELECT state FROM account.kept_leaves");
        rows.fetch_all(pool).await.unwrap().into_iter().collect()
    };
    let first = states(scene.pool()).await;
    assert_eq!(first.len(), 3);
    let dormant = proof(&scene.server, &scene.dormant, "latest").await;
    // The journal still begins where it did.
    round(scene.pool(), keep(None, Some(30))).await;
    assert_eq!(states(scene.pool()).await, first);

    scene.age().await;
    let seen = views(&scene).await;
    round(scene.pool(), keep(None, Some(30))).await;
    let second = states(scene.pool()).await;
    assert_eq!(second.len(), 3);
    assert_eq!(first.intersection(&second).count(), 1, "the dormant one's");
    assert_eq!(views(&scene).await, seen);
    assert_eq!(
        proof(&scene.server, &scene.dormant, "latest").await,
        dormant
    );
    assert_eq!(breaks(&scene.server).await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_states_of_an_epoch_are_kept_while_it_is_being_closed() {
    let mut scene = Scene::new().await;
    // A running one would see that nobody can post the close any more.
    scene.server.finish().await;
    let url = scene.server.bed.role_url("chub_account");
    let pool = &runtime::pg::connect(&url, 2).await.unwrap();
    let states: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM account.batch_states s, generate_series(0, length(s.states) / 214 - 1) n
         WHERE substring(s.states FROM n * 214 + 3 FOR 32) = $1",
    )
    .bind(channel_in(pool, &scene.active).await)
    .fetch_one(pool)
    .await
    .unwrap();
    assert!(states >= 5, "{states}");
    sqlx::query(
        "INSERT INTO account.closings (id, hub_id, account_id, channel_id, epoch, status, correlation_id, created_at, updated_at)
         SELECT account.first_id(now()), hub_id, account_id, channel_id, epoch, 3, 'test', now(), now()
         FROM account.heads WHERE channel_id = $1",
    )
    .bind(channel_in(pool, &scene.active).await)
    .execute(pool)
    .await
    .unwrap();
    round(pool, keep(None, Some(30))).await;
    assert_eq!(count(pool, LEFT).await, 0);
    assert_eq!(count(pool, LEAVES).await, states + 2);
    assert_eq!(breaks(&scene.server).await, BTreeSet::new());
    // Nothing came of it.
    sqlx::query("UPDATE account.closings SET status = 5")
        .execute(pool)
        .await
        .unwrap();
    round(pool, keep(None, Some(30))).await;
    assert_eq!(count(pool, LEAVES).await, 3);
    pool.close().await;
}

async fn channel_in(pool: &PgPool, account: &str) -> Vec<u8> {
    let id: Uuid = account.trim_start_matches("acc_").parse().unwrap();
    sqlx::query_scalar("SELECT channel_id FROM account.heads WHERE account_id = $1")
        .bind(id)
        .fetch_one(pool)
        .await
        .unwrap()
}
