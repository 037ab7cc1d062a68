//! Redis may be wiped, poisoned or away: it costs speed, never correctness.

use crate::harness::{Server, key};
use crate::seed::{Bank, issue};
use account_service::cache::{Balances, CachedBalance, Redis};
use hub_core::ChannelId;
use std::time::Duration;
use uuid::Uuid;

pub async fn flushall(url: &str) {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
}

fn balance(version: u64) -> CachedBalance {
    CachedBalance {
        version,
        body: format!("v{version}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_balance_never_takes_the_place_of_a_newer_one() {
    let bed = crate::harness::testbed().await;
    let redis = Redis::new(Some(&bed.redis_url), &bed.redis_prefix).unwrap();
    let (one, two) = (Balances::new(redis.clone()), Balances::new(redis));
    let channel = ChannelId([1; 32]);
    assert_eq!(one.get(channel).await, None);
    assert_eq!(one.put(channel, &balance(5)).await, Some(true));
    assert_eq!(two.put(channel, &balance(4)).await, Some(false));
    assert_eq!(two.get(channel).await, Some(balance(5)));
    // Told of version 7, nobody serves 5, and a reader that is late can't put 6 there.
    one.advance(&[(channel, 7)]).await;
    assert_eq!(two.get(channel).await, None);
    assert_eq!(two.put(channel, &balance(6)).await, Some(false));
    assert_eq!(two.put(channel, &balance(7)).await, Some(true));
    one.advance(&[(channel, 6), (ChannelId([2; 32]), 1)]).await;
    assert_eq!(one.get(channel).await, Some(balance(7)));
    // A version that comes while another is being read keeps that one out.
    let read = ChannelId([3; 32]);
    one.expect(read).await;
    two.advance(&[(read, 2)]).await;
    assert_eq!(one.put(read, &balance(1)).await, Some(false));
    // A process that knows of 8 believes no cache that does not.
    one.reached(channel, 8);
    assert_eq!(one.get(channel).await, None);
    assert_eq!(two.get(channel).await, Some(balance(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_and_limits_survive_flushall() {
    let server = Server::start().await;
    let mine = Uuid::now_v7();
    let mut bank = Bank::open(&server, &[mine]).await;
    bank.post(&server, issue(0, 40)).await;
    let path = format!("/v1/accounts/{}/balances", bank.id(0));
    for _ in 0..3 {
        assert_eq!(server.get(&path).await.ok(200)["available"], "40");
        flushall(&server.bed.redis_url).await;
    }
    // Read twice: the second is from the cache, byte for byte.
    let (first, second) = (server.get(&path).await, server.get(&path).await);
    assert_eq!(first.text, second.text);
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("chub_cache_lookups_total{cache=\"balances\",result=\"hit\"}"));

    let limited = key(&server.pool, mine, &["accounts:read"], |new| {
        new.rate_limit = Some(2)
    })
    .await;
    for status in [200, 200, 429] {
        assert_eq!(server.get_as(&limited, &path).await.status, status);
    }
    flushall(&server.bed.redis_url).await;
    assert_eq!(server.get_as(&limited, &path).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_all_answers_are_the_same_and_limits_hold_in_the_process() {
    for url in [None, Some("redis://127.0.0.1:1/0".to_owned())] {
        let server = Server::start_with(|config, _| config.redis_url = url).await;
        let mine = Uuid::now_v7();
        let mut bank = Bank::open(&server, &[mine]).await;
        bank.post(&server, issue(0, 40)).await;
        let path = format!("/v1/accounts/{}/balances", bank.id(0));
        assert_eq!(server.get(&path).await.ok(200)["available"], "40");
        bank.post(&server, issue(0, 2)).await;
        assert_eq!(server.get(&path).await.ok(200)["available"], "42");
        let limited = key(&server.pool, mine, &["accounts:read"], |new| {
            new.rate_limit = Some(3)
        })
        .await;
        for status in [200, 200, 200, 429] {
            let answer = server.get_as(&limited, &path).await;
            assert_eq!(answer.status, status);
            assert!(answer.header("ratelimit").is_some());
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_balance_is_gone_after_seconds_even_if_nobody_tells() {
    let server = Server::start().await;
    let mine = Uuid::now_v7();
    let mut bank = Bank::open(&server, &[mine]).await;
    let path = format!("/v1/accounts/{}/balances", bank.id(0));
    assert_eq!(server.get(&path).await.ok(200)["available"], "0");
    // Posted behind the server's back, as if the replica that did it could not reach Redis.
    bank.post(&server, issue(0, 9)).await;
    let mut waited = Duration::ZERO;
    while server.get(&path).await.ok(200)["available"] != "9" {
        assert!(waited < Duration::from_secs(8), "stale for {waited:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        waited += Duration::from_millis(200);
    }
    server.stop().await;
}
