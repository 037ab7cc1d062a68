//! The tower's only memory: how far it has read, and which closes are not over. One small file,
//! replaced as a whole, so that a crash leaves the old one or the new one.

use anyhow::Context as _;
use hub_core::{ChannelId, Domain, Epoch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Name of the file in the tower's directory.
pub const FILE: &str = "tower.state";

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The chain and the contract it is of.
    pub domain: Domain,
    /// All blocks up to this one were read.
    pub read: u64,
    /// Closes that are not over, of channels known and unknown: a proof may still come.
    pub closes: BTreeMap<ChannelId, BTreeMap<Epoch, Close>>,
}

/// A close that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// The block it was seen in.
    pub block: u64,
    /// The block in which it was over: settled, and whoever waited for a late payout paid or
    /// punished. It is forgotten when that can't be orphaned any more.
    pub over: Option<u64>,
}

impl Cursor {
    /// Reads it; nothing when the tower never ran here.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn load(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let cursor = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is no cursor of a tower; remove it to read again from the longest window back",
                path.display()
            )
        })?;
        Ok(Some(cursor))
    }

    /// Writes it so that it survives a crash at any moment.
    ///
    /// # Errors
    /// The disk is full or refuses.
    pub fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        replace(&dir.join(FILE), &text)
    }
}

/// Replaces a file as a whole: beside it, to disk, renamed, and the name to disk.
///
/// # Errors
/// The disk is full or refuses.
pub fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("{} can't be written", path.display()))
}
