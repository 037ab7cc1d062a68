//! One batch from its groups to its commit: read, decide, then hub and database side by side,
//! custody signature last.
//!
//! Whatever goes wrong before the commit rolls the whole batch back; what the hub signed for it
//! is then burned. Nothing is answered before the commit, and a commit whose outcome is not
//! known is resolved through the primary key of `account.batches`, never by guessing.

use super::decide::{Decision, Known, Plan, Verdicts, decide};
use super::fates;
use super::job::{Group, Job};
use super::lane::Lane;
use super::types::{Order, Outcome, RetryReason};
use super::write::{self, Write};
use super::{ByChannel, answer, closing, limits, refusals};
use crate::store::{self, heads::Head};
use hub_client::{
    BatchMark, BatchRequest, Fate, HubError, HubRefusal, ISSUE_LIMIT, ISSUE_PER_ORDER, Proposal,
    SignedBatch,
};
use hub_core::merkle::Tree;
use hub_core::{ChannelId, State, StateBatch, Typed, Version, signature};
use sqlx::{Postgres, Transaction};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use uuid::Uuid;

/// Groups with exclusive use of their channels in this process.
pub(crate) struct Batch {
    pub channels: Vec<ChannelId>,
    pub groups: Vec<Group>,
    pub heads: ByChannel<Head>,
    pub floors: ByChannel<Version>,
}

/// What the lane learns from a finished batch.
pub(crate) struct Finished {
    /// How many groups it had.
    pub groups: usize,
    pub channels: Vec<ChannelId>,
    pub heads: Vec<Head>,
    pub floors: ByChannel<Version>,
}

/// Why a try did not commit.
enum Failure {
    /// Try again with what is known now.
    Again(&'static str),
    /// Give up; callers may try again with the same key.
    GiveUp(RetryReason),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(database) => database.code().map(|code| code.into_owned()),
            _ => None,
        };
        match code.as_deref() {
            // Unique keys: another replica was first. Deadlock and serialisation: as well.
            Some("23505") => Self::Again("unique"),
            Some("40001" | "40P01") => Self::Again("contention"),
            _ => {
                tracing::error!(%error, "database refused a batch");
                Self::GiveUp(RetryReason::of(&error))
            }
        }
    }
}

/// What was made of a batch before anything is written.
pub(crate) struct Prepared {
    pub id: Uuid,
    pub plan: Plan,
    pub heads: Arc<ByChannel<Head>>,
    /// The new states, in channel id order: the leaves.
    pub states: Vec<State>,
    pub hashes: Vec<hub_core::Hash32>,
    /// The leaf of each channel.
    pub leaves: ByChannel<u32>,
    pub now: OffsetDateTime,
}

impl Prepared {
    pub fn new(id: Uuid, plan: Plan, known: &Known) -> Self {
        let states: Vec<_> = plan.successors.iter().map(|next| next.state).collect();
        let channels = states.iter().map(|state| state.channel_id);
        Self {
            id,
            plan,
            heads: known.heads.clone(),
            hashes: states.iter().map(Typed::hash_struct).collect(),
            leaves: channels.zip(0..).collect(),
            states,
            now: runtime::clock::now(),
        }
    }

    /// The new state of a channel: its leaf, itself and its hash.
    pub fn state(&self, channel: &ChannelId) -> Option<(u32, &State, &hub_core::Hash32)> {
        let leaf = *self.leaves.get(channel)?;
        let at = usize::try_from(leaf).ok()?;
        Some((leaf, self.states.get(at)?, self.hashes.get(at)?))
    }
}

/// Runs a batch to its end and answers its callers.
pub(crate) async fn run(lane: Arc<Lane>, batch: Batch) -> Finished {
    let mut known = Known {
        heads: Arc::new(batch.heads),
        floors: batch.floors,
        ..Known::default()
    };
    let mut verdicts = Verdicts::default();
    let started = Instant::now();
    let size = batch.groups.len();
    let mut reason = RetryReason::Internal;
    for _ in 0..limits::ATTEMPTS {
        match attempt(
            &lane,
            &batch.groups,
            &batch.channels,
            &mut known,
            &mut verdicts,
        )
        .await
        {
            Ok(Done {
                prepared,
                signed,
                newest,
            }) => {
                lane.metrics
                    .batch_seconds
                    .observe(started.elapsed().as_secs_f64());
                let heads = new_heads(&prepared, signed.as_ref(), &newest);
                publish(&lane, &heads);
                answer::answer(&lane, batch.groups, prepared);
                return Finished {
                    groups: size,
                    channels: batch.channels,
                    heads,
                    floors: ByChannel::default(),
                };
            }
            Err(Failure::Again(cause)) => {
                lane.metrics.rollbacks.with_label_values(&[cause]).inc();
                tracing::debug!(cause, "batch rolled back");
                reason = RetryReason::Internal;
            }
            Err(Failure::GiveUp(why)) => {
                lane.metrics.rollbacks.with_label_values(&["gave_up"]).inc();
                reason = why;
                break;
            }
        }
    }
    for group in batch.groups {
        group.answer_all(&Outcome::Retry(reason));
    }
    Finished {
        groups: size,
        channels: batch.channels,
        heads: Vec::new(),
        floors: known.floors,
    }
}

/// A batch that was written.
struct Done {
    prepared: Prepared,
    signed: Option<SignedBatch>,
    /// The newest operation of each account that has one in it.
    newest: ByChannel<Uuid>,
}

async fn attempt(
    lane: &Arc<Lane>,
    groups: &[Group],
    channels: &[ChannelId],
    known: &mut Known,
    verdicts: &mut Verdicts,
) -> Result<Done, Failure> {
    learn(lane, groups, channels, known).await?;
    verdicts.headroom = lane.headroom();
    verdicts.per_order = lane.caps().map(|caps| caps.per_order);
    let mut plan = sealed(lane, groups, known, verdicts)?;
    // Fresh heads may lead to other refusals. Each round reads channels not read before.
    loop {
        let doubtful = doubtful(groups, &plan, known);
        if doubtful.is_empty() {
            break;
        }
        refresh(lane, &doubtful, known).await?;
        plan = sealed(lane, groups, known, verdicts)?;
    }
    let prepared = Prepared::new(Uuid::now_v7(), plan, known);
    let write = Write::of(groups, &prepared);
    if write.is_empty() {
        return Ok(Done {
            prepared,
            signed: None,
            newest: write.into_newest(),
        });
    }
    let signed = if prepared.plan.operations.is_empty() {
        let mut tx = lane.pool.begin().await?;
        write::write(lane, &mut tx, &prepared, &write)
            .await
            .map_err(|e| forget(e, known))?;
        // Without a signature there is nothing to burn: the keys tell the next try what came
        // of an unknown commit.
        tx.commit().await?;
        None
    } else {
        Some(co_sign(lane, &prepared, &write, known, verdicts).await?)
    };
    write.nudge(lane);
    Ok(Done {
        prepared,
        signed,
        newest: write.into_newest(),
    })
}

fn sealed(
    lane: &Lane,
    groups: &[Group],
    known: &Known,
    verdicts: &Verdicts,
) -> Result<Plan, Failure> {
    decide(&lane.terms.domain, groups, known, verdicts).map_err(|refusal| {
        tracing::error!(%refusal, "a decided batch can't be sealed");
        Failure::GiveUp(RetryReason::Internal)
    })
}

/// Channels of refused jobs whose heads come from memory. What is posted is judged by the
/// compare-and-swap; a refusal is for ever too, and another replica may have moved the head.
fn doubtful(groups: &[Group], plan: &Plan, known: &Known) -> Vec<ChannelId> {
    let mut channels: Vec<_> = decided(groups, plan)
        .filter(|(_, decision)| matches!(decision, Decision::Refused(_)))
        .flat_map(|(job, _)| [&job.payer, &job.payee])
        .flatten()
        .map(|account| account.channel)
        .filter(|channel| !known.fresh.contains(channel))
        .collect();
    channels.sort_unstable();
    channels.dedup();
    channels
}

async fn refresh(lane: &Lane, channels: &[ChannelId], known: &mut Known) -> Result<(), Failure> {
    let mut connection = lane.pool.acquire().await?;
    let heads = store::heads::load(&mut connection, channels).await?;
    let heads = heads.into_iter().map(|head| (head.state.channel_id, head));
    Arc::make_mut(&mut known.heads).extend(heads);
    known.fresh.extend(channels);
    Ok(())
}

fn forget(error: write::WriteError, known: &mut Known) -> Failure {
    match error {
        write::WriteError::Stale => {
            known.heads = Arc::default();
            known.fresh.clear();
            Failure::Again("stale")
        }
        write::WriteError::Database(error) => error.into(),
    }
}

/// Reads what is not remembered.
async fn learn(
    lane: &Lane,
    groups: &[Group],
    channels: &[ChannelId],
    known: &mut Known,
) -> Result<(), Failure> {
    let jobs = || groups.iter().flat_map(|group| &group.jobs);
    // The system's own orders depend on facts that other processes write.
    let fresh: HashSet<_> = jobs()
        .filter(|job| {
            matches!(
                job.request.order,
                Order::Refund { .. } | Order::Deposit { .. } | Order::Reopen(_)
            )
        })
        .filter_map(|job| job.payee.as_ref().or(job.payer.as_ref()))
        .map(|account| account.channel)
        .collect();
    // An account's id is made for the request that opens it, so its channel has no head; should it
    // have one, the insert fails.
    let opened: HashSet<_> = jobs()
        .filter(|job| matches!(job.request.order, Order::Open(_)))
        .filter_map(|job| job.payee.as_ref())
        .map(|account| account.channel)
        .collect();
    let unread = |channel: &&ChannelId| {
        fresh.contains(*channel)
            || !(opened.contains(*channel) || known.heads.contains_key(*channel))
    };
    let missing: Vec<_> = channels.iter().filter(unread).copied().collect();
    if !missing.is_empty() {
        refresh(lane, &missing, known).await?;
    }
    let keys: Vec<_> = jobs()
        .filter(|job| job.resumes.is_none())
        .map(|job| job.key)
        .collect();
    known.keys = store::journal::find_keys(&lane.pool, &keys).await?;
    let resumed: Vec<_> = jobs().filter_map(|job| job.resumes).collect();
    if !resumed.is_empty() {
        let waiting = store::journal::still_pending(&lane.pool, &resumed).await?;
        known.waiting = waiting.into_iter().collect();
    }
    let refs: Vec<_> = jobs()
        .filter(|job| job.resumes.is_none())
        .filter_map(Job::reference)
        .collect();
    if !refs.is_empty() {
        let used = store::journal::used_keys(&lane.pool, &refs).await?;
        known.client_refs = used.into_iter().map(|(key, _)| key).collect();
    }
    let (owners, ids): (Vec<_>, Vec<_>) = jobs()
        .filter_map(|job| match &job.request.order {
            Order::Open(account) => Some((job.request.owner, account.external_id.as_deref()?)),
            _ => None,
        })
        .unzip();
    if !ids.is_empty() {
        let taken = store::directory::taken_external_ids(&lane.pool, &owners, &ids).await?;
        known.external_ids = taken.into_iter().collect();
    }
    Ok(())
}

/// Writes while the hub works; then checks its signature, signs last, and commits.
async fn co_sign(
    lane: &Arc<Lane>,
    prepared: &Prepared,
    write: &Write,
    known: &mut Known,
    verdicts: &mut Verdicts,
) -> Result<SignedBatch, Failure> {
    let fates = lane.carry_fates(limits::FATES_PER_REQUEST);
    let request = BatchRequest {
        request_id: prepared.id,
        session: lane.session(),
        operations: prepared.plan.operations.clone(),
        proposals: proposals(prepared),
        fates: fates.clone(),
    };
    let mut tx = lane.pool.begin().await?;
    let started = Instant::now();
    let (written, signed) = tokio::join!(
        write::write(lane, &mut tx, prepared, write),
        ask(lane, &request),
    );
    lane.metrics
        .hub_seconds
        .observe(started.elapsed().as_secs_f64());
    if signed.is_ok() {
        fates::handed(lane, &fates);
    }
    let signed = match (written, signed) {
        (Ok(()), Ok(signed)) => signed,
        (Err(error), Ok(signed)) => {
            abandon(tx).await;
            burn(lane, &signed).await;
            return Err(forget(error, known));
        }
        (written, Err(refusal)) => {
            abandon(tx).await;
            let failure = react(lane, refusal, &fates, prepared, known, verdicts).await;
            return Err(match (written, failure) {
                (Err(error), Failure::Again(_)) => forget(error, known),
                (_, failure) => failure,
            });
        }
    };
    lane.set_headroom(signed.headroom);
    lane.raise_low_water(request.session, signed.low_water);
    seal(lane, tx, prepared, signed).await
}

async fn abandon(tx: Transaction<'_, Postgres>) {
    if let Err(error) = tx.rollback().await {
        // The server rolls back by itself when the connection is gone.
        tracing::warn!(%error, "rollback not confirmed");
    }
}

/// Burns a batch that this process will not commit, and queues its fate for the hub.
async fn burn(lane: &Lane, signed: &SignedBatch) {
    lane.metrics.burned.inc();
    match fates::resolve(lane, signed.batch_id, signed.root).await {
        Ok(fate) => lane.add_fates([fate]),
        // The periodic scan of the hub's journal finds it again.
        Err(error) => tracing::warn!(%error, batch = signed.batch_id, "batch not burned yet"),
    }
}

/// The point of no return: from the custody signature on, the batch is either committed with
/// it, or burned.
async fn seal(
    lane: &Arc<Lane>,
    mut tx: Transaction<'_, Postgres>,
    prepared: &Prepared,
    signed: SignedBatch,
) -> Result<SignedBatch, Failure> {
    let terms = &lane.terms;
    let message = StateBatch {
        root: signed.root,
        depth: signed.depth,
        batch_id: signed.batch_id,
        prev_root: signed.prev_root,
        hub: terms.hub,
    };
    let ours = Tree::new(prepared.hashes.clone());
    let same = ours.is_some_and(|tree| tree.root() == signed.root && tree.depth() == signed.depth);
    let digest = terms.domain.digest(&message);
    if !same || signature::verify(digest, &signed.signature, terms.hub_signer).is_err() {
        abandon(tx).await;
        let why = "the hub signed another root than the one computed here";
        fates::fence(lane, why.into()).await;
        return Err(Failure::GiveUp(RetryReason::RestoreFence));
    }
    if lane.fence().is_some() {
        abandon(tx).await;
        return Err(Failure::GiveUp(RetryReason::RestoreFence));
    }
    let user_signature = lane.custody.sign(&terms.domain, &message);
    let row = store::batches::CommittedBatch {
        hub_id: terms.hub_id,
        batch_id: signed.batch_id,
        id: prepared.id,
        root: signed.root,
        prev_root: signed.prev_root,
        depth: signed.depth,
        hub_signature: signed.signature,
        user_signature,
        states: &prepared.states,
        now: prepared.now,
    };
    if let Err(error) = store::batches::insert_committed(&mut tx, &row).await {
        abandon(tx).await;
        burn(lane, &signed).await;
        return Err(error.into());
    }
    let started = Instant::now();
    if let Err(error) = tx.commit().await {
        tracing::warn!(%error, batch = signed.batch_id, "commit not confirmed");
        settle_unknown(lane, &signed).await?;
    }
    lane.metrics
        .commit_seconds
        .observe(started.elapsed().as_secs_f64());
    lane.note_committed(BatchMark {
        batch_id: signed.batch_id,
        root: signed.root,
    });
    let states = u64::try_from(prepared.states.len()).unwrap_or(u64::MAX);
    lane.metrics.states_signed.inc_by(states);
    lane.add_fates([Fate::Committed {
        batch_id: signed.batch_id,
        user_signature,
    }]);
    Ok(signed)
}

/// A commit whose answer was lost: whoever inserts the row first decides.
async fn settle_unknown(lane: &Lane, signed: &SignedBatch) -> Result<(), Failure> {
    let deadline = Instant::now() + limits::TRANSACTION_LIMIT;
    loop {
        match fates::resolve(lane, signed.batch_id, signed.root).await {
            Ok(Fate::Committed { .. }) => return Ok(()),
            Ok(fate @ Fate::Burned { .. }) => {
                lane.metrics.burned.inc();
                lane.add_fates([fate]);
                return Err(Failure::Again("commit_lost"));
            }
            Err(error) if Instant::now() < deadline => {
                tracing::warn!(%error, "the fate of a batch is still unknown");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            // Callers find the answer by their keys; the scan of the journal settles the fate.
            Err(_) => return Err(Failure::GiveUp(RetryReason::Internal)),
        }
    }
}

fn proposals(prepared: &Prepared) -> Vec<Proposal> {
    prepared
        .plan
        .successors
        .iter()
        .zip(&prepared.hashes)
        .map(|(next, hash)| {
            let head = prepared.heads.get(&next.base.channel_id);
            let head = head.filter(|head| !closing::begins_epoch(head, &next.base));
            Proposal {
                channel: next.state.channel_id,
                base_version: next.base.version,
                base_hash: head.map_or_else(|| next.base.hash_struct(), |head| head.state_hash),
                base_batch: head.map_or(0, |head| head.batch_id),
                version: next.state.version,
                state_hash: *hash,
            }
        })
        .collect()
}

/// Asks until there is an answer, a few times: the identical request gets the identical one.
async fn ask(lane: &Lane, request: &BatchRequest) -> Result<SignedBatch, HubError> {
    let mut tried = 1;
    loop {
        match lane.client.sign_batch(request).await {
            Err(HubError::Unknown(why)) if tried < limits::HUB_TRIES => {
                tracing::warn!(why, tried, "no answer from the hub");
                tokio::time::sleep(Duration::from_millis(50 << tried)).await;
                tried += 1;
            }
            answer => return answer,
        }
    }
}

/// Turns the hub's no into what the next try must know.
async fn react(
    lane: &Lane,
    error: HubError,
    sent: &[Fate],
    prepared: &Prepared,
    known: &mut Known,
    verdicts: &mut Verdicts,
) -> Failure {
    let refusal = match error {
        HubError::Refused(refusal) => refusal,
        HubError::Unknown(why) => {
            tracing::error!(why, "the hub does not answer");
            return Failure::GiveUp(RetryReason::HubUnavailable);
        }
    };
    match refusal {
        HubRefusal::VersionUsed { channels } => {
            known.floors.extend(
                channels
                    .into_iter()
                    .map(|used| (used.channel, used.max_signed)),
            );
            Failure::Again("version_used")
        }
        HubRefusal::BaseUnknown { batches } => {
            base_unknown(lane, &batches, sent, prepared, known, verdicts).await
        }
        HubRefusal::HeadDamaged { channels } => {
            verdicts.frozen.extend(channels);
            Failure::Again("frozen")
        }
        HubRefusal::BaseDiffers { channel } => {
            // Either side may be the edited one; our own row is judged when it is read anew.
            Arc::make_mut(&mut known.heads).remove(&channel);
            verdicts.frozen.insert(channel);
            Failure::Again("frozen")
        }
        HubRefusal::BaseBehind {
            channel,
            held_version,
        } => behind(lane, channel, held_version, known).await,
        HubRefusal::Closing { channels } => {
            for operation in &prepared.plan.operations {
                if operation
                    .action
                    .legs()
                    .any(|(channel, ..)| channels.contains(&channel))
                {
                    let refusal = refusals::of_machine(hub_core::Refusal::Closing(channels[0]));
                    verdicts.refused.insert(operation.id, refusal);
                }
            }
            Failure::Again("closing")
        }
        HubRefusal::Rule {
            name,
            operations,
            headroom,
        } => rule(lane, &name, &operations, headroom, verdicts),
        HubRefusal::Session { .. } => match fates::hello(lane).await {
            Ok(()) => Failure::Again("session"),
            Err(error) => {
                tracing::error!(%error, "the hub's new session does not welcome us");
                Failure::GiveUp(RetryReason::HubUnavailable)
            }
        },
        HubRefusal::Fenced { why } => {
            tracing::error!(why, "the hub is fenced");
            Failure::GiveUp(RetryReason::RestoreFence)
        }
        other => {
            tracing::error!(?other, "the hub refuses the request itself");
            Failure::GiveUp(RetryReason::HubUnavailable)
        }
    }
}

/// The hub doesn't know a base to be co-signed. Usually it only lacks the batch's fate. If it was
/// told in this very request, the channel itself says why: settled on chain, or lost at the hub.
async fn base_unknown(
    lane: &Lane,
    batches: &[u64],
    sent: &[Fate],
    prepared: &Prepared,
    known: &mut Known,
    verdicts: &mut Verdicts,
) -> Failure {
    let told = |id: &u64| batches.contains(id) && sent.iter().any(|fate| fate.batch_id() == *id);
    for head in prepared.heads.values().filter(|head| told(&head.batch_id)) {
        let ours = &head.state;
        match lane.client.channel(&ours.channel_id).await {
            Ok(hub) if hub.held.epoch != ours.epoch || hub.held.version < ours.version => {
                verdicts.frozen.insert(ours.channel_id);
            }
            Ok(_) => {}
            Err(HubError::Refused(HubRefusal::HeadDamaged { .. })) => {
                verdicts.frozen.insert(ours.channel_id);
            }
            Err(error) => {
                tracing::error!(%error, "the hub does not show a channel");
                return Failure::GiveUp(RetryReason::HubUnavailable);
            }
        }
    }
    match fates::load(lane, batches).await {
        Ok(true) => Failure::Again("base_unknown"),
        // The batch is nowhere: this replica's remembered head is no base.
        Ok(false) => {
            known.heads = Arc::default();
            known.fresh.clear();
            Failure::Again("base_unknown")
        }
        Err(error) => error.into(),
    }
}

/// The hub holds a newer co-signed state than our base. If our row is newer too, the memory of
/// this replica was stale; if not, acknowledged data is gone.
async fn behind(lane: &Lane, channel: ChannelId, held: Version, known: &mut Known) -> Failure {
    let row = async {
        let mut connection = lane.pool.acquire().await?;
        store::heads::load(&mut connection, &[channel]).await
    };
    match row.await {
        Ok(heads) if heads.first().is_some_and(|head| head.state.version >= held) => {
            known.heads = Arc::default();
            Failure::Again("stale")
        }
        Ok(_) => {
            let why = format!(
                "the hub holds version {held} of channel {channel}, this database an older one"
            );
            fates::fence(lane, why).await;
            Failure::GiveUp(RetryReason::RestoreFence)
        }
        Err(error) => error.into(),
    }
}

fn rule(
    lane: &Lane,
    name: &str,
    operations: &[hub_core::OperationId],
    headroom: Option<hub_core::Amount>,
    verdicts: &mut Verdicts,
) -> Failure {
    match name {
        "HEADROOM" if !operations.is_empty() => {
            if headroom.is_some() {
                lane.set_headroom(headroom);
            }
            verdicts.unfunded.extend(operations);
            Failure::Again("headroom")
        }
        // The operator's caps are an answer. Anything else passed our own rules: the two sides know
        // different facts just now, and the same key must be able to try again.
        name if !operations.is_empty() && ![ISSUE_PER_ORDER, ISSUE_LIMIT].contains(&name) => {
            tracing::warn!(name, "the hub knows otherwise");
            verdicts.deferred.extend(operations);
            Failure::Again("hub_differs")
        }
        _ if !operations.is_empty() => {
            let refusal = refusals::hub_cap(name);
            let refused = operations.iter().map(|id| (*id, refusal.clone()));
            verdicts.refused.extend(refused);
            Failure::Again(if name == ISSUE_LIMIT {
                "issue_limit"
            } else {
                "issue_per_order"
            })
        }
        _ => {
            tracing::error!(name, "the hub refuses a batch by a rule");
            Failure::GiveUp(RetryReason::HubUnavailable)
        }
    }
}

fn new_heads(
    prepared: &Prepared,
    signed: Option<&SignedBatch>,
    newest: &ByChannel<Uuid>,
) -> Vec<Head> {
    let newest = |channel: &ChannelId| newest.get(channel).copied();
    let after = |head: &Head| match (prepared.state(&head.state.channel_id), signed) {
        (Some((_, state, hash)), Some(signed)) => Some(Head {
            state: *state,
            state_hash: *hash,
            batch: prepared.id,
            newest: newest(&head.state.channel_id).or(head.newest),
            batch_id: signed.batch_id,
            ..*head
        }),
        // A frozen or damaged one is read anew each time: mending it is not announced.
        _ => {
            (head.status == store::heads::ChannelStatus::Open && head.is_intact()).then_some(*head)
        }
    };
    let mut heads: Vec<_> = prepared.heads.values().filter_map(after).collect();
    if let Some(signed) = signed {
        let opened = prepared.plan.successors.iter().zip(&prepared.hashes);
        heads.extend(
            opened
                .filter(|(next, _)| next.opened)
                .map(|(next, hash)| Head {
                    state: next.state,
                    state_hash: *hash,
                    batch: prepared.id,
                    newest: newest(&next.state.channel_id),
                    batch_id: signed.batch_id,
                    status: store::heads::ChannelStatus::Open,
                    facts: hub_core::Facts::default(),
                }),
        );
    }
    heads
}

fn publish(lane: &Lane, heads: &[Head]) {
    if let Some(committed) = &lane.committed {
        let states = heads.iter().map(|head| &head.state);
        let versions = states.map(|state| (state.channel_id, state.version));
        // A full channel only costs the cache a refresh.
        let _ = committed.try_send(versions.collect());
    }
}

/// The decision of a job, by its place.
pub(crate) fn decided<'a>(
    groups: &'a [Group],
    plan: &'a Plan,
) -> impl Iterator<Item = (&'a Job, &'a Decision)> {
    groups
        .iter()
        .zip(&plan.decisions)
        .flat_map(|(group, decisions)| group.jobs.iter().zip(decisions))
}
