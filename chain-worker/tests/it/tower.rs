//! The watchtower: stale closes are answered with what the worker copied before.

use crate::harness::{Options, VAULT, VAULT_HUB, World, eventually, key};
use crate::hubs::Recorder;
use chain::calls::dispute;
use chain::{At, CoSigned};
use chain_messages::tower::AttestedBatch;
use chain_messages::{Command, Event};
use hub_core::merkle::Tree;
use hub_core::{Amount, ChannelParams, Hash32, State, StateBatch, Typed as _};
use std::os::unix::fs::PermissionsExt as _;

/// Seconds there are to answer a close. The test chain's clock runs a second a block.
const WINDOW: u64 = 3_600;
/// The key that signs for the user side of every channel.
const CUSTODY: u8 = 9;

/// Some channels and what was signed in them.
struct Scene {
    world: World,
    params: Vec<ChannelParams>,
    batches: Vec<Vec<State>>,
}

impl Scene {
    /// Channels with three co-signed states: the user has 1,000, then 800, then 600.
    async fn new(channels: u8) -> Self {
        Self::with_user(channels, 600).await
    }

    /// The user has this much in the end, 200 more before, and 400 more at first.
    async fn with_user(channels: u8, last: u128) -> Self {
        let scene = Self::start(channels, last, &[]).await;
        let shown = (0..3).map(|at| scene.attested(at)).collect();
        scene.world.hubs.show(shown, scene.params.clone());
        scene.copied(3).await;
        scene
    }

    /// The same before anybody is shown anything.
    async fn start(channels: u8, last: u128, more: &[String]) -> Self {
        let world = World::with(Options {
            extra: [&["--tower-pull-ms=200".into()], more].concat(),
            ..Options::default()
        })
        .await;
        world
            .rpc(
                "anvil_setBalance",
                &format!(r#"["{}","0xde0b6b3a7640000"]"#, key(CUSTODY).address()),
            )
            .await;
        let domain = world.chain.domain();
        let mut params: Vec<_> = (1..=channels)
            .map(|salt| ChannelParams {
                challenge_period: WINDOW as u32,
                self_delay: WINDOW as u32,
                ..world.params(VAULT_HUB, salt)
            })
            .collect();
        params.sort_by_key(|params| params.channel_id(&domain));
        let state = |params: &ChannelParams, version: u64| {
            let user = Amount::new(last + (3 - u128::from(version)) * 200);
            State {
                version,
                ack_version: version - 1,
                hub_balance: params.capacity.less(user),
                user_balance: user,
                ..State::null(params.channel_id(&domain), 0, params.capacity)
            }
        };
        let batches = (1..=3)
            .map(|version| params.iter().map(|one| state(one, version)).collect())
            .collect();
        Self {
            world,
            params,
            batches,
        }
    }

    /// Until a batch is copied.
    async fn copied(&self, batch: i64) {
        eventually("copied", async || self.has(batch).await).await;
    }

    async fn has(&self, batch: i64) -> bool {
        let count = "SELECT count(*) FROM chain.copied_batches WHERE batch_id = $1";
        let copies: i64 = sqlx::query_scalar(count)
            .bind(batch)
            .fetch_one(&self.world.pool)
            .await
            .unwrap();
        copies == 1
    }

    fn tree(&self, at: usize) -> Tree {
        Tree::new(self.batches[at].iter().map(State::hash_struct).collect()).unwrap()
    }

    fn message(&self, at: usize) -> StateBatch {
        let tree = self.tree(at);
        StateBatch {
            root: tree.root(),
            depth: tree.depth(),
            batch_id: at as u64 + 1,
            prev_root: Hash32::ZERO,
            hub: key(VAULT_HUB).address(),
        }
    }

    fn attested(&self, at: usize) -> AttestedBatch {
        let (message, domain) = (self.message(at), self.world.chain.domain());
        AttestedBatch {
            batch_id: message.batch_id,
            prev_root: message.prev_root,
            hub_signature: key(VAULT_HUB + 1).sign(&domain, &message),
            user_signature: key(CUSTODY).sign(&domain, &message),
            states: AttestedBatch::encode(&self.batches[at]),
        }
    }

    /// A batch whose second signature is not by the custody key.
    fn forged(&self, at: usize) -> AttestedBatch {
        let sound = self.attested(at);
        AttestedBatch {
            user_signature: sound.hub_signature,
            ..sound
        }
    }

    /// The custody key posts a version of every channel.
    async fn close(&self, version: usize) {
        for leaf in 0..self.params.len() {
            self.close_one(leaf, version, CUSTODY).await;
        }
    }

    /// A key posts a version of one channel.
    async fn close_one(&self, leaf: usize, version: usize, by: u8) {
        let (at, batch) = (version - 1, self.attested(version - 1));
        let params = &self.params[leaf];
        let posted = CoSigned::in_batch(
            self.batches[at][leaf],
            self.message(at),
            leaf as u32,
            self.tree(at).path(leaf).unwrap(),
            (batch.hub_signature, batch.user_signature),
        );
        let close = dispute::close(self.world.chain.channels(), params, &posted, None, None);
        self.world.wallet(by).call(&close).await.unwrap();
    }

    async fn pass(&self, seconds: u64) {
        let passed = self
            .world
            .rpc("evm_increaseTime", &format!("[{seconds}]"))
            .await;
        assert!(!passed.contains("error"), "{passed}");
    }

    /// Logs of a kind that are on the chain now.
    async fn logs(&self, kind: &str) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM chain.logs WHERE status IN (1, 2) AND body ->> 'log' = $1",
        )
        .bind(kind)
        .fetch_one(&self.world.pool)
        .await
        .unwrap()
    }

    async fn vault(&self) -> u128 {
        let hub = self.world.chain.hub(key(VAULT_HUB).address(), At::Latest);
        hub.await.unwrap().funds.units()
    }

    async fn metric(&self, name: &str) -> String {
        let text = self.world.get("/metrics").await.1;
        let hub = key(VAULT_HUB).address().to_string();
        let line = text
            .lines()
            .find(|line| line.starts_with(name) && line.contains(&hub));
        line.and_then(|line| line.rsplit(' ').next())
            .unwrap_or_default()
            .to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_stale_closes_are_answered_in_one_transaction_after_half_the_window_without_any_service()
 {
    let scene = Scene::new(12).await;
    let world = &scene.world;
    let operator = key(VAULT_HUB).address();
    let before = world.balance(operator).await;
    world.worker.stop().await.unwrap();
    world.hubs.set_down(true);
    scene.close(1).await;
    scene.pass(WINDOW / 2).await;
    world.worker.start().await.unwrap();
    eventually("all answered", async || {
        scene.logs("challenged").await == 12
    })
    .await;
    let answers = "SELECT count(*) FROM chain.transactions WHERE kind = 4";
    assert_eq!(world.count(answers).await, 1, "one transaction");
    let punished = "SELECT count(*) FROM chain.logs
                    WHERE body ->> 'log' = 'challenged' AND (body ->> 'penalized')::boolean";
    assert_eq!(world.count(punished).await, 12);
    assert_eq!(scene.metric("chub_tower_closes_without_copy").await, "0");

    scene.pass(WINDOW).await;
    eventually("settled", async || scene.logs("settled").await == 12).await;
    let settlements = "SELECT count(*) FROM chain.transactions WHERE kind = 5";
    assert_eq!(world.count(settlements).await, 1);
    // Each cheater had 600; a twentieth of that is ours for the proof.
    assert_eq!(world.balance(operator).await - before, 12 * 30);
    assert_eq!(scene.vault().await, VAULT - 12 * 30);
    assert_eq!(world.balance(key(CUSTODY).address()).await, 0);
    eventually("everybody is told", async || {
        let told = world.told();
        let ended = told
            .iter()
            .filter(|event| matches!(event, Event::Settled { paid, .. } if paid.is_zero()));
        ended.count() == 12
    })
    .await;
    eventually("over", async || {
        let open = "SELECT count(*) FROM chain.disputes WHERE NOT over";
        world.count(open).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_a_reorganisation_takes_away_is_given_again_and_a_close_undone() {
    let scene = Scene::new(1).await;
    let world = &scene.world;
    world.mine(false);
    world.rpc("evm_setAutomine", "[true]").await;
    scene.close(1).await;
    eventually("answered", async || scene.logs("challenged").await == 1).await;
    world.rpc("evm_setAutomine", "[false]").await;
    // The answer is in the newest block.
    let answer = world.rpc("anvil_reorg", "[1, []]").await;
    assert!(!answer.contains("error"), "{answer}");
    eventually("undone", async || scene.logs("challenged").await == 0).await;
    assert_eq!(scene.logs("closed").await, 1);
    world.mine(true);
    eventually("given again", async || scene.logs("challenged").await == 1).await;
    eventually("for good", async || {
        let is_final = "SELECT count(*) FROM chain.logs
                        WHERE status = 2 AND body ->> 'log' = 'challenged'";
        world.count(is_final).await == 1
    })
    .await;
    let states = "SELECT count(*) FROM chain.logs WHERE status = 2
                  AND body ->> 'log' = 'challenged' AND (body -> 'state' ->> 'version')::int = 3";
    assert_eq!(world.count(states).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_close_is_settled_and_paid_and_one_without_a_copy_raises_an_alarm() {
    let mut scene = Scene::new(2).await;
    // A channel that no source ever showed.
    let unknown = ChannelParams {
        salt: Hash32([99; 32]),
        ..scene.params[0]
    };
    let posted = CoSigned::null(State::null(
        unknown.channel_id(&scene.world.chain.domain()),
        0,
        unknown.capacity,
    ));
    let channels = scene.world.chain.channels();
    let close = dispute::close(channels, &unknown, &posted, None, None);
    scene.world.wallet(CUSTODY).call(&close).await.unwrap();
    eventually("an alarm", async || {
        scene.metric("chub_tower_closes_without_copy").await == "1"
    })
    .await;

    scene.params.truncate(1);
    scene.close(3).await;
    scene.pass(WINDOW + 10).await;
    eventually("settled", async || scene.logs("settled").await == 1).await;
    assert_eq!(scene.logs("challenged").await, 0);
    let user = key(CUSTODY).address();
    assert_eq!(
        scene.world.balance(user).await,
        0,
        "the closer waits longer"
    );
    scene.pass(WINDOW).await;
    eventually("paid", async || scene.logs("delayed_paid").await == 1).await;
    assert_eq!(scene.world.balance(user).await, 600);
    let paid = || {
        let told = scene.world.told().into_iter();
        told.filter_map(|event| match event {
            Event::Settled { paid, .. } => Some(paid),
            _ => None,
        })
        .next()
    };
    eventually("told", async || paid().is_some()).await;
    assert_eq!(paid(), Some(Amount::new(600)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cheater_whom_nobody_answered_in_time_loses_what_it_still_waits_for() {
    let scene = Scene::new(2).await;
    let world = &scene.world;
    let operator = key(VAULT_HUB).address();
    world.worker.stop().await.unwrap();
    scene.close(1).await;
    scene.pass(WINDOW + 10).await;
    let before = world.balance(operator).await;
    world.worker.start().await.unwrap();
    eventually("forfeited", async || {
        scene.logs("delayed_forfeited").await == 2
    })
    .await;
    assert_eq!(scene.logs("settled").await, 2);
    // What was posted paid 1,000 each; nothing of it is left to claim.
    assert_eq!(world.balance(operator).await - before, 2 * 50);
    assert_eq!(scene.vault().await, VAULT - 2 * 50);
    assert_eq!(world.balance(key(CUSTODY).address()).await, 0);
}

/// What the hub was told last that its vault has free.
fn free(scene: &Scene) -> Option<u128> {
    let told = scene.world.hubs.told("vault").into_iter();
    let mut vaults = told.filter_map(|message| match message.body {
        Event::VaultChanged { vault, .. } => Some(vault.units()),
        _ => None,
    });
    vaults.next_back()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_owes_is_not_told_as_free_in_its_vault() {
    let scene = Scene::with_user(1, VAULT + 3_000).await;
    let world = &scene.world;
    scene.close(3).await;
    scene.pass(WINDOW + 10).await;
    eventually("settled", async || scene.logs("settled").await == 1).await;
    eventually("nothing is free", async || free(&scene) == Some(0)).await;
    let hub = world.chain.hub(key(VAULT_HUB).address(), At::Latest);
    assert_eq!(hub.await.unwrap().owed, Amount::new(3_000));

    // New funds are there for whom the hub owes before they are there for anybody else.
    world
        .command(&Command::FundVault {
            hub: key(VAULT_HUB).address(),
            needed: Amount::new(7_000),
        })
        .await;
    eventually("the rest is free", async || free(&scene) == Some(4_000)).await;
    assert_eq!(scene.vault().await, 7_000);
    // Paying what is owed changes nothing for anybody else.
    scene.pass(WINDOW).await;
    eventually("paid", async || scene.logs("delayed_paid").await == 1).await;
    let pay = chain::calls::claims::pay_owed(world.chain.channels(), &scene.params[0], 0);
    world.wallet(CUSTODY).call(&pay).await.unwrap();
    eventually("what was owed is paid", async || {
        scene.logs("owed_paid").await == 1 && scene.vault().await == 4_000
    })
    .await;
    let user = world.balance(key(CUSTODY).address()).await;
    assert_eq!(user, VAULT + 3_000);
    assert_eq!(free(&scene), Some(4_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsound_batch_is_left_out_with_an_alarm_and_stops_no_other() {
    let scene = Scene::start(2, 600, &[]).await;
    let shown = vec![scene.attested(0), scene.forged(1), scene.attested(2)];
    scene.world.hubs.show(shown, scene.params.clone());
    scene.copied(3).await;
    eventually("an alarm", async || {
        scene.metric("chub_tower_source_down").await == "1"
    })
    .await;
    assert!(scene.has(1).await && !scene.has(2).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_source_shows_unsound_is_copied_from_the_other() {
    let account = Recorder::start().await;
    let dir = stack::TempDir::new().unwrap();
    let key_file = dir.path().join("account.key");
    std::fs::write(&key_file, "a-key").unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let more = [
        format!("--account-url={}/vault", account.url),
        format!("--account-key-file={}", key_file.display()),
    ];
    let scene = Scene::start(2, 600, &more).await;
    scene.world.hubs.set_down(true);
    // Account-service, asked first, shows the newest batch forged and moves the mark past it.
    let shown = vec![scene.attested(0), scene.attested(1), scene.forged(2)];
    account.show(shown, scene.params.clone());
    scene.copied(2).await;
    // The other hub's source is the same one here: its mark is past it too.
    eventually("the marks are past it", async || {
        let behind = "SELECT count(*) FROM chain.copy_marks WHERE batch_id < 3";
        scene.world.count(behind).await == 0
    })
    .await;
    let shown = (0..3).map(|at| scene.attested(at)).collect();
    scene.world.hubs.show(shown, scene.params.clone());
    scene.world.hubs.set_down(false);
    scene.copied(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hubs_own_stale_close_is_corrected_where_that_costs_the_hub_nothing_and_else_left() {
    let scene = Scene::new(2).await;
    let world = &scene.world;
    let signer = VAULT_HUB + 1;
    let coin = format!(r#"["{}","0xde0b6b3a7640000"]"#, key(signer).address());
    world.rpc("anvil_setBalance", &coin).await;
    // The first was given up; the second is the base of the newest state.
    scene.close_one(0, 1, signer).await;
    scene.close_one(1, 2, signer).await;
    eventually("corrected", async || scene.logs("challenged").await == 1).await;
    scene.pass(WINDOW + 10).await;
    eventually("settled", async || scene.logs("settled").await == 2).await;
    assert_eq!(scene.logs("challenged").await, 1);
    assert_eq!(scene.logs("penalized").await, 0);
    let penalized = "SELECT count(*) FROM chain.logs WHERE body ->> 'log' = 'settled'
                     AND (body -> 'paid' ->> 'penalized')::boolean";
    assert_eq!(world.count(penalized).await, 0);
    // The user got 1,000 by what the hub posted first, and 600 by the newest.
    assert_eq!(world.balance(key(CUSTODY).address()).await, 1_600);
}
