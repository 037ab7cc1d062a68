//! `hub.channel_facts`, `hub.chain_marks` and `hub.inbox`: what is final on chain.

use super::{Connection, decode, epoch, unsigned};
use crate::engine::head::{ChannelFacts, OpenWithdraw};
use crate::engine::ledger::ChainMark;
use hub_core::{ChannelId, Epoch};
use runtime::pg::{PgAmount, PgChannelId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// A channel's facts, and whether the hub has a head of it.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The facts.
    pub facts: ChannelFacts,
    /// Whether the channel was opened here.
    pub has_head: bool,
}

/// All channels that the chain knows something of, or that have an open `Withdraw`.
pub async fn load(
    connection: &mut Connection,
    hub_id: Uuid,
) -> sqlx::Result<HashMap<ChannelId, Known>> {
    let rows = sqlx::query(
        "SELECT f.*, EXISTS (SELECT 1 FROM hub.heads h WHERE h.channel_id = f.channel_id) AS has_head
         FROM hub.channel_facts f WHERE f.hub_id = $1",
    )
    .bind(hub_id)
    .fetch_all(&mut *connection)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in &rows {
        let facts = ChannelFacts {
            epoch: epoch(row)?,
            executed: row.try_get::<PgAmount, _>("executed")?.0,
            final_deposits: row.try_get::<PgAmount, _>("final_deposits")?.0,
            closing: row.try_get("closing")?,
            later_close: later_close(row)?,
            open: None,
        };
        let has_head = row.try_get("has_head")?;
        let channel: PgChannelId = row.try_get("channel_id")?;
        known.insert(channel.0, Known { facts, has_head });
    }
    // The newest one: an older one that is not executed has expired.
    let open = sqlx::query(
        "SELECT DISTINCT ON (w.channel_id) w.channel_id, w.epoch, w.amount, w.valid_until
         FROM hub.withdrawals w WHERE w.hub_id = $1 AND NOT w.executed
         ORDER BY w.channel_id, w.epoch DESC, w.valid_until DESC",
    )
    .bind(hub_id)
    .fetch_all(connection)
    .await?;
    for row in &open {
        let channel: PgChannelId = row.try_get("channel_id")?;
        let withdraw = OpenWithdraw {
            amount: row.try_get::<PgAmount, _>("amount")?.0,
            valid_until: unsigned(row, "valid_until")?,
        };
        let epoch = epoch(row)?;
        let entry = known.entry(channel.0).or_insert(Known {
            facts: ChannelFacts {
                epoch,
                ..ChannelFacts::default()
            },
            has_head: true,
        });
        if entry.facts.epoch == epoch {
            entry.facts.open = Some(withdraw);
        }
    }
    Ok(known)
}

fn later_close(row: &PgRow) -> sqlx::Result<Option<Epoch>> {
    let epoch: Option<i64> = row.try_get("later_close")?;
    epoch
        .map(|epoch| Epoch::try_from(epoch).map_err(decode))
        .transpose()
}

/// Stores a channel's facts.
pub async fn store(
    connection: &mut Connection,
    hub_id: Uuid,
    channel: ChannelId,
    facts: &ChannelFacts,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO hub.channel_facts (hub_id, channel_id, epoch, executed, final_deposits, closing,
             later_close)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (hub_id, channel_id) DO UPDATE SET epoch = EXCLUDED.epoch,
             executed = EXCLUDED.executed, final_deposits = EXCLUDED.final_deposits,
             closing = EXCLUDED.closing, later_close = EXCLUDED.later_close",
    )
    .bind(hub_id)
    .bind(PgChannelId(channel))
    .bind(i64::from(facts.epoch))
    .bind(PgAmount(facts.executed))
    .bind(PgAmount(facts.final_deposits))
    .bind(facts.closing)
    .bind(facts.later_close.map(i64::from))
    .execute(connection)
    .await
    .map(drop)
}

/// Which of these channels have a head here.
pub async fn with_head(
    connection: &mut Connection,
    hub_id: Uuid,
    channel: ChannelId,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM hub.heads WHERE hub_id = $1 AND channel_id = $2)",
    )
    .bind(hub_id)
    .bind(PgChannelId(channel))
    .fetch_one(connection)
    .await
}

/// The newest final block and the vault.
pub async fn chain_mark(connection: &mut Connection, hub_id: Uuid) -> sqlx::Result<ChainMark> {
    let row = sqlx::query("SELECT * FROM hub.chain_marks WHERE hub_id = $1")
        .bind(hub_id)
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(ChainMark::default()), |row| {
        Ok(ChainMark {
            block: unsigned(&row, "final_block")?,
            timestamp: unsigned(&row, "final_timestamp")?,
            vault: row.try_get::<PgAmount, _>("vault")?.0,
            events: unsigned(&row, "events")?,
        })
    })
}

/// Stores the newest final block and the vault.
pub async fn store_chain_mark(
    connection: &mut Connection,
    hub_id: Uuid,
    mark: &ChainMark,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO hub.chain_marks (hub_id, final_block, final_timestamp, vault, events)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (hub_id) DO UPDATE SET final_block = EXCLUDED.final_block,
             final_timestamp = EXCLUDED.final_timestamp, vault = EXCLUDED.vault,
             events = EXCLUDED.events",
    )
    .bind(hub_id)
    .bind(i64::try_from(mark.block).unwrap_or(i64::MAX))
    .bind(i64::try_from(mark.timestamp).unwrap_or(i64::MAX))
    .bind(PgAmount(mark.vault))
    .bind(mark.events.cast_signed())
    .execute(connection)
    .await
    .map(drop)
}

/// Notes that these messages were handled. Returns those that were not before.
pub async fn receive(
    connection: &mut Connection,
    hub_id: Uuid,
    messages: &[Uuid],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "INSERT INTO hub.inbox (hub_id, message_id, received_at)
         SELECT $1, n.id, $3 FROM UNNEST($2::uuid[]) AS n(id)
         ON CONFLICT DO NOTHING RETURNING message_id",
    )
    .bind(hub_id)
    .bind(messages)
    .bind(now)
    .fetch_all(connection)
    .await
}
