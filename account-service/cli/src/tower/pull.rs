//! Fetching proofs from the public API. A dead API changes nothing for what is held already.

use super::Report;
use super::shelf::{self, Shelf};
use crate::args::TowerRun;
use crate::client::{Api, Patience};
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
        let known = shelf.channels().map(|(id, _)| *id);
        let all: BTreeSet<_> = known.chain(self.channels.iter().copied()).collect();
        for id in all {
            let path = format!("/v1/channels/{id}/states/latest/proof");
            match api.fetch(&path).await {
                Ok(document) => match shelf::add(dir, &document.to_string()) {
                    Ok((_, true)) => report.aside(&format!("{id}: a newer proof")),
                    Ok((_, false)) => {}
                    Err(error) => report.trouble(&format!("{id}: {error:#}")),
                },
                Err(error) => {
                    report.trouble(&format!("{error}; the proofs at hand stay good"));
                    // The others would fail in the same way.
                    return;
                }
            }
        }
    }
}
