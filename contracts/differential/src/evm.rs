//! The chain: an EVM in this process with the token and the channel contract deployed.

use crate::abi::{Artefact, Value, address, uint, word};
use hub_core::{Address, Domain, keccak256};
use revm::context::{Context, ContextTr, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::handler::MainnetContext;
use revm::primitives::{Bytes, TxKind, U256, hardfork::SpecId};
use revm::{ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm};
use std::sync::LazyLock;

/// Chain id of the EVM.
pub const CHAIN_ID: u64 = 31_337;
/// Time of the first block, Unix time in seconds.
pub const START: u64 = 1_800_000_000;
/// Deploys, and mints tokens for whoever needs some.
pub const DEPLOYER: Address = Address([0xDE; 20]);
/// The contract's admin.
pub const ADMIN: Address = Address([0xAD; 20]);
/// The contract's guardian.
pub const GUARDIAN: Address = Address([0x6A; 20]);

const GAS: u64 = 25_000_000;

type Db = CacheDB<EmptyDB>;

/// A chain with both contracts.
pub struct Chain {
    evm: MainnetEvm<MainnetContext<Db>>,
    /// Time of the next block, Unix time in seconds.
    pub now: u64,
    /// The token.
    pub token: Address,
    /// The channel contract.
    pub channels: Address,
}

/// Names and code of both contracts.
pub struct Artefacts {
    /// The token's.
    pub token: Artefact,
    /// The channel contract's.
    pub channels: Artefact,
}

/// The committed artefacts.
pub static ARTEFACTS: LazyLock<Artefacts> = LazyLock::new(|| Artefacts {
    token: Artefact::read("Token"),
    channels: Artefact::read("HubChannels"),
});

/// A chain on which nothing but the deployment has happened; every history starts from a copy.
static GENESIS: LazyLock<(Db, Address, Address)> = LazyLock::new(|| {
    let mut chain = Chain::over(Db::default(), Address::ZERO, Address::ZERO);
    let text = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    let arguments = [text("Infinite"), text("INF"), address(DEPLOYER)];
    chain.token = chain.create(&ARTEFACTS.token, &arguments);
    let arguments = [
        address(chain.token),
        address(ADMIN),
        address(GUARDIAN),
        uint(60_u32),
        uint(7 * 86_400_u32),
    ];
    chain.channels = chain.create(&ARTEFACTS.channels, &arguments);
    let role = Value::Word(keccak256(b"MINTER_ROLE").0);
    for minter in [chain.channels, DEPLOYER] {
        let grant = ARTEFACTS
            .token
            .call("grantRole", &[role.clone(), address(minter)]);
        chain.send(DEPLOYER, chain.token, grant).unwrap();
    }
    let (token, channels) = (chain.token, chain.channels);
    (chain.evm.ctx.db().clone(), token, channels)
});

impl Default for Chain {
    fn default() -> Self {
        let (db, token, channels) = &*GENESIS;
        Self::over(db.clone(), *token, *channels)
    }
}

impl Chain {
    fn over(db: Db, token: Address, channels: Address) -> Self {
        let context = Context::mainnet()
            .with_db(db)
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::CANCUN);
                cfg.chain_id = CHAIN_ID;
                cfg.disable_nonce_check = true;
            })
            .modify_block_chained(|block| block.basefee = 0);
        Self {
            evm: context.build_mainnet(),
            now: START,
            token,
            channels,
        }
    }

    /// The domain of everything that is signed for the contract.
    pub fn domain(&self) -> Domain {
        Domain {
            chain_id: CHAIN_ID,
            verifying_contract: self.channels,
        }
    }

    fn transaction(&mut self, sender: Address, kind: TxKind, data: Vec<u8>) -> TxEnv {
        self.evm.ctx.block.timestamp = U256::from(self.now);
        TxEnv {
            caller: sender.0.into(),
            gas_limit: GAS,
            gas_price: 0,
            kind,
            data: Bytes::from(data),
            chain_id: Some(CHAIN_ID),
            ..TxEnv::default()
        }
    }

    fn create(&mut self, artefact: &Artefact, arguments: &[Value]) -> Address {
        let code = [&artefact.bytecode[..], &crate::abi::encode(arguments)].concat();
        let transaction = self.transaction(DEPLOYER, TxKind::Create, code);
        let result = self.evm.transact_commit(transaction).unwrap();
        assert!(result.is_success(), "deployed: {result:?}");
        Address(result.created_address().unwrap().into_array())
    }

    /// Sends a transaction: what it answers, or the data it reverts with.
    pub fn send(&mut self, from: Address, to: Address, data: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        let kind = TxKind::Call(to.0.into());
        let transaction = self.transaction(from, kind, data);
        let result = self.evm.transact_commit(transaction).unwrap();
        assert!(!result.is_halt(), "no call runs out of gas: {result:?}");
        let success = result.is_success();
        let output = result.into_output().unwrap_or_default().to_vec();
        if success { Ok(output) } else { Err(output) }
    }

    /// Asks without changing anything.
    pub fn ask(&mut self, to: Address, data: Vec<u8>) -> Vec<u8> {
        let kind = TxKind::Call(to.0.into());
        let transaction = self.transaction(DEPLOYER, kind, data);
        let result = self.evm.transact(transaction).unwrap().result;
        assert!(result.is_success(), "a view answers: {result:?}");
        result.into_output().unwrap_or_default().to_vec()
    }

    /// Asks the channel contract.
    pub fn view(&mut self, function: &str, arguments: &[Value]) -> Vec<u8> {
        let data = ARTEFACTS.channels.call(function, arguments);
        self.ask(self.channels, data)
    }

    /// Sends a call to the channel contract.
    pub fn call(
        &mut self,
        sender: Address,
        function: &str,
        arguments: &[Value],
    ) -> Result<Vec<u8>, Vec<u8>> {
        let data = ARTEFACTS.channels.call(function, arguments);
        self.send(sender, self.channels, data)
    }

    /// Makes tokens for somebody, and lets the contract take them.
    pub fn arm(&mut self, who: Address, amount: u128) {
        let token = &ARTEFACTS.token;
        let mint = token.call("mint", &[address(who), uint(amount)]);
        let approve = token.call("approve", &[address(self.channels), uint(u128::MAX)]);
        self.send(DEPLOYER, self.token, mint).unwrap();
        self.send(who, self.token, approve).unwrap();
    }

    /// Tokens of somebody.
    pub fn balance(&mut self, who: Address) -> u128 {
        let data = ARTEFACTS.token.call("balanceOf", &[address(who)]);
        word(&self.ask(self.token, data), 0)
    }

    /// All tokens there are.
    pub fn supply(&mut self) -> u128 {
        let data = ARTEFACTS.token.call("totalSupply", &[]);
        word(&self.ask(self.token, data), 0)
    }
}
