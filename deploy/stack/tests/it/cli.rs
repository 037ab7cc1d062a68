//! The program, on real servers.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use stack::{Identity, Ports, Record, StopSignal, TempDir, is_free, tools};

/// A local stack of a test; stops when the test ends, whatever its verdict.
struct Cli {
    program: PathBuf,
    wrapper: Vec<&'static str>,
    home: PathBuf,
}

impl Cli {
    fn new(home: &Path) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_stack").into(),
            wrapper: Vec::new(),
            home: home.to_owned(),
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut words: Vec<String> = self.wrapper.iter().map(|word| (*word).to_owned()).collect();
        words.push(self.program.display().to_string());
        words.extend(["--dir".into(), self.dir().display().to_string()]);
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        Command::new(&words[0])
            .args(&words[1..])
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .output()
            .unwrap()
    }

    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "stack {args:?}: {text}");
        text
    }

    fn dir(&self) -> PathBuf {
        self.home.join("local")
    }

    /// Ports of its own, so that tests do not take those of a developer's stack or of each other.
    fn with_free_ports(self) -> Self {
        fs::create_dir(self.dir()).unwrap();
        Ports::free()
            .unwrap()
            .save(&self.dir().join("ports.env"))
            .unwrap();
        self
    }

    fn processes(&self) -> Vec<Identity> {
        Record::all(&self.dir().join("run"))
            .into_iter()
            .map(|record| record.identity)
            .collect()
    }
}

impl Drop for Cli {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn programs_on_standard_ports_get_no_connection_and_a_second_up_reuses_everything() {
    let home = TempDir::new().unwrap();
    let cli = Cli::new(home.path());
    // One that another program of this machine holds already can't be watched; the rest can.
    let standard = [5432, 6379, 5672, 25672, 4369, 8545, 8080];
    let held: Vec<TcpListener> = standard
        .iter()
        .filter_map(|port| TcpListener::bind(("127.0.0.1", *port)).ok())
        .collect();
    for listener in &held {
        listener.set_nonblocking(true).unwrap();
    }

    cli.succeed(&["up", "--no-services"]);
    let first = cli.processes();
    assert_eq!(first.len(), 5);
    assert!(first.iter().all(Identity::is_alive));
    let env = cli.succeed(&["env"]);
    for name in [
        "DATABASE_URL=postgres://",
        "REDIS_URL=redis://",
        "AMQP_URL=amqp://",
        "CHAIN_RPC=http://",
    ] {
        assert!(env.contains(name), "{env}");
    }

    let again = cli.succeed(&["up", "--no-services"]);
    assert!(again.contains("running already"), "{again}");
    assert_eq!(cli.processes(), first);
    assert!(cli.succeed(&["status"]).contains("running"));

    cli.succeed(&["down"]);
    assert!(!first.iter().any(Identity::is_alive));
    assert!(!cli.run(&["status"]).status.success());
    for listener in held {
        let port = listener.local_addr().unwrap().port();
        assert!(
            listener.accept().is_err(),
            "something connected to port {port}"
        );
    }
}

#[test]
fn data_survives_down_and_goes_with_reset_in_a_deep_directory_closed_to_others() {
    let top = TempDir::new().unwrap();
    // Too deep for a Unix socket; and as root, out of the reach of the user that PostgreSQL runs
    // as.
    let home = top.path().join("a-long-name".repeat(12));
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
    let cli = Cli::new(&home).with_free_ports();
    cli.succeed(&["up", "--no-services"]);
    let port = Ports::load(&cli.dir().join("ports.env"))
        .unwrap()
        .get(stack::Port::Postgres);
    stack::execute(port, stack::DATABASE, "CREATE TABLE kept AS SELECT 1").unwrap();
    let secret = fs::read(cli.dir().join("secrets/custody.key")).unwrap();

    cli.succeed(&["down"]);
    cli.succeed(&["up", "--no-services"]);
    assert_eq!(
        stack::execute(port, stack::DATABASE, "TABLE kept")
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        fs::read(cli.dir().join("secrets/custody.key")).unwrap(),
        secret
    );

    let processes = cli.processes();
    cli.succeed(&["reset"]);
    assert!(!processes.iter().any(Identity::is_alive));
    assert!(!cli.dir().exists());
}

#[test]
fn down_leaves_a_process_alone_that_only_has_the_recorded_number() {
    let home = TempDir::new().unwrap();
    let cli = Cli::new(home.path());
    let run_dir = cli.dir().join("run");
    fs::create_dir_all(&run_dir).unwrap();
    let mut bystander = Killed(Command::new("sleep").arg("300").spawn().unwrap());
    let real = Identity::of(bystander.0.id()).unwrap();
    let planted = Record {
        name: "postgres".into(),
        identity: Identity {
            start_ticks: real.start_ticks - 1,
            ..real.clone()
        },
        fingerprint: 0,
        stop: StopSignal::Int,
        order: 0,
    };
    let file = run_dir.join("postgres.json");
    fs::write(&file, serde_json::to_string(&planted).unwrap()).unwrap();

    assert!(cli.succeed(&["down"]).contains("nothing runs"));
    assert!(real.is_alive() && bystander.0.try_wait().unwrap().is_none());
    assert!(!file.exists(), "the stale record is forgotten");

    let owned = Record {
        identity: real.clone(),
        ..planted
    };
    fs::write(&file, serde_json::to_string(&owned).unwrap()).unwrap();
    assert!(cli.succeed(&["down"]).contains("stopped postgres"));
    assert!(!real.is_alive());
}

#[test]
fn owned_servers_and_their_data_go_when_their_owner_is_killed() {
    let temp = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command
        .arg("run")
        .env("TMPDIR", temp.path())
        .stdout(Stdio::piped());
    let mut owner = Killed(command.spawn().unwrap());
    let lines = BufReader::new(owner.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take(4);
    let ports: Vec<u16> = lines
        .map(|line| {
            line.rsplit(':')
                .next()
                .unwrap()
                .split('/')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    assert_eq!(ports.len(), 4);
    assert!(!ports.iter().any(|port| is_free(*port)));

    owner.0.kill().unwrap();
    wait_until("a server outlived its owner", || {
        ports.iter().all(|port| is_free(*port))
    });
    wait_until("data stayed behind", || {
        fs::read_dir(temp.path()).unwrap().next().is_none()
    });
}

#[test]
fn doctor_names_what_is_missing_and_the_command_that_gets_it() {
    let home = TempDir::new().unwrap();
    let cli = Cli::new(home.path());
    fs::create_dir(home.path().join("deploy")).unwrap();
    fs::create_dir(home.path().join("contracts")).unwrap();
    fs::write(home.path().join("contracts/package.json"), "{}").unwrap();
    let output = cli.run(&["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    for tool in ["anvil", "forge", "solc"] {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("missing  {tool}")))
            .unwrap();
        assert!(line.ends_with("get it with: deploy/setup"), "{line}");
    }
    assert!(
        text.lines()
            .any(|line| line.starts_with("ok       redis") && line.contains("v=")),
        "{text}"
    );
}

/// What the setup may install, and under which name the doctor looks for it.
const INSTALLED: [(&str, &str); 11] = [
    ("postgresql", "postgres"),
    ("redis-server", "redis"),
    ("rabbitmq-server", "rabbitmq"),
    ("util-linux", "setpriv"),
    ("util-linux", "setsid"),
    ("util-linux", "flock"),
    ("gcc", "cc"),
    ("python3", "python3"),
    ("python3-pip", "pip"),
    // With the compiler, and with whatever fetched this checkout.
    ("libc6-dev", "cc"),
    ("ca-certificates", "cargo"),
];

#[test]
fn doctor_looks_for_everything_that_setup_installs() {
    let setup = tools::workspace_root().join("deploy/setup");
    let setup = fs::read_to_string(setup).unwrap();
    let (_, rest) = setup.split_once("missing_packages() {").unwrap();
    let (packages, _) = rest.split_once("\n}").unwrap();
    let packages = packages.split("echo ").skip(1);
    let packages = packages.flat_map(|text| text.lines().next().unwrap().split_whitespace());
    let home = TempDir::new().unwrap();
    let output = Cli::new(home.path()).run(&["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for package in packages {
        let mut names = INSTALLED
            .iter()
            .filter(|(known, _)| *known == package)
            .peekable();
        assert!(
            names.peek().is_some(),
            "what does the doctor say of {package}?"
        );
        for (_, name) in names {
            let mut lines = text.lines().map(|line| line.split_whitespace().nth(1));
            assert!(lines.any(|found| found == Some(*name)), "{name} in {text}");
        }
    }
}

#[test]
fn make_alone_lists_every_target() {
    let root = tools::workspace_root();
    let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
    let phony = makefile
        .lines()
        .find_map(|line| line.strip_prefix(".PHONY: "));
    let help = Command::new("make").current_dir(&root).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for target in phony.unwrap().split_whitespace() {
        let listed = help
            .lines()
            .any(|line| line.starts_with(&format!("  make {target} ")) && line.len() > 25);
        assert!(listed, "{target} in {help}");
    }
}

/// Without root the other tests are this one already.
#[test]
fn a_plain_user_has_the_same_stack() {
    let home = TempDir::new().unwrap();
    let root = rustix::process::geteuid().is_root();
    let mut cli = Cli::new(home.path());
    if root {
        // The checkout may be out of that user's reach: it gets what it needs of it.
        let anvil = "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil".replace(
            "amd64",
            if cfg!(target_arch = "aarch64") {
                "arm64"
            } else {
                "amd64"
            },
        );
        cli.home = home.path().join("clone");
        cli.program = cli.home.join("stack");
        cli.wrapper = vec![
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
        ];
        fs::create_dir_all(cli.home.join(&anvil).parent().unwrap()).unwrap();
        fs::create_dir(cli.home.join("deploy")).unwrap();
        fs::write(cli.home.join("contracts/package.json"), "{}").unwrap();
        fs::copy(tools::anvil().unwrap(), cli.home.join(&anvil)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_stack"), &cli.program).unwrap();
        fs::set_permissions(&cli.home, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let cli = cli.with_free_ports();
    if root {
        for path in [cli.home.clone(), cli.dir(), cli.dir().join("ports.env")] {
            chown(path, Some(65534), Some(65534)).unwrap();
        }
    }
    cli.succeed(&["up", "--no-services"]);
    let processes = cli.processes();
    assert_eq!(processes.len(), 5);
    for process in &processes {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
        assert!(!status.contains("Uid:\t0"), "{status}");
    }
    cli.succeed(&["down"]);
    assert!(!processes.iter().any(Identity::is_alive));
}
