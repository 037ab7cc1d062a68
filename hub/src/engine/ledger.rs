//! What the hub's one process keeps in memory: sums that no row holds, and rows read before.
//!
//! Everything in it follows from committed rows. Whenever an outcome in the database is not
//! known, it is dropped and read anew.

use super::decide::Plan;
use super::head::{ChannelFacts, Head};
use super::heads::Heads;
use super::limits;
use crate::store::journal::StoredFate;
use hub_client::BatchMark;
use hub_core::{Amount, ChannelId, Facts, State, Version};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use time::OffsetDateTime;

/// A batch whose fate the hub doesn't know.
#[derive(Debug, Clone, Default)]
pub struct OpenBatch {
    /// What its signature covers.
    pub seal: Seal,
    /// Its channels, without those in which something newer was signed.
    pub entries: HashMap<ChannelId, Entry>,
    /// Whether a newer state was signed past one of its states, or one of its bases is not the
    /// held state any more: its commit must be checked channel by channel.
    pub suspect: bool,
    /// Whether all of it counts as abandoned.
    pub abandoned: bool,
}

impl OpenBatch {
    fn abandon(&mut self, abandoned: &mut HashMap<ChannelId, Amount>) {
        self.abandoned = true;
        for (channel, entry) in &self.entries {
            abandon(abandoned, channel, entry);
        }
    }
}

/// The fields of a `StateBatch` beside the hub's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seal {
    /// Root over the states.
    pub root: hub_core::Hash32,
    /// Levels of the tree.
    pub depth: u8,
    /// Root of the batch before.
    pub prev_root: hub_core::Hash32,
}

/// A channel's part in an open batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// By how much the channel's worst entitlement falls when the batch is committed.
    pub release: i128,
    /// The most that a half-signed state gives beyond the held one.
    pub pending: Amount,
}

/// Final facts about the chain as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChainMark {
    /// Number of the newest final block.
    pub block: u64,
    /// Its time, Unix seconds.
    pub timestamp: u64,
    /// What the hub's vault holds beyond what the hub owes, in minor units.
    pub vault: Amount,
    /// Events taken in, as the worker counts them.
    pub events: u64,
}

/// Issuances of the last 60 minutes, with their sum.
#[derive(Debug, Default)]
pub struct Issued {
    batches: VecDeque<(OffsetDateTime, Amount)>,
    total: Amount,
}

impl Issued {
    /// Adds what a batch issued.
    pub fn add(&mut self, at: OffsetDateTime, amount: Amount) {
        if !amount.is_zero() {
            self.batches.push_back((at, amount));
            self.total = self.total.checked_add(amount).unwrap_or(Amount::MAX);
        }
    }

    /// What was issued in the 60 minutes before `now`.
    pub fn total(&mut self, now: OffsetDateTime) -> Amount {
        while let Some((at, amount)) = self.batches.front()
            && *at + limits::ISSUE_WINDOW <= now
        {
            self.total = self.total.less(*amount);
            self.batches.pop_front();
        }
        self.total
    }
}

/// The memory.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Of the rows this was read from.
    pub generation: i64,
    /// The newest batch.
    pub newest: BatchMark,
    /// No batch up to here will be made any more.
    pub floor: u64,
    /// No version up to here is signed in a channel that is not known.
    pub version_floor: Version,
    /// Why nothing is signed, if so.
    pub fence: Option<String>,
    /// Intact heads read or written before.
    pub heads: Heads,
    /// Batches without a fate.
    pub open: BTreeMap<u64, OpenBatch>,
    /// The newest fates: a batch under way may bring those that came with the one before it.
    pub told: BTreeMap<u64, StoredFate>,
    /// Channels that the chain knows something of.
    pub facts: HashMap<ChannelId, ChannelFacts>,
    /// The chain.
    pub chain: ChainMark,
    /// Sum of all channels' worst claims on the vault (P4).
    pub liabilities: i128,
    /// Issuances of the last 60 minutes.
    pub issued: Issued,
    /// What abandoned batches could yield, by channel (P11).
    pub abandoned: HashMap<ChannelId, Amount>,
    /// Channels whose head is of an epoch that the chain has settled.
    pub behind: HashSet<ChannelId>,
}

impl Ledger {
    /// What the vault still covers: vault less what is owed, less every channel's worst claim (P4).
    /// Collateral is left out. It pays for one channel only, so that counting it could promise to
    /// others what they can't draw on; without it this is never more than P4 allows.
    pub fn headroom(&self) -> Amount {
        let vault = i128::try_from(self.chain.vault.units()).unwrap_or(i128::MAX);
        let left = vault.saturating_sub(self.liabilities).max(0);
        Amount::new(u128::try_from(left).unwrap_or(0))
    }

    /// All batches up to this one have a fate.
    pub fn low_water(&self) -> u64 {
        match self.open.keys().next() {
            Some(first) => first - 1,
            None => self.newest.batch_id,
        }
    }

    /// The number of the next batch.
    pub fn next_batch(&self) -> Option<u64> {
        self.newest.batch_id.max(self.floor).checked_add(1)
    }

    /// What abandoned batches could yield in all.
    pub fn abandoned_total(&self) -> Amount {
        Amount::sum(self.abandoned.values().copied()).unwrap_or(Amount::MAX)
    }

    /// A channel's facts for the machine.
    pub fn facts_of(&self, channel: &ChannelId) -> Facts {
        let facts = self.facts.get(channel).copied().unwrap_or_default();
        let facts = facts.at(self.chain.timestamp);
        Facts {
            closing: facts.closing || self.behind.contains(channel),
            ..facts
        }
    }

    /// Takes in a batch that was just committed to the journal.
    pub fn signed(
        &mut self,
        batch_id: u64,
        plan: &Plan,
        prev_root: hub_core::Hash32,
        now: OffsetDateTime,
    ) {
        let mut entries = HashMap::with_capacity(plan.moves.len());
        for step in &plan.moves {
            let head = Head {
                signed_batch: batch_id,
                ..step.after
            };
            let channel = head.signed.channel_id;
            let claim = self.facts.get(&channel).and_then(ChannelFacts::claim);
            let before = match &step.before {
                Some(before) => before.worst().unwrap_or(0),
                // The facts of a channel count from its opening on.
                None => -claim.unwrap_or(0),
            };
            if let Some(before) = step.before.filter(|head| !head.committed) {
                self.pass_over(before.signed_batch, channel);
            }
            // The plan was refused if one of these did not fit.
            let worst = head.worst().unwrap_or(0);
            self.liabilities += worst - before;
            entries.insert(
                channel,
                Entry {
                    release: worst - head.signed.entitlement().unwrap_or(0),
                    pending: head.pending(),
                },
            );
            self.heads.insert(head);
        }
        let seal = Seal {
            root: plan.root,
            depth: plan.depth,
            prev_root,
        };
        let batch = OpenBatch {
            seal,
            entries,
            ..OpenBatch::default()
        };
        self.open.insert(batch_id, batch);
        self.newest = BatchMark {
            batch_id,
            root: plan.root,
        };
        self.issued.add(now, plan.issued);
        self.abandon_old();
    }

    /// A newer state is signed past the one this batch has of the channel. What the batch gives
    /// others may now be had without what it takes: all of it counts as abandoned.
    pub fn pass_over(&mut self, batch_id: u64, channel: ChannelId) {
        let Some(batch) = self.open.get_mut(&batch_id) else {
            return;
        };
        batch.suspect = true;
        batch.abandon(&mut self.abandoned);
        batch.entries.remove(&channel);
    }

    fn abandon_old(&mut self) {
        let old = self.newest.batch_id.saturating_sub(limits::ABANDONED_AFTER);
        let old = self.open.range_mut(..old).rev();
        for (_, batch) in old.take_while(|(_, batch)| !batch.abandoned) {
            batch.abandon(&mut self.abandoned);
        }
    }

    /// Remembers a fate that is stored.
    pub fn tell(&mut self, batch_id: u64, fate: StoredFate) {
        self.told.insert(batch_id, fate);
        if self.told.len() > limits::TOLD_FATES {
            self.told.pop_first();
        }
    }

    /// Takes in that a batch is committed. Its channels' held states are its own from now on.
    pub fn committed(&mut self, batch_id: u64) {
        let Some(batch) = self.open.remove(&batch_id) else {
            return;
        };
        for (channel, entry) in batch.entries {
            self.liabilities -= entry.release;
            self.abandoned.remove(&channel);
            self.heads.commit(&channel, batch_id);
        }
    }

    /// Takes in that a batch will never be committed. What it could yield stays counted until
    /// newer states are completed.
    pub fn burned(&mut self, batch_id: u64) {
        if let Some(mut batch) = self.open.remove(&batch_id) {
            batch.abandon(&mut self.abandoned);
        }
    }

    /// Moves a channel's held state up to one whose batch was committed after a newer state had
    /// been signed past it. Returns the new head.
    pub fn move_held(&mut self, head: &Head, state: State, batch_id: u64) -> Option<Head> {
        let gained = state
            .entitlement()?
            .checked_sub(head.below.entitlement()?)?;
        let pending = i128::try_from(head.pending_increase.units()).ok()?;
        let left = u128::try_from(pending.checked_sub(gained)?.max(0)).ok()?;
        let moved = Head {
            below: state,
            below_batch: batch_id,
            pending_increase: Amount::new(left),
            ..*head
        };
        let channel = state.channel_id;
        self.liabilities += moved.worst()? - head.worst()?;
        self.abandoned.remove(&channel);
        let entry = Entry {
            release: moved.worst()? - moved.signed.entitlement()?,
            pending: moved.pending(),
        };
        abandon(&mut self.abandoned, &channel, &entry);
        if let Some(above) = self.open.get_mut(&head.signed_batch) {
            above.suspect = true;
            above.entries.insert(channel, entry);
        }
        self.heads.insert(moved);
        Some(moved)
    }

    /// Drops a channel's part in a batch: its epoch is over.
    pub fn forget(&mut self, batch_id: u64, channel: ChannelId) {
        self.abandoned.remove(&channel);
        if let Some(batch) = self.open.get_mut(&batch_id) {
            batch.suspect = true;
            batch.entries.remove(&channel);
        }
    }

    /// Batches that are asked for before more is signed, when too many have no fate.
    pub fn overdue(&self) -> Option<Vec<u64>> {
        (self.open.len() >= limits::OPEN_BATCHES).then(|| self.open.keys().copied().collect())
    }

    /// The channels of which nothing is remembered.
    pub fn missing(&self, channels: impl Iterator<Item = ChannelId>) -> Vec<ChannelId> {
        let mut missing: HashSet<_> = channels.collect();
        missing.retain(|channel| !self.heads.contains(channel));
        missing.into_iter().collect()
    }
}

fn abandon(abandoned: &mut HashMap<ChannelId, Amount>, channel: &ChannelId, entry: &Entry) {
    if !entry.pending.is_zero() {
        let counted = abandoned.entry(*channel).or_default();
        *counted = entry.pending.max(*counted);
    }
}
