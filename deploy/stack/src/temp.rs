use std::{
    env, fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Error, error::Attempt, watchdog};

/// A directory that goes when it is dropped, or when the process dies.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Creates one below the system's directory for temporary files. Other users may pass through,
    /// for PostgreSQL under root, but not look around.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new() -> Result<Self, Error> {
        let path = env::temp_dir().join(format!("stack-{}", unique()));
        let made = fs::DirBuilder::new().mode(0o711).create(&path);
        made.attempt(|| format!("creating {}", path.display()))?;
        watchdog::remove_afterwards(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What is left here goes with the process.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A short text that no other process on this machine makes: for names of databases, queues and
/// directories.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let micros = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_micros());
    format!(
        "{:x}_{:x}_{count:x}",
        std::process::id(),
        micros & 0xff_ffff_ffff
    )
}
