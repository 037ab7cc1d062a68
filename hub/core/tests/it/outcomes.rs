//! Who is paid what: cases that Rust and Solidity must settle alike, to the unit.
//!
//! This side generates `contracts/vectors/outcomes.json` with the model, the contracts' tests run
//! every case through the deployed functions. `UPDATE_VECTORS=1 cargo test -p hub-core` writes it
//! anew. A case is one array of decimal numbers: what goes in, then what must come out.

use crate::vectors::Source;
use hub_core::dispute::{Call, Channel, CoSigned, Hub, Key, Payment, ShownCredit};
use hub_core::settlement::{
    ChainTotals, Closer, Entitled, FundingMode, Verdict, dues, metered, payout,
};
use hub_core::{Address, Amount, ChannelId, ChannelParams, Hash32, State};
use std::fmt::Write as _;
use std::path::Path;

/// The hub's own cap in every case, as in the contracts' fixture: 10,000 tokens.
pub const HUB_CAP: u128 = 10_000 * 10_u128.pow(18);
/// When the hub of every case signs its first state, Unix time in seconds.
pub const START: u64 = 1_800_000_000;
/// Window of every case, in seconds; the closer waits as long again.
pub const WINDOW: u32 = 60;

const USER: Address = Address([0xC1; 20]);
const HUB_SIGNER: Address = Address([0x11; 20]);
const CUSTODY: Address = Address([0x22; 20]);
const OPERATOR: Address = Address([0xA1; 20]);
/// Shows evidence and asks for payouts when nobody else does.
pub const TOWER: Address = Address([0xEE; 20]);

/// A hub in a mode with so much in its vault or mint allowance.
pub fn hub(mode: FundingMode, funds: u128) -> Hub {
    Hub {
        address: OPERATOR,
        contract: Address([0xFF; 20]),
        signers: vec![HUB_SIGNER],
        mode,
        operator_pays: false,
        min_challenge_period: 60,
        max_challenge_period: 7 * 86_400,
        penalty_cap: Amount::new(HUB_CAP),
        funds: Amount::new(funds),
        bond: Amount::new(100 * HUB_CAP),
        owed: Amount::ZERO,
        paused: false,
    }
}

/// A custodial channel of that hub.
pub fn channel(capacity: u128, penalty_cap: u128, bounty_bps: u16) -> Channel {
    let params = ChannelParams {
        hub: OPERATOR,
        hub_signer: HUB_SIGNER,
        user: USER,
        user_signer: CUSTODY,
        custodial: true,
        capacity: Amount::new(capacity),
        challenge_period: WINDOW,
        self_delay: WINDOW,
        penalty_cap: Amount::new(penalty_cap),
        bounty_bps,
        salt: Hash32::ZERO,
    };
    Channel::new(params, ChannelId([7; 32]))
}

/// Who sends a close of that kind.
pub fn sender(closer: Closer) -> Address {
    match closer {
        Closer::Hub => HUB_SIGNER,
        Closer::User => CUSTODY,
        Closer::Exit => USER,
    }
}

fn code(closer: Closer) -> u128 {
    match closer {
        Closer::Hub => 1,
        Closer::User => 2,
        Closer::Exit => 3,
    }
}

pub fn mode_code(mode: FundingMode) -> u128 {
    match mode {
        FundingMode::Mint => 1,
        FundingMode::Vault => 2,
    }
}

pub fn received(payments: &[Payment], who: Address) -> u128 {
    let mine = payments.iter().filter(|payment| payment.to == who);
    mine.map(|payment| payment.amount.units()).sum()
}

/// How the epoch of a case ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The closer posts the state, nobody answers.
    Unanswered,
    /// The closer posts the state, the other side accepts.
    Accepted,
    /// The closer posts the null state and is answered with one derived from a later state.
    Answered,
}

struct Case {
    mode: FundingMode,
    closer: Closer,
    end: End,
    state: State,
    totals: ChainTotals,
    penalty_cap: u128,
    bounty_bps: u16,
    collateral: u128,
    funds: u128,
}

impl Case {
    fn run(&self) -> Vec<u128> {
        let state = &self.state;
        let capacity = state.total().unwrap();
        let mut hub = hub(self.mode, self.funds);
        let mut channel = channel(capacity.units(), self.penalty_cap, self.bounty_bps);
        channel.withdrawn = self.totals.withdrawn;
        channel.deposited = self.totals.deposited;
        channel.collateral = Amount::new(self.collateral);
        let at = |now, sender| Call { sender, now };
        let credit = (!self.totals.credit_max.is_zero()).then_some(ShownCredit {
            cumulative: self.totals.credit_max,
            signed_by: Key::Hub,
        });
        let first = if self.end == End::Answered {
            CoSigned::unsigned(State::null(channel.id, 0, capacity))
        } else {
            CoSigned::both(*state)
        };
        let close = at(START, sender(self.closer));
        channel.close(&hub, &first, None, credit, close).unwrap();
        if self.end == End::Answered {
            let answer = CoSigned::both(*state);
            channel.challenge(&answer, at(START, TOWER)).unwrap();
        }
        let paid = if self.end == End::Accepted {
            let other = if self.closer == Closer::Hub {
                Key::User
            } else {
                Key::Hub
            };
            channel.accept_close(&mut hub, other).unwrap()
        } else {
            let after = START + u64::from(WINDOW) + 1;
            channel.settle(&mut hub, at(after, TOWER)).unwrap()
        };
        let ended = channel.ended.get(&0).copied().unwrap_or_default();
        let forfeited = 100 * HUB_CAP - hub.bond.units();
        let (funds_then, owed) = (hub.funds, hub.owed);
        let late = ended.delayed.map_or(Amount::ZERO, |late| late.amount);
        let later = match ended.delayed {
            Some(late) => channel
                .claim_delayed(&mut hub, 0, late.due_at)
                .unwrap()
                .map_or(Amount::ZERO, |payment| payment.amount),
            None => Amount::ZERO,
        };
        let mut row = self.inputs();
        row.extend([received(&paid, USER), received(&paid, TOWER)]);
        row.extend([late, later, ended.owed, owed, funds_then, hub.funds].map(Amount::units));
        let locks = ended
            .locks
            .map_or([Amount::ZERO; 2], |list| [list.reserve, list.short]);
        row.extend(locks.map(Amount::units));
        row.push(forfeited);
        row
    }

    fn inputs(&self) -> Vec<u128> {
        let (state, totals) = (&self.state, &self.totals);
        let mut row = vec![mode_code(self.mode), code(self.closer), self.end as u128];
        let amounts = [
            state.hub_balance,
            state.user_balance,
            state.hub_locked,
            state.user_locked,
            state.withdrawn,
            state.deposited,
            state.credited,
            totals.withdrawn,
            totals.deposited,
            totals.credit_max,
        ];
        row.extend(amounts.map(Amount::units));
        row.extend([self.penalty_cap, u128::from(self.bounty_bps)]);
        row.extend([self.collateral, self.funds]);
        row
    }
}

fn below(s: &mut Source, limit: u128) -> u128 {
    s.bits(128) % limit.max(1)
}

/// One of nothing, a little, or anything up to the scale.
fn some(s: &mut Source, scale: u128) -> Amount {
    Amount::new(match below(s, 3) {
        0 => 0,
        1 => below(s, 10),
        _ => below(s, scale),
    })
}

/// A state of any content: the contract holds what both sides have signed for possible.
fn state(s: &mut Source, scale: u128) -> State {
    let mut state = State::null(ChannelId([7; 32]), 0, Amount::ZERO);
    state.version = 5;
    state.ack_version = 4;
    state.hub_balance = Amount::new(1 + below(s, scale));
    state.user_balance = some(s, scale);
    state.hub_locked = some(s, scale / 4);
    state.user_locked = some(s, scale / 4);
    state.withdrawn = some(s, scale / 2);
    state.deposited = some(s, scale / 2);
    state.credited = some(s, scale / 2);
    state.transfers_root = s.hash();
    state
}

/// Totals that agree with the state, or that differ from it.
fn totals(s: &mut Source, state: &State, scale: u128) -> ChainTotals {
    let mut near = |amount: Amount| match below(s, 3) {
        0 => amount,
        1 => Amount::new(amount.units() + below(s, scale / 2)),
        _ => amount.less(Amount::new(below(s, scale / 2))),
    };
    ChainTotals {
        withdrawn: near(state.withdrawn),
        deposited: near(state.deposited),
        credit_max: near(state.credited),
    }
}

fn cases(s: &mut Source) -> Vec<Case> {
    let mut cases = Vec::new();
    for round in 0..4_u32 {
        let scale = [1_000, 1_000_000, 10_u128.pow(24), 10_u128.pow(27)][round as usize];
        for mode in [FundingMode::Mint, FundingMode::Vault] {
            for closer in [Closer::Hub, Closer::User, Closer::Exit] {
                for end in [End::Unanswered, End::Accepted, End::Answered] {
                    // All is there, about half, and nothing.
                    for percent in [400, 50, 0] {
                        let state = state(s, scale);
                        let totals = totals(s, &state, scale);
                        let due = dues(&state, &totals);
                        let wanted = due.user_due.units() + due.lock_max.units();
                        let vault = mode == FundingMode::Vault;
                        let collateral = if vault {
                            some(s, wanted / 2).units()
                        } else {
                            0
                        };
                        cases.push(Case {
                            mode,
                            closer,
                            end,
                            state,
                            totals,
                            penalty_cap: some(s, 2 * HUB_CAP.min(scale)).units(),
                            bounty_bps: u16::try_from(below(s, 501)).unwrap(),
                            collateral,
                            funds: wanted / 100 * percent + wanted % 100 * percent / 100,
                        });
                    }
                }
            }
        }
    }
    cases
}

/// Dues and shares alone, with values that no chain could bring together: library against library.
fn extremes(s: &mut Source) -> Vec<Vec<u128>> {
    let mut rows = Vec::new();
    for _ in 0..64 {
        let mut state = State::null(ChannelId([7; 32]), 0, s.amount(96));
        state.user_balance = s.amount(96);
        state.hub_locked = s.amount(96);
        state.user_locked = s.amount(96);
        state.withdrawn = s.amount(128);
        state.deposited = s.amount(128);
        state.credited = s.amount(128);
        let totals = ChainTotals {
            withdrawn: s.amount(128),
            deposited: s.amount(112),
            credit_max: s.amount(128),
        };
        let limit = s.amount(96);
        let bounty_bps = u16::try_from(below(s, 501)).unwrap();
        let due = dues(&state, &totals);
        let user = payout(&due, Verdict::UserCheated, bounty_bps);
        let hub = payout(&due, Verdict::HubCheated { limit }, bounty_bps);
        let row = [
            state.hub_balance,
            state.user_balance,
            state.hub_locked,
            state.user_locked,
            state.withdrawn,
            state.deposited,
            state.credited,
            totals.withdrawn,
            totals.deposited,
            totals.credit_max,
            limit,
            Amount::new(u128::from(bounty_bps)),
            due.user_due,
            due.hub_due,
            due.lock_max,
            user.bounty,
            hub.user_bonus,
            hub.bounty,
        ];
        rows.push(row.map(Amount::units).to_vec());
    }
    rows
}

/// floor(amount x delivered / total), with its ends.
fn meters(s: &mut Source) -> Vec<Vec<u128>> {
    let mut rows = Vec::new();
    for i in 0..40_u64 {
        let amount = s.amount(96);
        let total = if i.is_multiple_of(8) { 0 } else { s.u64(64) };
        let delivered = match i % 4 {
            0 => s.u64(64),
            1 => total,
            2 => total.saturating_add(1),
            _ => total / 3,
        };
        let receives = metered(amount, delivered, total);
        let row = [u128::from(delivered), u128::from(total), receives.units()];
        rows.push([&[amount.units()][..], &row].concat());
    }
    rows
}

fn write_rows(out: &mut String, name: &str, rows: &[Vec<u128>]) {
    writeln!(out, "  \"{name}\": [").unwrap();
    for (index, row) in rows.iter().enumerate() {
        let numbers: Vec<_> = row.iter().map(|number| format!("\"{number}\"")).collect();
        let comma = if index + 1 < rows.len() { "," } else { "" };
        writeln!(out, "    [{}]{comma}", numbers.join(",")).unwrap();
    }
    write!(out, "  ]").unwrap();
}

fn generate() -> String {
    let mut s = Source::at(1_000);
    let settlements: Vec<_> = cases(&mut s).iter().map(Case::run).collect();
    let lists = [
        ("settlements", settlements),
        ("unlocks", crate::unlocks::rows(&mut s)),
        ("extremes", extremes(&mut s)),
        ("meters", meters(&mut s)),
    ];
    let mut out = String::from("{\n");
    for (index, (name, rows)) in lists.iter().enumerate() {
        write_rows(&mut out, name, rows);
        out.push_str(if index + 1 < lists.len() { ",\n" } else { "\n" });
    }
    out.push_str("}\n");
    out
}

#[test]
fn the_committed_outcomes_are_what_this_code_computes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/vectors/outcomes.json");
    let generated = generate();
    assert_eq!(generated, generate(), "generation depends on nothing else");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == generated,
        "run UPDATE_VECTORS=1 cargo test -p hub-core"
    );
}

/// A branch of the settlement, and whether a case with these results takes it.
type Branch = (&'static str, fn(&Case, &[u128]) -> bool);

fn entitled(case: &Case) -> Entitled {
    Entitled::new(&case.state, &case.totals)
}

fn cheated(case: &Case, closer: Closer) -> bool {
    case.end == End::Answered && case.closer == closer
}

/// The bounty is what funds there are, not the share.
fn is_cut_short(case: &Case, bounty: u128) -> bool {
    let due = dues(&case.state, &case.totals);
    let share = payout(&due, Verdict::UserCheated, case.bounty_bps);
    cheated(case, Closer::User) && bounty < share.bounty.units()
}

const DUES: &[Branch] = &[
    ("x is exact", |case, _| entitled(case).is_exact()),
    ("x is below zero", |case, _| {
        !entitled(case).is_exact() && entitled(case).clamped().is_zero()
    }),
    ("x is above the pool", |case, _| {
        !entitled(case).is_exact() && entitled(case).clamped() == entitled(case).pool
    }),
    ("a credit is not folded", |case, _| {
        case.totals.credit_max > case.state.credited
    }),
    ("a deposit is not folded", |case, _| {
        case.totals.deposited > case.state.deposited
    }),
    ("a withdrawal is not executed", |case, _| {
        case.totals.withdrawn < case.state.withdrawn
    }),
    ("a withdrawal was reversed too early", |case, _| {
        case.totals.withdrawn > case.state.withdrawn
    }),
];

const PAYOUTS: &[Branch] = &[
    ("the user is paid at once", |_, out| out[0] != 0),
    ("a bounty leaves the bond", |case, out| {
        cheated(case, Closer::Hub) && out[1] != 0
    }),
    ("a bounty leaves the funds", |case, out| {
        cheated(case, Closer::User) && out[1] != 0
    }),
    ("a bounty is cut short", |case, out| {
        is_cut_short(case, out[1])
    }),
    ("a closing user is paid later", |_, out| out[3] != 0),
    ("a closing hub's collateral returns later", |_, out| {
        out[2] != 0 && out[3] == 0
    }),
    ("collateral returns at once", |case, out| {
        case.funds < out[6]
    }),
    ("the user is owed", |_, out| out[4] != 0),
    ("locks are set aside", |_, out| out[8] != 0),
    ("locks are short", |_, out| out[9] != 0),
    ("the bond pays", |_, out| out[10] != 0),
    ("the hub's own cap is the lower", |_, out| {
        out[10] == HUB_CAP
    }),
];

#[test]
fn the_outcomes_reach_every_branch() {
    let cases = cases(&mut Source::at(1_000));
    let results: Vec<_> = cases.iter().map(|case| case.run().split_off(17)).collect();
    for (branch, takes) in DUES.iter().chain(PAYOUTS) {
        let mut pairs = cases.iter().zip(&results);
        assert!(
            pairs.any(|(case, out)| takes(case, out)),
            "no case where {branch}"
        );
    }
}
