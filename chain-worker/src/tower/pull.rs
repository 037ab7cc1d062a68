//! Keeps the copies fresh: asks account-service and hub for what was committed, each for itself.
//! Either may be gone, and both may be; what is here then stays good.

use super::copy::{Opened, Unsound, newest};
use crate::config::Hub;
use crate::error::StepError;
use crate::store::copies;
use crate::worker::{Lead, Worker};
use chain_messages::tower::{AttestedPage, CHANNELS, ParamsRequest};
use hub_client::{HubClient, HubError};
use hub_core::{ChannelId, ChannelParams};
use runtime::shutdown::Shutdown;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How long a source may take for a page.
const LIMIT: Duration = Duration::from_secs(15);
/// Pages of one round; more come with the next, which then begins at once.
const PAGES: usize = 64;
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
    #[error("a page is not what was signed: {0}")]
    Unsound(#[from] Unsound),
    #[error("parameters of {0} channels are not given")]
    NoParams(usize),
}

/// One who can be asked.
struct Source {
    name: &'static str,
    client: HubClient,
}

/// Copies one hub's states, while this worker leads, until the drain begins.
///
/// # Errors
/// When no HTTP client can be made.
pub async fn run(worker: &Worker, hub: &Hub, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut sources = Vec::new();
    if let Some(account) = &worker.settings.account {
        let client = HubClient::new(&account.url, &account.key, LIMIT)?;
        let name = "account-service";
        sources.push(Source { name, client });
    }
    let client = HubClient::new(&hub.url, &hub.token, LIMIT)?;
    sources.push(Source {
        name: "hub",
        client,
    });
    while !shutdown.is_draining() {
        let asked = worker.tower.asked();
        let lead = *worker.lead.borrow();
        let pause = match lead {
            None => CANDIDATE_PAUSE,
            Some(lead) => {
                let begun = runtime::clock::now();
                let more = round(worker, hub, &sources, lead).await;
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
async fn round(worker: &Worker, hub: &Hub, sources: &[Source], lead: Lead) -> bool {
    let label = hub.address().to_string();
    let mut more = false;
    for source in sources {
        let outcome = pull(worker, hub, source, lead).await;
        let labels = [label.as_str(), source.name];
        let failed = worker.metrics.tower_source_down.with_label_values(&labels);
        failed.set(i64::from(outcome.is_err()));
        match outcome {
            Ok(left) => more |= left,
            Err(error @ (PullError::Unsound(_) | PullError::NoParams(_))) => {
                tracing::error!(hub = label, source = source.name, %error, "a source shows what can't be copied");
            }
            Err(error) => {
                tracing::warn!(hub = label, source = source.name, %error, "a source gives nothing");
            }
        }
    }
    if let Err(error) = show(worker, hub).await {
        tracing::warn!(hub = label, %error, "copies not counted");
    }
    more
}

/// Copies what a source has above the mark; `true` when there is more.
async fn pull(worker: &Worker, hub: &Hub, source: &Source, lead: Lead) -> Result<bool, PullError> {
    let address = hub.address();
    let (mut at, _) = copies::mark(&worker.pool, address).await?;
    // A batch without a fate keeps the mark below it; what is above is copied all the same.
    let mut whole = true;
    for _ in 0..PAGES {
        let asked_at = runtime::clock::now();
        let page = source.client.attestations(address, at).await?;
        let last = page.last;
        let mark = whole.then_some(page.next);
        whole &= page.next >= last;
        let more = page.more;
        let opened = open(worker, source, &page, lead).await?;
        let found = newest(&opened);
        let mut tx = worker.begin(lead).await?;
        copies::store(&mut tx, &found).await?;
        let copied_at = (!more).then_some(asked_at);
        copies::raise_mark(&mut tx, address, mark.unwrap_or(0), copied_at).await?;
        tx.commit().await?;
        if !more {
            return Ok(false);
        }
        at = last;
    }
    Ok(true)
}

/// Checks a page: every batch, against the parameters of every channel in it.
async fn open(
    worker: &Worker,
    source: &Source,
    page: &AttestedPage,
    lead: Lead,
) -> Result<Vec<Opened>, PullError> {
    let batches = page.batches.clone();
    let opened = tokio::task::spawn_blocking(move || {
        batches
            .iter()
            .map(Opened::new)
            .collect::<Result<Vec<_>, _>>()
    });
    let opened = opened
        .await
        .map_err(|error| HubError::Unknown(error.to_string()))??;
    let channels: HashSet<ChannelId> = opened
        .iter()
        .flat_map(|batch| batch.states.iter().map(|state| state.channel_id))
        .collect();
    let channels: Vec<_> = channels.into_iter().collect();
    learn(worker, source, &channels, lead).await?;
    let known = copies::all_params(&worker.pool, &channels).await?;
    check(worker, &opened, &known)?;
    Ok(opened)
}

fn check(
    worker: &Worker,
    opened: &[Opened],
    known: &HashMap<ChannelId, ChannelParams>,
) -> Result<(), PullError> {
    let domain = worker.chain.domain();
    for batch in opened {
        let mut verified: Option<&ChannelParams> = None;
        for state in &batch.states {
            let params = known.get(&state.channel_id).ok_or(PullError::NoParams(1))?;
            let same = verified.is_some_and(|one| {
                one.hub == params.hub
                    && one.hub_signer == params.hub_signer
                    && one.user_signer == params.user_signer
            });
            if !same {
                batch.verify(&domain, params)?;
                verified = Some(params);
            }
        }
    }
    Ok(())
}

/// Asks for the parameters of channels that are new here. They prove themselves: their digest is
/// the channel's id.
async fn learn(
    worker: &Worker,
    source: &Source,
    channels: &[ChannelId],
    lead: Lead,
) -> Result<(), PullError> {
    let unknown = copies::unknown(&worker.pool, channels).await?;
    let domain = worker.chain.domain();
    for some in unknown.chunks(CHANNELS) {
        let request = ParamsRequest {
            channels: some.to_vec(),
        };
        let wanted: HashSet<_> = some.iter().copied().collect();
        let params = source.client.params(&request).await?.params;
        let found: Vec<_> = params
            .into_iter()
            .map(|params| (params.channel_id(&domain), params))
            .filter(|(id, _)| wanted.contains(id))
            .collect();
        if found.len() < wanted.len() {
            return Err(PullError::NoParams(wanted.len() - found.len()));
        }
        let mut tx = worker.begin(lead).await?;
        copies::keep_params(&mut tx, &found).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn show(worker: &Worker, hub: &Hub) -> sqlx::Result<()> {
    let address = hub.address();
    let label = address.to_string();
    let labels = [label.as_str()];
    let count = copies::count(&worker.pool, address).await?;
    let metrics = &worker.metrics;
    metrics.tower_copies.with_label_values(&labels).set(count);
    let (_, copied_at) = copies::mark(&worker.pool, address).await?;
    let age = copied_at.map_or(f64::INFINITY, |at| {
        (runtime::clock::now() - at).as_seconds_f64().max(0.0)
    });
    metrics.tower_age.with_label_values(&labels).set(age);
    Ok(())
}
