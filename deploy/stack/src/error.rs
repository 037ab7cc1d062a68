use std::{fmt, io, path::PathBuf};

/// Why a server, a service or a test database could not be had. The text of every variant says what
/// to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that is not installed.
    #[error("{tool} is missing; {get}")]
    ToolMissing {
        /// What was looked for.
        tool: &'static str,
        /// How to get it.
        get: &'static str,
    },
    /// Somebody else listens where the process should.
    #[error(
        "port {port} of {name} is taken by another program; stop that program or choose another port"
    )]
    PortTaken {
        /// Server or service.
        name: String,
        /// On 127.0.0.1.
        port: u16,
    },
    /// The process ended before it answered.
    #[error("{name} ended while it was starting; its log {log} ends with:\n{tail}")]
    Exited {
        /// Server or service.
        name: String,
        /// Where the whole log is.
        log: PathDisplay,
        /// Its last lines.
        tail: String,
    },
    /// The process runs but did not answer in time.
    #[error(
        "{name} did not answer within {waited_secs} s ({last}); its log is {log} and ends with:\n{tail}"
    )]
    NotReady {
        /// Server or service.
        name: String,
        /// How long it was given, in seconds.
        waited_secs: u64,
        /// What the last attempt found.
        last: String,
        /// Where the whole log is.
        log: PathDisplay,
        /// Its last lines.
        tail: String,
    },
    /// The process did not end after SIGKILL.
    #[error("{name} (pid {pid}) does not end; end it by hand, then run the command again")]
    WontStop {
        /// Server or service.
        name: String,
        /// Its process.
        pid: i32,
    },
    /// A program that prepares something failed.
    #[error("{what} failed: {output}")]
    Command {
        /// What was run.
        what: String,
        /// What it printed.
        output: String,
    },
    /// PostgreSQL refused a statement.
    #[error("PostgreSQL refused `{statement}`: {message}")]
    Sql {
        /// The statement.
        statement: String,
        /// Its message.
        message: String,
    },
    /// The caller's own migration failed.
    #[error("migrating the template database failed: {0}")]
    Migration(String),
    /// A file that says something else than it should.
    #[error("{path}: {problem}")]
    BadFile {
        /// The file.
        path: PathDisplay,
        /// What is wrong and what to do.
        problem: String,
    },
    /// No free port was found.
    #[error("no free port found near {0}; stop what listens there")]
    NoFreePort(u16),
    /// A file or socket operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

/// A path that prints itself.
#[derive(Debug, Clone)]
pub struct PathDisplay(pub PathBuf);

impl fmt::Display for PathDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Attaches what was attempted to an I/O error.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            what: what(),
            source,
        })
    }
}
