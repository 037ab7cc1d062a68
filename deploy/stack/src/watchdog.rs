//! Ends owned servers when this process dies, however it dies.
//!
//! A shell in a process group of its own reads from a pipe that only this process holds. The kernel
//! closes the pipe with the process, and the shell then ends what it was told about.
//! PR_SET_PDEATHSIG is not used: it fires when the *thread* that started the server ends, reaches
//! only the direct child, and is forgotten when the server changes its user.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use crate::{Error, error::Attempt};

const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
servers= dirs=
without() { list=; for entry in $2; do [ "$entry" = "$1" ] || list="$list $entry"; done; }
while read -r op subject; do
    case $op in
    guard) servers="$servers $subject" ;;
    release) without "$subject" "$servers"; servers=$list ;;
    remove) dirs="$dirs
$subject" ;;
    esac
done
for server in $servers; do kill -s "${server#*:}" -- "-${server%:*}" 2>/dev/null; done
for round in 1 2 3 4 5 6 7 8 9 10; do
    alive=
    for server in $servers; do ! kill -0 -- "-${server%:*}" 2>/dev/null || alive=1; done
    [ -n "$alive" ] || break
    sleep 0.3
done
for server in $servers; do kill -KILL -- "-${server%:*}" 2>/dev/null; done
printf '%s\n' "$dirs" | while read -r dir; do [ -z "$dir" ] || rm -rf -- "$dir"; done
"#;

static SHELL: Mutex<Option<Child>> = Mutex::new(None);

/// The process group `pid` gets `signal` (a name without SIG) when this process dies.
pub(crate) fn guard(pid: u32, signal: &str) -> Result<(), Error> {
    send(&format!("guard {pid}:{signal}"))
}

/// Takes a guard back, after the process has ended.
pub(crate) fn release(pid: u32, signal: &str) -> Result<(), Error> {
    send(&format!("release {pid}:{signal}"))
}

/// Removes this directory after everything guarded has ended.
pub(crate) fn remove_afterwards(dir: &Path) -> Result<(), Error> {
    send(&format!("remove {}", dir.display()))
}

fn send(line: &str) -> Result<(), Error> {
    let mut shell = SHELL.lock().unwrap_or_else(PoisonError::into_inner);
    let shell = match &mut *shell {
        Some(shell) => shell,
        none => none.insert(start()?),
    };
    let pipe = shell.stdin.as_mut();
    pipe.map_or(Ok(()), |pipe| writeln!(pipe, "{line}"))
        .attempt(|| "writing to the watchdog".into())
}

fn start() -> Result<Child, Error> {
    Command::new("sh")
        .args(["-c", SCRIPT, "stack-watchdog"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .attempt(|| "starting the watchdog".into())
}
