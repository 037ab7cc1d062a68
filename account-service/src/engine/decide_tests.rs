use super::decide::{Decision, Known, Plan, Verdicts, decide};
use super::job::{Group, Job};
use super::types::{Kind, NewAccount, Order, Outcome, Request, Route};
use crate::store::directory::Account;
use crate::store::heads::{ChannelStatus, Head};
use crate::store::journal::{Existing, ExistingResult, KeyId};
use hub_core::{
    Action, Address, Amount, ChannelId, ChannelParams, Domain, Facts, Hash32, OperationId, State,
    Typed,
};
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

const CAPACITY: u128 = 1_000;

fn domain() -> Domain {
    Domain {
        chain_id: 1,
        verifying_contract: Address([9; 20]),
    }
}

fn account(n: u8) -> Arc<Account> {
    Arc::new(Account {
        id: Uuid::from_bytes([n; 16]),
        owner: Uuid::nil(),
        hub_id: Uuid::nil(),
        asset: "INF".into(),
        channel: ChannelId([n; 32]),
        params: ChannelParams {
            hub: Address([1; 20]),
            hub_signer: Address([2; 20]),
            user: Address([3; 20]),
            user_signer: Address([4; 20]),
            custodial: true,
            capacity: Amount::new(CAPACITY),
            challenge_period: 60,
            self_delay: 60,
            penalty_cap: Amount::new(1),
            bounty_bps: 0,
            salt: Hash32([n; 32]),
        },
        chain_address: None,
    })
}

fn head(n: u8, user: u128) -> Head {
    let mut state = State::null(ChannelId([n; 32]), 0, Amount::new(CAPACITY));
    state.version = 4;
    state.user_balance = Amount::new(user);
    state.hub_balance = Amount::new(CAPACITY - user);
    Head {
        state,
        state_hash: state.hash_struct(),
        batch: Uuid::nil(),
        newest: None,
        batch_id: 1,
        status: ChannelStatus::Open,
        facts: Facts::default(),
    }
}

fn known(balances: &[(u8, u128)]) -> Known {
    let heads = balances.iter().map(|(n, user)| head(*n, *user));
    Known {
        heads: Arc::new(heads.map(|head| (head.state.channel_id, head)).collect()),
        ..Known::default()
    }
}

fn request(key: &str, order: Order) -> Request {
    Request {
        id: Uuid::now_v7(),
        owner: Uuid::nil(),
        all_owners: false,
        route: Route::Transfers,
        key: key.into(),
        request_hash: hub_core::sha256(key.as_bytes()),
        client_ref: None,
        correlation_id: "test".into(),
        order,
        extra: None,
        dry_run: false,
    }
}

fn transfer(key: &str, from: u8, to: u8, units: u128) -> Job {
    let (payer, payee, amount) = (account(from), account(to), Amount::new(units));
    let order = Order::Transfer {
        from: payer.id,
        to: payee.id,
        amount,
        expected_version: None,
    };
    Job {
        key: KeyId::new(Uuid::nil(), Route::Transfers, key),
        kind: Kind::Transfer,
        action: Ok(Action::Transfer {
            payer: payer.channel,
            payee: payee.channel,
            amount,
        }),
        payer: Some(payer),
        payee: Some(payee),
        resumes: None,
        request: request(key, order),
    }
}

fn issue(key: &str, to: u8, units: u128) -> Job {
    let (payee, amount) = (account(to), Amount::new(units));
    let order = Order::Issue {
        account: payee.id,
        amount,
    };
    Job {
        key: KeyId::new(Uuid::nil(), Route::Issuances, key),
        kind: Kind::Issue,
        action: Ok(Action::Issue {
            channel: payee.channel,
            amount,
        }),
        payer: None,
        payee: Some(payee),
        resumes: None,
        request: request(key, order),
    }
}

fn open(key: &str, n: u8, external_id: &str) -> Job {
    let new = account(n);
    let params = new.params;
    let order = Order::Open(NewAccount {
        id: new.id,
        external_id: Some(external_id.into()),
        asset: "INF".into(),
        hub_id: Uuid::nil(),
        chain_address: None,
        metadata: serde_json::Value::Null,
    });
    Job {
        key: KeyId::new(Uuid::nil(), Route::Accounts, key),
        kind: Kind::Open,
        action: Ok(Action::Open { params }),
        payer: None,
        payee: Some(new),
        resumes: None,
        request: request(key, order),
    }
}

fn groups(jobs: Vec<Job>, atomic: bool) -> Vec<Group> {
    let group = |jobs| Group::new(jobs, atomic, None, oneshot::channel().0);
    if atomic {
        return vec![group(jobs)];
    }
    jobs.into_iter().map(|job| group(vec![job])).collect()
}

fn plan(groups: &[Group], known: &Known, verdicts: &Verdicts) -> Plan {
    decide(&domain(), groups, known, verdicts).unwrap()
}

fn code(decision: &Decision) -> &str {
    match decision {
        Decision::Answered(Outcome::KeyMismatch) => "mismatch",
        Decision::Answered(_) => "answered",
        Decision::Refused(refusal) => &refusal.code,
        Decision::Pending => "pending",
        Decision::Posted(_) => "posted",
        Decision::Dropped => "dropped",
    }
}

fn codes(plan: &Plan) -> Vec<String> {
    let all = plan.decisions.iter().flatten();
    all.map(|decision| code(decision).to_owned()).collect()
}

#[test]
fn a_refused_transfer_does_not_disturb_its_neighbours() {
    let groups = groups(
        vec![
            transfer("a", 1, 2, 60),
            transfer("b", 1, 2, 60),
            transfer("c", 1, 2, 40),
        ],
        false,
    );
    let plan = plan(&groups, &known(&[(1, 100), (2, 0)]), &Verdicts::default());
    assert_eq!(codes(&plan), ["posted", "INSUFFICIENT_FUNDS", "posted"]);
    assert_eq!(plan.operations.len(), 2);
    assert_eq!(plan.successors.len(), 2);
    assert_eq!(plan.successors[1].state.user_balance, Amount::new(100));
}

#[test]
fn an_atomic_group_posts_whole_or_not_at_all() {
    let jobs = vec![
        transfer("a", 1, 2, 60),
        transfer("b", 2, 3, 60),
        transfer("c", 1, 3, 60),
    ];
    let known = known(&[(1, 100), (2, 0), (3, 0)]);
    let refused = plan(&groups(jobs.clone(), true), &known, &Verdicts::default());
    assert_eq!(
        codes(&refused),
        ["dropped", "dropped", "INSUFFICIENT_FUNDS"]
    );
    assert!(refused.operations.is_empty() && refused.successors.is_empty());
    let posted = plan(
        &groups(jobs[..2].to_vec(), true),
        &known,
        &Verdicts::default(),
    );
    assert_eq!(codes(&posted), ["posted", "posted"]);
}

#[test]
fn a_key_is_answered_as_before_and_refused_with_another_body() {
    let job = transfer("a", 1, 2, 60);
    let mut known = known(&[(1, 100), (2, 0)]);
    let refusal = super::refusals::same_account();
    let existing = |request_hash| Existing {
        request_hash,
        result: ExistingResult::Refused(refusal.clone()),
        refused_at: None,
    };
    known
        .keys
        .insert(job.key, existing(job.request.request_hash));
    let groups = groups(vec![job.clone()], false);
    assert_eq!(
        codes(&plan(&groups, &known, &Verdicts::default())),
        ["answered"]
    );
    known.keys.insert(job.key, existing(Hash32::ZERO));
    assert_eq!(
        codes(&plan(&groups, &known, &Verdicts::default())),
        ["mismatch"]
    );
}

#[test]
fn a_refused_atomic_group_is_refused_again_by_the_job_that_refused_it() {
    let jobs = vec![transfer("k#0", 1, 2, 10), transfer("k#1", 1, 2, 95)];
    let mut known = known(&[(1, 100), (2, 0)]);
    let refusal = super::refusals::same_account();
    let request_hash = jobs[0].request.request_hash;
    let refused = |request_hash| Existing {
        request_hash,
        result: ExistingResult::Refused(refusal.clone()),
        refused_at: Some(1),
    };
    let mut jobs = jobs;
    jobs[1].request.request_hash = request_hash;
    known.keys.insert(jobs[0].key, refused(request_hash));
    let again = plan(&groups(jobs.clone(), true), &known, &Verdicts::default());
    assert_eq!(codes(&again), ["dropped", "answered"]);
    assert!(again.operations.is_empty());
    // Another body, shorter than the place of the refusal.
    jobs.pop();
    jobs[0].request.request_hash = Hash32::ZERO;
    let other = plan(&groups(jobs, true), &known, &Verdicts::default());
    assert_eq!(codes(&other), ["mismatch"]);
    assert!(other.operations.is_empty());
}

#[test]
fn a_client_reference_and_an_external_id_are_used_once() {
    let with_ref = |key| {
        let mut job = transfer(key, 1, 2, 10);
        job.request.client_ref = Some("ref".into());
        job
    };
    let first = groups(vec![with_ref("a"), with_ref("b")], false);
    let known = known(&[(1, 100), (2, 0)]);
    let decided = plan(&first, &known, &Verdicts::default());
    assert_eq!(codes(&decided), ["posted", "DUPLICATE_CLIENT_REF"]);
    let opens = groups(vec![open("c", 7, "x"), open("d", 8, "x")], false);
    let decided = plan(&opens, &known, &Verdicts::default());
    assert_eq!(codes(&decided), ["posted", "DUPLICATE_EXTERNAL_ID"]);
    assert_eq!(decided.successors[0].state.version, 1);
}

#[test]
fn an_edited_head_freezes_its_channel_and_no_other() {
    let mut known = known(&[(1, 100), (2, 0), (3, 50)]);
    let edited = Arc::make_mut(&mut known.heads)
        .get_mut(&ChannelId([1; 32]))
        .unwrap();
    edited.state.user_balance = Amount::new(101);
    known.fresh.insert(ChannelId([1; 32]));
    let jobs = vec![
        transfer("a", 1, 2, 1),
        transfer("b", 3, 1, 1),
        transfer("c", 3, 2, 1),
    ];
    let plan = plan(&groups(jobs, false), &known, &Verdicts::default());
    assert_eq!(codes(&plan), ["CHANNEL_FROZEN", "CHANNEL_FROZEN", "posted"]);
}

#[test]
fn a_channel_that_the_hub_finds_damaged_is_frozen_in_the_next_try() {
    let known = known(&[(1, 100), (2, 0)]);
    let verdicts = Verdicts {
        frozen: [ChannelId([2; 32])].into(),
        ..Verdicts::default()
    };
    let plan = plan(
        &groups(vec![transfer("a", 1, 2, 1)], false),
        &known,
        &verdicts,
    );
    assert_eq!(codes(&plan), ["CHANNEL_FROZEN"]);
}

#[test]
fn frozen_and_closed_accounts_are_refused_on_either_side() {
    for (status, code) in [
        (ChannelStatus::Frozen, "ACCOUNT_FROZEN"),
        (ChannelStatus::Closed, "ACCOUNT_CLOSED"),
    ] {
        let mut known = known(&[(1, 100), (2, 100)]);
        Arc::make_mut(&mut known.heads)
            .get_mut(&ChannelId([2; 32]))
            .unwrap()
            .status = status;
        let jobs = vec![transfer("a", 1, 2, 1), transfer("b", 2, 1, 1)];
        let plan = plan(&groups(jobs, false), &known, &Verdicts::default());
        assert_eq!(codes(&plan), [code, code]);
    }
}

#[test]
fn an_expected_version_fails_once_another_operation_came_first() {
    let expecting = |key, version| {
        let mut job = transfer(key, 1, 2, 1);
        if let Order::Transfer {
            expected_version, ..
        } = &mut job.request.order
        {
            *expected_version = Some(version);
        }
        job
    };
    let known = known(&[(1, 100), (2, 0)]);
    let jobs = vec![expecting("a", 3), expecting("b", 4), expecting("c", 4)];
    let plan = plan(&groups(jobs, false), &known, &Verdicts::default());
    assert_eq!(
        codes(&plan),
        ["VERSION_CONFLICT", "posted", "VERSION_CONFLICT"]
    );
}

#[test]
fn issuance_beyond_the_headroom_waits_and_smaller_ones_go_on() {
    let verdicts = Verdicts {
        headroom: Some(Amount::new(100)),
        ..Verdicts::default()
    };
    let known = known(&[(1, 0), (2, 0)]);
    let jobs = vec![issue("a", 1, 70), issue("b", 2, 70), issue("c", 2, 30)];
    let decided = plan(&groups(jobs, false), &known, &verdicts);
    assert_eq!(codes(&decided), ["posted", "pending", "posted"]);
    let too_much = plan(
        &groups(vec![issue("d", 1, 2_000)], false),
        &known,
        &verdicts,
    );
    assert_eq!(codes(&too_much), ["CAPACITY_EXCEEDED"]);
}

#[test]
fn a_waiting_issuance_is_not_accepted_a_second_time() {
    let mut job = issue("a", 1, 70);
    job.resumes = Some(job.request.id);
    let unfunded = Verdicts {
        unfunded: [OperationId(*job.request.id.as_bytes())].into(),
        ..Verdicts::default()
    };
    let mut known = known(&[(1, 0)]);
    let raced = plan(
        &groups(vec![job.clone()], false),
        &known,
        &Verdicts::default(),
    );
    assert_eq!(codes(&raced), ["answered"], "another replica completed it");
    known.waiting.insert(job.request.id);
    let waits = plan(&groups(vec![job.clone()], false), &known, &unfunded);
    assert_eq!(codes(&waits), ["answered"]);
    let goes_on = plan(&groups(vec![job], false), &known, &Verdicts::default());
    assert_eq!(codes(&goes_on), ["posted"]);
}

#[test]
fn versions_start_above_whatever_the_hub_says_is_used() {
    let mut known = known(&[(1, 100), (2, 0)]);
    known.floors.insert(ChannelId([1; 32]), 9);
    let plan = plan(
        &groups(vec![transfer("a", 1, 2, 1)], false),
        &known,
        &Verdicts::default(),
    );
    let versions: Vec<_> = plan.successors.iter().map(|s| s.state.version).collect();
    assert_eq!(versions, [10, 5]);
    assert!(plan.successors.iter().all(|s| s.state.ack_version == 4));
}
