use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Error, Launch, Life,
    error::Attempt,
    ports::{self, Port, Ports},
    probe::Probe,
    record::StopSignal,
    server::{Plan, Server},
    temp::TempDir,
    tools,
};

/// Chain id of the local chain.
pub const CHAIN_ID: u64 = 31337;
/// Seconds between two blocks of the local stack.
pub const BLOCK_TIME_SECS: u64 = 1;

/// What a private chain should be like.
#[derive(Debug, Clone, Default)]
pub struct AnvilOptions {
    /// Time between blocks, in milliseconds; `None` mines a block for each transaction and none
    /// otherwise.
    pub block_time_ms: Option<u64>,
    /// The chain is loaded from this file at a start and written to it at an orderly stop.
    pub state: Option<PathBuf>,
    /// More of anvil's own arguments.
    pub args: Vec<String>,
}

/// A private chain that ends with its owner.
#[derive(Debug)]
pub struct Anvil {
    // Fields drop in this order: the process before its directory.
    server: Server,
    port: u16,
    _dir: TempDir,
}

impl Anvil {
    /// Starts one on a free port and waits until it answers. Ten accounts of anvil's default
    /// mnemonic hold money.
    ///
    /// # Errors
    /// [`Error::ToolMissing`], or as [`Server::start`].
    pub async fn spawn(options: AnvilOptions) -> Result<Self, Error> {
        let dir = TempDir::new()?;
        let port = ports::free_port()?;
        let mut args = Vec::new();
        if let Some(ms) = options.block_time_ms {
            args.extend([
                "--block-time".to_owned(),
                format!("{}.{:03}", ms / 1000, ms % 1000),
            ]);
        }
        if let Some(state) = &options.state {
            args.extend(["--state".to_owned(), state.display().to_string()]);
        }
        args.extend(options.args);
        let server = Server::new(launch(dir.path(), dir.path(), port, args)?, Life::Owned);
        server.start().await?;
        Ok(Self {
            server,
            port,
            _dir: dir,
        })
    }

    /// Where it answers JSON-RPC.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process, for faults.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

/// Says how to start the chain of a stack. Without blocks at an interval confirmations would never
/// come.
pub(crate) fn plan(dir: &Path, logs: &Path, ports: &Ports) -> Result<Plan, Error> {
    let home = dir.join("anvil");
    fs::create_dir_all(&home).attempt(|| format!("creating {}", home.display()))?;
    let state = home.join("state.json").display().to_string();
    let block_time = BLOCK_TIME_SECS.to_string();
    // An orderly stop writes the state too; the interval bounds what a SIGKILL loses.
    let args = [
        "--block-time",
        &block_time,
        "--state",
        &state,
        "--state-interval",
        "5",
    ];
    launch(
        &home,
        logs,
        ports.get(Port::Anvil),
        args.map(str::to_owned).to_vec(),
    )
}

fn launch(home: &Path, logs: &Path, port: u16, more: Vec<String>) -> Result<Plan, Error> {
    let (port_text, chain_id) = (port.to_string(), CHAIN_ID.to_string());
    let mut args = [
        "--host",
        "127.0.0.1",
        "--port",
        &port_text,
        "--chain-id",
        &chain_id,
        "--silent",
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend(more);
    Ok(Plan {
        launch: Launch {
            name: "anvil".into(),
            program: tools::anvil()?,
            args,
            // Its caches go below the home directory.
            env: vec![("HOME".into(), home.display().to_string())],
            dir: home.to_owned(),
            log: logs.join("anvil.log"),
            never_root: false,
        },
        probe: Probe::Evm(port),
        start_limit: Duration::from_secs(30),
        stop: StopSignal::Term,
        order: 4,
    })
}
