//! R1, and the part of R2 that a row says about itself.

use super::ledger::Accounts;
use super::{Context, Hubs};
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::heads::{Account, Channel, Head, all, channel_of, count_accounts};
use futures_util::{StreamExt as _, TryStreamExt as _};
use hub_core::{ChannelId, Typed as _};
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Rows handed to a worker at once: some milliseconds of hashing, half a megabyte.
const CHUNK: usize = 512;
/// Chunks under way: enough for every core of a usual machine.
const AHEAD: usize = 8;

/// What a chunk gives.
#[derive(Default)]
struct Checked {
    findings: Findings,
    /// The head rows that don't hash to what they say.
    damaged: Vec<Head>,
    accounts: Vec<(Uuid, ChannelId)>,
}

/// Goes over all channels; says whose they are.
pub async fn run(context: &mut Context) -> Result<Accounts, Error> {
    let max = context.options.max_breaks;
    let mut accounts = Accounts::with_capacity(count_accounts(&mut context.tx).await?);
    let (findings, hubs) = (&mut context.findings, context.hubs.clone());
    let mut damaged: HashMap<ChannelId, Head> = HashMap::new();
    let mut checked = all(&mut context.tx)
        .try_chunks(CHUNK)
        .map_err(|error| error.1)
        .map(|rows| {
            let hubs = hubs.clone();
            async move {
                let rows = rows?;
                let work = move || check_rows(&rows, &hubs);
                tokio::task::spawn_blocking(work).await.map_err(Error::from)
            }
        })
        .buffered(AHEAD);
    while let Some(result) = checked.next().await {
        let chunk = result??;
        findings.merge(chunk.findings, max);
        let room = max.saturating_sub(damaged.len());
        let rows = chunk.damaged.into_iter().take(room);
        damaged.extend(rows.map(|head| (head.state.channel_id, head)));
        for (account, channel) in chunk.accounts {
            accounts.add(account, channel);
        }
    }
    drop(checked);
    context.named.heads = Arc::new(damaged);
    Ok(accounts)
}

fn check_rows(rows: &[PgRow], hubs: &Hubs) -> sqlx::Result<Checked> {
    let mut checked = Checked::default();
    for row in rows {
        let channel = channel_of(row)?;
        let account = channel.account.map(|account| (account.id, channel.id));
        checked.accounts.extend(account);
        let damaged = check(&channel, hubs, &mut checked.findings);
        checked.damaged.extend(damaged);
    }
    Ok(checked)
}

/// Checks a channel; gives back its head when that is not the state it says it is.
fn check(channel: &Channel, hubs: &Hubs, findings: &mut Findings) -> Option<Head> {
    findings.compared(CheckId::R1, 1);
    findings.compared(CheckId::R2, 1);
    let missing = (CheckId::R2, Class::MissingInternal);
    let (account, head) = match (channel.account, channel.head) {
        (Some(account), Some(head)) => (account, head),
        (account, _) => {
            let table = if account.is_some() {
                "heads"
            } else {
                "accounts"
            };
            let row = Row::account(table, channel.id);
            findings.found(missing, row, "a row of this channel", "none");
            return None;
        }
    };
    check_account(channel.id, &account, &head, hubs, findings);
    if head.state.hash_struct() != head.state_hash {
        return Some(head);
    }
    let capacity = account.params.map(|params| params.capacity);
    if capacity.is_some() && head.state.total() != capacity {
        let text = |amount: Option<hub_core::Amount>| {
            amount.map_or_else(|| "more than 128 bits".to_owned(), |a| a.to_string())
        };
        findings.found(
            (CheckId::R1, Class::AmountMismatch),
            Row::account("heads", channel.id),
            format!("balances and locks of {}", text(capacity)),
            text(head.state.total()),
        );
    }
    None
}

/// The account's row against the channel's id, which commits to the parameters, and the head.
fn check_account(
    id: ChannelId,
    account: &Account,
    head: &Head,
    hubs: &Hubs,
    findings: &mut Findings,
) {
    let tamper = (CheckId::R2, Class::Tamper);
    let row = Row::account("accounts", account.id);
    let Some(terms) = hubs.get(&account.hub_id) else {
        let row = Row::account("hubs", account.hub_id);
        let class = (CheckId::R2, Class::MissingInternal);
        findings.found(
            class,
            row,
            format!("terms, for account {}", account.id),
            "none",
        );
        return;
    };
    let named = account
        .params
        .map(|params| params.channel_id(&terms.domain));
    if named != Some(id) {
        let found = named.map_or("no parameters".to_owned(), |id| format!("those of {id}"));
        findings.found(tamper, row, format!("parameters of channel {id}"), found);
    }
    let row = Row::account("heads", id);
    if head.account_id != account.id {
        let expected = format!("account_id={}", account.id);
        findings.found(
            tamper,
            row,
            expected,
            format!("account_id={}", head.account_id),
        );
    } else if head.hub_id != account.hub_id {
        let expected = format!("hub_id={}", account.hub_id);
        findings.found(tamper, row, expected, format!("hub_id={}", head.hub_id));
    }
}
