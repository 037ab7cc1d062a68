//! Taking in final chain events. Only these move what the hub believes of the chain.

use super::head::{ChannelFacts, Head};
use super::ledger::Ledger;
use super::load::no_facts;
use super::refusal::{body, malformed};
use super::{Core, Fault, Hub, Work, limits};
use crate::store;
use chain_messages::{Certainty, Event};
use hub_client::{ChainEventsRequest, ErrorBody, HubRefusal, Marks};
use hub_core::{Amount, ChannelId, Epoch, Hash32, OperationId, State};
use sqlx::{Postgres, Transaction};
use std::collections::HashSet;

/// A withdrawal that was paid.
struct Paid {
    channel: ChannelId,
    epoch: Epoch,
    request_id: Hash32,
    /// All that was paid out in the epoch.
    total: Amount,
}

impl Hub {
    /// Takes in events in their order; one that was taken in before is passed over.
    pub async fn chain_events(&self, request: ChainEventsRequest) -> Result<Marks, ErrorBody> {
        self.work(request).await
    }
}

impl Work for ChainEventsRequest {
    type Output = Marks;

    async fn run(&mut self, core: &Core, ledger: &mut Ledger) -> Result<Marks, Fault> {
        if self.events.len() > limits::EVENTS {
            return Err(malformed("too many events in one request").into());
        }
        core.chain_events(ledger, self).await
    }
}

impl Core {
    async fn chain_events(
        &self,
        ledger: &mut Ledger,
        request: &ChainEventsRequest,
    ) -> Result<Marks, Fault> {
        let (mut tx, _) = self.begin(ledger, None).await?;
        if let Some(count) = request.count
            && count.before > ledger.chain.events
        {
            let after = ledger.chain.events;
            let error = HubRefusal::EventsMissing { after };
            return Err(body(error, "the database was set back behind these events").into());
        }
        let ids: Vec<_> = request.events.iter().map(|event| event.id).collect();
        let now = runtime::clock::now();
        let behind = std::mem::take(&mut ledger.behind).into_iter().collect();
        self.begin_epochs(&mut tx, ledger, behind).await?;
        let new = store::facts::receive(&mut tx, self.hub_id(), &ids, now).await?;
        let mut new: HashSet<_> = new.into_iter().collect();
        let mark = ledger.chain;
        let mut count = 0;
        // The ledger changes on the way; a failure drops it.
        for envelope in &request.events {
            if new.remove(&envelope.id) {
                self.take_event(&mut tx, ledger, &envelope.body).await?;
                count += 1;
            }
        }
        if let Some(count) = request.count {
            ledger.chain.events = ledger.chain.events.max(count.up_to);
        }
        if ledger.chain != mark {
            store::facts::store_chain_mark(&mut tx, self.hub_id(), &ledger.chain).await?;
        }
        tx.commit().await?;
        self.parts.metrics.events.inc_by(count);
        Ok(self.marks(ledger))
    }

    async fn take_event(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        event: &Event,
    ) -> Result<(), Fault> {
        match event {
            Event::Finalized { block, timestamp } => {
                ledger.chain.block = ledger.chain.block.max(*block);
                ledger.chain.timestamp = ledger.chain.timestamp.max(*timestamp);
                Ok(())
            }
            Event::VaultChanged { hub, vault, .. } => {
                if *hub == self.parts.terms.hub {
                    ledger.chain.vault = *vault;
                }
                Ok(())
            }
            Event::Deposited {
                channel_id,
                epoch,
                total,
                certainty: Certainty::Final,
                ..
            } => {
                self.change(tx, ledger, *channel_id, *epoch, |facts| {
                    facts.final_deposits = facts.final_deposits.max(*total);
                })
                .await
            }
            Event::Withdrawn {
                channel_id,
                epoch,
                request_id,
                total,
                certainty: Certainty::Final,
                ..
            } => {
                let paid = Paid {
                    channel: *channel_id,
                    epoch: *epoch,
                    request_id: *request_id,
                    total: *total,
                };
                self.executed(tx, ledger, paid).await
            }
            // At first sight: whoever closes must not be overtaken by a state signed meanwhile.
            Event::Closed {
                state, certainty, ..
            } => {
                let stands = *certainty != Certainty::Orphaned;
                self.closed(tx, ledger, state.channel_id, state.epoch, stands)
                    .await
            }
            Event::Settled {
                channel_id, epoch, ..
            } => self.settled(tx, ledger, *channel_id, *epoch).await,
            // Nothing that could still be undone counts.
            Event::Deposited { .. } | Event::Withdrawn { .. } | Event::WithdrawSubmitted { .. } => {
                Ok(())
            }
        }
    }

    /// Changes the facts of a channel's epoch; those of an epoch that is over don't count.
    async fn change(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        channel: ChannelId,
        epoch: Epoch,
        change: impl FnOnce(&mut ChannelFacts),
    ) -> Result<(), Fault> {
        let before = ledger.facts.get(&channel).copied();
        let mut facts = before.unwrap_or_else(|| no_facts(epoch));
        if facts.epoch > epoch {
            return Ok(());
        }
        if facts.epoch < epoch {
            facts = facts.begin(epoch);
        }
        change(&mut facts);
        store::facts::store(tx, self.hub_id(), channel, &facts).await?;
        if store::facts::with_head(tx, self.hub_id(), channel).await? {
            let claim = |facts: &ChannelFacts| facts.claim().unwrap_or(0);
            ledger.liabilities += claim(&facts) - before.as_ref().map_or(0, claim);
        }
        ledger.facts.insert(channel, facts);
        Ok(())
    }

    /// Notes that a close is on chain, or is there no more. The epoch before it may be settled
    /// without that being final; then this one has not begun.
    async fn closed(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        channel: ChannelId,
        epoch: Epoch,
        stands: bool,
    ) -> Result<(), Fault> {
        let current = ledger.facts.get(&channel).map_or(0, |facts| facts.epoch);
        if epoch <= current {
            let set = |facts: &mut ChannelFacts| facts.closing = stands;
            return self.change(tx, ledger, channel, epoch, set).await;
        }
        self.change(tx, ledger, channel, current, |facts| {
            if stands {
                facts.later_close = Some(epoch);
            } else if facts.later_close == Some(epoch) {
                facts.later_close = None;
            }
        })
        .await
    }

    async fn executed(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        paid: Paid,
    ) -> Result<(), Fault> {
        let Paid {
            channel,
            epoch,
            request_id,
            total,
        } = paid;
        let ours = match order_of(request_id) {
            Some(order) => store::orders::set_executed(tx, self.hub_id(), order, channel).await?,
            None => false,
        };
        self.change(tx, ledger, channel, epoch, |facts| {
            facts.executed = facts.executed.max(total);
            // One is open at a time, so the one that was executed is the open one.
            if ours {
                facts.open = None;
            }
        })
        .await
    }

    async fn settled(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        channel: ChannelId,
        epoch: Epoch,
    ) -> Result<(), Fault> {
        let Some(next) = epoch.checked_add(1) else {
            return Ok(());
        };
        self.change(tx, ledger, channel, next, |_| ()).await?;
        self.begin_epochs(tx, ledger, vec![channel]).await
    }

    /// Begins the epochs that these channels are in on chain, with their null states; everything
    /// signed before is of the past. A head that was edited waits until it is mended.
    async fn begin_epochs(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        channels: Vec<ChannelId>,
    ) -> Result<(), Fault> {
        if channels.is_empty() {
            return Ok(());
        }
        let (heads, edited) = self.intact_heads(tx, ledger, &channels).await?;
        if !edited.is_empty() {
            tracing::error!(
                ?edited,
                "settled channels whose heads were edited stay behind"
            );
        }
        ledger.behind.extend(edited);
        for (channel, head) in heads {
            let epoch = ledger.facts.get(&channel).map_or(0, |facts| facts.epoch);
            if head.signed.epoch >= epoch {
                continue;
            }
            let capacity = head.signed.total().unwrap_or(Amount::ZERO);
            // Versions go on growing: one is never used twice in a channel, whatever the epoch.
            let null = Head {
                max_signed: head.max_signed,
                ..Head::null(State::null(channel, epoch, capacity))
            };
            store::heads::begin_epoch(tx, self.hub_id(), &null).await?;
            ledger.liabilities -= head.worst().unwrap_or(0);
            ledger.forget(head.signed_batch, channel);
            ledger.heads.insert(null);
        }
        Ok(())
    }
}

/// The order that a `requestId` names: 16 bytes, then zeros.
fn order_of(request_id: Hash32) -> Option<OperationId> {
    let (id, rest) = request_id.0.split_first_chunk::<16>()?;
    rest.iter()
        .all(|byte| *byte == 0)
        .then_some(OperationId(*id))
}
