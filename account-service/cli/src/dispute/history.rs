//! What the chain says happened, also on nodes that answer only for some blocks at a time.

use anyhow::Context as _;
use chain::{At, Chain, ChainError, ChainLog, LogBody, Node};
use hub_core::{ChannelId, Epoch};

/// Blocks asked for at once when a node refuses the whole range; public nodes allow 500 to
/// 10,000.
const STEP: u64 = 500;

/// All logs of a range of blocks, oldest first. `of` narrows them to one channel.
///
/// # Errors
/// The node refuses even a short range, or does not answer.
pub async fn logs(
    chain: &Chain,
    of: Option<ChannelId>,
    from: u64,
    to: u64,
) -> Result<Vec<ChainLog>, ChainError> {
    match ask(chain, of, from, to).await {
        Err(ChainError::Refused { .. }) if to.saturating_sub(from) >= STEP => {}
        answer => return answer,
    }
    let mut all = Vec::new();
    let mut next = from;
    while next <= to {
        let last = (next + STEP - 1).min(to);
        all.extend(ask(chain, of, next, last).await?);
        next = last + 1;
    }
    Ok(all)
}

async fn ask(
    chain: &Chain,
    of: Option<ChannelId>,
    from: u64,
    to: u64,
) -> Result<Vec<ChainLog>, ChainError> {
    match of {
        Some(id) => chain.channel_logs(id, from, to).await,
        None => chain.logs(from, to).await,
    }
}

/// The newest logs of a channel, oldest first, from the close of `epoch` on; all there are when it
/// was not closed. `head` is the newest block.
///
/// # Errors
/// As [`logs`].
pub async fn since_close(
    chain: &Chain,
    id: ChannelId,
    epoch: Epoch,
    head: u64,
) -> Result<Vec<ChainLog>, ChainError> {
    match ask(chain, Some(id), 0, head).await {
        Ok(logs) => return Ok(from_close(logs, epoch)),
        Err(ChainError::Refused { .. }) if head >= STEP => {}
        Err(error) => return Err(error),
    }
    // From the newest block backwards, until the close is there.
    let (mut found, mut to) = (Vec::new(), head);
    loop {
        let from = to.saturating_sub(STEP - 1);
        let mut part = ask(chain, Some(id), from, to).await?;
        part.append(&mut found);
        found = part;
        if from == 0 || found.iter().any(|log| closes(&log.body, epoch)) {
            return Ok(from_close(found, epoch));
        }
        to = from - 1;
    }
}

fn closes(log: &LogBody, epoch: Epoch) -> bool {
    matches!(log, LogBody::Closed { state, .. } if state.epoch == epoch)
}

fn from_close(mut logs: Vec<ChainLog>, epoch: Epoch) -> Vec<ChainLog> {
    let start = logs.iter().position(|log| closes(&log.body, epoch));
    logs.split_off(start.unwrap_or(0))
}

/// The first block that is not older than a time (Unix seconds); the newest when all are.
///
/// # Errors
/// The node does not answer, or has lost blocks.
pub async fn block_at(node: &Node, time: u64) -> anyhow::Result<u64> {
    let head = node.head().await?;
    let (mut low, mut high) = (0, head.number);
    while low < high {
        let middle = low + (high - low) / 2;
        let block = node.block(At::Block(middle)).await?;
        let block = block.with_context(|| format!("the node has no block {middle}"))?;
        if block.timestamp < time {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
