//! A hostile account side: random batches, honest and not, against the code that signs.
//!
//! An independent model watches what is signed: every version once, and entitlements that change
//! by nothing but issuances and redemptions. The seed is printed; `HOSTILE_SEED` repeats a run.

use crate::support::{Account, amount, hub_key, pair, start, terms, wide_limits};
use hub::engine::decide::{Budget, Plan, View, decide};
use hub::engine::head::Head;
use hub::engine::ledger::Ledger;
use hub::engine::limits::Limits;
use hub_client::{Fate, FatesRequest, FundingMode, HubRefusal, Marks, SignedBatch};
use hub_core::{
    Action, Address, ChannelId, Epoch, Hash32, Operation, OperationId, State, Typed as _, Version,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::HashMap;

const CHANNELS: u64 = 12;

fn seed() -> u64 {
    let seed = std::env::var("HOSTILE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    println!("HOSTILE_SEED={seed}");
    seed
}

fn limits() -> Limits {
    Limits {
        issue_per_order: amount(500),
        ..wide_limits()
    }
}

/// What an outsider believes of everything that was signed.
#[derive(Default)]
struct Model {
    signed: HashMap<(ChannelId, Epoch, Version), Hash32>,
    held: HashMap<ChannelId, State>,
    created: i128,
}

impl Model {
    /// A batch was signed: no version twice, no sum but the ordered one.
    fn sign(&mut self, states: &[State], operations: &[Operation]) {
        let mut change = 0;
        for state in states {
            let at = (state.channel_id, state.epoch, state.version);
            let before = self.signed.insert(at, state.hash_struct());
            assert!(before.is_none(), "signed twice: {at:?}");
            let held = self.held.get(&state.channel_id);
            assert_eq!(held.map_or(0, |held| held.version), state.ack_version);
            assert_eq!(state.total(), Some(terms(FundingMode::Mint).capacity));
            let base = held.map_or(0, |held| held.entitlement().unwrap());
            change += state.entitlement().unwrap() - base;
        }
        assert_eq!(
            change,
            ordered(operations),
            "entitlements changed by themselves"
        );
    }

    fn commit(&mut self, states: &[State], operations: &[Operation]) {
        for state in states {
            self.held.insert(state.channel_id, *state);
        }
        self.created += ordered(operations);
        let held: i128 = self.held.values().map(|s| s.entitlement().unwrap()).sum();
        assert_eq!(held, self.created, "what is held is not what was issued");
    }
}

fn ordered(operations: &[Operation]) -> i128 {
    operations
        .iter()
        .map(|operation| {
            let units = operation.action.amount().units().cast_signed();
            match operation.action {
                Action::Issue { .. } => units,
                Action::Redeem { .. } => -units,
                _ => 0,
            }
        })
        .sum()
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Trick {
    None,
    MoreForPayee,
    BrokenSum,
    UsedVersion,
    HugeGap,
    SecondState,
    OldBase,
    ForgedBase,
    FutureBase,
    OverCap,
    CreditWithoutDebit,
    ExtraChannel,
    NoOperations,
    Overdraft,
    DepositOfNothing,
    RefundOfNothing,
    OrderToNobody,
    OperationTwice,
    Disorder,
    OtherTerms,
}

const TRICKS: [Trick; 19] = [
    Trick::MoreForPayee,
    Trick::BrokenSum,
    Trick::UsedVersion,
    Trick::HugeGap,
    Trick::SecondState,
    Trick::OldBase,
    Trick::ForgedBase,
    Trick::FutureBase,
    Trick::OverCap,
    Trick::CreditWithoutDebit,
    Trick::ExtraChannel,
    Trick::NoOperations,
    Trick::Overdraft,
    Trick::DepositOfNothing,
    Trick::RefundOfNothing,
    Trick::OrderToNobody,
    Trick::OperationTwice,
    Trick::Disorder,
    Trick::OtherTerms,
];

struct Thief {
    rng: StdRng,
    account: Account,
    model: Model,
    /// Requests that were signed, to be taken up again in other ways.
    before: Option<crate::support::Proposed>,
}

impl Thief {
    fn new(seed: u64, account: Account) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            account,
            model: Model::default(),
            before: None,
        }
    }

    /// A few operations that the account side itself would accept.
    fn honest(&mut self) -> Vec<Operation> {
        let count = self.rng.random_range(1..5);
        let mut balances: HashMap<u64, u128> = (0..CHANNELS)
            .filter(|n| self.account.heads.contains_key(&self.account.id(*n)))
            .map(|n| (n, self.account.user_balance(n)))
            .collect();
        let mut operations = Vec::new();
        for _ in 0..count {
            let one = self.rng.random_range(0..CHANNELS);
            let two = (one + self.rng.random_range(1..CHANNELS)) % CHANNELS;
            let Some(balance) = balances.get(&one).copied() else {
                operations.push(self.account.open(one));
                balances.insert(one, 0);
                continue;
            };
            let units = self.rng.random_range(1..200);
            match self.rng.random_range(0..10) {
                0..3 => {
                    operations.push(self.account.issue(one, units));
                    balances.insert(one, balance + units);
                }
                3 if balance >= units => {
                    operations.push(self.account.redeem(one, units));
                    balances.insert(one, balance - units);
                }
                4.. if balance >= units && balances.contains_key(&two) => {
                    operations.push(self.account.transfer(one, two, units));
                    balances.insert(one, balance - units);
                    *balances.entry(two).or_default() += units;
                }
                _ => {}
            }
        }
        if operations.is_empty() {
            let n = self.rng.random_range(0..CHANNELS);
            if balances.contains_key(&n) {
                operations.push(self.account.issue(n, 1));
            } else {
                operations.push(self.account.open(n));
            }
        }
        operations
    }

    fn propose(&mut self, trick: Trick) -> Option<crate::support::Proposed> {
        let operations = self.honest();
        let mut proposed = self.account.propose(operations);
        let request = &mut proposed.request;
        let at = self.rng.random_range(0..request.proposals.len());
        let channel = request.proposals[at].channel;
        let mut forge = |state: &mut State, change: fn(&mut State)| {
            change(state);
            request.proposals[at].state_hash = state.hash_struct();
        };
        let one = amount(1);
        let add = |operation: Action, account: &mut Account| account.operation(operation);
        match trick {
            Trick::None => {}
            Trick::MoreForPayee => forge(&mut proposed.states[at], |state| {
                state.user_balance = state.user_balance.checked_add(amount(1)).unwrap();
                state.hub_balance = state.hub_balance.checked_sub(amount(1)).unwrap();
            }),
            Trick::BrokenSum => forge(&mut proposed.states[at], |state| {
                state.user_balance = state.user_balance.checked_add(amount(1)).unwrap();
            }),
            Trick::UsedVersion => {
                let down = self.rng.random_range(1..4);
                let state = &mut proposed.states[at];
                state.version = state.version.saturating_sub(down);
                request.proposals[at].version = state.version;
                request.proposals[at].state_hash = state.hash_struct();
            }
            Trick::HugeGap => {
                let state = &mut proposed.states[at];
                state.version += 1 << 40;
                request.proposals[at].version = state.version;
                request.proposals[at].state_hash = state.hash_struct();
            }
            Trick::SecondState => {
                let earlier = self.before.clone()?;
                let operation = self.account.issue(0, 77);
                request.operations.push(operation);
                request.proposals = earlier.request.proposals;
            }
            Trick::OldBase => {
                let proposal = &mut request.proposals[at];
                proposal.base_version = proposal.base_version.checked_sub(1)?;
            }
            Trick::ForgedBase => request.proposals[at].base_hash = Hash32([7; 32]),
            Trick::FutureBase => request.proposals[at].base_version += 1,
            Trick::OverCap => {
                let issue = Action::Issue {
                    channel,
                    amount: amount(501),
                };
                request.operations.push(add(issue, &mut self.account));
            }
            Trick::CreditWithoutDebit => {
                let transfer = |op: &Operation| matches!(op.action, Action::Transfer { .. });
                request.operations.iter().find(|op| transfer(op))?;
                request.operations.retain(|op| !transfer(op));
            }
            Trick::ExtraChannel => {
                let mut extra = request.proposals[at];
                extra.channel = ChannelId([0xff; 32]);
                request.proposals.push(extra);
            }
            Trick::NoOperations => request.operations.clear(),
            Trick::Overdraft => {
                let payee = *self.account.heads.keys().find(|id| **id != channel)?;
                let transfer = Action::Transfer {
                    payer: channel,
                    payee,
                    amount: amount(900_000),
                };
                request.operations.push(add(transfer, &mut self.account));
            }
            Trick::DepositOfNothing => {
                let deposit = Action::Deposit {
                    channel,
                    amount: one,
                };
                request.operations.push(add(deposit, &mut self.account));
            }
            Trick::RefundOfNothing => {
                let refund = Action::Refund {
                    channel,
                    order: OperationId([1; 16]),
                    amount: one,
                };
                request.operations.push(add(refund, &mut self.account));
            }
            Trick::OrderToNobody => {
                let order = Action::Withdraw {
                    channel,
                    amount: one,
                    to: Address::ZERO,
                };
                request.operations.push(add(order, &mut self.account));
            }
            Trick::OperationTwice => {
                let again = request.operations[0];
                request.operations.push(again);
            }
            Trick::Disorder => {
                if request.proposals.len() < 2 {
                    return None;
                }
                request.proposals.reverse();
            }
            Trick::OtherTerms => {
                let mut terms = self.account.terms.clone();
                terms.capacity = amount(5);
                let params = crate::support::params(&terms, 1_000);
                request
                    .operations
                    .push(add(Action::Open { params }, &mut self.account));
            }
        }
        Some(proposed)
    }

    fn learn(&mut self, refusal: &HubRefusal) {
        if let HubRefusal::VersionUsed { channels } = refusal {
            for used in channels {
                self.account.floors.insert(used.channel, used.max_signed);
            }
        }
    }
}

/// The hub without its database: the deciding code and the ledger that the real one uses.
struct Bench {
    ledger: Ledger,
    limits: Limits,
}

impl Bench {
    fn sign(
        &mut self,
        account: &Account,
        request: &hub_client::BatchRequest,
    ) -> Option<(u64, Plan)> {
        let heads: HashMap<_, Head> = request
            .proposals
            .iter()
            .filter_map(|p| Some((p.channel, self.ledger.heads.get(&p.channel)?)))
            .collect();
        let now = runtime::clock::now();
        let budget = Budget {
            headroom: None,
            issued: self.ledger.issued.total(now),
            abandoned: self.ledger.abandoned_total(),
            abandoned_by: &self.ledger.abandoned,
        };
        let view = View {
            terms: &account.terms,
            limits: &self.limits,
            heads: &heads,
            facts: &HashMap::new(),
            orders: &HashMap::new(),
            budget,
            final_timestamp: 0,
            version_floor: 0,
        };
        let plan = decide(&view, request).ok()?;
        // The real hub asks for the fates of the oldest before it has more than this.
        if let Some(open) = self.ledger.overdue() {
            self.ledger.burned(open[0]);
        }
        let batch_id = self.ledger.next_batch()?;
        let prev_root = self.ledger.newest.root;
        self.ledger.signed(batch_id, &plan, prev_root, now);
        Some((batch_id, plan))
    }

    fn heads(&self, account: &Account) -> Vec<Head> {
        let ids = (0..CHANNELS).map(|n| account.id(n));
        ids.filter_map(|id| self.ledger.heads.get(&id)).collect()
    }
}

#[test]
fn of_100_000_hostile_batches_none_creates_money_or_signs_a_version_twice() {
    let seed = seed();
    std::thread::scope(|scope| {
        scope.spawn(|| hostile_half(seed));
        hostile_half(seed.wrapping_add(1));
    });
}

fn hostile_half(seed: u64) {
    let account = Account::new(terms(FundingMode::Mint));
    let mut thief = Thief::new(seed, account);
    let mut bench = Bench {
        ledger: Ledger::default(),
        limits: Limits {
            issue_per_hour: hub_core::Amount::MAX,
            ..limits()
        },
    };
    let (mut signed, mut tried) = (0, HashMap::<Trick, u32>::new());
    for _ in 0..50_000 {
        let trick = if thief.rng.random_bool(0.5) {
            Trick::None
        } else {
            TRICKS[thief.rng.random_range(0..TRICKS.len())]
        };
        let Some(proposed) = thief.propose(trick) else {
            continue;
        };
        *tried.entry(trick).or_default() += 1;
        let Some((batch_id, plan)) = bench.sign(&thief.account, &proposed.request) else {
            // Only used versions stand in an honest request's way.
            if trick == Trick::None {
                for head in bench.heads(&thief.account) {
                    let channel = head.signed.channel_id;
                    thief.account.floors.insert(channel, head.max_signed);
                }
            }
            continue;
        };
        assert_eq!(trick, Trick::None, "signed: {:?}", proposed.request);
        signed += 1;
        let states: Vec<_> = plan.moves.iter().map(|step| step.after.signed).collect();
        assert_eq!(states, proposed.states);
        thief.model.sign(&states, &proposed.request.operations);
        // A third is abandoned, half of that without a word.
        match thief.rng.random_range(0..6) {
            0 => bench.ledger.burned(batch_id),
            1 => {}
            _ => {
                let answer = SignedBatch {
                    batch_id,
                    prev_root: Hash32::ZERO,
                    root: plan.root,
                    depth: plan.depth,
                    signature: hub_core::Signature::ZERO,
                    low_water: 0,
                    headroom: None,
                };
                for state in &states {
                    let base = crate::support::Base {
                        state: *state,
                        batch_id: answer.batch_id,
                    };
                    thief.account.heads.insert(state.channel_id, base);
                }
                bench.ledger.committed(batch_id);
                thief.model.commit(&states, &proposed.request.operations);
            }
        }
        // The ledger's running sum is the worst case over all heads.
        let heads = bench.heads(&thief.account);
        let worst: i128 = heads.iter().map(|head| head.worst().unwrap()).sum();
        assert_eq!(bench.ledger.liabilities, worst);
        thief.before = Some(proposed);
    }
    println!("{signed} signed");
    assert!(
        signed > 10_000,
        "the honest part of the run hardly ran: {signed}"
    );
    assert!(TRICKS.iter().all(|trick| tried[trick] > 150), "{tried:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_5_000_hostile_batches_against_the_hub_none_creates_money_and_its_sums_are_its_rows() {
    let (bed, hub, account) = pair(FundingMode::Vault, limits()).await;
    let vault = crate::chain::vault(account.terms.hub, 100_000_000);
    hub.chain_events(vault).await.unwrap();
    let mut thief = Thief::new(seed(), account);
    let mut fates = Vec::new();
    let mut signed = 0;
    for round in 0..5_000 {
        let trick = if thief.rng.random_bool(0.6) {
            Trick::None
        } else {
            TRICKS[thief.rng.random_range(0..TRICKS.len())]
        };
        let Some(mut proposed) = thief.propose(trick) else {
            continue;
        };
        let forged = thief.rng.random_bool(0.05) && signed > 0;
        if forged {
            // A commit that the custody key never made, of the newest batch.
            proposed.request.fates = vec![Fate::Committed {
                batch_id: hub.journal(0, 1).await.unwrap()[0].batch_id.max(signed),
                user_signature: hub_key().sign(
                    &thief.account.terms.domain,
                    &hub_core::types::Revoke {
                        channel_id: ChannelId::ZERO,
                        epoch: 0,
                        version: round,
                    },
                ),
            }];
        } else {
            proposed.request.fates = std::mem::take(&mut fates);
        }
        let answer = hub.sign_batch(proposed.request.clone()).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(refused) => {
                assert!(!matches!(
                    refused.error,
                    HubRefusal::Fenced { .. } | HubRefusal::Internal
                ));
                thief.learn(&refused.error);
                if !forged && !proposed.request.fates.is_empty() {
                    fates = proposed.request.fates;
                }
                continue;
            }
        };
        assert_eq!(trick, Trick::None, "signed: {:?}", proposed.request);
        signed = answer.batch_id;
        thief
            .model
            .sign(&proposed.states, &proposed.request.operations);
        match thief.rng.random_range(0..6) {
            0 => fates.push(Fate::Burned {
                batch_id: answer.batch_id,
            }),
            _ => {
                fates.push(thief.account.commit(&proposed, &answer));
                thief
                    .model
                    .commit(&proposed.states, &proposed.request.operations);
            }
        }
        thief.before = Some(proposed);
    }
    assert!(
        signed > 1_000,
        "the honest part of the run hardly ran: {signed}"
    );
    let marks = hub.fates(FatesRequest { fates }).await.unwrap();
    assert_eq!(marks.low_water, signed);
    let restarted = start(&bed, &thief.account.terms, limits()).await;
    let read = restarted
        .fates(FatesRequest { fates: vec![] })
        .await
        .unwrap();
    // A restart begins a session; the rest is read from the rows.
    let read = Marks {
        session: marks.session,
        ..read
    };
    assert_eq!(read, marks, "the running sums are not those of the rows");
    for (channel, held) in &thief.model.held {
        let head = restarted.channel(*channel).await.unwrap();
        assert_eq!(head.held, *held);
    }
}
