//! Keeps the copies fresh: asks account-service and hub for what was committed, each for itself.
//! Either may be gone, and both may be; what is here then stays good.
//!
//! A batch that is not what was signed is left out, and so is no other: the source is called down
//! for it until another source has given the same batch in order.

use super::copy::{Opened, Unsound};
use super::fold::{self, Held};
use super::signers::Signers;
use crate::config::Hub;
use crate::error::StepError;
use crate::store::{copied, copies};
use crate::worker::{Lead, Worker};
use chain_messages::tower::{AttestedBatch, CHANNELS, ParamsRequest};
use hub_client::{HubClient, HubError};
use hub_core::eip712::Domain;
use hub_core::{Address, ChannelId, ChannelParams};
use runtime::shutdown::Shutdown;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

/// How long a source may take for a page.
const LIMIT: Duration = Duration::from_secs(15);
/// Pages of one round; more come with the next, which then begins at once.
const PAGES: usize = 64;
/// Left out batches that a source is remembered by: a page of them would do.
const REMEMBERED: usize = 1_000;
/// Pause while another worker leads.
const CANDIDATE_PAUSE: Duration = Duration::from_millis(500);

/// Where account-service shows what the tower copies.
#[derive(Debug, Clone)]
pub struct AccountSource {
    /// Its API.
    pub url: String,
    /// A key with the scope `tower:read`.
    pub key: String,
}

#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Source(#[from] HubError),
}

/// One who can be asked.
struct Source {
    name: &'static str,
    client: HubClient,
    /// Asked once more from here on: another source showed an unsound batch above it.
    again: Option<u64>,
    /// Batches that it showed unsound, and nobody else sound.
    unsound: BTreeSet<u64>,
    /// It gave nothing when it was last asked.
    failed: bool,
}

impl Source {
    fn new(name: &'static str, client: HubClient) -> Self {
        Self {
            name,
            client,
            again: None,
            unsound: BTreeSet::new(),
            failed: false,
        }
    }

    fn refuse(&mut self, batch: u64) {
        self.unsound.insert(batch);
        if self.unsound.len() > REMEMBERED {
            self.unsound.pop_first();
        }
    }

    /// Notes what another source showed unsound; says whether this one can still do better.
    fn stand_in(&mut self, batch: u64) -> bool {
        let can = !self.unsound.contains(&batch);
        if can {
            let below = batch.saturating_sub(1);
            self.again = Some(self.again.map_or(below, |again| again.min(below)));
        }
        can
    }
}

/// What is remembered of one hub while this worker leads.
#[derive(Default)]
struct Memory {
    held: Held,
    signers: Signers,
}

/// What a source gave in a round.
#[derive(Default)]
struct Pulled {
    /// It has more.
    more: bool,
    /// All batches above the first number up to the second were read.
    read: (u64, u64),
    /// What was left out, and why.
    unsound: Vec<(u64, Unsound)>,
}

/// Copies one hub's states, while this worker leads, until the drain begins.
///
/// # Errors
/// When no HTTP client can be made.
pub async fn run(worker: &Worker, hub: &Hub, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut sources = Vec::new();
    if let Some(account) = &worker.settings.account {
        let client = HubClient::new(&account.url, &account.key, LIMIT)?;
        sources.push(Source::new("account-service", client));
    }
    let client = HubClient::new(&hub.url, &hub.token, LIMIT)?;
    sources.push(Source::new("hub", client));
    let mut memory = Memory::default();
    while !shutdown.is_draining() {
        let asked = worker.tower.asked();
        let lead = *worker.lead.borrow();
        let pause = match lead {
            None => {
                // Another worker's copies and folds are not known here.
                memory = Memory::default();
                CANDIDATE_PAUSE
            }
            Some(lead) => {
                let begun = runtime::clock::now();
                let more = round(worker, hub, &mut sources, lead, &mut memory).await;
                worker.tower.pulled(hub.address(), begun);
                worker.wake.notify_one();
                if more {
                    continue;
                }
                worker.settings.tower_pull
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = asked, if lead.is_some() => {}
            () = shutdown.begun() => {}
        }
    }
    Ok(())
}

/// Asks every source once; `true` when one of them has more.
async fn round(
    worker: &Worker,
    hub: &Hub,
    sources: &mut [Source],
    lead: Lead,
    memory: &mut Memory,
) -> bool {
    let label = hub.address().to_string();
    let mut more = false;
    for at in 0..sources.len() {
        let outcome = pull(worker, hub, &mut sources[at], lead, memory).await;
        let (name, failed) = (sources[at].name, outcome.is_err());
        match outcome {
            Ok(pulled) => more |= pulled.more | note(sources, at, &pulled, &label),
            Err(error) => {
                tracing::warn!(hub = label, source = name, %error, "a source gives nothing");
            }
        }
        for (other, source) in sources.iter_mut().enumerate() {
            source.failed = if other == at { failed } else { source.failed };
            let down = source.failed || !source.unsound.is_empty();
            let labels = [label.as_str(), source.name];
            let gauge = worker.metrics.tower_source_down.with_label_values(&labels);
            gauge.set(i64::from(down));
        }
    }
    match fold::tend(worker, hub.address(), lead, &mut memory.held).await {
        Ok(channels) => {
            let gauge = worker.metrics.tower_copies.with_label_values(&[&label]);
            gauge.set(i64::try_from(channels).unwrap_or(i64::MAX));
        }
        Err(error) => tracing::warn!(hub = label, %error, "copies not folded or not counted"),
    }
    if let Err(error) = show_age(worker, hub).await {
        tracing::warn!(hub = label, %error, "age of the copies not known");
    }
    more
}

/// Notes what a source left to the others, and what it mended for them; `true` when one that was
/// asked before it is to be asked again.
fn note(sources: &mut [Source], at: usize, pulled: &Pulled, hub: &str) -> bool {
    let mut again = false;
    for (batch, why) in &pulled.unsound {
        tracing::error!(hub, source = sources[at].name, %why, "a source shows what can't be copied");
        sources[at].refuse(*batch);
        for (other, source) in sources.iter_mut().enumerate() {
            again |= other != at && source.stand_in(*batch) && other < at;
        }
    }
    let (above, to) = pulled.read;
    let left: BTreeSet<_> = pulled.unsound.iter().map(|(batch, _)| *batch).collect();
    for source in sources {
        let unread = |batch: &u64| *batch <= above || *batch > to;
        source
            .unsound
            .retain(|batch| left.contains(batch) || unread(batch));
    }
    again
}

/// Copies what a source has above the mark.
async fn pull(
    worker: &Worker,
    hub: &Hub,
    source: &mut Source,
    lead: Lead,
    memory: &mut Memory,
) -> Result<Pulled, PullError> {
    let address = hub.address();
    let (mark, _) = copies::mark(&worker.pool, address).await?;
    let mut at = source.again.map_or(mark, |again| again.min(mark));
    let mut pulled = Pulled {
        read: (at, at),
        ..Pulled::default()
    };
    // A batch without a fate keeps the mark below it; what is above is copied all the same.
    let mut whole = true;
    for _ in 0..PAGES {
        let asked_at = runtime::clock::now();
        let page = source.client.attestations(address, at).await?;
        let last = page.last;
        let mark = whole.then_some(page.next);
        whole &= page.next >= last;
        pulled.more = page.more;
        let (sound, unsound) =
            sort_out(worker, address, source, page.batches, lead, memory).await?;
        let mut tx = worker.begin(lead).await?;
        let states = copied::keep(&mut tx, address, &sound).await?;
        let copied_at = (!page.more).then_some(asked_at);
        copies::raise_mark(&mut tx, address, mark.unwrap_or(0), copied_at).await?;
        tx.commit().await?;
        memory.held.add(states);
        pulled.unsound.extend(unsound);
        pulled.read.1 = last.max(pulled.read.1);
        at = last;
        if !page.more {
            break;
        }
    }
    source.again = pulled.more.then_some(at);
    Ok(pulled)
}

/// Those of a page's batches that are what was signed, checked against the parameters of every
/// channel in them, and what is wrong with the others.
async fn sort_out(
    worker: &Worker,
    hub: Address,
    source: &Source,
    batches: Vec<AttestedBatch>,
    lead: Lead,
    memory: &mut Memory,
) -> Result<(Vec<AttestedBatch>, Vec<(u64, Unsound)>), PullError> {
    let opened = tokio::task::spawn_blocking(move || {
        let opened = |batch: AttestedBatch| (Opened::new(&batch), batch);
        batches.into_iter().map(opened).collect::<Vec<_>>()
    });
    let opened = opened
        .await
        .map_err(|error| HubError::Unknown(error.to_string()))?;
    memory.signers.make_room();
    let channels: HashSet<ChannelId> = opened
        .iter()
        .filter_map(|(batch, _)| batch.as_ref().ok())
        .flat_map(|batch| batch.states.iter().map(|state| state.channel_id))
        .filter(|channel| !memory.signers.know(channel))
        .collect();
    if !channels.is_empty() {
        let channels: Vec<_> = channels.into_iter().collect();
        let mut known = copies::all_params(&worker.pool, &channels).await?;
        let new = learn(worker, source, &channels, &known, lead).await?;
        known.extend(new);
        memory.signers.remember(known);
    }
    let domain = worker.chain.domain();
    let (mut sound, mut unsound) = (Vec::new(), Vec::new());
    for (opened, batch) in opened {
        let id = batch.batch_id;
        match opened.and_then(|opened| check(hub, id, &opened, &domain, &memory.signers)) {
            Ok(()) => sound.push(batch),
            Err(why) => unsound.push((id, why)),
        }
    }
    Ok((sound, unsound))
}

fn check(
    hub: Address,
    id: u64,
    batch: &Opened,
    domain: &Domain,
    signers: &Signers,
) -> Result<(), Unsound> {
    let all = signers.of(batch).ok_or(Unsound::NoParams(id))?;
    if all.iter().any(|one| one.hub != hub) {
        return Err(Unsound::OtherHub(id));
    }
    all.iter().try_for_each(|one| batch.verify(domain, one))
}

/// Asks for the parameters of channels that are new here, and keeps them. They prove themselves:
/// their digest is the channel's id. A batch with a channel that has none is not sound.
async fn learn(
    worker: &Worker,
    source: &Source,
    channels: &[ChannelId],
    known: &HashMap<ChannelId, ChannelParams>,
    lead: Lead,
) -> Result<HashMap<ChannelId, ChannelParams>, PullError> {
    let new_here = |channel: &&ChannelId| !known.contains_key(channel);
    let unknown: Vec<_> = channels.iter().filter(new_here).copied().collect();
    let domain = worker.chain.domain();
    let mut new = HashMap::with_capacity(unknown.len());
    for some in unknown.chunks(CHANNELS) {
        let request = ParamsRequest {
            channels: some.to_vec(),
        };
        let wanted: HashSet<_> = some.iter().copied().collect();
        let params = source.client.params(&request).await?.params;
        let mut found: Vec<_> = params
            .into_iter()
            .map(|params| (params.channel_id(&domain), params))
            .filter(|(id, _)| wanted.contains(id))
            .collect();
        // In the order of the index that they go into.
        found.sort_unstable_by_key(|(id, _)| *id);
        let mut tx = worker.begin(lead).await?;
        copies::keep_params(&mut tx, &found).await?;
        tx.commit().await?;
        new.extend(found);
    }
    Ok(new)
}

async fn show_age(worker: &Worker, hub: &Hub) -> sqlx::Result<()> {
    let label = hub.address().to_string();
    let (_, copied_at) = copies::mark(&worker.pool, hub.address()).await?;
    let age = copied_at.map_or(f64::INFINITY, |at| {
        (runtime::clock::now() - at).as_seconds_f64().max(0.0)
    });
    let gauge = worker.metrics.tower_age.with_label_values(&[&label]);
    gauge.set(age);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Vec<Source> {
        let source = |name| {
            let client = HubClient::new("http://127.0.0.1:1", "t", LIMIT).unwrap();
            Source::new(name, client)
        };
        vec![source("account-service"), source("hub")]
    }

    fn pulled(read: (u64, u64), unsound: &[u64]) -> Pulled {
        let unsound = unsound.iter().map(|id| (*id, Unsound::Tree(*id)));
        Pulled {
            more: false,
            read,
            unsound: unsound.collect(),
        }
    }

    fn alarms(sources: &[Source]) -> Vec<bool> {
        let all = sources.iter();
        all.map(|source| !source.unsound.is_empty()).collect()
    }

    #[test]
    fn what_one_source_shows_unsound_is_asked_of_the_other_and_mended_by_it() {
        let mut sources = sources();
        assert!(!note(&mut sources, 0, &pulled((0, 9), &[4, 7]), "hub"));
        assert_eq!(alarms(&sources), [true, false]);
        assert_eq!((sources[0].again, sources[1].again), (None, Some(3)));
        // As far as it was read, it is mended.
        assert!(!note(&mut sources, 1, &pulled((3, 5), &[]), "hub"));
        assert_eq!(sources[0].unsound, BTreeSet::from([7]));
        assert!(!note(&mut sources, 1, &pulled((5, 9), &[]), "hub"));
        assert_eq!(alarms(&sources), [false, false]);
        // The first was asked before the second: it is asked again at once.
        assert!(note(&mut sources, 1, &pulled((9, 12), &[11]), "hub"));
        assert_eq!(sources[0].again, Some(10));
    }

    #[test]
    fn what_nobody_shows_sound_is_asked_for_once_and_stays_an_alarm() {
        let mut sources = sources();
        note(&mut sources, 0, &pulled((0, 9), &[4]), "hub");
        sources[1].again = None;
        note(&mut sources, 1, &pulled((3, 9), &[4]), "hub");
        assert_eq!(alarms(&sources), [true, true]);
        assert_eq!((sources[0].again, sources[1].again), (None, None));
        for batch in 100..2_000 {
            sources[0].refuse(batch);
        }
        assert_eq!(sources[0].unsound.len(), REMEMBERED);
    }
}
