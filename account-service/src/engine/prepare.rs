//! From a request to a job: finds the accounts, checks what never changes about them.

use super::job::Job;
use super::refusals;
use super::types::{Kind, NewAccount, Order, Refused, Request};
use super::{Engine, EngineError};
use crate::store::directory::Account;
use crate::store::journal::KeyId;
use crate::store::settlement;
use hub_client::Terms;
use hub_core::{Action, Address, Amount, ChannelParams, keccak256};
use std::sync::Arc;
use uuid::Uuid;

/// What a job is about, before the request is moved into it.
struct Target {
    kind: Kind,
    payer: Option<Arc<Account>>,
    payee: Option<Arc<Account>>,
    action: Result<Action, Refused>,
}

impl Target {
    fn refuse(kind: Kind, refusal: Refused) -> Self {
        Self {
            kind,
            payer: None,
            payee: None,
            action: Err(refusal),
        }
    }
}

/// Parameters of an account's channel: the hub's terms, the account's payout address, and a
/// salt made of the account's id.
fn channel_params(terms: &Terms, custody: Address, account: &NewAccount) -> ChannelParams {
    ChannelParams {
        hub: terms.hub,
        hub_signer: terms.hub_signer,
        user: account.chain_address.unwrap_or(custody),
        user_signer: custody,
        custodial: true,
        capacity: terms.capacity,
        challenge_period: terms.challenge_period,
        self_delay: terms.self_delay,
        penalty_cap: terms.penalty_cap,
        bounty_bps: terms.bounty_bps,
        salt: keccak256(account.id.as_bytes()),
    }
}

impl Engine {
    /// Finds out what a request is about. Fails only when the database does not answer; what
    /// the caller got wrong becomes a job that is refused.
    pub(super) async fn prepare(&self, request: Request) -> Result<Job, EngineError> {
        let target = match &request.order {
            Order::Open(account) => self.open(&request, account),
            Order::Issue { account, amount } => {
                let (account, amount) = (*account, *amount);
                self.one(&request, Kind::Issue, account, |a| Action::Issue {
                    channel: a.channel,
                    amount,
                })
                .await?
            }
            Order::Redeem { account, amount } => {
                let (account, amount) = (*account, *amount);
                self.one(&request, Kind::Redeem, account, |a| Action::Redeem {
                    channel: a.channel,
                    amount,
                })
                .await?
            }
            Order::Transfer {
                from, to, amount, ..
            } => self.transfer(&request, *from, *to, *amount).await?,
            Order::Withdraw {
                account,
                amount,
                to,
            } => self.withdraw(&request, *account, *amount, *to).await?,
            Order::Refund { withdrawal } => Box::pin(self.refund(*withdrawal)).await?,
            Order::Reopen(ended) => self.reopen(ended.account).await?,
            Order::Deposit { deposit } => Box::pin(self.deposit(*deposit)).await?,
        };
        Ok(Job {
            key: KeyId::new(request.owner, request.route, &request.key),
            kind: target.kind,
            payer: target.payer,
            payee: target.payee,
            action: target.action,
            resumes: None,
            request,
        })
    }

    fn open(&self, request: &Request, account: &NewAccount) -> Target {
        let Some(lane) = self.lane(&account.hub_id) else {
            return Target::refuse(Kind::Open, refusals::hub_not_found());
        };
        let terms = lane.lane.opening_terms();
        let params = channel_params(&terms, self.custody_address(), account);
        let opened = Account {
            id: account.id,
            owner: request.owner,
            hub_id: account.hub_id,
            asset: account.asset.clone(),
            channel: params.channel_id(&terms.domain),
            params,
            chain_address: account.chain_address,
        };
        Target {
            kind: Kind::Open,
            payer: None,
            payee: Some(Arc::new(opened)),
            action: Ok(Action::Open { params }),
        }
    }

    /// The account, if the caller may act on it.
    async fn own(
        &self,
        request: &Request,
        account: Uuid,
    ) -> Result<Option<Arc<Account>>, EngineError> {
        let found = self.account(account).await?;
        Ok(found.filter(|found| request.all_owners || found.owner == request.owner))
    }

    async fn one(
        &self,
        request: &Request,
        kind: Kind,
        account: Uuid,
        action: impl FnOnce(&Account) -> Action,
    ) -> Result<Target, EngineError> {
        let Some(account) = self.own(request, account).await? else {
            return Ok(Target::refuse(kind, refusals::account_not_found()));
        };
        let action = Ok(action(&account));
        let pays = kind == Kind::Redeem;
        Ok(Target {
            kind,
            payer: pays.then(|| account.clone()),
            payee: (!pays).then_some(account),
            action,
        })
    }

    async fn transfer(
        &self,
        request: &Request,
        from: Uuid,
        to: Uuid,
        amount: Amount,
    ) -> Result<Target, EngineError> {
        let kind = Kind::Transfer;
        let (Some(from), Some(to)) = (self.own(request, from).await?, self.own(request, to).await?)
        else {
            return Ok(Target::refuse(kind, refusals::account_not_found()));
        };
        let refusal = if from.id == to.id {
            Some(refusals::same_account())
        } else if from.asset != to.asset {
            Some(refusals::asset_mismatch())
        } else if from.hub_id != to.hub_id {
            Some(refusals::cross_hub())
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Ok(Target::refuse(kind, refusal));
        }
        Ok(Target {
            kind,
            action: Ok(Action::Transfer {
                payer: from.channel,
                payee: to.channel,
                amount,
            }),
            payer: Some(from),
            payee: Some(to),
        })
    }

    async fn withdraw(
        &self,
        request: &Request,
        account: Uuid,
        amount: Amount,
        to: Option<Address>,
    ) -> Result<Target, EngineError> {
        let kind = Kind::Withdraw;
        let Some(account) = self.own(request, account).await? else {
            return Ok(Target::refuse(kind, refusals::account_not_found()));
        };
        let action = match to.or(account.chain_address) {
            None => Err(refusals::payout_address_missing()),
            Some(to) if self.is_barred(&to) => Err(refusals::payout_address_invalid()),
            Some(to) => Ok(Action::Withdraw {
                channel: account.channel,
                amount,
                to,
            }),
        };
        Ok(Target {
            kind,
            payer: Some(account),
            payee: None,
            action,
        })
    }

    async fn refund(&self, withdrawal: Uuid) -> Result<Target, EngineError> {
        let found = settlement::refundable_order(self.pool(), withdrawal).await?;
        self.system(Kind::Refund, found, |account, amount| Action::Refund {
            channel: account.channel,
            order: hub_core::OperationId(*withdrawal.as_bytes()),
            amount,
        })
        .await
    }

    async fn reopen(&self, account: Uuid) -> Result<Target, EngineError> {
        let kind = Kind::Settle;
        let Some(account) = self.account(account).await? else {
            return Ok(Target::refuse(kind, refusals::account_not_found()));
        };
        let params = account.params;
        Ok(Target {
            kind,
            payer: Some(account),
            payee: None,
            action: Ok(Action::Open { params }),
        })
    }

    async fn deposit(&self, deposit: Uuid) -> Result<Target, EngineError> {
        let found = settlement::uncredited_deposit(self.pool(), deposit).await?;
        self.system(Kind::Deposit, found, |account, amount| Action::Deposit {
            channel: account.channel,
            amount,
        })
        .await
    }

    async fn system(
        &self,
        kind: Kind,
        found: Option<(Uuid, Amount)>,
        action: impl FnOnce(&Account, Amount) -> Action,
    ) -> Result<Target, EngineError> {
        let Some((account, amount)) = found else {
            return Ok(Target::refuse(kind, refusals::not_refundable()));
        };
        let Some(account) = self.account(account).await? else {
            return Ok(Target::refuse(kind, refusals::account_not_found()));
        };
        let action = Ok(action(&account, amount));
        Ok(Target {
            kind,
            payer: None,
            payee: Some(account),
            action,
        })
    }
}
