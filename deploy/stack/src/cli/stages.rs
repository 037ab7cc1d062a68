//! What `up` does between servers and `dev.env`: programs that run to their end, then services that
//! stay.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use stack::{Endpoints, Error, Service};

use super::{Local, dev_env::Values};

/// A program of this workspace that runs to its end at every `up`, so it must be safe to run again.
/// The `NAME=value` lines that it prints are known to all that comes after it, and to `dev.env`.
pub struct Step {
    /// In the progress lines.
    pub title: &'static str,
    /// Its file name; it lies beside this program.
    pub program: &'static str,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, on top of all values known so far.
    pub env: Vec<(String, String)>,
}

/// The steps, in order.
pub fn steps(local: &Local) -> Vec<Step> {
    let roles_password = local.secret("roles.password").display().to_string();
    vec![Step {
        title: "migrate",
        program: "migrations",
        args: Vec::new(),
        env: vec![("ROLES_PASSWORD_FILE".into(), roles_password)],
    }]
}

/// The services, in the order of their starts. `known` holds what the steps have printed.
pub fn services(_local: &Local, _at: &Endpoints, _known: &Values) -> Vec<Service> {
    Vec::new()
}

/// Where the programs of this build are.
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.parent().unwrap_or(Path::new("")).join(name)
}

/// Runs a step and takes over what it prints.
pub async fn run(step: Step, known: &mut Values) -> Result<(), Error> {
    let path = program(step.program);
    let output = tokio::process::Command::new(&path)
        .args(&step.args)
        .envs(known.pairs())
        .envs(step.env)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(super::io(format!(
            "running {} (`make up` builds it)",
            path.display()
        )))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        known.read_lines(&printed);
        return Ok(());
    }
    let output = format!("{printed}{}", String::from_utf8_lossy(&output.stderr))
        .trim()
        .to_owned();
    Err(Error::Command {
        what: step.title.into(),
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Step {
        let args = vec!["-c".into(), script.into()];
        Step {
            title: "try",
            program: "/bin/sh",
            args,
            env: vec![("OWN".into(), "own".into())],
        }
    }

    #[tokio::test]
    async fn a_step_sees_what_is_known_and_adds_what_it_prints() {
        let mut known = Values::default();
        known.set("CHAIN_RPC", "http://node".into());
        run(
            shell("echo deploying; echo TOKEN_ADDRESS=$CHAIN_RPC/$OWN"),
            &mut known,
        )
        .await
        .unwrap();
        assert_eq!(known.get("TOKEN_ADDRESS"), Some("http://node/own"));
        assert_eq!(known.get("OWN"), None);
    }

    #[tokio::test]
    async fn a_failed_step_tells_what_it_printed_and_adds_nothing() {
        let mut known = Values::default();
        let failed = run(shell("echo A=1; echo no such role >&2; exit 3"), &mut known).await;
        let text = failed.unwrap_err().to_string();
        assert!(
            text.contains("try failed") && text.contains("no such role"),
            "{text}"
        );
        assert_eq!(known.get("A"), None);
        let absent = Step {
            program: "no-such-program",
            ..shell("")
        };
        let text = run(absent, &mut known).await.unwrap_err().to_string();
        assert!(
            text.contains("no-such-program") && text.contains("make up"),
            "{text}"
        );
    }
}
