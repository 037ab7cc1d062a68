//! One run, from the snapshot to the report.

use crate::chain::{ChainError, ChainView};
use crate::check::{self, Context};
use crate::findings::Findings;
use crate::report::Report;
use crate::store;
use sqlx::PgPool;
use std::sync::Arc;

/// Why a run could not be made. It then says nothing, least of all that all is well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database can't be read.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The chain can't be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain-worker has not reported any final block.
    #[error(
        "no final block is known yet; start the chain-worker, wait for its first report, run again"
    )]
    NoFinalBlock,
    /// The node that was asked is older than the database.
    #[error(
        "the node's newest final block is {node}, the database knows {known}; ask a node that has caught up"
    )]
    NodeBehind {
        /// The node's newest final block.
        node: u64,
        /// The newest one the database knows.
        known: u64,
    },
    /// A part of the run ended before its time.
    #[error("a worker of the run stopped: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most breaks to list; all are counted. One takes about 300 bytes.
    pub max_breaks: usize,
    /// Whether each operation is compared with the state it is part of, and not only with the
    /// account's balance: finds edits that cancel out, for about twice the time.
    pub trace_operations: bool,
    /// Seconds, by the chain's clock, that what expired may wait to be given back, and what is
    /// final to be credited.
    pub grace_s: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_breaks: 10_000,
            trace_operations: true,
            grace_s: 600,
        }
    }
}

/// Compares everything, on connections of a role that may read all three schemas.
///
/// # Errors
/// [`Error`], when an input is missing; differences are no error.
pub async fn run<C: ChainView>(
    pool: &PgPool,
    chain: &C,
    options: &Options,
) -> Result<Report, Error> {
    let mut tx = store::snapshot::begin(pool).await?;
    let mark = store::snapshot::mark(&mut tx).await?;
    let hubs = store::snapshot::hubs(&mut tx).await?;
    let known = mark.final_block.ok_or(Error::NoFinalBlock)?;
    let block = chain.newest_final().await?;
    if block < known {
        return Err(Error::NodeBehind { node: block, known });
    }
    let snapshot = store::snapshot::share(&mut tx).await?;
    let feeds = check::batches::Feeds::begin(pool, &snapshot).await?;
    let mut context = Context {
        tx,
        hubs: Arc::new(hubs),
        mark,
        block,
        known,
        options: options.clone(),
        findings: Findings::default(),
        named: check::Named::default(),
    };
    let accounts = check::heads::run(&mut context).await?;
    let mut books = check::batches::run(&mut context, feeds, accounts).await?;
    check::hub::run(&mut context).await?;
    check::journal::run(&mut context, &books.accounts, &mut books.ledger).await?;
    let (signed, totals) = (books.signed, books.ledger.totals());
    check::totals::issue_identity(&mut context, &signed, &totals);
    let on_chain = check::settlement::run(&mut context, chain).await?;
    check::totals::escrow(&mut context, chain, &signed, &totals, &on_chain).await?;
    let Context {
        tx,
        mark,
        findings,
        options,
        ..
    } = context;
    tx.rollback().await?;
    let (checks, breaks) = findings.finish(options.max_breaks);
    Ok(Report {
        snapshot_at: mark.at,
        block,
        checks,
        breaks,
    })
}
