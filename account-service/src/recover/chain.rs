//! What the chain tells again: deposits and payouts that were reported to a database that is gone.

use super::lines::PaidIn;
use crate::store::settlement::DepositLog;
use anyhow::Context as _;
use chain::{Chain, LogBody, Node};
use hub_core::{Address, Amount, ChannelId, Hash32};
use sqlx::PgPool;
use std::collections::HashMap;
use uuid::Uuid;

/// Blocks of one question: nodes answer for some thousands.
const BLOCKS: u64 = 1_000;

/// A payout at a final block.
#[derive(Debug, Clone, Copy)]
pub struct PaidOut {
    /// The channel.
    pub channel: ChannelId,
    /// Its epoch.
    pub epoch: u32,
    /// The withdrawal order.
    pub request_id: Hash32,
    /// All that was paid out in the epoch, in minor units.
    pub total: Amount,
    /// The transaction.
    pub tx_hash: Hash32,
}

/// What happened at final blocks, in the order of the chain.
#[derive(Debug, Default)]
pub struct Told {
    /// Deposits by channel.
    pub paid_in: HashMap<ChannelId, Vec<PaidIn>>,
    /// Payouts.
    pub paid_out: Vec<PaidOut>,
}

/// Where the chain is read.
#[derive(Debug, Clone)]
pub struct Place {
    /// URL of the node.
    pub rpc: String,
    /// The ERC20.
    pub token: Address,
    /// The channel contract.
    pub channels: Address,
    /// The first block.
    pub from: u64,
    /// Blocks on top of one that is final.
    pub confirmations: u64,
}

/// Reads what happened to the channels of a hub.
pub async fn read(place: &Place, hub: Address) -> anyhow::Result<Told> {
    let node = Node::new(&place.rpc)?;
    let chain = Chain::connect(node, place.token, place.channels).await?;
    let head = chain.node().head().await?.number;
    let last = head.saturating_sub(place.confirmations);
    let mut told = Told::default();
    let mut from = place.from;
    while from <= last {
        let to = last.min(from.saturating_add(BLOCKS - 1));
        for log in chain.logs(from, to).await.context("reading the chain")? {
            let at = log.place;
            match log.body {
                LogBody::Deposited {
                    hub: of,
                    channel_id,
                    epoch,
                    amount,
                    total,
                } if of == hub => {
                    let log = DepositLog {
                        channel: channel_id,
                        epoch,
                        amount,
                        status: 2,
                        block: at.block,
                        block_hash: at.block_hash,
                        tx_hash: at.tx_hash,
                        log_index: at.log_index,
                    };
                    let of_channel = told.paid_in.entry(channel_id).or_default();
                    of_channel.push(PaidIn { log, total });
                }
                LogBody::Withdrawn {
                    hub: of,
                    channel_id,
                    epoch,
                    request_id,
                    total,
                    ..
                } if of == hub => told.paid_out.push(PaidOut {
                    channel: channel_id,
                    epoch,
                    request_id,
                    total,
                    tx_hash: at.tx_hash,
                }),
                _ => {}
            }
        }
        from = to + 1;
    }
    Ok(told)
}

/// Notes all of it; what was noted before stays as it is.
pub async fn note(pool: &PgPool, place: &Place, told: &Told) -> sqlx::Result<()> {
    use crate::store::settlement::{self, Payment};
    let now = runtime::clock::now();
    for paid in told.paid_in.values().flatten() {
        let mut tx = pool.begin().await?;
        let (log, total) = (&paid.log, paid.total);
        settlement::set_deposits(&mut tx, log.channel, log.epoch, total, Some(total)).await?;
        settlement::note_deposit(&mut tx, Uuid::now_v7(), log, now).await?;
        tx.commit().await?;
    }
    for paid in &told.paid_out {
        let mut tx = pool.begin().await?;
        settlement::raise_executed(&mut tx, paid.channel, paid.epoch, paid.total).await?;
        if let Some(id) = settlement::order_of(paid.request_id) {
            let payment = Payment {
                id,
                tx_hash: paid.tx_hash,
                confirmations: place.confirmations + 1,
                status: 5,
            };
            settlement::progress(&mut tx, payment, now).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}
