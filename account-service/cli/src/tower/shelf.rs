//! The proofs that a tower holds: the files of its directory, the newest of each channel.

use super::cursor::replace;
use crate::dispute::material::{self, Material};
use anyhow::{Context as _, bail};
use hub_core::{ChannelId, Domain};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Length and time of a file: a pushed one is renamed into place, so another content is another
/// time.
type Mark = (u64, Option<SystemTime>);

/// What is held.
#[derive(Debug, Default)]
pub struct Shelf {
    /// What was read of each file, or why it can't be used.
    files: HashMap<PathBuf, (Mark, Option<Material>)>,
    /// All of a channel's files joined.
    channels: BTreeMap<ChannelId, Material>,
}

impl Shelf {
    /// Reads what is new in the directory. Returns what is wrong with new files.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn refresh(&mut self, dir: &Path) -> anyhow::Result<Vec<String>> {
        let (mut seen, mut wrong) = (Vec::new(), Vec::new());
        let entries =
            fs::read_dir(dir).with_context(|| format!("{} can't be read", dir.display()))?;
        let mut changed = false;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Ok(about) = fs::metadata(&path) else {
                continue;
            };
            let mark = (about.len(), about.modified().ok());
            seen.push(path.clone());
            if self.files.get(&path).is_some_and(|(old, _)| *old == mark) {
                continue;
            }
            let read = material::read(&path);
            if let Err(error) = &read {
                wrong.push(format!("{error:#}"));
            }
            self.files.insert(path, (mark, read.ok()));
            changed = true;
        }
        let before = self.files.len();
        self.files.retain(|path, _| seen.contains(path));
        if changed || self.files.len() != before {
            self.channels = join(self.files.values().filter_map(|(_, held)| held.as_ref()));
        }
        Ok(wrong)
    }

    /// What is held of a channel.
    pub fn get(&self, id: ChannelId) -> Option<&Material> {
        self.channels.get(&id)
    }

    /// All channels.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelId, &Material)> {
        self.channels.iter()
    }

    /// The chain and contract to watch: those of the cursor, or else of all proofs; nothing when
    /// there are no proofs. Proofs of others lie here without effect.
    ///
    /// # Errors
    /// No proof is of the cursor's, or without a cursor they are of several.
    pub fn domain(&self, cursor: Option<Domain>) -> anyhow::Result<Option<Domain>> {
        let mut domains = self.channels.values().map(|held| held.domain);
        let Some(first) = domains.next() else {
            return Ok(None);
        };
        let others = domains.any(|other| other != first);
        match cursor {
            Some(domain) if self.channels.values().any(|held| held.domain == domain) => {
                Ok(Some(domain))
            }
            Some(domain) => bail!(
                "no proof here is for chain {} and contract {}, which this tower has watched; use \
                 another directory for another chain",
                domain.chain_id,
                domain.verifying_contract.checksummed()
            ),
            None if others => {
                bail!("the proofs are for several chains or contracts: use a directory for each")
            }
            None => Ok(Some(first)),
        }
    }
}

fn join<'a>(all: impl Iterator<Item = &'a Material>) -> BTreeMap<ChannelId, Material> {
    let mut channels: BTreeMap<ChannelId, Material> = BTreeMap::new();
    for held in all {
        let id = held.channel_id();
        let joined = match channels.remove(&id) {
            // Of one channel, whose domain is in its id.
            Some(other) => other.join(held.clone()).unwrap_or_else(|_| held.clone()),
            None => held.clone(),
        };
        channels.insert(id, joined);
    }
    channels
}

/// Puts a checked file under its channel's name. Says whether it is news: an older state than the
/// one there, or the same file again, is not.
///
/// # Errors
/// It can't be used, or the disk refuses.
pub fn add(dir: &Path, text: &str) -> anyhow::Result<(ChannelId, bool)> {
    let held = material::parse(text)?;
    let (id, state) = (held.channel_id(), held.state());
    fs::create_dir_all(dir).with_context(|| format!("{} can't be made", dir.display()))?;
    let path = dir.join(format!("{id}.json"));
    // Damaged or foreign content gives way to what was checked.
    if let Ok(there) = material::read(&path) {
        let age = |one: &Material| (one.state().epoch, one.state().version);
        let known = there.clone().join(held.clone())? == there;
        if age(&there) > age(&held) && known || there == held {
            return Ok((id, false));
        }
        if age(&there) > age(&held) {
            // Its credit or revocation is news, its state is not: both files count.
            let beside = dir.join(format!("{id}-{}-{}.json", state.epoch, state.version));
            replace(&beside, text.as_bytes())?;
            return Ok((id, true));
        }
        if there.state().epoch == state.epoch
            && (there.credit.is_some() || !there.revokes.is_empty())
        {
            let old = there.state();
            let beside = dir.join(format!("{id}-{}-{}.json", old.epoch, old.version));
            fs::copy(&path, &beside)
                .with_context(|| format!("{} can't be written", beside.display()))?;
        }
    }
    replace(&path, text.as_bytes())?;
    Ok((id, true))
}
