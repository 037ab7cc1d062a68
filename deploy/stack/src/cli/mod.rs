pub mod dev_env;
pub mod doctor;
pub mod down;
pub mod run;
pub mod secrets;
pub mod stages;
pub mod status;
pub mod up;

use std::path::{Path, PathBuf};

use stack::{Error, tools};

/// Whether all is well; false makes the exit code 1.
pub type Outcome = Result<bool, Error>;

/// The folders of one local stack.
pub struct Local {
    dir: PathBuf,
}

impl Local {
    pub fn new(dir: Option<PathBuf>) -> Self {
        let dir = dir.unwrap_or_else(|| tools::workspace_root().join(".local"));
        // Servers run in other working directories.
        Self {
            dir: std::path::absolute(&dir).unwrap_or(dir),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub fn ports_file(&self) -> PathBuf {
        self.dir.join("ports.env")
    }

    pub fn dev_env_file(&self) -> PathBuf {
        self.dir.join("dev.env")
    }

    /// A secret's file; exists after `up` has made the secrets.
    pub fn secret(&self, name: &str) -> PathBuf {
        self.dir.join("secrets").join(name)
    }

    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }
}

/// Attaches what was attempted to an I/O error.
pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}
