//! Accounts with a history, put into the database by the engine's own statements: what the
//! reads need while no hub runs.

use crate::harness::{CHANNELS, CUSTODY, Server};
use account_service::engine::{Kind, NewAccount};
use account_service::store::batches::{self, CommittedBatch};
use account_service::store::directory::{self, Account};
use account_service::store::heads::{self, Advance, Head, NewHead};
use account_service::store::hubs_write;
use hub_client::{FundingMode, Terms};
use hub_core::fold::{Fold, Successor};
use hub_core::merkle::Tree;
use hub_core::types::StateBatch;
use hub_core::{
    Action, Address, Amount, ChannelParams, Domain, Hash32, Operation, OperationId, Typed as _,
    keccak256,
};
use runtime::pg::PgAmount;
use serde_json::json;
use signer::Signer;
use std::collections::HashMap;
use uuid::Uuid;

pub const CAPACITY: u128 = 10_000_000_000 * 10_u128.pow(18);

/// A hub and its accounts.
pub struct Bank {
    pub terms: Terms,
    pub accounts: Vec<Account>,
    hub: Signer,
    custody: Signer,
    last: (u64, Hash32),
}

/// One operation to be posted.
pub struct Posting {
    pub kind: Kind,
    pub amount: u128,
    pub payer: Option<usize>,
    pub payee: Option<usize>,
}

impl Bank {
    /// Opens an account for each owner, named `a0`, `a1` and so on.
    pub async fn open(server: &Server, owners: &[Uuid]) -> Self {
        let (hub, custody) = (signer(0x11), Signer::from_bytes(&CUSTODY).unwrap());
        let terms = Terms {
            hub_id: Uuid::now_v7(),
            hub: Address([9; 20]),
            hub_signer: hub.address(),
            custody_signer: custody.address(),
            domain: Domain {
                chain_id: 31337,
                verifying_contract: CHANNELS.parse().unwrap(),
            },
            mode: FundingMode::Vault,
            capacity: Amount::new(CAPACITY),
            challenge_period: 3600,
            self_delay: 600,
            penalty_cap: Amount::new(10_u128.pow(21)),
            bounty_bps: 500,
        };
        hubs_write::upsert(&server.pool, &terms, runtime::clock::now())
            .await
            .unwrap();
        let mut bank = Self {
            terms,
            accounts: Vec::new(),
            hub,
            custody,
            last: (0, Hash32::ZERO),
        };
        bank.open_accounts(server, owners).await;
        bank
    }

    /// The id of an account as callers write it.
    pub fn id(&self, index: usize) -> String {
        format!("acc_{}", self.accounts[index].id.simple())
    }

    async fn open_accounts(&mut self, server: &Server, owners: &[Uuid]) {
        let now = runtime::clock::now();
        let mut fold = Fold::new();
        let mut connection = server.pool.begin().await.unwrap();
        for (index, owner) in owners.iter().enumerate() {
            let id = Uuid::now_v7();
            let params = self.params(id);
            let action = Action::Open { params };
            let operation = Operation {
                id: OperationId(*id.as_bytes()),
                action,
            };
            fold.apply(&self.terms.domain, &operation).unwrap();
            let account = Account {
                id,
                owner: *owner,
                hub_id: self.terms.hub_id,
                asset: "INF".into(),
                channel: params.channel_id(&self.terms.domain),
                params,
                chain_address: Some(params.user),
            };
            let new = NewAccount {
                id,
                external_id: Some(format!("a{index}")),
                asset: "INF".into(),
                hub_id: self.terms.hub_id,
                chain_address: Some(params.user),
                metadata: json!({}),
            };
            directory::insert(&mut connection, &[(&account, &new)], now)
                .await
                .unwrap();
            self.accounts.push(account);
        }
        let states = fold.finish(|_| 0).unwrap();
        let batch = self.commit(&mut connection, &states).await;
        let new: Vec<_> = states
            .iter()
            .map(|next| NewHead {
                account: self.account_of(next),
                state: next.state,
                state_hash: next.state.hash_struct(),
                newest: None,
            })
            .collect();
        let rows = heads::insert(&mut connection, self.terms.hub_id, batch, &new).await;
        assert_eq!(rows.unwrap(), owners.len() as u64);
        for index in 0..owners.len() {
            let posting = Posting {
                kind: Kind::Open,
                amount: 0,
                payer: None,
                payee: Some(index),
            };
            self.write_operation(&mut connection, &posting, batch, &states)
                .await;
        }
        connection.commit().await.unwrap();
    }

    /// Posts one operation in a batch of its own.
    pub async fn post(&mut self, server: &Server, posting: Posting) -> Uuid {
        let mut connection = server.pool.begin().await.unwrap();
        let touched: Vec<_> = [posting.payer, posting.payee]
            .into_iter()
            .flatten()
            .map(|index| self.accounts[index].channel)
            .collect();
        let held = heads::load(&mut connection, &touched).await.unwrap();
        let mut fold = Fold::new();
        for head in &held {
            fold.insert(head.state, head.facts);
        }
        let channel = |side: Option<usize>| side.map(|index| self.accounts[index].channel);
        let amount = Amount::new(posting.amount);
        let action = match (channel(posting.payer), channel(posting.payee)) {
            (None, Some(channel)) => Action::Issue { channel, amount },
            (Some(channel), None) => Action::Redeem { channel, amount },
            (Some(payer), Some(payee)) => Action::Transfer {
                payer,
                payee,
                amount,
            },
            (None, None) => panic!("an operation has a side"),
        };
        let id = OperationId(*Uuid::now_v7().as_bytes());
        fold.apply(&self.terms.domain, &Operation { id, action })
            .unwrap();
        let states = fold.finish(|_| 0).unwrap();
        let batch = self.commit(&mut connection, &states).await;
        let advances: Vec<_> = states
            .iter()
            .map(|next| {
                let of_channel = |head: &&Head| head.state.channel_id == next.state.channel_id;
                let from = *held.iter().find(of_channel).unwrap();
                Advance {
                    from,
                    to: next.state,
                    to_hash: next.state.hash_struct(),
                    newest: from.newest,
                }
            })
            .collect();
        let rows = heads::advance(&mut connection, &advances, batch).await;
        assert_eq!(rows.unwrap(), states.len() as u64);
        let id = self
            .write_operation(&mut connection, &posting, batch, &states)
            .await;
        connection.commit().await.unwrap();
        id
    }

    fn params(&self, account: Uuid) -> ChannelParams {
        ChannelParams {
            hub: self.terms.hub,
            hub_signer: self.hub.address(),
            user: Address([7; 20]),
            user_signer: self.custody.address(),
            custodial: true,
            capacity: self.terms.capacity,
            challenge_period: self.terms.challenge_period,
            self_delay: self.terms.self_delay,
            penalty_cap: self.terms.penalty_cap,
            bounty_bps: self.terms.bounty_bps,
            salt: keccak256(account.as_bytes()),
        }
    }

    fn account_of(&self, next: &Successor) -> Uuid {
        let found = self
            .accounts
            .iter()
            .find(|account| account.channel == next.state.channel_id);
        found.unwrap().id
    }

    async fn commit(
        &mut self,
        connection: &mut sqlx::PgConnection,
        successors: &[Successor],
    ) -> Uuid {
        let states: Vec<_> = successors.iter().map(|next| next.state).collect();
        let leaves = states.iter().map(|state| state.hash_struct()).collect();
        let tree = Tree::new(leaves).unwrap();
        let message = StateBatch {
            root: tree.root(),
            depth: tree.depth(),
            batch_id: self.last.0 + 1,
            prev_root: self.last.1,
            hub: self.terms.hub,
        };
        let id = Uuid::now_v7();
        let batch = CommittedBatch {
            hub_id: self.terms.hub_id,
            batch_id: message.batch_id,
            id,
            root: message.root,
            prev_root: message.prev_root,
            depth: message.depth,
            hub_signature: self.hub.sign(&self.terms.domain, &message),
            user_signature: self.custody.sign(&self.terms.domain, &message),
            states: &states,
            now: runtime::clock::now(),
        };
        batches::insert_committed(connection, &batch).await.unwrap();
        self.last = (message.batch_id, message.root);
        id
    }

    /// Writes an operation at the end of the threads of its accounts.
    async fn write_operation(
        &self,
        connection: &mut sqlx::PgConnection,
        posting: &Posting,
        batch: Uuid,
        states: &[Successor],
    ) -> Uuid {
        let side = |index: Option<usize>| {
            let account = &self.accounts[index?];
            let leaf = states
                .iter()
                .position(|next| next.state.channel_id == account.channel)?;
            let state = states[leaf].state;
            Some((account.id, state.version, state.user_balance, leaf))
        };
        let (payer, payee) = (side(posting.payer), side(posting.payee));
        let id = Uuid::now_v7();
        let owner = self.accounts[posting.payee.or(posting.payer).unwrap()].owner;
        let newest: HashMap<Uuid, Option<Uuid>> =
            sqlx::query_as("SELECT account_id, newest FROM account.heads")
                .fetch_all(&mut *connection)
                .await
                .unwrap()
                .into_iter()
                .collect();
        let previous = |side: Option<(Uuid, u64, Amount, usize)>| newest[&side?.0];
        sqlx::query(
            "INSERT INTO account.operations (id, hub_id, kind, outcome, owner, route, idem_key, request_hash,
                payer, payee, amount, payer_version, payee_version, payer_balance, payee_balance,
                payer_leaf, payee_leaf, batch, client_ref, created_at, payer_previous, payee_previous)
             VALUES ($1, $2, $3, 1, $4, 8, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $5, $17, $18, $19)",
        )
        .bind(id)
        .bind(self.terms.hub_id)
        .bind(posting.kind as i16)
        .bind(owner)
        .bind(format!("ref-{id}"))
        .bind([0_u8; 32].as_slice())
        .bind(payer.map(|(id, ..)| id))
        .bind(payee.map(|(id, ..)| id))
        .bind(PgAmount(Amount::new(posting.amount)))
        .bind(payer.map(|(_, version, ..)| version.cast_signed()))
        .bind(payee.map(|(_, version, ..)| version.cast_signed()))
        .bind(payer.map(|(_, _, balance, _)| PgAmount(balance)))
        .bind(payee.map(|(_, _, balance, _)| PgAmount(balance)))
        .bind(payer.map(|(.., leaf)| leaf as i32))
        .bind(payee.map(|(.., leaf)| leaf as i32))
        .bind(batch)
        .bind(runtime::clock::now())
        .bind(previous(payer))
        .bind(previous(payee))
        .execute(&mut *connection)
        .await
        .unwrap();
        sqlx::query("UPDATE account.heads SET newest = $1 WHERE account_id = ANY($2)")
            .bind(id)
            .bind(vec![payer.map(|(id, ..)| id), payee.map(|(id, ..)| id)])
            .execute(connection)
            .await
            .unwrap();
        id
    }
}

fn signer(byte: u8) -> Signer {
    Signer::from_bytes(&[byte; 32]).unwrap()
}

/// An issuance.
pub fn issue(payee: usize, amount: u128) -> Posting {
    Posting {
        kind: Kind::Issue,
        amount,
        payer: None,
        payee: Some(payee),
    }
}

/// A transfer.
pub fn transfer(payer: usize, payee: usize, amount: u128) -> Posting {
    Posting {
        kind: Kind::Transfer,
        amount,
        payer: Some(payer),
        payee: Some(payee),
    }
}
