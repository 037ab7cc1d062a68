//! Fetching proofs from the public API. A dead API changes nothing for what is held already.

use super::Report;
use super::shelf::{self, Shelf};
use crate::args::TowerRun;
use crate::client::{Api, CallError, Patience};
use crate::config::Config;
use hub_core::ChannelId;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest that one proof may take: the chain is to be looked at meanwhile.
const PATIENCE: Patience = Patience {
    attempt: Duration::from_secs(5),
    total: Duration::from_secs(5),
};

/// Fetches at an interval, or never.
#[derive(Debug)]
pub struct Puller {
    source: Option<(Api, Duration)>,
    channels: Vec<ChannelId>,
    last: Option<Instant>,
    /// For which channel nobody answered: the next time begins behind it, so that it keeps no
    /// other from being fetched.
    silent: Option<ChannelId>,
}

impl Puller {
    /// By the command line.
    ///
    /// # Errors
    /// It is asked for, but there is no API or no key.
    pub fn new(config: &Config, args: &TowerRun) -> anyhow::Result<Self> {
        let source = match args.pull {
            Some(seconds) => {
                let api = Api::new(config.api()?, PATIENCE)?;
                Some((api, Duration::from_secs(seconds.into())))
            }
            None => None,
        };
        Ok(Self {
            source,
            channels: args.channel.clone(),
            last: None,
            silent: None,
        })
    }

    /// Fetches what is due; says what fails.
    pub async fn pull(&mut self, shelf: &Shelf, dir: &Path, report: Report) {
        let Some((api, interval)) = &self.source else {
            return;
        };
        if self.last.is_some_and(|last| last.elapsed() < *interval) {
            return;
        }
        self.last = Some(Instant::now());
        let known = shelf.channels();
        let all: BTreeSet<_> = known.chain(self.channels.iter().copied()).collect();
        let silent = self.silent.take();
        let (before, behind): (Vec<ChannelId>, Vec<ChannelId>) =
            all.into_iter().partition(|id| Some(*id) <= silent);
        for id in behind.into_iter().chain(before) {
            let path = format!("/v1/channels/{id}/states/latest/proof");
            match api.fetch(&path).await {
                Ok(document) => match shelf::add(dir, &document.to_string()) {
                    Ok((_, true)) => report.aside(&format!("{id}: a newer proof")),
                    Ok((_, false)) => {}
                    Err(error) => report.trouble(&format!("{id}: {error:#}")),
                },
                Err(error) => {
                    report.trouble(&format!("{id}: {error}; the proofs at hand stay good"));
                    if matches!(error, CallError::GaveUp { .. }) {
                        // Nobody answers: the others would only wait as long.
                        self.silent = Some(id);
                        return;
                    }
                }
            }
        }
    }
}
