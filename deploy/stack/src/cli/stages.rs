//! What `up` does between servers and `dev.env`: programs that run to their end, then services that
//! stay.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use stack::{CHAIN_ID, DATABASE, Endpoints, Error, Port, Service};

use super::{Local, dev_env::Values};

/// A program of this workspace that runs to its end at every `up`, so it must be safe to run again.
pub struct Step {
    /// In the progress lines.
    pub title: &'static str,
    /// Its file name; it lies beside this program.
    pub program: &'static str,
    /// Its arguments; `{NAME}` stands for the value known by that name.
    pub args: Vec<String>,
    /// Its environment, on top of all values known so far.
    pub env: Vec<(String, String)>,
    /// What becomes of what it prints.
    pub printed: Printed,
}

/// What becomes of what a step prints.
pub enum Printed {
    /// `NAME=value` lines are known to all that comes after it, and to `dev.env`.
    Values,
    /// A secret, kept in a file and known by this name. The step runs only while there is no file.
    Secret {
        /// Where it is kept.
        file: PathBuf,
        /// The name it is known by.
        name: &'static str,
    },
}

/// Ids of the two hubs of a local stack.
const HUB_IDS: [(&str, &str); 2] = [
    ("vault", "01900000-0000-7000-8000-000000000001"),
    ("mint", "01900000-0000-7000-8000-000000000002"),
];
/// Seconds to answer a close, and that the closer waits longer (DESIGN: 60 on the local stack).
const WINDOW_SECS: &str = "60";
/// Blocks on top after which something is final here: the local chain has no reorgs of its own.
const CONFIRMATIONS: &str = "2";
/// Issuance limits of the local hubs, in minor units: the demo and load tests issue freely.
const ISSUE_LIMIT: &str = "1000000000000000000000000000";
/// Headroom below which the vault is topped up, and up to which: 1 and 10 million tokens.
const VAULT_THRESHOLD: &str = "1000000000000000000000000";
const VAULT_BUFFER: &str = "10000000000000000000000000";

/// The steps, in order.
pub fn steps(local: &Local) -> Vec<Step> {
    let secret = |name: &str| local.secret(name).display().to_string();
    let step = |title, program, args: Vec<String>, env: &[(&str, String)]| Step {
        title,
        program,
        args,
        env: owned(env),
        printed: Printed::Values,
    };
    let address = |name: &str, file: &str| format!("{name}={}", secret(file));
    let hub = |mode: &str, signer: &str| {
        let key = secret(&format!("worker-{mode}.key"));
        format!("--hub={key},{{{signer}}},{mode},urn:hub:{mode}")
    };
    vec![
        step(
            "migrate",
            "migrations",
            Vec::new(),
            &[("ROLES_PASSWORD_FILE", secret("roles.password"))],
        ),
        step(
            "addresses",
            "key-address",
            vec![
                address("HUB_VAULT_ADDRESS", "worker-vault.key"),
                address("HUB_MINT_ADDRESS", "worker-mint.key"),
                address("HUB_VAULT_SIGNER", "hub-vault.key"),
                address("HUB_MINT_SIGNER", "hub-mint.key"),
                address("CUSTODY_SIGNER", "custody.key"),
            ],
            &[],
        ),
        step(
            "contracts",
            "deploy-contracts",
            vec![
                hub("vault", "HUB_VAULT_SIGNER"),
                hub("mint", "HUB_MINT_SIGNER"),
                format!("--min-window-s={WINDOW_SECS}"),
            ],
            &[
                ("DEPLOYMENT_FILE", file(local, "deployment.json")),
                ("DEPLOYER_KEY_FILE", secret("deployer.key")),
            ],
        ),
        api_key(local, "api key", "admin:*", ("api.key", "ACCOUNT_API_KEY")),
        api_key(
            local,
            "tower key",
            "admin:tower",
            ("tower.key", "TOWER_API_KEY"),
        ),
    ]
}

/// Makes a key of account-service and keeps it in a file.
fn api_key(
    local: &Local,
    title: &'static str,
    scope: &str,
    (file, name): (&str, &'static str),
) -> Step {
    let args = ["keys", "create", "--scope", scope];
    Step {
        title,
        program: "account-service",
        args: args.map(str::to_owned).to_vec(),
        env: Vec::new(),
        printed: Printed::Secret {
            file: local.secret(file),
            name,
        },
    }
}

fn owned(env: &[(&str, String)]) -> Vec<(String, String)> {
    env.iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn file(local: &Local, name: &str) -> String {
    local.dir().join(name).display().to_string()
}

/// The services, in the order of their starts. `known` holds what the steps have printed.
pub fn services(local: &Local, at: &Endpoints, known: &Values) -> Vec<Service> {
    let secret = |name: &str| local.secret(name).display().to_string();
    let value = |name: &str| known.get(name).unwrap_or_default().to_owned();
    let listen = |port| format!("127.0.0.1:{}", at.ports().get(port));
    let url = |port| format!("http://{}", listen(port));
    let contracts = [
        ("TOKEN_ADDRESS", value("TOKEN_ADDRESS")),
        ("CHANNELS_ADDRESS", value("CHANNELS_ADDRESS")),
        ("CHAIN_RPC", at.chain_rpc()),
    ];
    let service =
        |port: Port, program: &str, args: Vec<String>, order, env: &[(&str, String)]| Service {
            name: port.process().to_owned(),
            program: self::program(program),
            args,
            env: owned(&[env, contracts.as_slice(), &[("LISTEN", listen(port))]].concat()),
            port: at.ports().get(port),
            dir: local.dir().to_owned(),
            log_dir: local.log_dir(),
            order,
        };
    let hub = |port, mode: &str, id: &str, order| {
        let upper = mode.to_uppercase();
        let env = [
            ("DATABASE_URL", at.database_url("chub_hub", DATABASE)),
            ("HUB_ID", id.to_owned()),
            ("HUB_KEY_FILE", secret(&format!("hub-{mode}.key"))),
            ("HUB_TOKENS_FILE", secret("hub.tokens")),
            ("CHAIN_ID", CHAIN_ID.to_string()),
            ("HUB_ADDRESS", value(&format!("HUB_{upper}_ADDRESS"))),
            ("CUSTODY_SIGNER", value("CUSTODY_SIGNER")),
            ("FUNDING_MODE", mode.to_owned()),
            ("CHALLENGE_PERIOD", WINDOW_SECS.into()),
            ("SELF_DELAY", WINDOW_SECS.into()),
            ("ISSUE_LIMIT_PER_ORDER", ISSUE_LIMIT.into()),
            ("ISSUE_LIMIT_PER_HOUR", ISSUE_LIMIT.into()),
        ];
        service(port, "hub", Vec::new(), order, &env)
    };
    let [(vault, vault_id), (mint, mint_id)] = HUB_IDS;
    let account_token = secret("account-service.token");
    let worker_token = secret("chain-worker.token");
    let worker_hub = |mode: &str, port| {
        let key = secret(&format!("worker-{mode}.key"));
        format!("--hub={key},{},{worker_token},{mode}", url(port))
    };
    let worker = [
        ("DATABASE_URL", at.database_url("chub_chain", DATABASE)),
        ("AMQP_URL", at.amqp_url()),
        ("DEPLOY_BLOCK", value("DEPLOY_BLOCK")),
        ("CONFIRMATIONS", CONFIRMATIONS.into()),
        ("VAULT_BUFFER", VAULT_BUFFER.into()),
        ("POLL_MS", "250".into()),
        ("ACCOUNT_URL", url(Port::AccountService)),
        ("ACCOUNT_KEY_FILE", secret("tower.key")),
        ("TOWER_PULL_MS", "2000".into()),
    ];
    let account = [
        ("DATABASE_URL", at.database_url("chub_account", DATABASE)),
        (
            "RECON_DATABASE_URL",
            at.database_url("chub_recon", DATABASE),
        ),
        ("REDIS_URL", at.redis_url()),
        ("AMQP_URL", at.amqp_url()),
        ("CUSTODY_KEY_FILE", secret("custody.key")),
        ("CURSOR_KEY_FILE", secret("cursor.key")),
        ("VAULT_THRESHOLD", VAULT_THRESHOLD.into()),
        ("CONFIRMATIONS", CONFIRMATIONS.into()),
    ];
    let account_hub = |port| format!("--hub={},{account_token}", url(port));
    vec![
        hub(Port::HubVault, vault, vault_id, 10),
        hub(Port::HubMint, mint, mint_id, 11),
        service(
            Port::ChainWorker,
            "chain-worker",
            vec![
                worker_hub(vault, Port::HubVault),
                worker_hub(mint, Port::HubMint),
            ],
            12,
            &worker,
        ),
        service(
            Port::AccountService,
            "account-service",
            vec![
                "serve".into(),
                account_hub(Port::HubVault),
                account_hub(Port::HubMint),
            ],
            13,
            &account,
        ),
    ]
}

/// Where the programs of this build are.
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.parent().unwrap_or(Path::new("")).join(name)
}

/// Runs a step and takes over what it prints.
pub async fn run(step: Step, known: &mut Values) -> Result<(), Error> {
    if let Printed::Secret { file, name } = &step.printed
        && let Ok(kept) = std::fs::read_to_string(file)
    {
        known.set(name, kept.trim().to_owned());
        return Ok(());
    }
    let path = program(step.program);
    let output = tokio::process::Command::new(&path)
        .args(step.args.iter().map(|arg| known.fill_in(arg)))
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
        match step.printed {
            Printed::Values => known.read_lines(&printed),
            Printed::Secret { file, name } => {
                super::secrets::keep(&file, printed.trim())?;
                known.set(name, printed.trim().to_owned());
            }
        }
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
    use std::collections::BTreeSet;

    fn shell(script: &str) -> Step {
        let args = vec!["-c".into(), script.into()];
        Step {
            title: "try",
            program: "/bin/sh",
            args,
            env: vec![("OWN".into(), "own".into())],
            printed: Printed::Values,
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

    /// The settings that a program reads, by its own account.
    fn read_by(words: &[&str]) -> BTreeSet<String> {
        // Tests lie one folder deeper than the programs.
        let test = std::env::current_exe().unwrap();
        let path = test.parent().unwrap().parent().unwrap().join(words[0]);
        let mut help = std::process::Command::new(&path);
        let help = help.args(&words[1..]).arg("--help").output();
        let help = help.unwrap_or_else(|e| panic!("{}: {e}; run cargo build", path.display()));
        let help = String::from_utf8(help.stdout).unwrap();
        let name = |text: &str| text.split(['=', ']']).next().unwrap().to_owned();
        let names: BTreeSet<_> = help.split("[env: ").skip(1).map(name).collect();
        assert!(names.len() > 5, "{help}");
        names
    }

    /// What compose.yaml sets for a service, and what its setup finds out for it.
    fn set_by_compose(name: &str) -> (Vec<String>, BTreeSet<String>) {
        let root = stack::tools::workspace_root();
        let text = std::fs::read_to_string(root.join("deploy/compose.yaml")).unwrap();
        let mut file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
        file.apply_merge().unwrap();
        let service = &file["services"][name];
        let text = |value: &serde_yaml_ng::Value| value.as_str().unwrap().to_owned();
        let words = service["command"].as_sequence().unwrap().iter().map(text);
        let environment = service["environment"].as_mapping().unwrap();
        let mut names: BTreeSet<_> = environment.keys().map(text).collect();
        assert!(names.remove("SETUP_FILE"), "{name}");
        names.extend(["TOKEN_ADDRESS", "CHANNELS_ADDRESS", "DEPLOY_BLOCK"].map(str::to_owned));
        if name.starts_with("hub") {
            names.extend(["HUB_ADDRESS", "CUSTODY_SIGNER"].map(str::to_owned));
        }
        (words.collect(), names)
    }

    #[test]
    fn compose_and_this_stack_set_the_same_of_what_each_service_reads() {
        let local = Local::new(Some("/nowhere".into()));
        let at = Endpoints::from(stack::Ports::default());
        for service in services(&local, &at, &Values::default()) {
            let (words, compose) = set_by_compose(&service.name);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let read = read_by(&words);
            let mut here: BTreeSet<_> = service.env.into_iter().map(|(name, _)| name).collect();
            if service.args.iter().any(|arg| arg.starts_with("--hub=")) {
                here.insert("HUBS".to_owned());
            }
            // Some are found out for all services, whether they read them or not.
            let found_out = [
                "CHAIN_RPC",
                "TOKEN_ADDRESS",
                "CHANNELS_ADDRESS",
                "DEPLOY_BLOCK",
            ];
            for names in [&here, &compose] {
                let unread: Vec<_> = names
                    .difference(&read)
                    .filter(|name| !found_out.contains(&name.as_str()))
                    .collect();
                assert!(unread.is_empty(), "{} reads no {unread:?}", service.name);
            }
            let of = |names: &BTreeSet<String>| -> BTreeSet<_> {
                names.intersection(&read).cloned().collect()
            };
            assert_eq!(of(&here), of(&compose), "{}", service.name);
        }
    }
}
