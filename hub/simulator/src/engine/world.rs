//! The account database, its replicas, and what may befall them.

use super::Mode;
use super::hub::{Contents, Hub, Refused, fold};
use crate::rng::Rng;
use crate::setting::{Found, Violation};
use hub_core::{
    Action, Address, Amount, ChannelId, Domain, Operation, OperationId, State, Typed as _, Version,
};
use std::collections::{BTreeMap, BTreeSet};

/// Where the batches belong.
pub const DOMAIN: Domain = Domain {
    chain_id: 1,
    verifying_contract: Address([0xcc; 20]),
};
const CHANNELS: u8 = 4;
const CAPACITY: u128 = 10_000;
const REPLICAS: usize = 4;

/// What the account database holds.
#[derive(Debug, Clone, Default)]
struct Database {
    heads: BTreeMap<ChannelId, State>,
    /// Primary key batch: committed or burned.
    fates: BTreeMap<u64, bool>,
    operations: BTreeSet<OperationId>,
}

/// A transaction that is running in some replica.
#[derive(Debug, Clone)]
struct Flight {
    request: u64,
    bases: Vec<State>,
    states: Vec<State>,
    operations: Vec<Operation>,
    batch: Option<u64>,
}

/// A mark outside both databases: a batch, and what callers knew up to it.
#[derive(Debug, Clone, Default)]
struct Anchor {
    batch: u64,
    operations: BTreeSet<OperationId>,
    versions: BTreeSet<(ChannelId, Version)>,
}

struct World {
    mode: Mode,
    rng: Rng,
    found: Found,
    db: Database,
    hub: Hub,
    db_backup: Option<Database>,
    hub_backup: Option<Hub>,
    flights: Vec<Flight>,
    /// Custody signatures that were made and may leave.
    sealed: BTreeSet<u64>,
    acknowledged: BTreeSet<OperationId>,
    contents: Contents,
    /// Every state with both signatures that exists anywhere.
    co_signed: BTreeMap<(ChannelId, Version), State>,
    known_used: BTreeMap<ChannelId, Version>,
    fenced: bool,
    anchor: Anchor,
    next: u64,
}

/// One history.
pub fn run(mode: Mode, seed: u64) -> Found {
    let mut world = World::new(mode, seed);
    for _ in 0..world.rng.between(20, 60) {
        world.step();
    }
    world.finish();
    world.found
}

impl World {
    fn new(mode: Mode, seed: u64) -> Self {
        let null = |n| State::null(ChannelId([n; 32]), 0, Amount::new(CAPACITY));
        let states = (1..=CHANNELS).map(null);
        let heads: BTreeMap<_, _> = states.map(|state| (state.channel_id, state)).collect();
        let hub_heads = heads.iter().map(|(id, state)| (*id, (*state, 0)));
        Self {
            mode,
            rng: Rng::new(seed),
            found: Found::default(),
            hub: Hub {
                heads: hub_heads.collect(),
                ..Hub::default()
            },
            db: Database {
                heads,
                ..Database::default()
            },
            db_backup: None,
            hub_backup: None,
            flights: Vec::new(),
            sealed: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            contents: Contents::new(),
            co_signed: BTreeMap::new(),
            known_used: BTreeMap::new(),
            fenced: false,
            anchor: Anchor::default(),
            next: 0,
        }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..=5 => self.start(),
            6..=10 => self.advance(),
            11 => self.crash(),
            12 => self.ambiguous(),
            13 => self.burn_one(),
            14..=16 => self.hand_over(),
            17 => self.drop_anchor(),
            18 => {
                self.db_backup = Some(self.db.clone());
                self.hub_backup = Some(self.hub.clone());
            }
            _ => self.disaster(),
        }
    }

    /// The highest committed batch below which no batch is without a fate: what commits later is
    /// above it, so a database that holds it committed holds all that was committed up to it.
    fn low_water(&self) -> u64 {
        let mut mark = 0;
        for batch in self.hub.journal.keys() {
            match self.db.fates.get(batch) {
                Some(true) => mark = *batch,
                Some(false) => {}
                None => break,
            }
        }
        mark
    }

    fn newest_committed(&self) -> u64 {
        let committed = self.db.fates.iter().filter(|(_, committed)| **committed);
        committed.map(|(batch, _)| *batch).next_back().unwrap_or(0)
    }

    fn mark(&self) -> u64 {
        match self.mode {
            Mode::BothRestoredNewest => self.newest_committed(),
            _ => self.low_water(),
        }
    }

    fn drop_anchor(&mut self) {
        let batch = self.mark();
        if batch <= self.anchor.batch {
            return;
        }
        let fates = &self.db.fates;
        let below = self.hub.journal.range(..=batch);
        let committed: Vec<_> = below
            .filter(|(batch, _)| fates.get(batch) == Some(&true))
            .map(|(_, entry)| entry)
            .collect();
        let operations = committed.iter().flat_map(|entry| &entry.operations);
        let states = committed.iter().flat_map(|entry| &entry.states);
        self.anchor = Anchor {
            batch,
            operations: operations.map(|operation| operation.id).collect(),
            versions: states.map(|s| (s.channel_id, s.version)).collect(),
        };
    }

    /// A replica begins a transaction on channels whose rows nobody has locked.
    fn start(&mut self) {
        if self.fenced || self.flights.len() >= REPLICAS {
            return;
        }
        let locked = |id: &ChannelId| {
            let mut held = self.flights.iter().flat_map(|flight| &flight.bases);
            self.mode != Mode::PartialCommit && held.any(|base| base.channel_id == *id)
        };
        let free: Vec<_> = self
            .db
            .heads
            .values()
            .filter(|s| !locked(&s.channel_id))
            .copied()
            .collect();
        if free.len() < 2 {
            return;
        }
        let first = self.rng.index(free.len());
        let second = (first + 1 + self.rng.index(free.len() - 1)) % free.len();
        let (payer, payee) = (free[first], free[second]);
        let operations = self.operations(&payer, &payee);
        let mut bases = vec![payer, payee];
        bases.sort_by_key(|state| state.channel_id);
        let used = |channel: &ChannelId| self.known_used.get(channel).copied().unwrap_or(0);
        let Some(states) = fold(&bases, &operations, used) else {
            return;
        };
        bases.retain(|base| {
            states
                .iter()
                .any(|state| state.channel_id == base.channel_id)
        });
        self.next += 1;
        self.flights.push(Flight {
            request: self.next,
            bases,
            states,
            operations,
            batch: None,
        });
    }

    fn operations(&mut self, payer: &State, payee: &State) -> Vec<Operation> {
        let amount = Amount::new(u128::from(self.rng.between(1, 50)));
        let mut operation = |action| {
            self.next += 1;
            Operation {
                id: OperationId(u128::from(self.next).to_be_bytes()),
                action,
            }
        };
        let channel = payer.channel_id;
        let issue = operation(Action::Issue { channel, amount });
        let transfer = operation(Action::Transfer {
            payer: channel,
            payee: payee.channel_id,
            amount,
        });
        if payer.user_balance >= amount {
            vec![transfer]
        } else {
            vec![issue, transfer]
        }
    }

    /// A transaction asks the hub, or commits.
    fn advance(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let at = self.rng.index(self.flights.len());
        if self.flights[at].batch.is_none() {
            self.ask(at);
        } else {
            let flight = self.flights.remove(at);
            self.commit(flight);
        }
    }

    fn ask(&mut self, at: usize) {
        let flight = &self.flights[at];
        let answer = self.hub.sign(
            flight.request,
            &flight.bases,
            &flight.states,
            &flight.operations,
        );
        match answer {
            Ok(batch) => {
                for state in &flight.states {
                    let key = (state.channel_id, state.version);
                    let leaf = state.hash_struct();
                    let first = *self.contents.entry(key).or_insert(leaf);
                    self.found.require(first == leaf, Violation::TwoContents);
                }
                // The reply may be lost; the same request asks again.
                if !self.rng.percent(10) {
                    self.flights[at].batch = Some(batch);
                }
            }
            Err(refused) => {
                self.flights.remove(at);
                self.mend(&refused);
            }
        }
    }

    fn mend(&mut self, refused: &Refused) {
        match refused {
            Refused::VersionUsed(used) => {
                self.found.saw("version used");
                if self.mode != Mode::BurnedLate {
                    for (channel, version) in used {
                        self.known_used.insert(*channel, *version);
                    }
                }
            }
            Refused::BaseUnknown => {
                self.found.saw("base unknown");
                self.show_fates();
            }
            Refused::BaseBehind => self.raise_fence(),
            Refused::Rule => self.found.require(false, Violation::NotConserved),
        }
    }

    /// Checks again, seals, inserts the fate, commits.
    fn commit(&mut self, flight: Flight) {
        let Some(batch) = flight.batch else { return };
        let current = |base: &State| self.db.heads.get(&base.channel_id) == Some(base);
        let lost: Vec<_> = flight
            .bases
            .iter()
            .filter(|base| !current(base))
            .map(|b| b.channel_id)
            .collect();
        // One lost race rolls the whole batch back; the bug drops the loser alone.
        if !lost.is_empty()
            && (self.mode != Mode::PartialCommit || lost.len() == flight.bases.len())
        {
            return;
        }
        if self.db.fates.contains_key(&batch) {
            self.found.saw("burned under a live batch");
            return;
        }
        self.db.fates.insert(batch, true);
        self.sealed.insert(batch);
        for state in &flight.states {
            self.co_signed
                .insert((state.channel_id, state.version), *state);
            if !lost.contains(&state.channel_id) {
                self.db.heads.insert(state.channel_id, *state);
            }
        }
        self.db
            .operations
            .extend(flight.operations.iter().map(|operation| operation.id));
        self.found.saw("committed");
        if self.mode == Mode::LossyAfterHub || self.mode == Mode::HubJump {
            return;
        }
        self.acknowledge(&flight.operations);
    }

    fn acknowledge(&mut self, operations: &[Operation]) {
        self.acknowledged
            .extend(operations.iter().map(|operation| operation.id));
    }

    /// A replica dies: its transaction is rolled back, the hub's batch stays without a fate.
    fn crash(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let at = self.rng.index(self.flights.len());
        let flight = self.flights.remove(at);
        self.found.saw("crash");
        self.half_enforced(&flight);
    }

    /// What is enforceable of a transaction that never commits.
    fn half_enforced(&mut self, flight: &Flight) {
        let signed = flight.batch.is_some();
        match self.mode {
            // The user has signed its own leaf: with the batch's signature it is co-signed.
            Mode::UserLeafFirst if signed => self.found.require(false, Violation::HalfTransfer),
            // The hub journaled the user's leaf and signs it after the commit, which never comes.
            Mode::UserLeafAfter if signed => self.found.saw("user's leaf unsigned"),
            _ => {}
        }
    }

    /// The answer to COMMIT is lost: whoever finds the batch inserts `burned` or reads its fate.
    fn ambiguous(&mut self) {
        let ready = self
            .flights
            .iter()
            .position(|flight| flight.batch.is_some());
        let Some(at) = ready else { return };
        let flight = self.flights.remove(at);
        self.found.saw("ambiguous commit");
        if self.rng.percent(50) {
            self.commit(flight.clone());
        }
        let committed = flight
            .batch
            .is_some_and(|batch| *self.db.fates.entry(batch).or_insert(false));
        if !committed {
            self.half_enforced(&flight);
        }
    }

    /// Somebody burns a batch without a fate, be its transaction alive.
    fn burn_one(&mut self) {
        let open: Vec<_> = self
            .hub
            .journal
            .keys()
            .filter(|batch| !self.db.fates.contains_key(batch))
            .copied()
            .collect();
        if let Some(batch) = self.rng.pick(&open) {
            self.db.fates.insert(*batch, false);
            self.found.saw("burned");
        }
    }

    /// Custody signatures reach the hub, some of them.
    fn hand_over(&mut self) {
        for batch in self.sealed.clone() {
            if self.rng.percent(60) {
                self.complete(batch);
            }
        }
    }

    fn complete(&mut self, batch: u64) {
        let Some(entry) = self.hub.journal.get(&batch) else {
            return;
        };
        if entry.completed {
            return;
        }
        let operations = entry.operations.clone();
        self.hub.complete(batch);
        if matches!(self.mode, Mode::LossyAfterHub | Mode::HubJump) {
            self.acknowledge(&operations);
        }
    }

    fn show_fates(&mut self) {
        for (batch, committed) in self.db.fates.clone() {
            if committed {
                self.complete(batch);
            }
        }
    }

    fn disaster(&mut self) {
        match self.mode {
            Mode::LossyAtCommit | Mode::LossyAfterHub | Mode::RestoredNoFence => {
                self.lose_account()
            }
            Mode::BothRestored | Mode::BothRestoredAnchor | Mode::BothRestoredNewest => {
                self.lose_both()
            }
            Mode::HubNoGuard | Mode::HubJump => self.lose_hub(),
            _ => {}
        }
    }

    fn lose_account(&mut self) {
        let Some(backup) = self.db_backup.take() else {
            return;
        };
        self.db = backup;
        self.flights.clear();
        // Signatures that had not left are gone with the process.
        let journal = &self.hub.journal;
        self.sealed
            .retain(|batch| journal.get(batch).is_some_and(|entry| entry.completed));
        self.found.saw("account database lost commits");
        if self.mode != Mode::RestoredNoFence {
            self.raise_fence();
        }
    }

    /// The operator's steps: states that the hub holds are imported, rows rebuilt, marks compared.
    fn raise_fence(&mut self) {
        self.found.saw("fence");
        if matches!(self.mode, Mode::RestoredNoFence | Mode::HubNoGuard) {
            return;
        }
        self.flights.clear();
        for (batch, entry) in &self.hub.journal {
            if entry.completed {
                self.db.fates.insert(*batch, true);
                self.db
                    .operations
                    .extend(entry.operations.iter().map(|operation| operation.id));
                for state in &entry.states {
                    let head = self.db.heads.entry(state.channel_id).or_insert(*state);
                    if head.version < state.version {
                        *head = *state;
                    }
                }
            }
        }
        let newest = self.hub.journal.keys().next_back().copied().unwrap_or(0);
        self.fenced = self.anchor.batch > newest;
        if !self.fenced {
            self.found.saw("fence lifted");
        }
    }

    fn lose_both(&mut self) {
        let (Some(db), Some(hub)) = (self.db_backup.take(), self.hub_backup.take()) else {
            return;
        };
        self.db = db;
        self.hub = hub;
        self.flights.clear();
        self.found.saw("both restored");
        if self.mode == Mode::BothRestored {
            return;
        }
        if self.anchor.batch > self.mark() {
            self.fenced = true;
            self.found.saw("fence kept by the anchor");
            return;
        }
        self.found.saw("fence lifted");
        self.forget_what_nothing_shows();
    }

    /// What came after the newest anchor and after the backup is gone, and nothing outside shows
    /// it: the anchor answers for what it covers.
    fn forget_what_nothing_shows(&mut self) {
        let (db, anchor, journal) = (&self.db, &self.anchor, &self.hub.journal);
        let states = journal.values().flat_map(|entry| &entry.states);
        let mut shown: BTreeSet<_> = states.map(|s| (s.channel_id, s.version)).collect();
        shown.extend(&anchor.versions);
        self.contents.retain(|version, _| shown.contains(version));
        self.co_signed.retain(|(channel, version), _| {
            let held = db.heads.get(channel).map_or(0, |head| head.version);
            *version <= held || anchor.versions.contains(&(*channel, *version))
        });
        let kept = |id: &OperationId| db.operations.contains(id) || anchor.operations.contains(id);
        self.acknowledged.retain(kept);
        self.sealed
            .retain(|batch| db.fates.get(batch) == Some(&true));
    }

    fn lose_hub(&mut self) {
        let Some(backup) = self.hub_backup.take() else {
            return;
        };
        self.hub = backup;
        self.flights.clear();
        self.found.saw("hub restored");
        if self.mode == Mode::HubNoGuard {
            return;
        }
        for state in self.db.heads.values() {
            self.hub.import(state);
        }
        // Batch numbers jump as well; what was lost keeps its fate in the account database.
        let newest = self.db.fates.keys().next_back().copied().unwrap_or(0);
        let marker = super::hub::Entry {
            request: u64::MAX - self.next,
            states: Vec::new(),
            operations: Vec::new(),
            completed: true,
        };
        let highest = self.contents.len() as u64 + newest;
        self.hub.journal.insert(highest + super::hub::JUMP, marker);
        self.next += 1;
    }

    /// Everything comes up again, all fates are decided and handed over; then all must agree.
    fn finish(&mut self) {
        self.flights.clear();
        if self.fenced {
            return;
        }
        for batch in self.hub.journal.keys() {
            self.db.fates.entry(*batch).or_insert(false);
        }
        self.show_fates();
        for state in self.co_signed.values() {
            let head = self.db.heads.get(&state.channel_id);
            let known = head.is_some_and(|head| head.version >= state.version);
            let lost_with_it = matches!(self.mode, Mode::LossyAfterHub);
            self.found
                .require(known || lost_with_it, Violation::Diverged);
        }
        let kept = self.acknowledged.is_subset(&self.db.operations);
        self.found.require(kept, Violation::AcknowledgedLost);
        let goes_on = self.goes_on();
        self.found.require(goes_on, Violation::Stuck);
    }

    /// Whether one more batch on every channel comes through within a few attempts.
    fn goes_on(&mut self) -> bool {
        let before = self.db.operations.len();
        for _ in 0..60 {
            self.start();
            while !self.flights.is_empty() {
                self.advance();
            }
            self.show_fates();
            if self.db.operations.len() >= before + 10 {
                return true;
            }
        }
        false
    }
}
