//! Follows our own transactions. Only a receipt in a final block, or a final block whose nonce is
//! past them, decides their fate.

use crate::error::StepError;
use crate::finality;
use crate::store::commands;
use crate::store::cursor::{self, Cursor};
use crate::store::transactions::{self, Kind, Open, Status};
use crate::worker::{Lead, Memory, Worker};
use chain::{At, Receipt};
use hub_core::{Address, Hash32};
use std::collections::HashMap;

/// Looks at every transaction that is not final.
///
/// # Errors
/// As the node and the database fail; what was found before is kept.
pub async fn step(worker: &Worker, lead: Lead, _memory: &mut Memory) -> Result<(), StepError> {
    let Some(cursor) = cursor::load(&worker.pool).await? else {
        return Ok(());
    };
    let open = {
        let mut db = worker.pool.acquire().await?;
        transactions::open(&mut db).await?
    };
    let mut mined_below: HashMap<Address, u64> = HashMap::new();
    for hub in &worker.hubs {
        let sender = hub.address();
        if open.iter().any(|tx| tx.sender == sender) {
            let nonce = worker.chain.node().nonce(sender, At::Latest).await?;
            mined_below.insert(sender, nonce);
        }
    }
    show(worker, &open, &mined_below);
    for tx in &open {
        let below = mined_below.get(&tx.sender).copied().unwrap_or_default();
        if tx.status == Status::Mined || tx.nonce < below {
            follow(worker, lead, &cursor, tx).await?;
        }
    }
    Ok(())
}

fn show(worker: &Worker, open: &[Open], mined_below: &HashMap<Address, u64>) {
    let is_unmined = |tx: &&Open| tx.status < Status::Mined;
    let pending = open.iter().filter(is_unmined).count();
    worker
        .metrics
        .pending
        .set(pending.try_into().unwrap_or(i64::MAX));
    let gap = mined_below.iter().map(|(sender, below)| {
        let lowest = open
            .iter()
            .filter(is_unmined)
            .find(|tx| tx.sender == *sender);
        lowest.map_or(0, |tx| tx.nonce.saturating_sub(*below))
    });
    let gap = gap.max().unwrap_or(0);
    worker
        .metrics
        .nonce_gap
        .set(gap.try_into().unwrap_or(i64::MAX));
}

async fn follow(worker: &Worker, lead: Lead, cursor: &Cursor, tx: &Open) -> Result<(), StepError> {
    let node = worker.chain.node();
    for attempt in tx.attempts.iter().rev() {
        let hash = attempt.signed.hash;
        if let Some(receipt) = node.receipt(hash).await? {
            return mined(worker, lead, cursor, tx, hash, &receipt).await;
        }
    }
    let slot = (tx.sender, tx.nonce);
    let now = runtime::clock::now();
    if tx.status == Status::Mined {
        tracing::warn!(
            correlation_id = tx.correlation_id,
            nonce = tx.nonce,
            "its block was orphaned"
        );
        count(worker, tx.kind, "unmined");
        let mut db = worker.begin(lead).await?;
        transactions::mark_unmined(&mut db, slot, Status::Broadcast, now).await?;
        return Ok(db.commit().await?);
    }
    let passed = node.nonce(tx.sender, At::Block(cursor.finalized)).await?;
    if passed <= tx.nonce {
        return Ok(());
    }
    // Final, and none of ours: somebody else uses this key.
    tracing::error!(
        correlation_id = tx.correlation_id,
        sender = %tx.sender,
        nonce = tx.nonce,
        "another transaction took the nonce; who else has this key?"
    );
    count(worker, tx.kind, "displaced");
    let mut db = worker.begin(lead).await?;
    for command in commands::carried(&mut *db, tx.sender, tx.nonce).await? {
        finality::again(worker, &mut db, tx.kind.name(), &command, "displaced", now).await?;
    }
    transactions::mark_unmined(&mut db, slot, Status::Displaced, now).await?;
    Ok(db.commit().await?)
}

async fn mined(
    worker: &Worker,
    lead: Lead,
    cursor: &Cursor,
    tx: &Open,
    hash: Hash32,
    receipt: &Receipt,
) -> Result<(), StepError> {
    let is_final = receipt.block <= cursor.finalized;
    if !is_final && tx.block == Some((receipt.block, receipt.block_hash)) {
        return Ok(());
    }
    let block = worker.chain.node().block(At::Block(receipt.block)).await?;
    if block.is_none_or(|block| block.hash != receipt.block_hash) {
        return Err(StepError::Moving(format!(
            "a receipt names another block {}",
            receipt.block
        )));
    }
    let (status, outcome) = match (is_final, receipt.success) {
        (false, _) => (Status::Mined, "mined"),
        (true, true) => (Status::Final, "final"),
        (true, false) => (Status::Failed, "failed"),
    };
    let now = runtime::clock::now();
    let mut db = worker.begin(lead).await?;
    transactions::mark_mined(&mut db, (tx.sender, tx.nonce), status, (hash, receipt), now).await?;
    match status {
        Status::Final if tx.kind == Kind::Fund => {
            for command in commands::carried(&mut *db, tx.sender, tx.nonce).await? {
                commands::done(&mut db, command.id, now).await?;
                worker.count_command("fund_vault", "done");
            }
        }
        Status::Final if tx.kind == Kind::Close => {
            let (done, refused) = commands::end_closes(&mut db, tx.sender, tx.nonce, now).await?;
            for (count, outcome) in [(done, "done"), (refused, "failed")] {
                for _ in 0..count {
                    worker.count_command("close", outcome);
                }
            }
        }
        Status::Failed => {
            for command in commands::carried(&mut *db, tx.sender, tx.nonce).await? {
                let kind = tx.kind.name();
                finality::again(worker, &mut db, kind, &command, "reverted", now).await?;
            }
        }
        // Withdrawals are decided by their logs.
        _ => {}
    }
    db.commit().await?;
    count(worker, tx.kind, outcome);
    if is_final {
        let gas = worker.metrics.gas_used.with_label_values(&[tx.kind.name()]);
        gas.inc_by(receipt.gas_used);
    }
    tracing::info!(
        correlation_id = tx.correlation_id,
        tx_hash = %hash,
        nonce = tx.nonce,
        block = receipt.block,
        kind = tx.kind.name(),
        outcome,
        "own transaction"
    );
    Ok(())
}

/// Counts what became of a transaction.
pub fn count(worker: &Worker, kind: Kind, outcome: &str) {
    let labels = [kind.name(), outcome];
    worker.metrics.transactions.with_label_values(&labels).inc();
}
