//! A real chain with the deployed contract, states that test keys have signed, and the program.

use acctl::dispute::material::Extras;
use chain::deploy::{self, NewHub, Windows};
use chain::{At, Chain, CoSigned, FundingMode, Node, Registration, Wallet};
use hub_core::lock::{Lock, LockKind, locks_hash};
use hub_core::merkle::Tree;
use hub_core::proof::{ChannelProof, FORMAT, MerklePath, Over, Signatures, SignedBy, TypedData};
use hub_core::{
    Address, Amount, ChannelId, ChannelParams, Domain, Hash32, State, StateBatch, Typed as _,
    sha256,
};
use serde_json::Value;
use signer::Signer;
use stack::{Anvil, AnvilOptions, TempDir};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Key of the payout address.
pub const USER: u8 = 30;
/// The custody key.
pub const CUSTODY: u8 = 9;
/// The tower's key.
pub const TOWER: u8 = 40;
/// Seconds of a challenge window, and of the closer's extra wait.
pub const WINDOW: u64 = 60;

pub fn key(byte: u8) -> Signer {
    Signer::from_bytes(&[byte; 32]).unwrap()
}

/// The first account of anvil's mnemonic.
fn rich() -> Signer {
    let key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let bytes = hex::decode(key).unwrap();
    Signer::from_bytes(&bytes.try_into().unwrap()).unwrap()
}

/// Operator key of the hub of each mode; its signer's is the next.
pub fn operator(mode: FundingMode) -> u8 {
    match mode {
        FundingMode::Vault => 11,
        FundingMode::Mint => 21,
    }
}

pub struct Scene {
    anvil: Anvil,
    dir: TempDir,
    pub chain: Chain,
}

impl Scene {
    /// A vault hub with 2,000 units and a mint hub with as large an allowance.
    pub async fn new() -> Self {
        let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
        let node = Node::new(&anvil.rpc_url()).unwrap();
        let windows = Windows {
            min: 60,
            max: 604_800,
        };
        let place = deploy::deploy(&node, &rich(), windows).await.unwrap();
        let chain = Chain::connect(node, place.token, place.channels)
            .await
            .unwrap();
        for mode in [FundingMode::Vault, FundingMode::Mint] {
            let operator = operator(mode);
            let hub = NewHub {
                operator: key(operator),
                registration: Registration {
                    mode,
                    min_challenge_period: 60,
                    max_challenge_period: 3_600,
                    penalty_cap: Amount::new(1_000),
                    signer: key(operator + 1).address(),
                    bond: Amount::new(100_000),
                    uri: "http://127.0.0.1:1".into(),
                },
                gas: Amount::new(10_u128.pow(18)),
                funds: Amount::new(2_000),
                tokens: Amount::new(50_000),
            };
            deploy::register(&chain, &rich(), &hub).await.unwrap();
        }
        let dir = TempDir::new().unwrap();
        Self { anvil, dir, chain }
    }

    /// A key with native coin.
    pub async fn wallet(&self, byte: u8) -> Wallet {
        let rich = Wallet::new(self.chain.node().clone(), rich());
        let coin = Amount::new(10_u128.pow(18));
        rich.pay(key(byte).address(), coin).await.unwrap();
        Wallet::new(self.chain.node().clone(), key(byte))
    }

    pub fn params(&self, mode: FundingMode, salt: u8) -> ChannelParams {
        ChannelParams {
            hub: key(operator(mode)).address(),
            hub_signer: key(operator(mode) + 1).address(),
            user: key(USER).address(),
            user_signer: key(CUSTODY).address(),
            custodial: true,
            capacity: Amount::new(10_u128.pow(28)),
            challenge_period: WINDOW as u32,
            self_delay: WINDOW as u32,
            penalty_cap: Amount::new(1_000),
            bounty_bps: 500,
            salt: Hash32([salt; 32]),
        }
    }

    /// A state of epoch 0 whose base is the version before.
    pub fn state(&self, params: &ChannelParams, version: u64, user: u128, locks: &[Lock]) -> State {
        let sum = |user_pays| {
            let paid = locks.iter().filter(|lock| lock.user_pays == user_pays);
            Amount::sum(paid.map(|lock| lock.amount)).unwrap()
        };
        let (hub_locked, user_locked) = (sum(false), sum(true));
        let taken = Amount::sum([Amount::new(user), hub_locked, user_locked]).unwrap();
        State {
            version,
            ack_version: version - 1,
            hub_balance: params.capacity.checked_sub(taken).unwrap(),
            user_balance: Amount::new(user),
            hub_locked,
            user_locked,
            locks_hash: locks_hash(locks),
            ..State::null(self.id(params), 0, params.capacity)
        }
    }

    pub fn id(&self, params: &ChannelParams) -> ChannelId {
        params.channel_id(&self.chain.domain())
    }

    pub fn proof(&self, params: &ChannelParams, state: State) -> ChannelProof {
        proof_in(self.chain.domain(), params, state)
    }

    /// Writes a proof and what goes with it; returns the file.
    pub fn file(&self, name: &str, proof: &ChannelProof, extras: &Extras) -> String {
        let path = self.path(name);
        std::fs::write(&path, document(proof, extras)).unwrap();
        path.display().to_string()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a key file; returns it.
    pub fn key_file(&self, byte: u8) -> String {
        let path = self.path(&format!("{byte}.key"));
        std::fs::write(&path, hex::encode([byte; 32])).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acctl"));
        command
            .args(args)
            .env_clear()
            .env("CHAIN_RPC", self.anvil.rpc_url())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs the program to its end.
    pub async fn acctl(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().await.unwrap())
    }

    /// As `acctl`, with one more variable.
    pub async fn acctl_with(&self, name: &str, value: &str, args: &[&str]) -> Ran {
        Ran::of(self.command(args).env(name, value).output().await.unwrap())
    }

    /// `acctl exit --json` with a key; what it says.
    pub async fn exit(&self, file: &str, by: u8, more: &[&str]) -> Value {
        let key_file = self.key_file(by);
        let args = ["exit", file, "--json", "--key-file", &key_file];
        let ran = self.acctl(&[&args, more].concat()).await;
        let said = serde_json::from_str(&ran.out);
        said.unwrap_or_else(|_| panic!("{ran:?}"))
    }

    pub async fn tokens(&self, of: u8) -> u128 {
        let held = self.chain.balance_of(key(of).address(), At::Latest).await;
        held.unwrap().units()
    }

    pub async fn block(&self) -> u64 {
        self.chain.node().head().await.unwrap().number
    }

    pub async fn time(&self) -> u64 {
        self.chain.node().head().await.unwrap().timestamp
    }

    pub fn port(&self) -> u16 {
        let url = self.anvil.rpc_url();
        url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Seconds go by.
    pub fn pass(&self, seconds: u64) {
        for (method, argument) in [
            ("evm_increaseTime", seconds.to_string()),
            ("evm_mine", String::new()),
        ] {
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[{argument}]}}"#);
            self.ask(&body);
        }
    }

    /// Blocks are mined, one a second.
    pub fn mine(&self, blocks: u64) {
        self.ask(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"anvil_mine","params":["0x{blocks:x}"]}}"#
        ));
    }

    /// Whether blocks are mined as transactions come.
    pub fn automine(&self, on: bool) {
        self.ask(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"evm_setAutomine","params":[{on}]}}"#
        ));
    }

    /// Whether a transaction waits to be mined.
    pub fn waits(&self, hash: &str) -> bool {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"txpool_content","params":[]}"#;
        let limit = Duration::from_secs(10);
        let (_, answer) = stack::request(self.port(), "POST", "/", body, limit).unwrap();
        answer.contains(hash)
    }

    fn ask(&self, body: &str) {
        let limit = Duration::from_secs(90);
        let (status, answer) = stack::request(self.port(), "POST", "/", body, limit).unwrap();
        assert!(status == 200 && !answer.contains("error"), "{answer}");
    }
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Both keys sign a batch of the state and a neighbour.
pub fn proof_in(domain: Domain, params: &ChannelParams, state: State) -> ChannelProof {
    let leaves = vec![state.hash_struct(), Hash32([9; 32])];
    let tree = Tree::new(leaves).unwrap();
    let batch = StateBatch {
        root: tree.root(),
        depth: tree.depth(),
        batch_id: state.version,
        prev_root: Hash32::ZERO,
        hub: params.hub,
    };
    let side = |signer: Address| {
        let keys = [12, 22, CUSTODY, USER].map(key);
        let by = keys.iter().find(|key| key.address() == signer).unwrap();
        SignedBy {
            over: Over::Batch,
            signer,
            signature: by.sign(&domain, &batch),
        }
    };
    ChannelProof {
        format: FORMAT.into(),
        channel_params: *params,
        state_typed_data: TypedData::new(domain, state),
        batch_typed_data: TypedData::new(domain, batch),
        newest: true,
        merkle: MerklePath {
            leaf_index: 0,
            siblings: tree.path(0).unwrap(),
        },
        signatures: Signatures {
            hub: side(params.hub_signer),
            user: side(params.user_signer),
        },
    }
}

/// The text of a file.
pub fn document(proof: &ChannelProof, extras: &Extras) -> String {
    let mut document = serde_json::to_value(proof).unwrap();
    let Value::Object(more) = serde_json::to_value(extras).unwrap() else {
        unreachable!("a struct");
    };
    document.as_object_mut().unwrap().extend(more);
    document.to_string()
}

pub fn posted(proof: &ChannelProof) -> CoSigned {
    CoSigned::from_proof(proof)
}

/// A lock on the hash of `preimage`, of which only the receiver knows.
pub fn hash_lock(id: u8, user_pays: bool, amount: u128, expiry: u64, preimage: Hash32) -> Lock {
    Lock {
        id: Hash32([id; 32]),
        kind: LockKind::Hash,
        user_pays,
        amount: Amount::new(amount),
        expiry,
        condition: sha256(&preimage.0),
        total: 0,
    }
}
