//! Our contracts, read only.

use crate::bindings::{HubChannels, Token};
use crate::calls::FundingMode;
use crate::convert::{address, amount, channel_id, hash, our_address};
use crate::error::ChainError;
use crate::log::{self, ChainLog};
use crate::node::{At, Node};
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::Bytes;
use alloy::providers::Provider as _;
use alloy::rpc::types::{Filter, TransactionRequest};
use alloy::sol_types::SolCall;
use hub_core::{Address, Amount, ChannelId, ChannelParams, Domain, Epoch, Hash32};

/// A node and our two contracts there.
#[derive(Debug, Clone)]
pub struct Chain {
    node: Node,
    domain: Domain,
    token: Address,
}

/// What the contract knows of a channel. One it never heard of is open, in epoch 0, with nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelView {
    /// The epoch.
    pub epoch: Epoch,
    /// Paid out in this epoch.
    pub withdrawn: Amount,
    /// Paid in in this epoch.
    pub deposited: Amount,
    /// The hub's tokens set aside for it.
    pub collateral: Amount,
    /// Whether it is being closed.
    pub closing: bool,
    /// While closing: last second for a challenge, Unix time.
    pub deadline: u64,
}

/// What the contract knows of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubView {
    /// How it pays; `None` when it is not registered.
    pub mode: Option<FundingMode>,
    /// Vault, or mint allowance left.
    pub funds: Amount,
    /// What it owes to users.
    pub owed: Amount,
    /// Its bond.
    pub bond: Amount,
    /// Where its service is found.
    pub uri: String,
}

impl Chain {
    /// Checks that node and contracts fit together.
    pub async fn connect(
        node: Node,
        token: Address,
        channels: Address,
    ) -> Result<Self, ChainError> {
        let chain = Self {
            domain: Domain {
                chain_id: node.chain_id().await?,
                verifying_contract: channels,
            },
            node,
            token,
        };
        for (name, contract) in [("token", token), ("HubChannels", channels)] {
            if !chain.node.has_code(contract).await? {
                let what = format!("no {name} contract at {contract}");
                return Err(ChainError::WrongChain(what));
            }
        }
        let named = chain
            .call(channels, HubChannels::tokenCall {}, At::Latest)
            .await?;
        if our_address(named) != token {
            let what = format!("HubChannels pays in {}, not in {token}", our_address(named));
            return Err(ChainError::WrongChain(what));
        }
        Ok(chain)
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The domain in which messages to the contract are signed.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// The ERC20.
    pub fn token(&self) -> Address {
        self.token
    }

    /// `HubChannels`.
    pub fn channels(&self) -> Address {
        self.domain.verifying_contract
    }

    /// All logs of `HubChannels` from one block to another, both included, in order.
    ///
    /// # Errors
    /// [`ChainError::Undecodable`] for a log that the artefact does not explain.
    pub async fn logs(&self, from: u64, to: u64) -> Result<Vec<ChainLog>, ChainError> {
        let filter = Filter::new()
            .address(address(self.channels()))
            .from_block(from)
            .to_block(to);
        let call = async { self.node.provider().get_logs(&filter).await };
        let mut logs = self
            .node
            .ask("eth_getLogs", call)
            .await?
            .iter()
            .map(|raw| log::decode(self.channels(), raw))
            .collect::<Result<Vec<_>, _>>()?;
        logs.sort_by_key(|log| (log.place.block, log.place.log_index));
        Ok(logs)
    }

    /// An account's tokens.
    pub async fn balance_of(&self, account: Address, at: At) -> Result<Amount, ChainError> {
        let call = Token::balanceOfCall {
            account: address(account),
        };
        let units = self.call(self.token, call, at).await?;
        amount(self.token, "balanceOf", units)
    }

    /// All tokens there are.
    pub async fn total_supply(&self, at: At) -> Result<Amount, ChainError> {
        let units = self.call(self.token, Token::totalSupplyCall {}, at).await?;
        amount(self.token, "totalSupply", units)
    }

    /// What `HubChannels` may take from an account; as much as fits when it is more.
    pub async fn allowance(&self, owner: Address) -> Result<Amount, ChainError> {
        let call = Token::allowanceCall {
            owner: address(owner),
            spender: address(self.channels()),
        };
        let units = self.call(self.token, call, At::Latest).await?;
        Ok(Amount::new(u128::try_from(units).unwrap_or(u128::MAX)))
    }

    /// A hub.
    pub async fn hub(&self, hub: Address, at: At) -> Result<HubView, ChainError> {
        let call = HubChannels::hubOfCall { hub: address(hub) };
        let view = self.call(self.channels(), call, at).await?;
        let contract = self.channels();
        Ok(HubView {
            mode: FundingMode::from_code(view.rules.mode),
            funds: amount(contract, "funds", view.funds)?,
            owed: amount(contract, "owed", view.owed)?,
            bond: amount(contract, "bond", view.bond)?,
            uri: view.uri,
        })
    }

    /// Whether a key may sign for a hub.
    pub async fn is_hub_signer(&self, hub: Address, signer: Address) -> Result<bool, ChainError> {
        let call = HubChannels::isHubSignerCall {
            hub: address(hub),
            signer: address(signer),
        };
        self.call(self.channels(), call, At::Latest).await
    }

    /// A channel.
    pub async fn channel(&self, id: ChannelId, at: At) -> Result<ChannelView, ChainError> {
        let call = HubChannels::channelOfCall {
            channelId: hash(Hash32::from(id)),
        };
        let view = self.call(self.channels(), call, at).await?;
        Ok(ChannelView {
            epoch: view.epoch,
            withdrawn: Amount::new(view.withdrawn),
            deposited: Amount::new(view.deposited),
            collateral: crate::convert::from_uint96(view.collateral),
            closing: view.status != 0,
            deadline: view.deadline.as_limbs()[0],
        })
    }

    /// A channel's id as the contract computes it.
    pub async fn channel_id_of(&self, params: &ChannelParams) -> Result<ChannelId, ChainError> {
        let call = HubChannels::channelIdOfCall {
            params: crate::convert::params(params),
        };
        let id = self.call(self.channels(), call, At::Latest).await?;
        Ok(channel_id(id))
    }

    async fn call<C: SolCall>(
        &self,
        to: Address,
        call: C,
        at: At,
    ) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default()
            .to(address(to))
            .input(Bytes::from(call.abi_encode()).into());
        let block = BlockId::Number(BlockNumberOrTag::from(at));
        let asked = self.node.provider().call(request).block(block);
        let answer = self.node.ask("eth_call", async { asked.await }).await?;
        C::abi_decode_returns(&answer).map_err(|error| ChainError::Undecodable {
            contract: to,
            what: format!("result of {}", C::SIGNATURE),
            reason: error.to_string(),
        })
    }
}
