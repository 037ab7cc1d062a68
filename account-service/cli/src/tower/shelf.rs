//! The proofs that a tower holds: the files of its directory, joined by channel and epoch. An epoch
//! that has ended still counts: whoever cheated in it may be paid late.

use super::cursor::replace;
use crate::dispute::material::{self, Material};
use anyhow::{Context as _, bail};
use hub_core::{ChannelId, Domain, Epoch, sha256};
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
    /// All files of a channel's epoch joined.
    channels: BTreeMap<(ChannelId, Epoch), Material>,
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

    /// What is held of a channel's epoch, or else of its newest: the parameters are the same.
    pub fn get(&self, id: ChannelId, epoch: Epoch) -> Option<&Material> {
        let newest = || {
            let all = self.channels.range((id, 0)..=(id, Epoch::MAX));
            all.map(|(_, held)| held).next_back()
        };
        self.channels.get(&(id, epoch)).or_else(newest)
    }

    /// All channels; one of several epochs several times.
    pub fn channels(&self) -> impl Iterator<Item = ChannelId> {
        self.channels.keys().map(|(id, _)| *id)
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

fn join<'a>(all: impl Iterator<Item = &'a Material>) -> BTreeMap<(ChannelId, Epoch), Material> {
    let mut channels: BTreeMap<_, Material> = BTreeMap::new();
    for held in all {
        let id = (held.channel_id(), held.state().epoch);
        let joined = match channels.remove(&id) {
            // Of one channel, whose domain is in its id.
            Some(other) => other.join(held.clone()).unwrap_or_else(|_| held.clone()),
            None => held.clone(),
        };
        channels.insert(id, joined);
    }
    channels
}

/// Puts a checked file under its channel's name. Says whether it is news. A file that says all
/// that the one there says takes its place; else both stay, the older or lesser one under a name
/// of its content, so that no evidence is ever overwritten.
///
/// # Errors
/// It can't be used, or the disk refuses.
pub fn add(dir: &Path, text: &str) -> anyhow::Result<(ChannelId, bool)> {
    let held = material::parse(text)?;
    let id = held.channel_id();
    fs::create_dir_all(dir).with_context(|| format!("{} can't be made", dir.display()))?;
    let path = dir.join(format!("{id}.json"));
    // Damaged or foreign content gives way to what was checked.
    let there = material::read(&path).ok();
    let Some(there) = there.filter(|there| there.channel_id() == id) else {
        replace(&path, text.as_bytes())?;
        return Ok((id, true));
    };
    if covers(&there, &held) {
        return Ok((id, false));
    }
    let age = |one: &Material| (one.state().epoch, one.state().version);
    if age(&there) > age(&held) || (age(&there) == age(&held) && !covers(&held, &there)) {
        // Its credit or revocation is news, its state is not.
        return Ok((id, keep_beside(dir, id, text)?));
    }
    if !covers(&held, &there) {
        let old = fs::read_to_string(&path);
        let old = old.with_context(|| format!("{} can't be read", path.display()))?;
        keep_beside(dir, id, &old)?;
    }
    replace(&path, text.as_bytes())?;
    Ok((id, true))
}

/// Whether one file of a channel says all that another says.
fn covers(one: &Material, other: &Material) -> bool {
    one.state().epoch == other.state().epoch
        && one
            .clone()
            .join(other.clone())
            .is_ok_and(|both| both == *one)
}

/// Keeps a file under a name of its content; `false` when it is there.
fn keep_beside(dir: &Path, id: ChannelId, text: &str) -> anyhow::Result<bool> {
    let hash = sha256(text.as_bytes()).to_string();
    let name = hash.trim_start_matches("0x").chars().take(16);
    let beside = dir.join(format!("{id}-{}.json", name.collect::<String>()));
    if material::read(&beside).is_ok() {
        return Ok(false);
    }
    replace(&beside, text.as_bytes())?;
    Ok(true)
}
