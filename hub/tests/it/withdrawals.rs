//! A `Withdraw` is signed for an order in a co-signed state, one at a time, once.

use crate::support::{Account, amount, pair, start, wide_limits};
use hub::Hub;
use hub_client::{ErrorBody, Fate, FundingMode, HubRefusal, WithdrawRequest, WithdrawSigned};
use hub_core::types::Withdraw;
use hub_core::{Action, Address, Facts, Operation, OperationId, signature};

const PAYEE: Address = Address([5; 20]);

fn now() -> u64 {
    runtime::clock::now().unix_timestamp().cast_unsigned()
}

impl Account {
    fn order(&mut self, n: u64, units: u128) -> Operation {
        let channel = self.id(n);
        self.operation(Action::Withdraw {
            channel,
            amount: amount(units),
            to: PAYEE,
        })
    }

    fn refund(&mut self, n: u64, order: OperationId, units: u128) -> Operation {
        let channel = self.id(n);
        self.operation(Action::Refund {
            channel,
            order,
            amount: amount(units),
        })
    }

    fn withdraw(&self, n: u64, order: &Operation, prev_total: u128, seconds: u64) -> Withdraw {
        Withdraw {
            channel_id: self.id(n),
            epoch: 0,
            prev_total: amount(prev_total),
            amount: order.action.amount(),
            to: PAYEE,
            valid_until: now() + seconds,
            request_id: order.id.word(),
        }
    }
}

async fn sign(
    hub: &Hub,
    order: &Operation,
    withdraw: Withdraw,
    fates: Vec<Fate>,
) -> Result<WithdrawSigned, ErrorBody> {
    let request = WithdrawRequest {
        order: order.id,
        withdraw,
        fates,
    };
    hub.sign_withdraw(request).await
}

fn name(answer: Result<WithdrawSigned, ErrorBody>) -> String {
    match answer.unwrap_err().error {
        HubRefusal::Rule { name, .. } => name,
        other => panic!("not a rule: {other:?}"),
    }
}

async fn funded(mode: FundingMode) -> (stack::Testbed, Hub, Account) {
    let (bed, hub, mut account) = pair(mode, wide_limits()).await;
    let vault = crate::chain::vault(account.terms.hub, 100_000);
    hub.chain_events(vault).await.unwrap();
    let operations = vec![account.open(0), account.issue(0, 1_000)];
    account.post(&hub, operations).await;
    (bed, hub, account)
}

#[tokio::test]
async fn only_what_a_co_signed_state_includes_is_signed_and_the_same_again_later() {
    let (bed, hub, mut account) = funded(FundingMode::Vault).await;
    let order = account.order(0, 300);
    let withdraw = account.withdraw(0, &order, 0, 600);
    assert_eq!(
        name(sign(&hub, &order, withdraw, vec![]).await),
        "ORDER_UNKNOWN"
    );
    let proposed = account.propose(vec![order]);
    let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
    let fate = account.commit(&proposed, &signed);
    // Half-signed is not enough.
    assert_eq!(
        name(sign(&hub, &order, withdraw, vec![]).await),
        "ORDER_UNKNOWN"
    );
    for (change, refusal) in [
        (
            Withdraw {
                to: Address([6; 20]),
                ..withdraw
            },
            "ORDER_DIFFERS",
        ),
        (
            Withdraw {
                amount: amount(299),
                ..withdraw
            },
            "ORDER_DIFFERS",
        ),
        (
            Withdraw {
                prev_total: amount(1),
                ..withdraw
            },
            "PREV_TOTAL",
        ),
        (
            Withdraw {
                valid_until: u64::from(u32::MAX) * 2,
                ..withdraw
            },
            "VALID_UNTIL",
        ),
    ] {
        let fates = vec![fate.clone()];
        assert_eq!(name(sign(&hub, &order, change, fates).await), refusal);
    }
    let first = sign(&hub, &order, withdraw, vec![fate]).await.unwrap();
    let digest = account.terms.domain.digest(&withdraw);
    signature::verify(digest, &first.signature, account.terms.hub_signer).unwrap();
    let hub = start(&bed, &account.terms, wide_limits()).await;
    assert!(
        matches!(
            sign(&hub, &order, withdraw, vec![])
                .await
                .unwrap_err()
                .error,
            HubRefusal::Session { .. }
        ),
        "a hub that nobody greeted may be a restored one"
    );
    account.greet(&hub).await;
    assert_eq!(sign(&hub, &order, withdraw, vec![]).await.unwrap(), first);
    let other = Withdraw {
        valid_until: withdraw.valid_until + 1,
        ..withdraw
    };
    assert_eq!(name(sign(&hub, &order, other, vec![]).await), "ORDER_USED");
    // The next one waits for this one.
    let second = account.order(0, 50);
    account.post(&hub, vec![second]).await;
    let next = account.withdraw(0, &second, 0, 600);
    assert_eq!(
        name(sign(&hub, &second, next, vec![]).await),
        "WITHDRAW_OPEN"
    );
    let paid = hub.chain_events(crate::chain::withdrawn(&withdraw)).await;
    // The vault's own event comes beside it.
    let vault = crate::chain::vault(account.terms.hub, 100_000 - 300);
    let marks = hub.chain_events(vault).await.unwrap();
    assert_eq!(marks.headroom, Some(amount(100_000 - 1_000)));
    assert!(paid.is_ok());
    assert_eq!(name(sign(&hub, &second, next, vec![]).await), "PREV_TOTAL");
    let next = account.withdraw(0, &second, 300, 600);
    assert!(sign(&hub, &second, next, vec![]).await.is_ok());
    assert_eq!(
        name(sign(&hub, &order, withdraw, vec![]).await),
        "ORDER_USED"
    );
}

#[tokio::test]
async fn an_order_is_refunded_once_and_only_when_it_cannot_be_paid_any_more() {
    let (_bed, hub, mut account) = funded(FundingMode::Mint).await;
    let order = account.order(0, 300);
    account.post(&hub, vec![order]).await;
    let withdraw = account.withdraw(0, &order, 0, 600);
    sign(&hub, &order, withdraw, vec![]).await.unwrap();
    let refund = account.refund(0, order.id, 300);
    let proposed = account.propose(vec![refund]);
    let refused = async |account: &Account, operation: Operation| {
        let request = account.propose(vec![operation]).request;
        match hub.sign_batch(request).await.unwrap_err().error {
            HubRefusal::Rule {
                name, operations, ..
            } => {
                assert_eq!(operations, vec![operation.id]);
                name
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&account, refund).await, "REFUND");
    let last = crate::chain::finalized(withdraw.valid_until);
    hub.chain_events(last).await.unwrap();
    assert_eq!(refused(&account, refund).await, "REFUND");
    let past = crate::chain::finalized(withdraw.valid_until + 1);
    hub.chain_events(past).await.unwrap();
    let signed = hub.sign_batch(proposed.request.clone()).await.unwrap();
    // From here on the order is never paid again, even if the refund's batch were burned.
    let again = Withdraw {
        valid_until: withdraw.valid_until + 700,
        ..withdraw
    };
    assert_eq!(
        name(sign(&hub, &order, again, vec![]).await),
        "ORDER_REFUNDED"
    );
    let fate = account.commit(&proposed, &signed);
    let fates = hub_client::FatesRequest { fates: vec![fate] };
    hub.fates(fates).await.unwrap();
    assert_eq!(account.user_balance(0), 1_000);
    // Not twice, not another amount, not an order that nobody made.
    let second = account.order(0, 200);
    account.post(&hub, vec![second]).await;
    let twice = account.refund(0, order.id, 200);
    assert_eq!(refused(&account, twice).await, "REFUND");
    let other = account.refund(0, second.id, 199);
    assert_eq!(refused(&account, other).await, "REFUND");
    let nobodys = account.refund(0, OperationId([9; 16]), 200);
    assert_eq!(refused(&account, nobodys).await, "REFUND");
    // One that was never signed is refunded at once.
    let cancelled = account.refund(0, second.id, 200);
    account.post(&hub, vec![cancelled]).await;
    assert_eq!(account.user_balance(0), 1_000);
}

#[tokio::test]
async fn a_paid_order_is_never_refunded_and_an_order_is_debited_once() {
    let (_bed, hub, mut account) = funded(FundingMode::Mint).await;
    let order = account.order(0, 300);
    account.post(&hub, vec![order]).await;
    let again = account.propose(vec![order]).request;
    let refused = hub.sign_batch(again).await.unwrap_err().error;
    assert!(matches!(refused, HubRefusal::Rule { name, .. } if name == "ORDER_USED"));
    let withdraw = account.withdraw(0, &order, 0, 600);
    sign(&hub, &order, withdraw, vec![]).await.unwrap();
    hub.chain_events(crate::chain::withdrawn(&withdraw))
        .await
        .unwrap();
    let past = crate::chain::finalized(withdraw.valid_until + 1);
    hub.chain_events(past).await.unwrap();
    let refund = account.refund(0, order.id, 300);
    account.facts.insert(account.id(0), Facts::default());
    let request = account.propose(vec![refund]).request;
    let refused = hub.sign_batch(request).await.unwrap_err().error;
    assert!(matches!(refused, HubRefusal::Rule { name, .. } if name == "REFUND"));
}
