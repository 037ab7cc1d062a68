//! What operations add up to, account by account and hub by hub, while they pass.

use super::legs;
use crate::store::journal::Totals;
use crate::store::operations::{Carried, Operation, Side};
use hub_core::{Amount, ChannelId};
use indexmap::IndexMap;
use std::collections::HashMap;
use uuid::Uuid;

/// The channel of each account. With its [`Sum`] some 130 bytes an account.
#[derive(Debug, Default)]
pub struct Accounts(IndexMap<Uuid, ChannelId, foldhash::fast::RandomState>);

impl Accounts {
    /// Room for so many.
    pub fn with_capacity(accounts: usize) -> Self {
        Self(IndexMap::with_capacity_and_hasher(
            accounts,
            foldhash::fast::RandomState::default(),
        ))
    }

    /// Notes an account.
    pub fn add(&mut self, account: Uuid, channel: ChannelId) {
        self.0.insert(account, channel);
    }

    fn find(&self, account: Uuid) -> (Owner, Option<ChannelId>) {
        match self.0.get_full(&account) {
            Some((at, _, channel)) => (Owner::Known(at), Some(*channel)),
            None => (Owner::Unknown(account), None),
        }
    }
}

/// Whose sum it is.
#[derive(Debug, Clone, Copy)]
enum Owner {
    /// The account at this place.
    Known(usize),
    /// One that has no row.
    Unknown(Uuid),
}

/// What an account's operations add up to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    /// What came in, less what went out, in minor units: 128 bits hold the sum of all channels.
    net: i128,
    /// The newest version they are part of, and whether there is one.
    version: i64,
    has_version: bool,
    /// The id of each operation, exclusive-or'd with the one before it.
    thread: u128,
    /// Whether there are any.
    exists: bool,
    /// Whether a head was compared with it.
    is_compared: bool,
}

impl Sum {
    fn add(&mut self, change: &Change) {
        self.exists = true;
        self.net = self.net.saturating_add(change.net);
        self.thread ^= change.thread;
        if let Some(version) = change.version {
            self.version = if self.has_version {
                self.version.max(version)
            } else {
                version
            };
            self.has_version = true;
        }
    }

    /// The sum, unless it is below zero.
    pub fn total(&self) -> Option<Amount> {
        u128::try_from(self.net).ok().map(Amount::new)
    }

    /// The newest operation of the thread, when each of the others comes before another one.
    pub fn newest(&self) -> Uuid {
        Uuid::from_u128(self.thread)
    }

    /// The newest version.
    pub fn version(&self) -> Option<i64> {
        self.has_version.then_some(self.version)
    }
}

/// What an operation does to an account.
#[derive(Debug)]
struct Change {
    owner: Owner,
    net: i128,
    version: Option<i64>,
    thread: u128,
}

/// What operations do to accounts and hubs.
#[derive(Debug, Default)]
pub struct Changes {
    accounts: Vec<Change>,
    hubs: HashMap<(Uuid, i16), Amount>,
}

/// What these operations do, and what they are as parts of states.
pub fn take_apart(
    operations: &[Operation],
    accounts: &Accounts,
) -> (Vec<legs::Operation>, Changes) {
    let mut changes = Changes {
        accounts: Vec::with_capacity(2 * operations.len()),
        hubs: HashMap::new(),
    };
    let parts = operations
        .iter()
        .map(|operation| {
            let total = changes
                .hubs
                .entry((operation.hub_id, operation.kind))
                .or_default();
            *total = added(*total, operation.amount);
            let amount = i128::try_from(operation.amount.units()).unwrap_or(i128::MAX);
            let mut side = |side: Option<Side>, net: i128| {
                side.map(|side| {
                    let (owner, channel) = accounts.find(side.account);
                    changes.accounts.push(Change {
                        owner,
                        net,
                        version: side.version,
                        thread: operation.id.as_u128() ^ side.previous.map_or(0, |id| id.as_u128()),
                    });
                    legs::Side {
                        channel,
                        version: side.version.map(i64::cast_unsigned),
                        balance: side.balance,
                        leaf: side.leaf.map(i32::cast_unsigned),
                    }
                })
            };
            legs::Operation {
                id: operation.id,
                kind: operation.kind,
                amount: operation.amount,
                payer: side(operation.payer, -amount),
                payee: side(operation.payee, amount),
            }
        })
        .collect();
    (parts, changes)
}

fn added(sum: Amount, amount: Amount) -> Amount {
    sum.checked_add(amount).unwrap_or(Amount::MAX)
}

/// The sums.
#[derive(Debug, Default)]
pub struct Ledger {
    known: Vec<Sum>,
    unknown: HashMap<Uuid, Sum>,
    hubs: HashMap<(Uuid, i16), Amount>,
}

impl Ledger {
    /// Nothing yet, of these accounts.
    pub fn of(accounts: &Accounts) -> Self {
        Self {
            known: vec![Sum::default(); accounts.0.len()],
            ..Self::default()
        }
    }

    fn sum(&mut self, owner: Owner) -> &mut Sum {
        match owner {
            Owner::Known(at) => &mut self.known[at],
            Owner::Unknown(account) => self.unknown.entry(account).or_default(),
        }
    }

    /// Takes in what operations do.
    pub fn post(&mut self, changes: Changes) {
        for change in &changes.accounts {
            self.sum(change.owner).add(change);
        }
        for (key, amount) in changes.hubs {
            self.carry_total(key, amount);
        }
    }

    /// Takes in what dropped operations did to an account.
    pub fn carry(&mut self, carried: &Carried, accounts: &Accounts) {
        let net = i128::try_from(carried.net.units()).unwrap_or(i128::MAX);
        let change = Change {
            owner: accounts.find(carried.account).0,
            net: if carried.is_negative { -net } else { net },
            version: Some(carried.version),
            thread: carried.thread.as_u128(),
        };
        self.sum(change.owner).add(&change);
    }

    /// Takes in what dropped operations of a kind did to a hub.
    pub fn carry_total(&mut self, key: (Uuid, i16), amount: Amount) {
        let total = self.hubs.entry(key).or_default();
        *total = added(*total, amount);
    }

    /// The sum of an account whose head is compared with it.
    pub fn compare(&mut self, account: Uuid, accounts: &Accounts) -> Sum {
        let (owner, _) = accounts.find(account);
        let sum = match owner {
            Owner::Known(at) => Some(&mut self.known[at]),
            Owner::Unknown(account) => self.unknown.get_mut(&account),
        };
        sum.map_or_else(Sum::default, |sum| {
            sum.is_compared = true;
            *sum
        })
    }

    /// Accounts with operations whose sums no head was compared with.
    pub fn without_head(&self, accounts: &Accounts) -> Vec<(Uuid, Sum)> {
        let known = accounts.0.keys().copied().zip(self.known.iter().copied());
        let unknown = self.unknown.iter().map(|(account, sum)| (*account, *sum));
        let mut rest: Vec<_> = known
            .chain(unknown)
            .filter(|(_, sum)| sum.exists && !sum.is_compared)
            .collect();
        rest.sort_unstable_by_key(|(account, _)| *account);
        rest
    }

    /// What operations moved, by hub.
    pub fn totals(&self) -> HashMap<Uuid, Totals> {
        let mut totals: HashMap<Uuid, Totals> = HashMap::new();
        for ((hub_id, kind), amount) in &self.hubs {
            let of = totals.entry(*hub_id).or_default();
            let total = match kind {
                1 => &mut of.issued,
                2 => &mut of.redeemed,
                4 => &mut of.withdrawn,
                5 => &mut of.deposited,
                6 => &mut of.refunded,
                8 => &mut of.settled,
                9 => &mut of.gained,
                10 => &mut of.lost,
                _ => continue,
            };
            *total = *amount;
        }
        totals
    }
}
