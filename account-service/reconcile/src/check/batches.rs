//! R3, the rest of R2 and, where operations are traced, the better part of R4: goes over all
//! batches, and everything that names one, once.

use super::Context;
use super::batch::{Checked, Known, check_row};
use super::ledger::{self, Accounts, Changes, Ledger};
use super::links::Links;
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::batches::{self, HeadRef};
use crate::store::feed::{Feed, Groups, Place};
use crate::store::operations::{self, Operation};
use crate::store::snapshot;
use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt as _, TryStreamExt as _};
use hub_core::{Amount, ChannelId, Typed as _};
use sqlx::PgPool;
use sqlx::postgres::PgRow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Batches under way: one is at most a megabyte of states and as much of operations.
const AHEAD: usize = 8;

/// What users have by the signed states, by hub, in minor units.
pub type SignedTotals = HashMap<Uuid, Amount>;

/// What stands in the order of batches, read ahead.
pub struct Feeds {
    batches: Feed<PgRow>,
    heads: Groups<HeadRef>,
    operations: Groups<Operation>,
}

impl Feeds {
    /// Begins to read. The database sorts, and that takes its time: the sooner the better.
    pub async fn begin(pool: &PgPool, snapshot: &str) -> sqlx::Result<Self> {
        Ok(Self {
            operations: operations::by_batch(snapshot::join(pool, snapshot).await?),
            heads: batches::heads(snapshot::join(pool, snapshot).await?),
            batches: batches::by_id(snapshot::join(pool, snapshot).await?).await?,
        })
    }
}

/// What batches have to do with accounts.
pub struct Books {
    /// Whose channels there are.
    pub accounts: Arc<Accounts>,
    /// What operations add up to.
    pub ledger: Ledger,
    /// What users have by the signed states.
    pub signed: SignedTotals,
}

/// A run over all batches.
struct Walk<'a> {
    context: &'a mut Context,
    feeds: Feeds,
    known: Known,
    books: Books,
    links: Links,
    /// Channels of damaged heads that a batch has named.
    named: HashSet<ChannelId>,
}

/// Goes over all batches and everything that names one.
pub async fn run(context: &mut Context, feeds: Feeds, accounts: Accounts) -> Result<Books, Error> {
    let accounts = Arc::new(accounts);
    let mut books = Books {
        ledger: Ledger::of(&accounts),
        signed: SignedTotals::new(),
        accounts: accounts.clone(),
    };
    carried(context, &mut books).await?;
    let known = Known {
        hubs: context.hubs.clone(),
        damaged: context.named.heads.clone(),
        trace: context.options.trace_operations,
        accounts,
    };
    let mut walk = Walk {
        context,
        feeds,
        known,
        books,
        links: Links::default(),
        named: HashSet::new(),
    };
    walk.all().await?;
    let Walk {
        books,
        named,
        known,
        ..
    } = walk;
    not_kept(context).await?;
    for (channel, head) in known.damaged.iter().filter(|(id, _)| !named.contains(*id)) {
        let row = Row::account("heads", channel);
        let expected = format!("columns that hash to {}", head.state_hash);
        let found = format!("columns that hash to {}", head.state.hash_struct());
        let class = (CheckId::R2, Class::Tamper);
        context.findings.found(class, row, expected, found);
    }
    Ok(books)
}

/// What dropped operations add up to.
async fn carried(context: &mut Context, books: &mut Books) -> Result<(), Error> {
    let mut rows = operations::carried(&mut context.tx);
    while let Some(row) = rows.try_next().await? {
        let carried = operations::carried_of(&row)?;
        books.ledger.carry(&carried, &books.accounts);
    }
    drop(rows);
    for (key, amount) in operations::carried_totals(&mut context.tx).await? {
        books.ledger.carry_total(key, amount);
    }
    Ok(())
}

/// States that were not kept.
async fn not_kept(context: &mut Context) -> Result<(), Error> {
    for one in batches::not_kept(&mut context.tx).await? {
        let class = (CheckId::R3, Class::MissingInternal);
        let row = Row::account("kept_leaves", one.key);
        context.findings.found(class, row, one.expected, one.found);
    }
    Ok(())
}

impl Walk<'_> {
    async fn all(&mut self) -> Result<(), Error> {
        let mut under_way = FuturesOrdered::new();
        while let Some(row) = self.feeds.batches.next().await? {
            let place = batches::place_of(&row)?;
            self.before(Some(place)).await?;
            let (heads, operations) = if batches::is_committed(&row)? {
                let heads = self.feeds.heads.all(place).await?;
                (heads, self.feeds.operations.all(place).await?)
            } else {
                self.uncommitted(place).await?;
                (Vec::new(), Vec::new())
            };
            if under_way.len() == AHEAD
                && let Some(checked) = under_way.next().await
            {
                self.take(checked??);
            }
            let known = self.known.clone();
            under_way.push_back(tokio::task::spawn_blocking(move || {
                check_row(&row, &heads, &operations, &known)
            }));
        }
        while let Some(checked) = under_way.next().await {
            self.take(checked??);
        }
        self.before(None).await
    }

    fn take(&mut self, (batch, changes): (Checked, Changes)) {
        let max = self.context.options.max_breaks;
        let named = &mut self.context.named;
        self.books.ledger.post(changes);
        let (findings, keys) = self.links.add(&batch);
        self.context.findings.merge(batch.findings, max);
        self.context.findings.merge(findings, max);
        let room = max.saturating_sub(named.batches.len());
        named.batches.extend(keys.into_iter().take(room));
        let total = self.books.signed.entry(batch.hub_id).or_default();
        *total = total.checked_add(batch.user_total).unwrap_or(Amount::MAX);
        self.named
            .extend(batch.heads.iter().map(|(channel, _)| *channel));
        named.signed.extend(batch.heads);
        let room = max.saturating_sub(named.operations.len());
        let operations = batch.operations.into_iter().take(room);
        named.operations.extend(operations);
    }

    /// Goes over what names batches that should come before the next one, and don't exist.
    async fn before(&mut self, next: Option<Place>) -> Result<(), Error> {
        loop {
            let places = [
                self.feeds.heads.place().await?,
                self.feeds.operations.place().await?,
            ];
            let first = places.into_iter().flatten().min();
            match first.filter(|place| next.is_none_or(|next| *place < next)) {
                Some(place) => self.uncommitted(place).await?,
                None => return Ok(()),
            }
        }
    }

    /// Names a batch that heads or operations name and that was never committed.
    async fn uncommitted(&mut self, place: Place) -> Result<(), Error> {
        let (mut heads, mut operations) = (0, 0);
        while let Some(piece) = self.feeds.heads.piece(place).await? {
            heads += piece.len();
            // What users have by them is what their rows say.
            for head in piece {
                let total = self.books.signed.entry(head.hub_id).or_default();
                *total = total.checked_add(head.user_total).unwrap_or(Amount::MAX);
            }
        }
        while let Some(piece) = self.feeds.operations.piece(place).await? {
            operations += piece.len();
            let (_, changes) = ledger::take_apart(&piece, &self.known.accounts);
            self.books.ledger.post(changes);
        }
        if heads + operations == 0 {
            return Ok(());
        }
        let key = place
            .batch()
            .map_or("none".to_owned(), |batch| batch.to_string());
        let class = (CheckId::R3, Class::MissingInternal);
        let found = format!("none; {heads} heads and {operations} operations name it");
        let mut findings = Findings::default();
        findings.found(
            class,
            Row::account("batches", key),
            "a committed batch",
            found,
        );
        self.context.merge(findings);
        Ok(())
    }
}
