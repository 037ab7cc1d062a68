//! What a stolen account-service can create out of abandoned batches, and `burn_limit` (P11).
//!
//! The attacker has the custody key. It lets the hub sign batches on the same bases, completes
//! none, and in the end completes all at once: of each channel the highest version counts.

use super::hub::{Hub, fold};
use crate::rng::Rng;
use crate::setting::{Found, Violation};
use hub_core::{Action, Amount, ChannelId, Operation, OperationId, State};
use std::collections::BTreeMap;

const CHANNELS: u8 = 6;
const BALANCE: u128 = 500;
const LIMIT: u128 = 300;

/// One attack; the planted bug is a hub that does not count.
pub fn run(counts: bool, seed: u64) -> Found {
    let mut rng = Rng::new(seed);
    let mut found = Found::default();
    let mut hub = Hub::default();
    let mut bases = Vec::new();
    for n in 1..=CHANNELS {
        let mut state = State::null(ChannelId([n; 32]), 0, Amount::new(2 * BALANCE));
        state.version = 1;
        state.user_balance = Amount::new(BALANCE);
        state.hub_balance = Amount::new(BALANCE);
        hub.heads.insert(state.channel_id, (state, 1));
        bases.push(state);
    }
    let mut increases: BTreeMap<ChannelId, u128> = BTreeMap::new();
    for request in 0..rng.between(2, 25) {
        let operation = transfer(&mut rng, &bases, request);
        let pair: Vec<_> = operation
            .action
            .legs()
            .map(|(channel, ..)| channel)
            .collect();
        let touched: Vec<_> = bases
            .iter()
            .filter(|base| pair.contains(&base.channel_id))
            .copied()
            .collect();
        let used = |channel: &ChannelId| hub.heads.get(channel).map_or(0, |(_, max)| *max);
        let Some(states) = fold(&touched, &[operation], used) else {
            continue;
        };
        let mut next = increases.clone();
        for (base, state) in touched.iter().zip(&states) {
            let gain = state.user_balance.less(base.user_balance).units();
            let most = next.entry(base.channel_id).or_default();
            *most = gain.max(*most);
        }
        if counts && next.values().sum::<u128>() > LIMIT {
            found.saw("refused above the limit");
            continue;
        }
        if hub.sign(request, &touched, &states, &[operation]).is_ok() {
            increases = next;
        }
    }
    let created = created(&hub, &bases);
    if created > 0 {
        found.saw("something created");
    }
    found.require(
        created <= i128::try_from(LIMIT).unwrap_or(0),
        Violation::BurnLimitPassed,
    );
    found
}

fn transfer(rng: &mut Rng, bases: &[State], request: u64) -> Operation {
    let payer = rng.index(bases.len());
    let payee = (payer + 1 + rng.index(bases.len() - 1)) % bases.len();
    Operation {
        id: OperationId(u128::from(request + 1).to_be_bytes()),
        action: Action::Transfer {
            payer: bases[payer].channel_id,
            payee: bases[payee].channel_id,
            amount: Amount::new(u128::from(rng.between(1, 200))),
        },
    }
}

/// What all batches together are worth when each is completed, above what there was.
fn created(hub: &Hub, bases: &[State]) -> i128 {
    let mut newest: BTreeMap<ChannelId, State> = BTreeMap::new();
    for entry in hub.journal.values() {
        for state in &entry.states {
            let best = newest.entry(state.channel_id).or_insert(*state);
            // The attacker leaves out what lowers a channel: it completes what it likes.
            if state.user_balance > best.user_balance {
                *best = *state;
            }
        }
    }
    let gain = |base: &State| {
        let state = newest.get(&base.channel_id)?;
        state.entitlement()?.checked_sub(base.entitlement()?)
    };
    bases.iter().filter_map(gain).filter(|gain| *gain > 0).sum()
}
