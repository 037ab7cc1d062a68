use std::{
    env, fs,
    fs::OpenOptions,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{Error, error::Attempt, error::PathDisplay};

/// Taken over from the caller; everything else of its environment stays outside, so that a server
/// behaves alike whoever starts it.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// A process to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Name in messages, run records and log files.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, on top of the few inherited variables.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub dir: PathBuf,
    /// Where both of its output streams are appended.
    pub log: PathBuf,
    /// Run as the user `postgres` when the caller is root: PostgreSQL refuses to run as root.
    pub never_root: bool,
}

/// How long a process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Ends with the process that started it.
    Owned,
    /// Goes on by itself, in a session of its own; a record in this directory lets a later process
    /// find it.
    Detached {
        /// Where the records are.
        run_dir: PathBuf,
    },
}

impl Launch {
    /// Starts the process; it is the leader of its own process group.
    pub(crate) fn spawn(&self, life: &Life) -> Result<Child, Error> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.attempt(|| format!("opening {}", self.log.display()))?;
        let mut command = self.command(*life != Life::Owned);
        if *life == Life::Owned {
            command.process_group(0);
        }
        let errors = log.try_clone().attempt(|| "opening a log".into())?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command
            .spawn()
            .attempt(|| format!("starting {} ({})", self.name, self.program.display()))
    }

    /// Runs the process to its end.
    pub(crate) async fn run(&self) -> Result<(), Error> {
        let mut command = tokio::process::Command::from(self.command(false));
        let output = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await;
        let output = output.attempt(|| format!("starting {}", self.program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stdout, output.stderr].concat();
        Err(Error::Command {
            what: self.name.clone(),
            output: String::from_utf8_lossy(&text).trim().to_owned(),
        })
    }

    fn command(&self, new_session: bool) -> Command {
        // Both wrappers replace themselves by the program: the process id stays.
        let mut words: Vec<String> = Vec::new();
        if new_session {
            words.push("setsid".into());
        }
        if self.never_root && is_root() {
            words.extend(drop_root());
        }
        words.push(self.program.display().to_string());
        words.extend(self.args.iter().cloned());

        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&self.dir).env_clear();
        command.envs(
            INHERITED
                .iter()
                .filter_map(|name| Some((name, env::var_os(name)?))),
        );
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Changes when the program file, its arguments or its environment change.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.program, &self.args, &self.env).hash(&mut hasher);
        if let Ok(file) = fs::metadata(&self.program) {
            (file.len(), file.mtime(), file.mtime_nsec()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Why it did not start, with the end of its log.
    pub(crate) fn exited(&self) -> Error {
        Error::Exited {
            name: self.name.clone(),
            log: PathDisplay(self.log.clone()),
            tail: tail(&self.log),
        }
    }
}

/// True when the caller is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The wrapper that continues as `postgres`. A checkout under a home directory of mode 0700 is out
/// of that user's reach, so the right to walk through directories is kept where the caller may pass
/// it on.
fn drop_root() -> Vec<String> {
    const DAC_READ_SEARCH: u64 = 1 << 2;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounding = bounding
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0);
    let mut words = vec![
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
    ];
    if bounding & DAC_READ_SEARCH != 0 {
        words.extend([
            "--inh-caps=+dac_read_search",
            "--ambient-caps=+dac_read_search",
        ]);
    }
    words.push("--");
    words.into_iter().map(str::to_owned).collect()
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    const LINES: usize = 12;
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| format!("    {line}\n"))
        .collect()
}
