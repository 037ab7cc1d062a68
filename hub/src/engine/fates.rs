//! Taking in what became of batches (P12). A fate is final once it is stored here.

use super::head::Head;
use super::hello::is_restored;
use super::ledger::{Ledger, Seal};
use super::refusal::{fenced, malformed, rule};
use super::{Core, Fault, Hub, Work, limits};
use crate::store::{self, journal::StoredFate};
use hub_client::{ErrorBody, Fate, FatesRequest, Marks};
use hub_core::{ChannelId, State, StateBatch, signature};
use sqlx::{Postgres, Transaction};
use std::collections::{BTreeMap, HashMap};

impl Hub {
    /// Takes in fates that come apart from a batch.
    pub async fn fates(&self, request: FatesRequest) -> Result<Marks, ErrorBody> {
        self.work(request).await
    }
}

impl Work for FatesRequest {
    type Output = Marks;

    async fn run(&mut self, core: &Core, ledger: &mut Ledger) -> Result<Marks, Fault> {
        // Without fates as well: a quiet hub finds out in time that its database was set back.
        let (mut tx, _) = core.begin(ledger, None).await?;
        core.take_in(&mut tx, ledger, &self.fates).await?;
        tx.commit().await?;
        Ok(core.marks(ledger))
    }
}

impl Core {
    /// Stores the fates that are new and moves the ledger on; whoever calls commits, whatever
    /// else is refused. Refuses before anything is changed. Returns whether any was new.
    pub(super) async fn take_in(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        fates: &[Fate],
    ) -> Result<bool, Fault> {
        if fates.len() > limits::FATES {
            return Err(malformed("too many fates in one request").into());
        }
        let mut told = BTreeMap::new();
        for fate in fates {
            let stored = stored(fate);
            if told
                .insert(fate.batch_id(), stored)
                .is_some_and(|other| other != stored)
            {
                return Err(malformed("two fates for one batch").into());
            }
        }
        // What this database lost comes back with the import; fates of what it has come first.
        if is_restored(ledger) {
            told.retain(|batch_id, _| *batch_id <= ledger.newest.batch_id);
        }
        let (new, old): (Vec<_>, Vec<_>) = told
            .into_iter()
            .partition(|(batch_id, _)| ledger.open.contains_key(batch_id));
        self.compare_old(tx, ledger, &old).await?;
        for (batch_id, fate) in &new {
            if let (StoredFate::Committed(signature), Some(batch)) =
                (fate, ledger.open.get(batch_id))
                && !self.is_custody_signature(*batch_id, &batch.seal, signature)
            {
                return Err(rule(
                    "FATE_SIGNATURE",
                    format!("the custody signature over batch {batch_id} is not valid"),
                )
                .into());
            }
        }
        self.settle(tx, ledger, &new).await?;
        Ok(!new.is_empty())
    }

    fn is_custody_signature(
        &self,
        batch_id: u64,
        seal: &Seal,
        signature: &hub_core::Signature,
    ) -> bool {
        let terms = &self.parts.terms;
        let digest = terms.domain.digest(&self.message(batch_id, seal));
        signature::verify(digest, signature, terms.custody_signer).is_ok()
    }

    /// What is signed for a batch.
    pub(super) fn message(&self, batch_id: u64, seal: &Seal) -> StateBatch {
        StateBatch {
            root: seal.root,
            depth: seal.depth,
            batch_id,
            prev_root: seal.prev_root,
            hub: self.parts.terms.hub,
        }
    }

    /// Fates of batches that have one must be the same; anything else means that one of the
    /// databases was set back.
    async fn compare_old(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &Ledger,
        old: &[(u64, StoredFate)],
    ) -> Result<(), Fault> {
        let is_told =
            |(batch_id, fate): &(u64, StoredFate)| ledger.told.get(batch_id) == Some(fate);
        if old.iter().all(is_told) {
            return Ok(());
        }
        if let Some((batch_id, _)) = old.iter().find(|(id, _)| *id > ledger.newest.batch_id) {
            // Numbers up to the floor may belong to batches that a restored database lost.
            if *batch_id > ledger.floor {
                let why = format!("batch {batch_id} was never signed");
                return Err(rule("FATE_OF_NOTHING", why).into());
            }
        }
        let ids: Vec<_> = old.iter().map(|(id, _)| *id).collect();
        let stored: HashMap<_, _> = store::journal::fates(tx, self.hub_id(), &ids)
            .await?
            .into_iter()
            .collect();
        for (batch_id, told) in old {
            match (stored.get(batch_id), told) {
                (Some(StoredFate::Committed(_)), StoredFate::Burned) => {
                    // Whether the claim is true can't be proved, so it only stops itself.
                    return Err(fenced(&format!(
                        "batch {batch_id} is committed here; the account database that calls it \
                         burned was restored"
                    ))
                    .into());
                }
                (Some(StoredFate::Burned), StoredFate::Committed(signature)) => {
                    let seal = store::journal::seal_of(tx, self.hub_id(), *batch_id).await?;
                    let proved =
                        seal.is_some_and(|s| self.is_custody_signature(*batch_id, &s, signature));
                    if proved {
                        return Err(Fault::Fence(format!(
                            "batch {batch_id} was burned, and now has a custody signature: the \
                             account database was restored"
                        )));
                    }
                    let why = format!("the custody signature over batch {batch_id} is not valid");
                    return Err(rule("FATE_SIGNATURE", why).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// From here on the ledger changes, so every failure drops it.
    async fn settle(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        new: &[(u64, StoredFate)],
    ) -> Result<(), Fault> {
        let is_suspect = |batch_id: &u64| ledger.open.get(batch_id).is_some_and(|b| b.suspect);
        let (suspect, plain): (Vec<_>, Vec<_>) = new
            .iter()
            .copied()
            .partition(|(id, fate)| is_suspect(id) && matches!(fate, StoredFate::Committed(_)));
        self.store_fates(tx, &plain).await?;
        for (batch_id, fate) in &plain {
            self.apply(ledger, *batch_id, fate);
        }
        for (batch_id, fate) in &suspect {
            self.commit_suspect(tx, ledger, *batch_id).await?;
            self.store_fates(tx, &[(*batch_id, *fate)]).await?;
            self.apply(ledger, *batch_id, fate);
        }
        Ok(())
    }

    async fn store_fates(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        fates: &[(u64, StoredFate)],
    ) -> Result<(), Fault> {
        if fates.is_empty() {
            return Ok(());
        }
        let stored = store::journal::set_fates(tx, self.hub_id(), fates).await?;
        if stored == fates.len() as u64 {
            Ok(())
        } else {
            Err(Fault::Stale)
        }
    }

    fn apply(&self, ledger: &mut Ledger, batch_id: u64, fate: &StoredFate) {
        let label = match fate {
            StoredFate::Committed(_) => {
                ledger.committed(batch_id);
                "committed"
            }
            StoredFate::Burned => {
                ledger.burned(batch_id);
                "burned"
            }
        };
        ledger.tell(batch_id, *fate);
        self.parts.metrics.fates.with_label_values(&[label]).inc();
    }

    /// A batch that something newer was signed past is committed after all: its states become
    /// held, unless a state beside them is held already. Then the account side has committed two
    /// batches on one base, which an honest one can't.
    async fn commit_suspect(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        batch_id: u64,
    ) -> Result<(), Fault> {
        let states = store::journal::states(tx, self.hub_id(), batch_id).await?;
        let channels: Vec<_> = states.iter().map(|state| state.channel_id).collect();
        // An edited row freezes its own channel; the fate of its batch is a fact all the same.
        let (heads, edited) = self.intact_heads(tx, ledger, &channels).await?;
        if !edited.is_empty() {
            tracing::error!(
                ?edited,
                batch_id,
                "edited heads are left out of a committed batch"
            );
        }
        for state in states {
            let Some(head) = heads.get(&state.channel_id) else {
                continue;
            };
            if head.signed.epoch != state.epoch {
                continue;
            }
            if head.held().0.version != state.ack_version {
                return Err(Fault::Fence(conflict(batch_id, &state, head)));
            }
            if head.signed_batch != batch_id {
                let moved = ledger
                    .move_held(head, state, batch_id)
                    .ok_or(Fault::Stale)?;
                if !store::heads::set_held(tx, self.hub_id(), &moved).await? {
                    return Err(Fault::Stale);
                }
            }
        }
        Ok(())
    }

    /// Heads from memory, and from their rows where nothing is remembered. Refuses when one of
    /// them was edited.
    pub(super) async fn heads(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, Head>, Fault> {
        let (heads, edited) = self.intact_heads(tx, ledger, channels).await?;
        if edited.is_empty() {
            Ok(heads)
        } else {
            Err(damaged(edited).into())
        }
    }

    /// Heads that are intact, and the channels of those that were edited.
    pub(super) async fn intact_heads(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        ledger: &mut Ledger,
        channels: &[ChannelId],
    ) -> Result<(HashMap<ChannelId, Head>, Vec<ChannelId>), Fault> {
        let missing = ledger.missing(channels.iter().copied());
        let mut heads: HashMap<_, _> = channels
            .iter()
            .filter_map(|channel| Some((*channel, ledger.heads.get(channel)?)))
            .collect();
        let mut edited = Vec::new();
        if !missing.is_empty() {
            let loaded = store::heads::load(tx, self.hub_id(), &missing).await?;
            edited = loaded.damaged;
            for head in loaded.intact {
                ledger.heads.insert(head);
                heads.insert(head.signed.channel_id, head);
            }
        }
        Ok((heads, edited))
    }
}

fn damaged(mut channels: Vec<ChannelId>) -> ErrorBody {
    channels.sort_unstable();
    tracing::error!(?channels, "heads were edited");
    super::refusal::body(
        hub_client::HubRefusal::HeadDamaged { channels },
        "these rows of hub.heads don't hash to what was signed",
    )
}

fn conflict(batch_id: u64, state: &State, head: &Head) -> String {
    format!(
        "batch {batch_id} is committed with version {} of channel {} on base {}, but version {} \
         is held: two committed batches build on one base",
        state.version,
        state.channel_id,
        state.ack_version,
        head.held().0.version,
    )
}

fn stored(fate: &Fate) -> StoredFate {
    match fate {
        Fate::Committed { user_signature, .. } => StoredFate::Committed(*user_signature),
        Fate::Burned { .. } => StoredFate::Burned,
    }
}
