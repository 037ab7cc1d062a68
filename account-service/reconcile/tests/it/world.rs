//! A database with the books of a small business, and a chain that agrees with them.

use crate::books::{Books, FINAL_BLOCK, Fate, Order};
use hub_core::{Address, ChannelId};
use reconcile::{
    ChainError, ChainNumbers, ChainView, ChannelNumbers, CheckId, Options, Report, run,
};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgPool};
use stack::Testbed;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// A chain as the tests have it, at one block.
#[derive(Debug, Clone)]
pub struct Chain {
    pub block: u64,
    pub numbers: ChainNumbers,
    pub channels: HashMap<ChannelId, ChannelNumbers>,
    /// What the contract had when the database's final block was the newest.
    pub channels_before: Option<HashMap<ChannelId, ChannelNumbers>>,
}

impl ChainView for Chain {
    async fn newest_final(&self) -> Result<u64, ChainError> {
        Ok(self.block)
    }

    async fn numbers(&self, block: u64, hubs: &[Address]) -> Result<ChainNumbers, ChainError> {
        assert_eq!(block, self.block);
        let mut numbers = self.numbers.clone();
        numbers.hubs.retain(|hub, _| hubs.contains(hub));
        Ok(numbers)
    }

    async fn channels(
        &self,
        block: u64,
        channels: &[ChannelId],
    ) -> Result<Vec<ChannelNumbers>, ChainError> {
        let before = self
            .channels_before
            .as_ref()
            .filter(|_| block == FINAL_BLOCK);
        let known = before.unwrap_or(&self.channels);
        let of = |id| known.get(id).copied().unwrap_or_default();
        Ok(channels.iter().map(of).collect())
    }
}

pub struct World {
    pub books: Books,
    pub chain: Chain,
    pub recon: PgPool,
    owner: PgPool,
    _bed: Testbed,
}

/// Withdrawals of the story, by what became of them.
pub struct Story {
    pub completed: Uuid,
    pub failed: Uuid,
    pub submitted: Uuid,
    pub deposit: Uuid,
}

/// The books of the story: everything that happens to money, and every way in which the two
/// sides may lawfully differ.
pub fn story() -> (Books, Story) {
    let mut books = Books::new();
    let mut last = None;
    for hub in 0..2 {
        last = Some(business(&mut books, hub));
    }
    books.close();
    (books, last.unwrap())
}

fn business(books: &mut Books, hub: usize) -> Story {
    use Order::{Deposit, Issue, Open, Redeem, Refund, Transfer, Withdraw};
    let a: Vec<_> = (0..6).map(|_| books.account(hub)).collect();
    let opens: Vec<_> = a.iter().map(|at| Open(*at)).collect();
    books.post(hub, &opens, Fate::Committed);
    books.post(
        hub,
        &[Issue(a[0], 9_000), Issue(a[1], 500), Issue(a[2], 700)],
        Fate::Committed,
    );
    books.post(hub, &[Transfer(a[1], a[2], 7)], Fate::Burned);
    // Several operations of one state, some of which could change places.
    books.post(
        hub,
        &[
            Transfer(a[0], a[1], 100),
            Transfer(a[0], a[2], 200),
            Transfer(a[1], a[0], 100),
            Transfer(a[0], a[1], 100),
            Redeem(a[2], 50),
            Transfer(a[3 - 1], a[3], 20),
        ],
        Fate::Committed,
    );
    let ids = books.post(
        hub,
        &[Withdraw(a[0], 1_000), Withdraw(a[1], 60)],
        Fate::Committed,
    );
    let (completed, failed) = (ids[0], ids[1]);
    books.order(a[0], completed, 1_000, 5, 0);
    books.order(a[1], failed, 60, 6, 0);
    books.post(hub, &[Refund(a[1], failed, 60)], Fate::Committed);
    books.pay_in(a[3], 400);
    let credit = books.post(hub, &[Deposit(a[3], 400)], Fate::Committed);
    let deposit = books.deposit(a[3], 400, Some(credit[0]));
    // Paid in and final, not credited yet.
    books.pay_in(a[4], 30);
    books.deposit(a[4], 30, None);
    // Signed, and neither paid nor given back yet.
    let submitted = books.post(hub, &[Withdraw(a[0], 250)], Fate::Committed)[0];
    books.order(a[0], submitted, 250, 3, 1_000);
    // The hub has not heard that this one was committed, and signed another above it.
    books.post(hub, &[Transfer(a[0], a[5], 11)], Fate::NotHanded);
    books.post(hub, &[Transfer(a[0], a[5], 12)], Fate::Open);
    Story {
        completed,
        failed,
        submitted,
        deposit,
    }
}

async fn plant(owner: &PgPool, table: &str, rows: &[Value]) {
    let sql =
        format!("INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1)");
    for rows in rows.chunks(5_000) {
        let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(Json(rows));
        query.execute(owner).await.unwrap();
    }
}

impl World {
    /// A database with these books.
    pub async fn of(books: Books) -> Self {
        let fingerprint: Vec<_> = migrations::MIGRATOR
            .iter()
            .map(|migration| hex::encode(&migration.checksum))
            .collect();
        let bed = stack::testbed(&fingerprint.join(","), async |url: String| {
            migrations::migrate(&url, "password").await
        })
        .await
        .unwrap();
        let owner = PgPool::connect(&bed.database_url).await.unwrap();
        let recon = PgPool::connect(&bed.role_url("chub_recon")).await.unwrap();
        for (table, rows) in &books.rows {
            plant(&owner, table, rows).await;
        }
        let chain = Chain {
            block: FINAL_BLOCK + 3,
            numbers: books.chain.clone(),
            channels: books.channels.clone(),
            channels_before: None,
        };
        Self {
            books,
            chain,
            recon,
            owner,
            _bed: bed,
        }
    }

    /// A database with the books of the story.
    pub async fn new() -> (Self, Story) {
        let (books, story) = story();
        (Self::of(books).await, story)
    }

    /// Keeps the states where the journal begins, as the service does before their week goes.
    pub async fn keep_carried(&self) {
        let sql = "SELECT batch, leaf FROM account.carried";
        let places: Vec<(Uuid, i32)> = sqlx::query_as(sql).fetch_all(&self.owner).await.unwrap();
        assert!(!places.is_empty());
        let leaves = places.into_iter();
        let leaves: Vec<_> = leaves
            .map(|(batch, leaf)| self.books.leaf(batch, leaf))
            .collect();
        plant(&self.owner, "account.kept_leaves", &leaves).await;
    }

    /// Edits rows by hand; it must change something.
    pub async fn edit(&self, sql: &str) {
        let done = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&self.owner)
            .await;
        assert!(done.expect(sql).rows_affected() > 0, "{sql}");
    }

    /// Runs a statement that changes no rows by itself.
    pub async fn run(&self, sql: &str) {
        let done = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(&self.owner)
            .await;
        done.expect(sql);
    }

    pub async fn report(&self) -> Report {
        self.report_with(&Options::default()).await
    }

    pub async fn report_with(&self, options: &Options) -> Report {
        run(&self.recon, &self.chain, options).await.unwrap()
    }

    /// The account at a place, as 0x-hex of its channel.
    pub fn channel(&self, at: usize) -> String {
        self.books.accounts[at].channel.to_string()
    }

    /// The account at a place, as a `bytea` literal of its channel.
    pub fn bytea(&self, at: usize) -> String {
        format!("'\\x{}'", hex::encode(self.books.accounts[at].channel.0))
    }

    /// What the report names, checked against its own counts.
    pub async fn named(&self) -> BTreeSet<(CheckId, String, String)> {
        let report = self.report().await;
        let listed = report.breaks.len() as u64;
        assert_eq!(
            report.checks.iter().map(|check| check.breaks).sum::<u64>(),
            listed
        );
        let named = report.breaks.iter().map(|b| {
            assert_ne!(b.expected, b.found, "{b:?}");
            (b.check, format!("{}.{}", b.schema, b.table), b.key.clone())
        });
        named.collect()
    }
}

/// Edits one thing in a fresh world, which must then name exactly these rows.
pub async fn names(
    edit: impl Fn(&World, &Story) -> String,
    expected: impl Fn(&World, &Story) -> Vec<(CheckId, &'static str, String)>,
) {
    let (world, story) = World::new().await;
    let sql = edit(&world, &story);
    world.edit(&sql).await;
    let expected: BTreeSet<_> = expected(&world, &story)
        .into_iter()
        .map(|(check, table, key)| (check, table.to_owned(), key))
        .collect();
    let named = world.named().await;
    assert_eq!(named, expected, "{sql}\n{:#?}", world.report().await.breaks);
}
