//! Signing a `Withdraw` (P9): only for an order in a co-signed state, one open per channel, and
//! never two that could both be executed.

use super::head::OpenWithdraw;
use super::ledger::Ledger;
use super::load::no_facts;
use super::orders::{KnownOrder, OrderKind};
use super::refusal::{body, malformed, rule};
use super::{Core, Fault, Hub, Work, limits};
use crate::store;
use hub_client::{ErrorBody, HubRefusal, WithdrawRequest, WithdrawSigned};
use hub_core::types::Withdraw;
use hub_core::{OperationId, State};
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;

impl Hub {
    /// Signs a `Withdraw`, durably before the signature leaves; the same order and content get
    /// the same signature.
    pub async fn sign_withdraw(
        &self,
        request: WithdrawRequest,
    ) -> Result<WithdrawSigned, ErrorBody> {
        self.work(request).await
    }
}

impl Work for WithdrawRequest {
    type Output = WithdrawSigned;

    async fn run(&mut self, core: &Core, ledger: &mut Ledger) -> Result<WithdrawSigned, Fault> {
        core.sign_withdraw(ledger, self).await
    }
}

impl Core {
    async fn sign_withdraw(
        &self,
        ledger: &mut Ledger,
        request: &WithdrawRequest,
    ) -> Result<WithdrawSigned, Fault> {
        let (mut tx, _) = self.begin(ledger, None).await?;
        self.check_signing(ledger)?;
        let new_fates = self.take_in(&mut tx, ledger, &request.fates).await?;
        let withdraw = &request.withdraw;
        match self.keep_withdraw(&mut tx, ledger, request).await {
            Err(Fault::Refused(body)) => {
                if new_fates {
                    tx.commit().await?;
                }
                return Err(Fault::Refused(body));
            }
            kept => kept?,
        }
        tx.commit().await?;
        let final_timestamp = ledger.chain.timestamp;
        let facts = ledger
            .facts
            .entry(withdraw.channel_id)
            .or_insert_with(|| no_facts(withdraw.epoch));
        // A replay of one that expired must not hide a newer one.
        if withdraw.valid_until >= final_timestamp {
            facts.open = Some(OpenWithdraw {
                amount: withdraw.amount,
                valid_until: withdraw.valid_until,
            });
        }
        self.parts.metrics.withdraws.inc();
        let signature = self.parts.signer.sign(&self.parts.terms.domain, withdraw);
        Ok(WithdrawSigned { signature })
    }

    async fn keep_withdraw(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        request: &WithdrawRequest,
    ) -> Result<(), Fault> {
        let (hub_id, order, withdraw) = (self.hub_id(), request.order, &request.withdraw);
        if withdraw.request_id != order.word() {
            return Err(malformed("the Withdraw names another order").into());
        }
        let earlier = store::orders::signed(tx, hub_id, order).await?;
        if let Some((same, executed)) = earlier
            && same == *withdraw
        {
            return if executed {
                Err(rule("ORDER_USED", "the order was paid").into())
            } else {
                Ok(())
            };
        }
        let final_timestamp = ledger.chain.timestamp;
        if let Some((earlier, executed)) = earlier
            && (executed || earlier.valid_until >= final_timestamp)
        {
            let why = "another Withdraw of the order was or may still be paid";
            return Err(rule("ORDER_USED", why).into());
        }
        let known = store::orders::known(tx, hub_id, &[order]).await?;
        let known = known.get(&order).copied().unwrap_or_default();
        check_order(&known, order, withdraw)?;
        check_validity(withdraw, final_timestamp, runtime::clock::now())?;
        let live =
            store::orders::has_other_live(tx, hub_id, withdraw, order, final_timestamp).await?;
        if live {
            let why = "another Withdraw of the channel may still be paid";
            return Err(rule("WITHDRAW_OPEN", why).into());
        }
        let heads = self.heads(tx, ledger, &[withdraw.channel_id]).await?;
        let facts = ledger.facts_of(&withdraw.channel_id);
        if facts.closing {
            let channels = vec![withdraw.channel_id];
            return Err(body(
                HubRefusal::Closing { channels },
                "nothing is signed in a channel that closes",
            )
            .into());
        }
        let Some(head) = heads.get(&withdraw.channel_id) else {
            return Err(rule("UNKNOWN_CHANNEL", "no such channel").into());
        };
        check_state(head.held().0, withdraw, facts.executed)?;
        let now = runtime::clock::now();
        store::orders::keep(tx, hub_id, order, withdraw, now).await?;
        Ok(())
    }
}

fn check_order(
    known: &KnownOrder,
    order: OperationId,
    withdraw: &Withdraw,
) -> Result<(), ErrorBody> {
    let Some(entry) = known.committed else {
        return Err(rule(
            "ORDER_UNKNOWN",
            format!("no batch known to be committed has order {order}"),
        ));
    };
    let same = entry.channel == withdraw.channel_id
        && entry.epoch == withdraw.epoch
        && entry.amount == withdraw.amount
        && entry.kind == OrderKind::Withdraw(withdraw.to);
    if !same {
        return Err(rule(
            "ORDER_DIFFERS",
            "the order has another channel, epoch, amount or payee",
        ));
    }
    // Even one whose batch was burned: it could come back co-signed.
    if known.refund_signed {
        return Err(rule("ORDER_REFUNDED", "a refund of the order was signed"));
    }
    Ok(())
}

fn check_validity(
    withdraw: &Withdraw,
    final_timestamp: u64,
    now: OffsetDateTime,
) -> Result<(), ErrorBody> {
    let now = now.unix_timestamp().cast_unsigned().max(final_timestamp);
    let latest = now.saturating_add(limits::WITHDRAW_VALIDITY.as_secs());
    if withdraw.valid_until < final_timestamp || withdraw.valid_until > latest {
        return Err(rule(
            "VALID_UNTIL",
            format!("a Withdraw ends between {final_timestamp} and {latest}"),
        ));
    }
    Ok(())
}

fn check_state(
    held: &State,
    withdraw: &Withdraw,
    executed: hub_core::Amount,
) -> Result<(), ErrorBody> {
    if withdraw.epoch != held.epoch {
        return Err(rule("EPOCH", "the order is of another epoch"));
    }
    if withdraw.prev_total != executed {
        let why = format!("{executed} is executed at a final block, not prevTotal");
        return Err(rule("PREV_TOTAL", why));
    }
    let total = withdraw.prev_total.checked_add(withdraw.amount);
    if total.is_none_or(|total| total > held.withdrawn) {
        return Err(rule(
            "WITHDRAWN",
            format!("the co-signed state has withdrawn {}", held.withdrawn),
        ));
    }
    Ok(())
}
