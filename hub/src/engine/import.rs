//! Taking back what a restored database lost (N5): co-signed batches come from the account side.
//! Nothing of them is believed but what both signatures prove, and nothing is signed meanwhile.

use super::head::Head;
use super::hello::is_restored;
use super::ledger::{Ledger, Seal};
use super::orders::{OrderEntry, OrderKind};
use super::refusal::{body, malformed, rule};
use super::{Core, Fault, Hub, Work};
use crate::store::{self, journal::NewBatch, journal::StoredFate};
use hub_client::{
    ErrorBody, HubRefusal, ImportBatch, ImportOrder, ImportRequest, ImportWithdraw, Imported,
};
use hub_core::merkle::Tree;
use hub_core::types::Withdraw;
use hub_core::{Amount, ChannelId, ChannelParams, Epoch, Hash32, State, Typed as _, signature};
use sqlx::{Postgres, Transaction};
use std::collections::HashMap;
use time::OffsetDateTime;

impl Hub {
    /// Takes committed batches in, oldest first; what is here already is passed over. Only behind
    /// the fence of a restored hub, and when every batch of its own has a fate.
    pub async fn import(&self, request: ImportRequest) -> Result<Imported, ErrorBody> {
        self.work(request).await
    }
}

impl Work for ImportRequest {
    type Output = Imported;

    async fn run(&mut self, core: &Core, ledger: &mut Ledger) -> Result<Imported, Fault> {
        let (mut tx, _) = core.begin(ledger, None).await?;
        if !is_restored(ledger) {
            return Err(rule("IMPORT", "this hub lost nothing that it knows of").into());
        }
        if !ledger.open.is_empty() {
            let batches = ledger.open.keys().copied().collect();
            let error = HubRefusal::BaseUnknown { batches };
            return Err(body(error, "send the fates of these batches first").into());
        }
        let now = runtime::clock::now();
        for batch in &self.batches {
            core.import_batch(&mut tx, ledger, batch, now).await?;
        }
        for withdraw in &self.withdraws {
            core.import_withdraw(&mut tx, ledger, withdraw, now).await?;
        }
        store::hubs::imported(&mut tx, core.hub_id(), self.complete).await?;
        let newest = store::journal::newest(&mut tx, core.hub_id()).await?;
        tx.commit().await?;
        tracing::warn!(newest = newest.batch_id, complete = ?self.complete, "imported");
        Ok(Imported { newest })
    }
}

impl Core {
    async fn import_batch(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &Ledger,
        batch: &ImportBatch,
        now: OffsetDateTime,
    ) -> Result<(), Fault> {
        let (hub_id, batch_id) = (self.hub_id(), batch.attested.batch_id);
        let states = batch.attested.states();
        let states = states.map_err(|error| malformed(error.to_string()))?;
        let (seal, hashes) = self.proved(batch, &states)?;
        match store::journal::seal_of(tx, hub_id, batch_id).await? {
            Some(here) if here == seal => return Ok(()),
            Some(_) => return Err(gap(batch_id, "another batch has its number here").into()),
            None => {}
        }
        if batch_id <= store::journal::newest(tx, hub_id).await?.batch_id {
            return Err(gap(batch_id, "newer ones are here").into());
        }
        let channels: Vec<_> = states.iter().map(|state| state.channel_id).collect();
        let loaded = store::heads::load(tx, hub_id, &channels).await?;
        if !loaded.damaged.is_empty() {
            let channels = loaded.damaged;
            let error = HubRefusal::HeadDamaged { channels };
            return Err(body(
                error,
                "these rows of hub.heads don't hash to what was signed",
            )
            .into());
        }
        let heads = loaded.intact.into_iter();
        let heads: HashMap<_, _> = heads.map(|head| (head.signed.channel_id, head)).collect();
        let opened = self.openings(&batch.opened);
        let mut issued = 0_i128;
        for (state, hash) in states.iter().zip(&hashes) {
            let before = heads.get(&state.channel_id);
            if before.is_some_and(|head| head.signed.epoch > state.epoch) {
                // Its settlement was told again before: what came of the state is on chain.
                continue;
            }
            let known = Known {
                before,
                opened: opened.get(&state.channel_id),
                epoch: ledger.facts.get(&state.channel_id).map_or(0, |f| f.epoch),
            };
            let next = successor(&known, state, *hash, batch_id)?;
            check_orders(&batch.orders, &next.below, state)?;
            let change = state.entitlement().zip(next.below.entitlement());
            issued += change.map_or(0, |(after, before)| after.saturating_sub(before));
            store::import::put_head(tx, hub_id, &next).await?;
        }
        let opened: Vec<_> = opened.into_iter().collect();
        store::heads::keep_channels(tx, hub_id, batch_id, &opened, now).await?;
        let orders: Vec<_> = batch.orders.iter().map(|o| entry(o, &states)).collect();
        store::orders::insert(tx, hub_id, batch_id, &orders).await?;
        let row = NewBatch {
            hub_id,
            batch_id,
            request_id: batch.request_id,
            seal,
            states: states.iter().collect(),
            // What was asked is not known any more: nobody gets this answer again.
            digest: Hash32::ZERO,
            issued: Amount::new(u128::try_from(issued).unwrap_or(0)),
            now,
        };
        store::journal::insert(tx, &row).await?;
        let fate = StoredFate::Committed(batch.attested.user_signature);
        store::journal::set_fates(tx, hub_id, &[(batch_id, fate)]).await?;
        Ok(())
    }

    /// The batch's seal and the hashes of its states, if both sides have signed it.
    fn proved(
        &self,
        batch: &ImportBatch,
        states: &[State],
    ) -> Result<(Seal, Vec<Hash32>), ErrorBody> {
        let terms = &self.parts.terms;
        if !states.is_sorted_by(|one, next| one.channel_id < next.channel_id) {
            return Err(malformed(
                "states come in channel id order, one per channel",
            ));
        }
        let hashes: Vec<_> = states.iter().map(|state| state.hash_struct()).collect();
        let tree =
            Tree::new(hashes.clone()).ok_or_else(|| malformed("a batch has 1 to 4,096 states"))?;
        let seal = Seal {
            root: tree.root(),
            depth: tree.depth(),
            prev_root: batch.attested.prev_root,
        };
        let message = self.message(batch.attested.batch_id, &seal);
        let digest = terms.domain.digest(&message);
        let hub = signature::verify(digest, &batch.attested.hub_signature, terms.hub_signer);
        let user = signature::verify(digest, &batch.attested.user_signature, terms.custody_signer);
        if hub.is_err() || user.is_err() {
            let why = format!("batch {} lacks a signature", batch.attested.batch_id);
            return Err(rule("IMPORT_SIGNATURE", why));
        }
        Ok((seal, hashes))
    }

    /// Parameters by channel. Their digest is the id in the signed state, so they need no proof.
    fn openings(&self, opened: &[ChannelParams]) -> HashMap<ChannelId, ChannelParams> {
        let domain = &self.parts.terms.domain;
        let by_id = |params: &ChannelParams| (params.channel_id(domain), *params);
        opened.iter().map(by_id).collect()
    }

    async fn import_withdraw(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &Ledger,
        import: &ImportWithdraw,
        now: OffsetDateTime,
    ) -> Result<(), Fault> {
        let terms = &self.parts.terms;
        let digest = terms.domain.digest(&import.withdraw);
        let ours = signature::verify(digest, &import.hub_signature, terms.hub_signer).is_ok();
        if !ours || import.withdraw.request_id != import.order.word() {
            let why = format!("the Withdraw of order {} was not signed here", import.order);
            return Err(rule("IMPORT_SIGNATURE", why).into());
        }
        let here = store::orders::signed(tx, self.hub_id(), import.order).await?;
        let newer = |(here, _): &(Withdraw, bool)| here.valid_until >= import.withdraw.valid_until;
        if !here.as_ref().is_some_and(newer) {
            store::orders::keep(tx, self.hub_id(), import.order, &import.withdraw, now).await?;
        }
        // The event that says so may have come again before the row it is about.
        let Withdraw {
            channel_id,
            epoch,
            prev_total,
            amount,
            ..
        } = import.withdraw;
        let facts = ledger.facts.get(&channel_id);
        let executed = facts
            .filter(|facts| facts.epoch == epoch)
            .map_or(Amount::ZERO, |facts| facts.executed);
        let total = prev_total.checked_add(amount);
        if import.executed && total.is_some_and(|total| executed >= total) {
            store::orders::set_executed(tx, self.hub_id(), import.order, channel_id).await?;
        }
        Ok(())
    }
}

fn gap(batch_id: u64, why: &str) -> ErrorBody {
    rule(
        "IMPORT_GAP",
        format!("batch {batch_id} does not follow: {why}"),
    )
}

/// What is known of a channel of an imported batch.
struct Known<'a> {
    before: Option<&'a Head>,
    opened: Option<&'a ChannelParams>,
    /// The epoch that the channel is in on chain.
    epoch: Epoch,
}

/// The head after a batch whose state follows on what is held here.
fn successor(
    known: &Known<'_>,
    state: &State,
    hash: Hash32,
    batch_id: u64,
) -> Result<Head, ErrorBody> {
    let before = known.before;
    let begins = |head: &Head| head.signed.epoch < state.epoch && state.epoch <= known.epoch;
    let (below, below_batch) = match (before, known.opened) {
        (Some(head), _) if begins(head) => {
            let capacity = head.signed.total().unwrap_or(Amount::ZERO);
            (State::null(state.channel_id, state.epoch, capacity), 0)
        }
        (Some(head), _) => {
            let (held, batch) = head.held();
            (*held, batch)
        }
        (None, Some(params)) => (State::null(state.channel_id, 0, params.capacity), 0),
        (None, None) => return Err(gap(batch_id, "it has a channel that is not known")),
    };
    let follows = state.epoch == below.epoch
        && state.ack_version == below.version
        && state.total() == below.total();
    if !follows {
        let why = format!(
            "channel {} is held at version {}, the state builds on {}",
            state.channel_id, below.version, state.ack_version
        );
        return Err(gap(batch_id, &why));
    }
    Ok(Head {
        max_signed: before.map_or(0, |head| head.max_signed).max(state.version),
        signed: *state,
        signed_hash: hash,
        signed_batch: batch_id,
        committed: true,
        below,
        below_batch,
        pending_increase: Amount::ZERO,
    })
}

/// The orders named must lead from one total of withdrawals to the other.
fn check_orders(orders: &[ImportOrder], below: &State, state: &State) -> Result<(), ErrorBody> {
    let of_channel = |order: &&ImportOrder| order.channel == state.channel_id;
    let sum = |refunds: bool| {
        let chosen = orders.iter().filter(of_channel);
        Amount::sum(
            chosen
                .filter(|order| order.to.is_none() == refunds)
                .map(|order| order.amount),
        )
    };
    let after = sum(false).and_then(|taken| below.withdrawn.checked_add(taken));
    let back = sum(true).and_then(|given| state.withdrawn.checked_add(given));
    if after.is_some() && after == back {
        Ok(())
    } else {
        let why = format!("the orders of channel {} don't add up", state.channel_id);
        Err(rule("IMPORT_ORDERS", why))
    }
}

fn entry(order: &ImportOrder, states: &[State]) -> OrderEntry {
    let state = states
        .iter()
        .find(|state| state.channel_id == order.channel);
    OrderEntry {
        order: order.order,
        kind: order.to.map_or(OrderKind::Refund, OrderKind::Withdraw),
        channel: order.channel,
        epoch: state.map_or(0, |state| state.epoch),
        amount: order.amount,
    }
}
