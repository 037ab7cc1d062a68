//! The hub of the engine: its heads, its journal, what it signs.

use hub_core::rules::{check_conservation, check_successor};
use hub_core::{Amount, ChannelId, Facts, Fold, Hash32, Operation, State, Typed as _, Version};
use std::collections::BTreeMap;

/// Versions a restored hub skips.
pub const JUMP: Version = 1 << 32;

/// What the hub's database holds.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    /// By channel: the newest state with both signatures, and the highest version signed.
    pub heads: BTreeMap<ChannelId, (State, Version)>,
    /// By batch: request, states, operations, and whether the custody signature is stored.
    pub journal: BTreeMap<u64, Entry>,
}

/// One signed batch.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose request it answers.
    pub request: u64,
    /// The states, in channel id order.
    pub states: Vec<State>,
    /// What made them.
    pub operations: Vec<Operation>,
    /// Whether the custody signature is here.
    pub completed: bool,
}

/// Why the hub does not sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Versions used: the highest, by channel.
    VersionUsed(Vec<(ChannelId, Version)>),
    /// Bases that are not held here.
    BaseUnknown,
    /// The hub holds something newer: the account side lost it.
    BaseBehind,
    /// A rule.
    Rule,
}

impl Hub {
    /// Signs a batch, or says why not. The same request gets the same answer.
    pub fn sign(
        &mut self,
        request: u64,
        bases: &[State],
        states: &[State],
        operations: &[Operation],
    ) -> Result<u64, Refused> {
        let mut known = self.journal.iter();
        if let Some((batch, _)) = known.find(|(_, entry)| entry.request == request) {
            return Ok(*batch);
        }
        let mut used = Vec::new();
        for (base, next) in bases.iter().zip(states) {
            let (held, max_signed) = self.heads.get(&base.channel_id).ok_or(Refused::Rule)?;
            if base.version > held.version {
                return Err(Refused::BaseUnknown);
            }
            if base.version < held.version || base.hash_struct() != held.hash_struct() {
                return Err(Refused::BaseBehind);
            }
            if next.version <= *max_signed {
                used.push((base.channel_id, *max_signed));
                continue;
            }
            let capacity = base.total().unwrap_or(Amount::ZERO);
            check_successor(base, next, *max_signed, capacity, &Facts::default())
                .map_err(|_| Refused::Rule)?;
        }
        if !used.is_empty() {
            return Err(Refused::VersionUsed(used));
        }
        self.derive(bases, states, operations)?;
        for state in states {
            if let Some((_, max_signed)) = self.heads.get_mut(&state.channel_id) {
                *max_signed = state.version;
            }
        }
        let batch = self
            .journal
            .keys()
            .next_back()
            .map_or(1, |newest| newest + 1);
        let entry = Entry {
            request,
            states: states.to_vec(),
            operations: operations.to_vec(),
            completed: false,
        };
        self.journal.insert(batch, entry);
        Ok(batch)
    }

    /// The hub says for itself what the operations lead to.
    fn derive(
        &self,
        bases: &[State],
        states: &[State],
        operations: &[Operation],
    ) -> Result<(), Refused> {
        let derived = fold(bases, operations, |channel| {
            let state = states.iter().find(|state| state.channel_id == *channel);
            state.map_or(0, |state| state.version - 1)
        });
        if derived.as_deref() != Some(states) {
            return Err(Refused::Rule);
        }
        check_conservation(bases.iter().zip(states), operations).map_err(|_| Refused::Rule)
    }

    /// Stores the custody signature of a batch.
    pub fn complete(&mut self, batch: u64) {
        let Some(entry) = self.journal.get_mut(&batch) else {
            return;
        };
        entry.completed = true;
        for state in &entry.states {
            if let Some((held, _)) = self.heads.get_mut(&state.channel_id)
                && held.version < state.version
            {
                *held = *state;
            }
        }
    }

    /// Takes over a state with both signatures and jumps above everything it implies (N5).
    pub fn import(&mut self, state: &State) {
        if let Some((held, max_signed)) = self.heads.get_mut(&state.channel_id) {
            if state.version > held.version {
                *held = *state;
            }
            *max_signed = (*max_signed).max(state.version) + JUMP;
        }
    }
}

/// New states of the bases that the operations touch, in channel id order.
pub fn fold(
    bases: &[State],
    operations: &[Operation],
    used: impl Fn(&ChannelId) -> Version,
) -> Option<Vec<State>> {
    let mut fold = Fold::new();
    for base in bases {
        fold.insert(*base, Facts::default());
    }
    for operation in operations {
        fold.apply(&super::world::DOMAIN, operation).ok()?;
    }
    let done = fold.finish(used).ok()?;
    Some(done.into_iter().map(|next| next.state).collect())
}

/// Hashes by channel and version: two contents of one version are found by it.
pub type Contents = BTreeMap<(ChannelId, Version), Hash32>;
