//! Contracts and hubs of a local chain: made when they are not there, left alone when they are.

use crate::bindings::{HUB_CHANNELS, TOKEN};
use crate::calls::{self, FundingMode, Registration};
use crate::client::Chain;
use crate::convert::address;
use crate::error::ChainError;
use crate::node::{At, Node};
use crate::wallet::Wallet;
use alloy::sol_types::SolValue as _;
use hub_core::{Address, Amount};
use serde::{Deserialize, Serialize};
use signer::Signer;

/// Where the contracts of a chain are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The chain.
    pub chain_id: u64,
    /// The ERC20.
    pub token: Address,
    /// `HubChannels`.
    pub channels: Address,
    /// The block `HubChannels` was made in: no log of ours is below it.
    pub block: u64,
}

/// Windows that hubs on a contract may choose from, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// Shortest challenge window.
    pub min: u32,
    /// Longest.
    pub max: u32,
}

/// A hub to register, and what its operator gets.
#[derive(Debug, Clone)]
pub struct NewHub {
    /// The operator's key.
    pub operator: Signer,
    /// How it registers.
    pub registration: Registration,
    /// Native coin its operator has at least, in wei.
    pub gas: Amount,
    /// Vault mode: tokens moved into its vault. Mint mode: tokens it may create.
    pub funds: Amount,
    /// Tokens its operator has left over for later funding.
    pub tokens: Amount,
}

impl Deployment {
    /// Whether these contracts are on the node's chain: a local chain may have been started anew.
    pub async fn exists(&self, node: &Node) -> Result<bool, ChainError> {
        Ok(node.chain_id().await? == self.chain_id
            && node.has_code(self.token).await?
            && node.has_code(self.channels).await?)
    }
}

/// Makes both contracts; the deployer becomes admin, guardian and minter.
pub async fn deploy(
    node: &Node,
    deployer: &Signer,
    windows: Windows,
) -> Result<Deployment, ChainError> {
    let wallet = Wallet::new(node.clone(), deployer.clone());
    let admin = address(deployer.address());
    let arguments = ("Internal Token", "INF", admin).abi_encode_params();
    let (token, _) = wallet.create(creation(&TOKEN.bytecode, arguments)).await?;
    let arguments = (address(token), admin, admin, windows.min, windows.max).abi_encode_params();
    let code = creation(&HUB_CHANNELS.bytecode, arguments);
    let (channels, block) = wallet.create(code).await?;
    for minter in [channels, deployer.address()] {
        wallet.call(&calls::grant_minter(token, minter)).await?;
    }
    Ok(Deployment {
        chain_id: node.chain_id().await?,
        token,
        channels,
        block,
    })
}

/// Registers a hub with its bond, funds and signer, as far as that is not done. What a hub has
/// spent since is not filled up again.
pub async fn register(chain: &Chain, deployer: &Signer, hub: &NewHub) -> Result<(), ChainError> {
    let node = chain.node();
    let admin = Wallet::new(node.clone(), deployer.clone());
    let operator = Wallet::new(node.clone(), hub.operator.clone());
    let (token, channels) = (chain.token(), chain.channels());
    let who = operator.address();

    if node.gas_coin(who).await? < hub.gas.units() / 2 {
        admin.pay(who, hub.gas).await?;
    }
    let seen = chain.hub(who, At::Latest).await?;
    if seen.mode.is_none() {
        let vault = hub.registration.mode == FundingMode::Vault;
        let locked = if vault { hub.funds } else { Amount::ZERO };
        let wanted = Amount::sum([hub.registration.bond, locked, hub.tokens]);
        let wanted = wanted.ok_or_else(|| too_much(who))?;
        let missing = wanted.less(chain.balance_of(who, At::Latest).await?);
        if !missing.is_zero() {
            admin.call(&calls::mint(token, who, missing)).await?;
        }
        operator.call(&calls::approve_all(token, channels)).await?;
        if !vault && seen.funds.is_zero() {
            admin
                .call(&calls::allow_mint(channels, who, hub.funds))
                .await?;
        }
        operator
            .call(&calls::register_hub(channels, &hub.registration))
            .await?;
    } else if seen.mode != Some(hub.registration.mode) {
        return Err(ChainError::Failed {
            what: format!("of hub {who}"),
            reason: format!("it is registered in {:?} mode for ever", seen.mode),
        });
    }
    let signer = hub.registration.signer;
    if !chain.is_hub_signer(who, signer).await? {
        operator
            .call(&calls::add_hub_signer(channels, signer))
            .await?;
    }
    let vault = hub.registration.mode == FundingMode::Vault;
    let is_new = seen.mode.is_none() || seen.funds.is_zero();
    if vault && is_new && !hub.funds.is_zero() {
        operator
            .call(&calls::fund_vault(channels, who, hub.funds))
            .await?;
    }
    Ok(())
}

fn creation(code: &[u8], arguments: Vec<u8>) -> Vec<u8> {
    [code, &arguments].concat()
}

fn too_much(who: Address) -> ChainError {
    ChainError::Failed {
        what: format!("of hub {who}"),
        reason: "bond, funds and tokens together exceed 128 bits".into(),
    }
}
