//! R1, R2, R3 and R7 between the hub's books and ours. The hub commits first, so in one snapshot
//! it is never behind in what it signed; what it knows to be co-signed may lag.

use super::Context;
use super::batch::Difference as Columns;
use crate::findings::{Findings, Row};
use crate::report::{CheckId, Class};
use crate::run::Error;
use crate::store::heads::Head;
use crate::store::hub::{self, AccountHead, Difference, HubHead, Pair};
use futures_util::{StreamExt as _, TryStreamExt as _};
use hub_core::{ChannelId, State, Typed as _};
use sqlx::postgres::PgRow;
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

/// Rows handed to a worker at once.
const CHUNK: usize = 512;
/// Chunks under way.
const AHEAD: usize = 8;

/// Compares the hub's heads and lists with ours.
pub async fn run(context: &mut Context) -> Result<(), Error> {
    heads(context).await?;
    lists(context).await
}

fn hub_row(table: &'static str, key: impl ToString) -> Row {
    Row {
        schema: "hub",
        table,
        key: key.to_string(),
    }
}

async fn heads(context: &mut Context) -> Result<(), Error> {
    let max = context.options.max_breaks;
    // Channels whose row here is wrong and named: the hub's can't be compared with it.
    let named = &context.named;
    let skip: HashSet<_> = named
        .heads
        .keys()
        .chain(named.signed.keys())
        .copied()
        .collect();
    let skip = Arc::new(skip);
    let findings = &mut context.findings;
    let mut checked = hub::pairs(&mut context.tx)
        .try_chunks(CHUNK)
        .map_err(|error| error.1)
        .map(|rows| {
            let skip = skip.clone();
            async move {
                let rows = rows?;
                let work = move || check_rows(&rows, &skip);
                tokio::task::spawn_blocking(work).await.map_err(Error::from)
            }
        })
        .buffered(AHEAD);
    while let Some(result) = checked.next().await {
        findings.merge(result??, max);
    }
    Ok(())
}

fn check_rows(rows: &[PgRow], skip: &HashSet<ChannelId>) -> sqlx::Result<Findings> {
    let mut findings = Findings::default();
    for row in rows {
        let mut pair = hub::pair_of(row)?;
        let known = pair.account.is_some();
        if skip.contains(&pair.channel) {
            pair.account = None;
        }
        check(&pair, known, &mut findings);
    }
    Ok(findings)
}

fn check(pair: &Pair, known: bool, findings: &mut Findings) {
    findings.compared(CheckId::R1, 1);
    findings.compared(CheckId::R2, 1);
    let missing = (CheckId::R2, Class::MissingInternal);
    let Some(hub) = &pair.hub else {
        return findings.found(missing, hub_row("heads", pair.channel), "a row", "none");
    };
    // Our row hashes to what it says, or it would be among those that are left out.
    let is_ours = |state: &State| {
        pair.account
            .as_ref()
            .is_some_and(|ours| ours.state == *state)
    };
    let is_same = is_ours(&hub.signed)
        && pair.account.as_ref().map(|ours| ours.state_hash) == Some(hub.state_hash);
    if !is_same && hub.signed.hash_struct() != hub.state_hash {
        return damaged(pair.channel, hub, pair.account.as_ref(), findings);
    }
    let Some(held) = hub.held.filter(|held| held.channel_id == pair.channel) else {
        let class = (CheckId::R2, Class::Tamper);
        let row = hub_row("heads", pair.channel);
        return findings.found(class, row, "held_state of this channel", "another, or none");
    };
    match &pair.account {
        Some(account) => compare(pair.channel, hub, &held, account, findings),
        // An opening that was not committed leaves the hub with a state of its own.
        None if !known && held.version > 0 => {
            let expected = format!("version={}, which the hub holds co-signed", held.version);
            findings.found(
                missing,
                Row::account("heads", pair.channel),
                expected,
                "none",
            );
        }
        None => {}
    }
}

/// The hub's row is not the state it signed.
fn damaged(
    channel: ChannelId,
    hub: &HubHead,
    account: Option<&AccountHead>,
    findings: &mut Findings,
) {
    let row = hub_row("heads", channel);
    let same = account.filter(|account| {
        // Of the row's own marks at least one still names the state; the rest is what differs.
        account.state_hash == hub.state_hash || account.state.version == hub.signed.version
    });
    let Some(account) = same else {
        let class = (CheckId::R2, Class::Tamper);
        let expected = format!("columns that hash to {}", hub.state_hash);
        let found = format!("columns that hash to {}", hub.signed.hash_struct());
        return findings.found(class, row, expected, found);
    };
    let as_head = Head {
        account_id: Uuid::nil(),
        hub_id: Uuid::nil(),
        state: hub.signed,
        state_hash: hub.state_hash,
    };
    let columns = Columns::of(&account.state, account.state_hash, &as_head);
    findings.found(
        (CheckId::R2, columns.class),
        row,
        columns.expected,
        columns.found,
    );
}

/// Both rows are states that hash to what they say.
fn compare(
    channel: ChannelId,
    hub: &HubHead,
    held: &State,
    account: &AccountHead,
    findings: &mut Findings,
) {
    let here = (account.state.epoch, account.state.version);
    let signed = (hub.signed.epoch, hub.signed.version);
    let holds = (held.epoch, held.version);
    let version =
        |at: (u32, u64), hash| format!("epoch={} version={} state_hash={hash}", at.0, at.1);
    let ours = version(here, account.state_hash);
    let row = hub_row("heads", channel);
    if signed < here {
        let class = (CheckId::R2, Class::StaleState);
        findings.found(
            class,
            row,
            format!("at least {ours}"),
            version(signed, hub.state_hash),
        );
    } else if signed == here && hub.state_hash != account.state_hash {
        let class = (CheckId::R2, Class::Equivocation);
        findings.found(class, row, ours, version(signed, hub.state_hash));
    } else if holds > here && !begins_next(holds, here) {
        let class = (CheckId::R2, Class::StaleState);
        let expected = format!(
            "{}, which the hub holds co-signed",
            version(holds, held.hash_struct())
        );
        findings.found(class, Row::account("heads", channel), expected, ours);
    } else if holds == here && *held != account.state {
        let class = (CheckId::R2, Class::Equivocation);
        let found = format!("held_state: {}", version(holds, held.hash_struct()));
        findings.found(class, row, format!("held_state: {ours}"), found);
    } else if hub.signed.total() != account.state.total() {
        let total = |state: &State| {
            state
                .total()
                .map_or("more than 128 bits".to_owned(), |total| total.to_string())
        };
        let class = (CheckId::R1, Class::AmountMismatch);
        let expected = format!("balances and locks of {}", total(&account.state));
        findings.found(class, row, expected, total(&hub.signed));
    }
}

/// Whether the first is the null state of the epoch after the second: nobody signs it, and the hub
/// may have heard of a settlement before we did.
fn begins_next(holds: (u32, u64), here: (u32, u64)) -> bool {
    holds.1 == 0 && Some(holds.0) == here.0.checked_add(1)
}

async fn lists(context: &mut Context) -> Result<(), Error> {
    let limit = i64::try_from(context.options.max_breaks).unwrap_or(i64::MAX);
    for (difference, check, class) in [
        (Difference::TermsUnlike, CheckId::R2, Class::Tamper),
        (Difference::BatchLost, CheckId::R3, Class::MissingInternal),
        (Difference::JournalUnlike, CheckId::R3, Class::Tamper),
        (Difference::OrderUnlike, CheckId::R7, Class::Tamper),
        (
            Difference::OrderMissing,
            CheckId::R7,
            Class::MissingInternal,
        ),
    ] {
        let place = |key: String| match difference {
            Difference::TermsUnlike => Row::account("hubs", key),
            Difference::BatchLost => Row::account("batches", key),
            Difference::JournalUnlike => hub_row("journal", key),
            Difference::OrderUnlike | Difference::OrderMissing => hub_row("withdrawals", key),
        };
        let rows = hub::find(&mut context.tx, difference, limit).await?;
        let mut findings = Findings::default();
        for row in rows {
            // The batch's row here is wrong and named.
            if !context.named.batches.contains(&row.key) {
                findings.found((check, class), place(row.key), row.expected, row.found);
            }
        }
        context.merge(findings);
    }
    Ok(())
}
