//! Our contracts, read only.

use crate::bindings::{HubChannels, Token};
use crate::calls::FundingMode;
use crate::convert::{address, amount, channel_id, hash, our_address, our_hash};
use crate::decode::decode;
use crate::error::ChainError;
use crate::log::ChainLog;
use crate::node::{At, Node};
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::Bytes;
use alloy::providers::Provider as _;
use alloy::rpc::types::{Filter, TransactionRequest};
use alloy::sol_types::SolCall;
use hub_core::settlement::Closer;
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
    /// While closing: who posted.
    pub closer: Option<Closer>,
    /// While closing: hash of the dispute, see [`crate::record::dispute_hash`].
    pub dispute_hash: Hash32,
}

/// What an ended epoch of a channel still has to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingView {
    /// The closer's own payout: how much, when it is due (Unix time), and whose it is.
    pub delayed: Option<(Amount, u64, Closer)>,
    /// What the hub's funds could not pay the user.
    pub owed: Amount,
    /// Hash of the settled lock list, see [`crate::record::lock_list_hash`]; zero when there is
    /// none.
    pub lock_list: Hash32,
}

impl PendingView {
    /// Whether nothing is left to pay.
    pub fn is_empty(&self) -> bool {
        self.delayed.is_none() && self.owed.is_zero() && self.lock_list == Hash32::ZERO
    }
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
    /// Most that it forfeits on a channel.
    pub penalty_cap: Amount,
    /// Shortest and longest window of its channels, seconds.
    pub windows: (u32, u32),
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
        let chain = Self::at(node, token, channels).await?;
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

    /// The contract of a node, paying in whatever token it names.
    ///
    /// # Errors
    /// [`ChainError::WrongChain`] when there is no such contract.
    pub async fn find(node: Node, channels: Address) -> Result<Self, ChainError> {
        if !node.has_code(channels).await? {
            let what = format!("no HubChannels contract at {channels}");
            return Err(ChainError::WrongChain(what));
        }
        let mut chain = Self::at(node, Address::ZERO, channels).await?;
        let token = chain
            .call(channels, HubChannels::tokenCall {}, At::Latest)
            .await?;
        chain.token = our_address(token);
        Ok(chain)
    }

    async fn at(node: Node, token: Address, channels: Address) -> Result<Self, ChainError> {
        Ok(Self {
            domain: Domain {
                chain_id: node.chain_id().await?,
                verifying_contract: channels,
            },
            node,
            token,
        })
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
        self.filtered(Filter::new().from_block(from).to_block(to))
            .await
    }

    /// The logs of `HubChannels` that are about one channel.
    ///
    /// # Errors
    /// As [`Chain::logs`].
    pub async fn channel_logs(
        &self,
        id: ChannelId,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, ChainError> {
        let filter = Filter::new().from_block(from).to_block(to);
        // No event has something else than a channel in this place that could be its id: an
        // address or a counter has leading zeros, and hashes of preimages are others.
        self.filtered(filter.topic1(hash(id))).await
    }

    async fn filtered(&self, filter: Filter) -> Result<Vec<ChainLog>, ChainError> {
        let filter = filter.address(address(self.channels()));
        let call = async { self.node.provider().get_logs(&filter).await };
        let mut logs = self
            .node
            .ask("eth_getLogs", call)
            .await?
            .iter()
            .map(|raw| decode(self.channels(), raw))
            .collect::<Result<Vec<_>, _>>()?;
        logs.sort_by_key(|log| (log.place.block, log.place.log_index));
        Ok(logs)
    }

    /// Digits behind the point of the token, and its symbol.
    pub async fn unit(&self) -> Result<(u8, String), ChainError> {
        let decimals = self
            .call(self.token, Token::decimalsCall {}, At::Latest)
            .await?;
        let symbol = self
            .call(self.token, Token::symbolCall {}, At::Latest)
            .await?;
        Ok((decimals, symbol))
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
            penalty_cap: crate::convert::from_uint96(view.rules.penaltyCap),
            windows: (view.rules.minChallengePeriod, view.rules.maxChallengePeriod),
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
            closer: crate::convert::closer(view.closer),
            dispute_hash: our_hash(view.disputeHash),
        })
    }

    /// What an ended epoch of a channel still has to pay.
    pub async fn pending(
        &self,
        id: ChannelId,
        epoch: Epoch,
        at: At,
    ) -> Result<PendingView, ChainError> {
        let call = HubChannels::pendingOfCall {
            channelId: hash(id),
            epoch,
        };
        let view = self.call(self.channels(), call, at).await?;
        let contract = self.channels();
        let waiting = amount(contract, "late payout", view.amount)?;
        let due_at = u64::try_from(view.dueAt).unwrap_or(u64::MAX);
        let closer = crate::convert::closer(view.closer);
        Ok(PendingView {
            delayed: closer.map(|closer| (waiting, due_at, closer)),
            owed: amount(contract, "owed", view.owed)?,
            lock_list: our_hash(view.lockList),
        })
    }

    /// What waits for an account after payouts that could not be delivered.
    pub async fn reclaimable(&self, account: Address, at: At) -> Result<Amount, ChainError> {
        let call = HubChannels::reclaimableCall {
            account: address(account),
        };
        let units = self.call(self.channels(), call, at).await?;
        amount(self.channels(), "reclaimable", units)
    }

    /// When a preimage of this hash was made known (Unix time); nothing when it was not.
    pub async fn preimage_time(&self, of: Hash32, at: At) -> Result<Option<u64>, ChainError> {
        let call = HubChannels::preimageTimeCall { hash: hash(of) };
        let time = self.call(self.channels(), call, at).await?;
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        Ok((time != 0).then_some(time))
    }

    /// Granules shown for an order.
    pub async fn delivered(&self, order: Hash32, at: At) -> Result<u64, ChainError> {
        let call = HubChannels::deliveredOfCall {
            orderId: hash(order),
        };
        let granules = self.call(self.channels(), call, at).await?;
        Ok(u64::try_from(granules).unwrap_or(u64::MAX))
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
