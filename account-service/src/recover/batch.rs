//! One batch that the hub holds with both signatures and that is not here, written down again.

use super::chain::Told;
use super::lines::{self, Line, Placed};
use crate::engine::{Kind, NewAccount, Request, Route};
use crate::store::batches::{self, CommittedBatch};
use crate::store::directory::{self, Account};
use crate::store::heads::{self, Head};
use crate::store::journal::{self, KeyId, NewRow, RowLeg};
use crate::store::leaves;
use crate::store::recover::{self, NextHead};
use crate::store::settlement::{self, NewWithdrawal};
use anyhow::{Context as _, ensure};
use hub_client::{ImportBatch, Terms};
use hub_core::merkle::Tree;
use hub_core::{
    ChannelId, ChannelParams, Hash32, OperationId, State, StateBatch, Typed as _, sha256, signature,
};
use sqlx::PgConnection;
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// What holds for all batches of a run.
#[derive(Debug)]
pub struct Books<'a> {
    /// The hub's terms, as they are stored here.
    pub terms: &'a Terms,
    /// What the chain tells.
    pub told: &'a Told,
    /// Code of the asset.
    pub asset: &'a str,
    /// Whose accounts are that were opened after the backup.
    pub owner: Option<Uuid>,
}

/// What one batch brought back.
#[derive(Debug, Default, Clone, Copy)]
pub struct Brought {
    /// Batches.
    pub batches: usize,
    /// States.
    pub states: usize,
    /// Accounts that were opened.
    pub accounts: usize,
    /// Lines of accounts.
    pub lines: usize,
}

/// Writes a batch down in the caller's transaction.
pub async fn apply(
    connection: &mut PgConnection,
    books: &Books<'_>,
    batch: &ImportBatch,
) -> anyhow::Result<Brought> {
    let states = batch.attested.states()?;
    let hashes: Vec<_> = states.iter().map(|state| state.hash_struct()).collect();
    let tree = proved(books.terms, batch, &states, &hashes)?;
    let channels: Vec<_> = states.iter().map(|state| state.channel_id).collect();
    recover::lock(connection, &channels).await?;
    let heads = heads::load(connection, &channels).await?;
    let heads: HashMap<_, _> = heads.into_iter().map(|h| (h.state.channel_id, h)).collect();
    let now = runtime::clock::now();
    let opened = open(connection, books, batch, &states, now).await?;
    let mut accounts = recover::accounts(connection, &channels).await?;
    // Their heads come below.
    accounts.extend(opened.iter().map(|(channel, new)| (*channel, new.account)));
    let mut brought = Brought {
        batches: 1,
        states: states.len(),
        accounts: opened.len(),
        lines: 0,
    };
    for ((leaf, state), hash) in (0_u32..).zip(&states).zip(&hashes) {
        let channel = state.channel_id;
        let (account, owner) = *accounts
            .get(&channel)
            .with_context(|| format!("channel {channel} is of no account"))?;
        let (base, from_hash) = base_of(
            heads.get(&channel),
            opened.get(&channel).map(|new| &new.params),
            channel,
        )?;
        let orders: Vec<_> = batch
            .orders
            .iter()
            .filter(|o| o.channel == channel)
            .copied()
            .collect();
        let paid_in = books
            .told
            .paid_in
            .get(&channel)
            .map_or(&[][..], Vec::as_slice);
        let lines = lines::lines(&base, state, &orders, paid_in)
            .with_context(|| format!("version {} of channel {channel}", state.version))?;
        let place = Posting {
            hub_id: books.terms.hub_id,
            batch: batch.request_id,
            account,
            owner,
            leaf,
            state,
            now,
        };
        let mut newest = heads.get(&channel).and_then(|head| head.newest);
        for placed in &lines {
            newest = Some(place.post(connection, placed, newest).await?);
        }
        brought.lines += lines.len();
        let head = NextHead {
            hub_id: books.terms.hub_id,
            account,
            from_hash,
            state,
            hash: *hash,
            batch: batch.request_id,
            newest,
        };
        let put = recover::put_head(connection, head).await?;
        ensure!(
            put == 1,
            "the head of channel {channel} has moved meanwhile"
        );
    }
    let committed = CommittedBatch {
        hub_id: books.terms.hub_id,
        batch_id: batch.attested.batch_id,
        id: batch.request_id,
        root: tree.root(),
        prev_root: batch.attested.prev_root,
        depth: tree.depth(),
        hub_signature: batch.attested.hub_signature,
        user_signature: batch.attested.user_signature,
        states: &states,
        now,
    };
    batches::insert_committed(connection, &committed).await?;
    leaves::note_late(connection, batch.request_id).await?;
    Ok(brought)
}

/// Nothing is believed but what both sides have signed.
fn proved(
    terms: &Terms,
    batch: &ImportBatch,
    states: &[State],
    hashes: &[Hash32],
) -> anyhow::Result<Tree> {
    let sorted = states.is_sorted_by(|one, next| one.channel_id < next.channel_id);
    let tree = Tree::new(hashes.to_vec()).filter(|_| sorted);
    let tree = tree.context("it is no batch of states in channel id order")?;
    let message = StateBatch {
        root: tree.root(),
        depth: tree.depth(),
        batch_id: batch.attested.batch_id,
        prev_root: batch.attested.prev_root,
        hub: terms.hub,
    };
    let digest = terms.domain.digest(&message);
    signature::verify(digest, &batch.attested.hub_signature, terms.hub_signer)
        .context("the hub's signature is not valid")?;
    signature::verify(digest, &batch.attested.user_signature, terms.custody_signer)
        .context("the custody signature is not valid")?;
    Ok(tree)
}

/// The state that the next one builds on, and the hash that the row here names.
fn base_of(
    head: Option<&Head>,
    opened: Option<&ChannelParams>,
    channel: ChannelId,
) -> anyhow::Result<(State, Hash32)> {
    match (head, opened) {
        (Some(head), _) => {
            ensure!(head.is_intact(), "the head of channel {channel} was edited");
            Ok((head.state, head.state_hash))
        }
        (None, Some(params)) => Ok((State::null(channel, 0, params.capacity), Hash32::ZERO)),
        (None, None) => anyhow::bail!("channel {channel} was never opened here"),
    }
}

/// An account that was made here, whose channel has no head yet.
struct Opened {
    params: ChannelParams,
    /// Its id and owner.
    account: (Uuid, Uuid),
}

/// Makes the accounts of channels that nobody here knows. Whose they were called, and by what
/// name, the hub was never told.
async fn open(
    connection: &mut PgConnection,
    books: &Books<'_>,
    batch: &ImportBatch,
    states: &[State],
    now: OffsetDateTime,
) -> anyhow::Result<HashMap<ChannelId, Opened>> {
    let terms = books.terms;
    let params: HashMap<_, _> = batch
        .opened
        .iter()
        .map(|params| (params.channel_id(&terms.domain), *params))
        .collect();
    let channels: Vec<_> = params.keys().copied().collect();
    let known = recover::accounts(connection, &channels).await?;
    let new = |channel: &ChannelId| {
        !known.contains_key(channel) && states.iter().any(|s| s.channel_id == *channel)
    };
    let mut opened = HashMap::new();
    for (channel, params) in params.into_iter().filter(|(channel, _)| new(channel)) {
        let owner = books.owner.context(
            "accounts were opened after the backup: say by --owner whose they are to be",
        )?;
        let address = Some(params.user).filter(|user| *user != params.user_signer);
        let account = Account {
            id: Uuid::now_v7(),
            owner,
            hub_id: terms.hub_id,
            asset: books.asset.to_owned(),
            channel,
            params,
            chain_address: address,
        };
        let about = NewAccount {
            id: account.id,
            external_id: None,
            asset: account.asset.clone(),
            hub_id: terms.hub_id,
            chain_address: address,
            metadata: serde_json::json!({ "recovered": true }),
        };
        let rows = directory::insert(connection, &[(&account, &about)], now).await?;
        ensure!(rows == 1, "channel {channel} was opened meanwhile");
        let account = (account.id, owner);
        opened.insert(channel, Opened { params, account });
    }
    Ok(opened)
}

/// Where the lines of a state go.
struct Posting<'a> {
    hub_id: Uuid,
    batch: Uuid,
    account: Uuid,
    owner: Uuid,
    leaf: u32,
    state: &'a State,
    now: OffsetDateTime,
}

fn uuid(order: OperationId) -> Uuid {
    Uuid::from_bytes(order.0)
}

impl Posting<'_> {
    /// Writes a line behind the `previous` one of the account, and says which operation it is.
    async fn post(
        &self,
        connection: &mut PgConnection,
        placed: &Placed,
        previous: Option<Uuid>,
    ) -> anyhow::Result<Uuid> {
        let amount = placed.amount;
        let place = format!("{}/{}", self.batch, self.leaf);
        match placed.line {
            Line::Opened => {
                let key = format!("recovered-opening:{place}");
                let new = (Uuid::now_v7(), previous);
                self.row(connection, Kind::Open, new, key, placed).await
            }
            Line::Gained | Line::Lost => {
                let key = format!("recovered:{place}");
                let lost = matches!(placed.line, Line::Lost);
                let kind = if lost { Kind::Lost } else { Kind::Gained };
                let new = (Uuid::now_v7(), previous);
                self.row(connection, kind, new, key, placed).await
            }
            Line::Withdraw(order, to) => {
                let order = uuid(order);
                let key = format!("recovered-order:{order}");
                self.row(connection, Kind::Withdraw, (order, previous), key, placed)
                    .await?;
                let new = NewWithdrawal {
                    id: order,
                    account: self.account,
                    channel: self.state.channel_id,
                    epoch: self.state.epoch,
                    amount,
                    to,
                    correlation_id: format!("recovered:{order}"),
                };
                let (hub_id, now) = (self.hub_id, self.now);
                let rows = settlement::insert_withdrawals(connection, hub_id, now, &[new]).await?;
                ensure!(rows == 1, "order {order} is here already");
                Ok(order)
            }
            Line::Refund(order) => {
                let order = uuid(order);
                let key = Request::refund_key(order);
                let new = (Uuid::now_v7(), previous);
                self.row(connection, Kind::Refund, new, key, placed).await?;
                recover::give_up(connection, order).await?;
                let ended = settlement::refund(connection, order, self.now).await?;
                ensure!(
                    ended == 1,
                    "order {order}, which was given back, is not open here"
                );
                Ok(new.0)
            }
            Line::Deposit(log) => {
                settlement::note_deposit(connection, Uuid::now_v7(), &log, self.now).await?;
                let id = recover::deposit_at(connection, log.block_hash, log.log_index).await?;
                let id = id.context("a deposit of no account")?;
                let key = format!("deposit:{id}");
                let operation = Uuid::now_v7();
                let new = (operation, previous);
                self.row(connection, Kind::Deposit, new, key, placed)
                    .await?;
                let rows = settlement::credit_deposit(connection, id, operation, self.now);
                ensure!(rows.await? == 1, "deposit {id} was credited before");
                Ok(operation)
            }
        }
    }

    async fn row(
        &self,
        connection: &mut PgConnection,
        kind: Kind,
        (id, previous): (Uuid, Option<Uuid>),
        key: String,
        placed: &Placed,
    ) -> anyhow::Result<Uuid> {
        let debit = matches!(placed.line, Line::Withdraw(..) | Line::Lost);
        let leg = RowLeg {
            version: self.state.version,
            balance: placed.balance,
            leaf: self.leaf,
            previous,
        };
        // Refunds and deposits are the system's own, as the engine posts them.
        let system = matches!(kind, Kind::Refund | Kind::Deposit);
        let owner = if system { Uuid::nil() } else { self.owner };
        let row = NewRow {
            id,
            kind,
            outcome: 1,
            key: KeyId::new(owner, Route::System, &key),
            owner,
            route: Route::System as i16,
            request_hash: sha256(key.as_bytes()),
            idem_key: key,
            payer: debit.then_some(self.account),
            payee: (!debit).then_some(self.account),
            amount: placed.amount,
            debit: debit.then_some(leg),
            credit: (!debit).then_some(leg),
            client_ref: None,
            extra: Some(serde_json::json!({ "recovered": true })),
        };
        let keys = journal::claim_keys(connection, std::slice::from_ref(&row)).await?;
        let rows = journal::insert(
            connection,
            self.hub_id,
            self.batch,
            self.now,
            std::slice::from_ref(&row),
        );
        ensure!(keys == 1 && rows.await? == 1, "a line was not written");
        Ok(id)
    }
}
