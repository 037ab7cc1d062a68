//! Turns planned commands into signed transactions: many into one, each stored before anybody
//! sees it.

use crate::config::Hub;
use crate::error::StepError;
use crate::store::transactions::{self, Kind, New, Open, Status};
use crate::store::{commands, disputes};
use crate::tower::dispute::Step;
use crate::track;
use crate::worker::{Lead, Memory, Worker};
use chain::calls::dispute::SignedIntent;
use chain::calls::{self, Call};
use chain::{At, CoSigned, FundingMode, Transaction};
use hub_core::{Amount, ChannelId, Epoch};
use uuid::Uuid;

/// Withdrawals in a transaction: 50 of 230,000 gas stay below the 16.7 million that one
/// transaction may use, and their calldata below 50 kB.
const BATCH: i64 = 50;
/// Closes in a transaction: 40 of 2.4 kB stay below the 128 KiB that nodes take.
const CLOSES: i64 = 40;
/// Rounds between two looks at what operators own.
const SHOW_EVERY: u64 = 50;

/// Plans for every hub.
///
/// # Errors
/// As the node and the database fail; what was stored before stays.
pub async fn step(worker: &Worker, lead: Lead, memory: &mut Memory) -> Result<(), StepError> {
    drop_decided(worker, lead).await?;
    for hub in &worker.hubs {
        if memory.rounds.is_multiple_of(SHOW_EVERY) {
            show(worker, hub).await?;
        }
        let open = {
            let mut db = worker.pool.acquire().await?;
            transactions::open(&mut db).await?
        };
        let own: Vec<_> = open
            .iter()
            .filter(|tx| tx.sender == hub.address())
            .collect();
        fund(worker, lead, hub, &own).await?;
        withdraw(worker, lead, hub, &own).await?;
        close(worker, lead, hub).await?;
    }
    Ok(())
}

/// All closes that are due, in one transaction.
async fn close(worker: &Worker, lead: Lead, hub: &Hub) -> Result<(), StepError> {
    let now = runtime::clock::now();
    let due = commands::due_closes(&worker.pool, hub.address(), CLOSES, now).await?;
    let Some((_, _, correlation_id)) = due.first() else {
        return Ok(());
    };
    if !has_room(worker).await? {
        return Ok(());
    }
    let contract = worker.chain.channels();
    let calls: Vec<_> = due
        .iter()
        .map(|(_, close, _)| {
            let intent = SignedIntent {
                valid_until: close.intent.valid_until,
                signature: close.signature,
            };
            let posted = CoSigned::from_proof(&close.proof);
            let params = &close.proof.channel_params;
            calls::dispute::close(contract, params, &posted, Some(&intent), None)
        })
        .collect();
    let order = Order {
        kind: Kind::Close,
        call: calls::batch(contract, &calls),
        amount: Amount::ZERO,
        correlation_id: correlation_id.clone(),
        ids: due.into_iter().map(|(id, ..)| id).collect(),
        step: None,
    };
    sign(worker, lead, hub, order).await.map(drop)
}

/// What needs no transaction (any more): paid by somebody else, or past its last second.
async fn drop_decided(worker: &Worker, lead: Lead) -> Result<(), StepError> {
    let head = worker.chain.node().head().await?;
    let mut tx = worker.begin(lead).await?;
    let now = runtime::clock::now();
    let paid = commands::drop_paid(&mut tx, now).await?;
    let expired = commands::expire(&mut tx, head.timestamp, now).await?;
    tx.commit().await?;
    for _ in 0..paid {
        worker.count_command("withdraw", "done");
    }
    for (id, correlation_id) in expired {
        tracing::warn!(correlation_id, command = %id, "a command expired before it was sent");
        worker.count_command("withdraw", "failed");
    }
    Ok(())
}

/// A batch as soon as the one before is mined, or when it is full: what comes in meanwhile shares
/// one transaction.
async fn withdraw(worker: &Worker, lead: Lead, hub: &Hub, own: &[&Open]) -> Result<(), StepError> {
    let mut waits = own
        .iter()
        .any(|tx| tx.kind == Kind::Withdraw && tx.status < Status::Mined);
    loop {
        let now = runtime::clock::now();
        let due = commands::due_withdrawals(&worker.pool, hub.address(), BATCH, now).await?;
        let full = due.len() as i64 == BATCH;
        let Some(first) = due.first() else {
            return Ok(());
        };
        if (waits && !full) || !has_room(worker).await? {
            return Ok(());
        }
        let correlation_id = first.correlation_id.clone();
        for planned in &due {
            let (command, order) = (planned.id, planned.withdraw.withdraw.request_id);
            tracing::info!(correlation_id = planned.correlation_id, %command, %order, batch = correlation_id, "joins a batch");
        }
        let ids: Vec<_> = due.iter().map(|planned| planned.id).collect();
        let items: Vec<_> = due.into_iter().map(|planned| planned.withdraw).collect();
        let order = Order {
            kind: Kind::Withdraw,
            call: calls::batch_withdraw(worker.chain.channels(), &items),
            amount: Amount::ZERO,
            ids,
            correlation_id,
            step: None,
        };
        if !sign(worker, lead, hub, order).await? {
            return Ok(());
        }
        waits = true;
    }
}

async fn has_room(worker: &Worker) -> sqlx::Result<bool> {
    let unmined = transactions::count_unmined(&worker.pool).await?;
    Ok(unmined < worker.settings.max_unconfirmed)
}

/// One top-up for all that is asked for. Requests name the whole shortage of their moment, so the
/// largest counts, and what a top-up under way covers needs no other.
async fn fund(worker: &Worker, lead: Lead, hub: &Hub, own: &[&Open]) -> Result<(), StepError> {
    let now = runtime::clock::now();
    let due = commands::due_funding(&worker.pool, hub.address(), now).await?;
    let Some((_, _, correlation_id)) = due.first().cloned() else {
        blocked(worker, hub, None);
        return Ok(());
    };
    let ids: Vec<Uuid> = due.iter().map(|due| due.0).collect();
    if hub.mode != FundingMode::Vault {
        tracing::error!(correlation_id, hub = %hub.address(), "a mint hub has no vault to fund");
        let mut tx = worker.begin(lead).await?;
        for id in ids {
            worker.count_command("fund_vault", "failed");
            commands::fail(&mut tx, id, "mint mode", now).await?;
        }
        return Ok(tx.commit().await?);
    }
    let needed = due.iter().map(|due| due.1).max().unwrap_or_default();
    let under_way: Vec<_> = own.iter().filter(|tx| tx.kind == Kind::Fund).collect();
    let coming = Amount::sum(under_way.iter().map(|tx| tx.amount)).unwrap_or(Amount::MAX);
    let missing = needed.less(coming);
    if let Some(newest) = under_way.last().filter(|_| missing.is_zero()) {
        let mut tx = worker.begin(lead).await?;
        commands::mark_sent(&mut tx, &ids, newest.sender, newest.nonce, now).await?;
        return Ok(tx.commit().await?);
    }
    let balance = worker.chain.balance_of(hub.address(), At::Latest).await?;
    // What is under way and not mined is still in the balance.
    let unmined = under_way.iter().filter(|tx| tx.status < Status::Mined);
    let free = balance.less(Amount::sum(unmined.map(|tx| tx.amount)).unwrap_or(Amount::MAX));
    let wanted = missing.max(worker.settings.vault_buffer);
    let amount = if wanted <= free { wanted } else { missing };
    if amount > free {
        blocked(worker, hub, Some((missing, free)));
        return Ok(());
    }
    blocked(worker, hub, None);
    if amount.is_zero() || !has_room(worker).await? {
        return Ok(());
    }
    if !approve(worker, lead, hub, own, amount).await? {
        return Ok(());
    }
    let order = Order {
        kind: Kind::Fund,
        call: calls::fund_vault(worker.chain.channels(), hub.address(), amount),
        amount,
        ids,
        correlation_id,
        step: None,
    };
    sign(worker, lead, hub, order).await.map(drop)
}

/// Says once, and shows until it is over, that an operator lacks tokens. The commands stay planned.
fn blocked(worker: &Worker, hub: &Hub, short: Option<(Amount, Amount)>) {
    let label = hub.address().to_string();
    let gauge = worker
        .metrics
        .funding_blocked
        .with_label_values(&[label.as_str()]);
    if let Some((needed, balance)) = short
        && gauge.get() == 0
    {
        tracing::error!(hub = label, %needed, %balance, "the operator lacks tokens to fund the vault; send it some");
    }
    gauge.set(i64::from(short.is_some()));
}

/// Makes sure that the contract may take the tokens; `false` when that could not be signed now.
async fn approve(
    worker: &Worker,
    lead: Lead,
    hub: &Hub,
    own: &[&Open],
    amount: Amount,
) -> Result<bool, StepError> {
    let under_way = own.iter().any(|tx| tx.kind == Kind::Approve);
    if under_way || worker.chain.allowance(hub.address()).await? >= amount {
        return Ok(true);
    }
    let order = Order {
        kind: Kind::Approve,
        call: calls::approve_all(worker.chain.token(), worker.chain.channels()),
        amount: Amount::ZERO,
        ids: Vec::new(),
        correlation_id: format!("approve:{}", hub.address()),
        step: None,
    };
    sign(worker, lead, hub, order).await
}

/// A transaction to make, and what it carries.
#[derive(Debug)]
pub struct Order {
    /// What it is for.
    pub kind: Kind,
    /// What it calls.
    pub call: Call,
    /// Tokens it moves into a vault.
    pub amount: Amount,
    /// The commands it carries.
    pub ids: Vec<Uuid>,
    /// From the oldest of them.
    pub correlation_id: String,
    /// What it does about which disputes.
    pub step: Option<(Step, Vec<(ChannelId, Epoch)>)>,
}

/// Gives out a nonce, signs, and stores transaction, signed bytes and what it carries as one.
/// `false` when the operator can't pay for the gas.
///
/// # Errors
/// As the node and the database fail; then nothing is stored.
pub async fn sign(worker: &Worker, lead: Lead, hub: &Hub, order: Order) -> Result<bool, StepError> {
    let node = worker.chain.node();
    let sender = hub.address();
    let mut fees = node.fees().await?;
    fees.max = fees.max.min(worker.settings.max_fee);
    let cost = fees.max.saturating_mul(u128::from(order.call.gas));
    let coin = node.gas_coin(sender).await?;
    if coin < cost {
        tracing::error!(hub = %sender, coin, cost, "the operator can't pay for gas; send it coin");
        return Ok(false);
    }
    let known = transactions::next_nonce(&worker.pool, sender).await?;
    // Before the first transaction, what others sent with this key counts as well.
    let at = if known.is_some() {
        At::Latest
    } else {
        At::Pending
    };
    let on_chain = node.nonce(sender, at).await?;
    let nonce = known.map_or(on_chain, |known| known.max(on_chain));
    if known.is_some_and(|known| known < on_chain) {
        tracing::error!(hub = %sender, on_chain, "somebody else sends with this key");
    }
    let signed = Transaction {
        chain_id: worker.chain.domain().chain_id,
        nonce,
        to: Some(order.call.to),
        value: Amount::ZERO,
        data: order.call.data.clone(),
        gas: order.call.gas,
        fees,
    }
    .sign(&hub.operator)?;
    let new = New {
        sender,
        nonce,
        kind: order.kind,
        call: &order.call,
        amount: order.amount,
        correlation_id: &order.correlation_id,
    };
    let now = runtime::clock::now();
    let mut tx = worker.begin(lead).await?;
    transactions::insert(&mut tx, new, now).await?;
    transactions::insert_attempt(&mut tx, (sender, nonce), 1, (&signed, fees), now).await?;
    commands::mark_sent(&mut tx, &order.ids, sender, nonce, now).await?;
    if let Some((step, disputes)) = &order.step {
        disputes::carry(&mut tx, disputes, *step, (sender, nonce), now).await?;
    }
    tx.commit().await?;
    track::count(worker, order.kind, "signed");
    tracing::info!(
        correlation_id = order.correlation_id,
        tx_hash = %signed.hash,
        nonce,
        kind = order.kind.name(),
        commands = order.ids.len(),
        "signed"
    );
    Ok(true)
}

async fn show(worker: &Worker, hub: &Hub) -> Result<(), StepError> {
    let sender = hub.address();
    let label = sender.to_string();
    let coin = worker.chain.node().gas_coin(sender).await?;
    let tokens = worker.chain.balance_of(sender, At::Latest).await?;
    let labels = [label.as_str()];
    let whole = |units: u128| units as f64 / 1e18;
    worker
        .metrics
        .gas_coin
        .with_label_values(&labels)
        .set(whole(coin));
    let gauge = worker.metrics.operator_tokens.with_label_values(&labels);
    gauge.set(whole(tokens.units()));
    Ok(())
}
