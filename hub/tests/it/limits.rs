//! What may be issued, what the vault covers, and what abandoned batches may yield.

use crate::support::{Account, amount, pair, start, wide_limits};
use hub::Hub;
use hub::engine::limits::Limits;
use hub_client::{Fate, FatesRequest, FundingMode, HubRefusal, Marks};
use hub_core::{Amount, Operation, OperationId, State};

async fn marks(hub: &Hub) -> Marks {
    hub.fates(FatesRequest { fates: vec![] }).await.unwrap()
}

async fn refused(hub: &Hub, account: &Account, operations: Vec<Operation>) -> HubRefusal {
    let request = account.propose(operations).request;
    hub.sign_batch(request).await.unwrap_err().error
}

fn rule(name: &str, operations: Vec<OperationId>, headroom: Option<Amount>) -> HubRefusal {
    HubRefusal::Rule {
        name: name.to_owned(),
        operations,
        headroom,
    }
}

#[tokio::test]
async fn issuances_keep_to_the_caps_per_order_and_per_hour_across_a_restart() {
    let limits = Limits {
        issue_per_order: amount(100),
        issue_per_hour: amount(250),
        ..wide_limits()
    };
    let (bed, hub, mut account) = pair(FundingMode::Mint, limits).await;
    let operations = vec![account.open(0), account.open(1), account.issue(0, 100)];
    account.post(&hub, operations).await;
    let (over, fits) = (account.issue(0, 101), account.issue(1, 100));
    assert_eq!(
        refused(&hub, &account, vec![over, fits]).await,
        rule("ISSUE_PER_ORDER", vec![over.id], None)
    );
    account.post(&hub, vec![fits]).await;
    let hub = start(&bed, &account.terms, limits).await;
    account.greet(&hub).await;
    let (one, two) = (account.issue(0, 50), account.issue(1, 1));
    assert_eq!(
        refused(&hub, &account, vec![one, two]).await,
        rule("ISSUE_LIMIT", vec![two.id], None)
    );
    account.post(&hub, vec![one]).await;
    // Redeeming gives no leave to issue again within the hour.
    let operations = vec![account.redeem(0, 50)];
    account.post(&hub, operations).await;
    assert_eq!(
        refused(&hub, &account, vec![two]).await,
        rule("ISSUE_LIMIT", vec![two.id], None)
    );
}

#[tokio::test]
async fn a_vault_hub_issues_what_the_final_vault_covers_and_transfers_cost_nothing_once_complete() {
    let (bed, hub, mut account) = pair(FundingMode::Vault, wide_limits()).await;
    let first = vec![account.open(0), account.open(1)];
    account.post(&hub, first).await;
    let issue = account.issue(0, 10);
    assert_eq!(
        refused(&hub, &account, vec![issue]).await,
        rule("HEADROOM", vec![issue.id], Some(Amount::ZERO))
    );
    let vault = crate::chain::vault(account.terms.hub, 1_000);
    let funded = hub.chain_events(vault).await.unwrap();
    assert_eq!(funded.headroom, Some(amount(1_000)));
    let operations = vec![account.issue(0, 600)];
    account.post(&hub, operations).await;
    let (fits, beyond) = (account.issue(1, 300), account.issue(1, 101));
    assert_eq!(
        refused(&hub, &account, vec![fits, beyond]).await,
        rule("HEADROOM", vec![beyond.id], Some(amount(400)))
    );
    // While a transfer is half-signed both sides count at their worst; afterwards it cost nothing.
    let operation = account.transfer(0, 1, 500);
    let proposed = account.propose(vec![operation]);
    let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
    assert_eq!(signed.headroom, Some(Amount::ZERO));
    let fate = account.commit(&proposed, &signed);
    let after = hub.fates(FatesRequest { fates: vec![fate] }).await.unwrap();
    assert_eq!(after.headroom, Some(amount(400)));
    for _ in 0..20 {
        let operations = vec![account.transfer(1, 0, 400), account.transfer(0, 1, 400)];
        account.post(&hub, operations).await;
        assert_eq!(marks(&hub).await.headroom, Some(amount(400)));
    }
    // What was redeemed is there again, once it is complete.
    let operations = vec![account.redeem(0, 100)];
    account.post(&hub, operations).await;
    assert_eq!(marks(&hub).await.headroom, Some(amount(500)));
    let restarted = start(&bed, &account.terms, wide_limits()).await;
    assert_eq!(marks(&restarted).await.headroom, Some(amount(500)));
}

#[tokio::test]
async fn what_the_hub_owes_is_covered_before_anything_is_issued_again_down_to_the_last_unit() {
    let (bed, hub, mut account) = pair(FundingMode::Vault, wide_limits()).await;
    let free = |units| crate::chain::vault(account.terms.hub, units);
    let (empty, as_much, seven_more) = (free(0), free(300), free(307));
    hub.chain_events(free(900)).await.unwrap();
    let operations = vec![
        account.open(0),
        account.open(1),
        account.issue(0, 600),
        account.issue(1, 300),
    ];
    account.post(&hub, operations).await;
    assert_eq!(marks(&hub).await.headroom, Some(Amount::ZERO));
    // The vault has lost 400 to forfeits, so that a settlement of 600 leaves 100 owed.
    hub.chain_events(empty).await.unwrap();
    let settled = crate::chain::settled(&State::null(account.id(0), 0, Amount::ZERO));
    let after = hub.chain_events(settled).await.unwrap();
    assert_eq!(after.headroom, Some(Amount::ZERO));
    // 400 come in: 100 are owed, and the other 300 are what is left of users' balances.
    let after = hub.chain_events(as_much).await.unwrap();
    assert_eq!(after.headroom, Some(Amount::ZERO));
    let issue = account.issue(1, 1);
    assert_eq!(
        refused(&hub, &account, vec![issue]).await,
        rule("HEADROOM", vec![issue.id], Some(Amount::ZERO))
    );
    let after = hub.chain_events(seven_more).await.unwrap();
    assert_eq!(after.headroom, Some(amount(7)));
    let hub = start(&bed, &account.terms, wide_limits()).await;
    account.greet(&hub).await;
    let (fits, beyond) = (account.issue(1, 7), account.issue(1, 8));
    assert_eq!(
        refused(&hub, &account, vec![beyond]).await,
        rule("HEADROOM", vec![beyond.id], Some(amount(7)))
    );
    account.post(&hub, vec![fits]).await;
    assert_eq!(marks(&hub).await.headroom, Some(Amount::ZERO));
}

#[tokio::test]
async fn what_a_burned_batch_could_yield_stays_counted_until_newer_states_complete() {
    let (bed, hub, mut account) = pair(FundingMode::Vault, wide_limits()).await;
    let vault = crate::chain::vault(account.terms.hub, 10_000);
    hub.chain_events(vault).await.unwrap();
    let operations = vec![
        account.open(0),
        account.open(1),
        account.open(2),
        account.issue(0, 1_000),
    ];
    account.post(&hub, operations).await;
    let operation = account.transfer(0, 1, 700);
    let abandoned = account.propose(vec![operation]);
    let signed = hub.sign_batch(abandoned.request).await.unwrap();
    let fates = vec![Fate::Burned {
        batch_id: signed.batch_id,
    }];
    let burned = hub.fates(FatesRequest { fates }).await.unwrap();
    assert_eq!(burned.headroom, Some(amount(10_000 - 1_000 - 700)));
    let limits = Limits {
        burn: amount(699),
        ..wide_limits()
    };
    let hub = start(&bed, &account.terms, limits).await;
    account.greet(&hub).await;
    assert_eq!(marks(&hub).await.headroom, burned.headroom);
    account.floors.insert(account.id(0), 2);
    account.floors.insert(account.id(1), 2);
    let elsewhere = account.transfer(0, 2, 10);
    assert_eq!(
        refused(&hub, &account, vec![elsewhere]).await,
        rule("BURN_LIMIT", vec![elsewhere.id], None)
    );
    // A newer state of the channel adds nothing, and completing it ends the matter.
    let operations = vec![account.transfer(0, 1, 600)];
    account.post(&hub, operations).await;
    assert_eq!(
        marks(&hub).await.headroom,
        Some(amount(10_000 - 1_000)),
        "what was burned counts no longer"
    );
    account.post(&hub, vec![elsewhere]).await;
}

#[tokio::test]
async fn above_the_burn_limit_the_operations_that_add_to_it_are_named_and_the_rest_goes_on() {
    let limits = Limits {
        burn: amount(99),
        ..wide_limits()
    };
    let (_bed, hub, mut account) = pair(FundingMode::Mint, limits).await;
    let operations = vec![
        account.open(0),
        account.open(1),
        account.open(2),
        account.open(3),
        account.issue(0, 1_000),
        account.issue(3, 1_000),
    ];
    account.post(&hub, operations).await;
    let operation = account.transfer(0, 1, 100);
    let request = account.propose(vec![operation]).request;
    let batch_id = hub.sign_batch(request).await.unwrap().batch_id;
    let fates = vec![Fate::Burned { batch_id }];
    hub.fates(FatesRequest { fates }).await.unwrap();
    account.floors.insert(account.id(0), 2);
    account.floors.insert(account.id(1), 2);
    // Channel 1 may gain the 100 that it may have anyway, and again what it has given away; every
    // other one only what it gives itself.
    let completes = account.transfer(0, 1, 100);
    let beyond = account.transfer(3, 1, 1);
    let gives = account.redeem(1, 40);
    let again = account.transfer(3, 1, 40);
    let elsewhere = account.transfer(0, 2, 10);
    let takes = account.redeem(3, 10);
    let back = account.issue(3, 50);
    let all = vec![completes, beyond, gives, again, elsewhere, takes, back];
    let named = vec![beyond.id, elsewhere.id];
    assert_eq!(
        refused(&hub, &account, all).await,
        rule("BURN_LIMIT", named, None)
    );
    account
        .post(&hub, vec![completes, gives, again, takes, back])
        .await;
    // With that the matter is ended.
    account.post(&hub, vec![beyond, elsewhere]).await;
}
