//! A chain, its clock, and states that both test keys have signed.

use crate::{chain, key, params};
use chain::{At, Chain, ChainError, ChainLog, CoSigned, LogBody, Wallet, calls::Call, record};
use hub_core::dispute::Dispute;
use hub_core::lock::{Lock, locks_hash};
use hub_core::merkle::Tree;
use hub_core::{Amount, ChannelId, ChannelParams, Hash32, State, StateBatch, Typed as _};
use signer::Signer;
use stack::{Anvil, AnvilOptions};
use std::time::Duration;

/// Key of the mint hub's operator; the next is its signer's.
pub const OPERATOR: u8 = 21;
/// Native coin for senders, in wei.
const GAS: u128 = 10_u128.pow(18);

pub struct Scene {
    anvil: Anvil,
    pub chain: Chain,
    pub params: ChannelParams,
    pub id: ChannelId,
}

impl Scene {
    /// A custodial channel of the mint hub: key 9 has custody, key 30 is paid.
    pub async fn new() -> Self {
        let anvil = Anvil::spawn(AnvilOptions::default()).await.unwrap();
        let chain = chain(&anvil).await;
        let params = ChannelParams {
            user: key(30).address(),
            ..params(OPERATOR)
        };
        let id = params.channel_id(&chain.domain());
        Self {
            anvil,
            chain,
            params,
            id,
        }
    }

    /// A key with native coin.
    pub async fn wallet(&self, signer: Signer) -> Wallet {
        let rich = Wallet::new(self.chain.node().clone(), crate::deployer());
        rich.pay(signer.address(), Amount::new(GAS)).await.unwrap();
        Wallet::new(self.chain.node().clone(), signer)
    }

    /// Another channel of the same parties.
    pub fn sibling(&self, salt: u8) -> ChannelParams {
        ChannelParams {
            salt: Hash32([salt; 32]),
            ..self.params
        }
    }

    pub fn state_of(&self, of: &ChannelParams, version: u64, user: u128, locks: &[Lock]) -> State {
        let id = of.channel_id(&self.chain.domain());
        let sum = |user_pays| {
            let paid = locks.iter().filter(|lock| lock.user_pays == user_pays);
            Amount::sum(paid.map(|lock| lock.amount)).unwrap()
        };
        let (hub_locked, user_locked) = (sum(false), sum(true));
        let taken = Amount::sum([Amount::new(user), hub_locked, user_locked]).unwrap();
        State {
            version,
            ack_version: version - 1,
            hub_balance: of.capacity.checked_sub(taken).unwrap(),
            user_balance: Amount::new(user),
            hub_locked,
            user_locked,
            locks_hash: locks_hash(locks),
            ..State::null(id, 0, of.capacity)
        }
    }

    pub fn state(&self, version: u64, user: u128) -> State {
        self.state_of(&self.params, version, user, &[])
    }

    /// Both keys sign the states in one batch; the hub's journal number is the newest version.
    pub fn signed(&self, states: &[State]) -> Vec<CoSigned> {
        let mut states = states.to_vec();
        states.sort_by_key(|state| state.channel_id);
        let tree = Tree::new(states.iter().map(State::hash_struct).collect()).unwrap();
        let batch = StateBatch {
            root: tree.root(),
            depth: tree.depth(),
            batch_id: states.iter().map(|state| state.version).max().unwrap(),
            prev_root: Hash32::ZERO,
            hub: self.params.hub,
        };
        let domain = self.chain.domain();
        let signatures = (
            key(OPERATOR + 1).sign(&domain, &batch),
            key(9).sign(&domain, &batch),
        );
        let paths = (0..states.len()).map(|leaf| tree.path(leaf).unwrap());
        states
            .iter()
            .zip(paths)
            .enumerate()
            .map(|(leaf, (state, siblings))| {
                CoSigned::in_batch(*state, batch, leaf as u32, siblings, signatures)
            })
            .collect()
    }

    pub fn one(&self, state: State) -> CoSigned {
        self.signed(&[state]).remove(0)
    }

    /// All logs so far.
    pub async fn logs(&self) -> Vec<ChainLog> {
        let head = self.chain.node().head().await.unwrap().number;
        self.chain.logs(0, head).await.unwrap()
    }

    pub async fn last(&self) -> LogBody {
        self.logs().await.pop().unwrap().body
    }

    /// The dispute as the logs tell it, which the contract must remember in the same way.
    pub async fn dispute_of(&self, id: ChannelId) -> Option<Dispute> {
        let logs = self.logs().await;
        let told = logs
            .iter()
            .fold(None, |now, log| record::advance(now, id, &log.body));
        let kept = self.chain.channel(id, At::Latest).await.unwrap();
        let hash = told.as_ref().map(record::dispute_hash).unwrap_or_default();
        assert_eq!(kept.dispute_hash, hash);
        assert_eq!(kept.closing, told.is_some());
        if let Some(told) = &told {
            assert_eq!(
                (kept.closer, kept.deadline),
                (Some(told.closer), told.deadline)
            );
        }
        told
    }

    pub async fn dispute(&self) -> Dispute {
        self.dispute_of(self.id).await.unwrap()
    }

    /// Seconds go by.
    pub fn pass(&self, seconds: u64) {
        let port = self.anvil.rpc_url().rsplit(':').next().unwrap().parse();
        let port = port.unwrap();
        for (method, argument) in [
            ("evm_increaseTime", seconds.to_string()),
            ("evm_mine", String::new()),
        ] {
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[{argument}]}}"#);
            let limit = Duration::from_secs(5);
            let (status, answer) = stack::request(port, "POST", "/", &body, limit).unwrap();
            assert!(status == 200 && !answer.contains("error"), "{answer}");
        }
    }
}

/// Sends, and says how much of the call's own limit it used.
pub async fn send(wallet: &Wallet, call: &Call) {
    let receipt = wallet.call(call).await.unwrap();
    assert!(
        receipt.gas_used < call.gas,
        "used {} of {}",
        receipt.gas_used,
        call.gas
    );
}

/// The contract's reason.
pub async fn refused(wallet: &Wallet, call: &Call) -> String {
    match wallet.call(call).await {
        Err(ChainError::Refused { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}
