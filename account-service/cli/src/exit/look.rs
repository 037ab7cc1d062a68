//! What the chain says about a channel at one block.

use crate::dispute::history;
use crate::dispute::material::Material;
use chain::{At, Block, Chain, ChainError, ChainLog, ChannelView, Ending, HubView, LogBody};
use chain::{PendingView, SettledLocks, record};
use hub_core::dispute::Dispute;
use hub_core::lock::{Lock, LockKind};
use hub_core::{Address, Amount, ChannelId, Epoch, Hash32};
use std::collections::HashMap;

/// What there is to know.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The newest block: its time is the only clock that counts.
    pub head: Block,
    /// The channel.
    pub view: ChannelView,
    /// The running dispute.
    pub dispute: Option<Dispute>,
    /// How the epoch of the proof was settled.
    pub settled: Option<Ending>,
    /// What that epoch still has to pay.
    pub pending: PendingView,
    /// Its lock list, when it is one of the proof's.
    pub list: Option<SettledLocks>,
    /// What the chain knows of the locks: time of a preimage, granules of an order; 0 nothing.
    pub evidence: HashMap<Hash32, u64>,
    /// By book and beneficiary of cover locks: what was paid out of this list.
    pub cashed: HashMap<(Hash32, Address), Amount>,
    /// The hub.
    pub hub: HubView,
    /// Whether the hub lets its signer sign.
    pub signer_known: bool,
    /// What waits for the payout address after payouts that failed.
    pub reclaimable: Amount,
    /// Logs of the channel since it was closed, oldest first.
    pub logs: Vec<ChainLog>,
}

impl Sight {
    /// Time of the newest block, Unix seconds.
    pub fn now(&self) -> u64 {
        self.head.timestamp
    }

    /// What the chain knows of a lock.
    pub fn evidence(&self, lock: &Lock) -> u64 {
        self.evidence
            .get(&lock.condition)
            .copied()
            .unwrap_or_default()
    }
}

/// Looks, everything at one block.
///
/// # Errors
/// [`ChainError`] when the node does not answer or has no history.
pub async fn look(chain: &Chain, material: &Material) -> Result<Sight, ChainError> {
    let head = chain.node().head().await?;
    let at = At::Block(head.number);
    let (id, epoch) = (material.channel_id(), material.state().epoch);
    let view = chain.channel(id, at).await?;
    let pending = chain.pending(id, epoch, at).await?;
    let touched = view.closing || view.epoch > epoch;
    let logs = if touched {
        history::since_close(chain, id, view.epoch.min(epoch), head.number).await?
    } else {
        Vec::new()
    };
    let bodies = || logs.iter().map(|log| &log.body);
    let dispute = bodies().fold(None, |now, log| record::advance(now, id, log));
    let settled = bodies().find_map(|log| match log {
        LogBody::Settled {
            epoch: of, paid, ..
        } if *of == epoch => Some(*paid),
        _ => None,
    });
    let mut cashed = HashMap::new();
    let list = settled
        .as_ref()
        .map(|paid| {
            let start = SettledLocks::new(material.locks.clone(), paid.lock_reserve);
            bodies().fold(start, |list, log| {
                note_cashed(&mut cashed, &list, (id, epoch), log);
                list.advance(id, epoch, log)
            })
        })
        .filter(|list| record::lock_list_hash(&list.list) == pending.lock_list);
    let params = &material.params;
    Ok(Sight {
        head,
        view,
        dispute: dispute.filter(|told| record::dispute_hash(told) == view.dispute_hash),
        settled,
        pending,
        list,
        evidence: evidence(chain, &material.locks, at).await?,
        cashed,
        hub: chain.hub(params.hub, at).await?,
        signer_known: chain.is_hub_signer(params.hub, params.hub_signer).await?,
        reclaimable: chain.reclaimable(params.user, at).await?,
        logs,
    })
}

/// Adds what a log says of a cheque; its lock is in the list as it was before.
fn note_cashed(
    cashed: &mut HashMap<(Hash32, Address), Amount>,
    list: &SettledLocks,
    of: (ChannelId, Epoch),
    log: &LogBody,
) {
    let LogBody::ChequeCashed {
        channel_id,
        epoch,
        beneficiary,
        index,
        amount,
        ..
    } = log
    else {
        return;
    };
    if let Some(lock) = list
        .locks
        .get(*index)
        .filter(|_| (*channel_id, *epoch) == of)
    {
        let had = cashed.entry((lock.condition, *beneficiary)).or_default();
        *had = had.checked_add(*amount).unwrap_or(Amount::MAX);
    }
}

async fn evidence(
    chain: &Chain,
    locks: &[Lock],
    at: At,
) -> Result<HashMap<Hash32, u64>, ChainError> {
    let mut known = HashMap::new();
    for lock in locks {
        let of = lock.condition;
        let found = match lock.kind {
            LockKind::Hash => chain.preimage_time(of, at).await?.unwrap_or_default(),
            LockKind::Metered => chain.delivered(of, at).await?,
            LockKind::Cover => 0,
        };
        known.insert(of, found);
    }
    Ok(known)
}
