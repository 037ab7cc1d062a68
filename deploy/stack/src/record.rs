use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Error, error::Attempt, process::Identity};

/// What a detached process leaves for later commands: who it is, what it was started from and how
/// it likes to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Server or service.
    pub name: String,
    /// The process.
    pub identity: Identity,
    /// Of program, arguments and environment.
    pub fingerprint: u64,
    /// The signal for an orderly end.
    pub stop: StopSignal,
    /// Place in the order of starts; stopping goes backwards.
    pub order: u32,
}

/// The signal by which a server ends in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGINT: PostgreSQL's fast shutdown, which does not wait for its clients.
    Int,
}

impl Record {
    /// Writes the record as a whole or not at all.
    pub(crate) fn save(&self, run_dir: &Path) -> Result<(), Error> {
        let path = file(run_dir, &self.name);
        let fresh = path.with_extension("new");
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .attempt(|| format!("writing {}", path.display()))
    }

    /// The record of one process; `None` when there is none or it can't be read, which means the
    /// same: not ours.
    pub fn load(run_dir: &Path, name: &str) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(file(run_dir, name)).ok()?).ok()
    }

    /// All records, in the order of their starts.
    pub fn all(run_dir: &Path) -> Vec<Self> {
        let entries = fs::read_dir(run_dir).into_iter().flatten().flatten();
        let mut records: Vec<Self> = entries
            .filter_map(|entry| {
                Self::load(run_dir, entry.file_name().to_str()?.strip_suffix(".json")?)
            })
            .collect();
        records.sort_by_key(|record| record.order);
        records
    }

    /// Forgets the process.
    pub(crate) fn remove(run_dir: &Path, name: &str) {
        // A record that stays behind names a process that has ended; nobody acts on it.
        let _ = fs::remove_file(file(run_dir, name));
    }
}

fn file(run_dir: &Path, name: &str) -> PathBuf {
    run_dir.join(format!("{name}.json"))
}
