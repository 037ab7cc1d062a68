//! `chain.outbox`, `chain.inbox`.

use chain_messages::{Envelope, Event, topology};
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Puts an event into the outbox of the caller's transaction.
pub async fn publish(
    db: &mut PgConnection,
    message: &Envelope<Event>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO chain.outbox (id, exchange, routing_key, correlation_id, body, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(message.id)
    .bind(topology::EVENTS)
    .bind(message.body.routing_key())
    .bind(&message.correlation_id)
    .bind(Json(&message.body))
    .bind(now)
    .execute(db)
    .await
    .map(drop)
}

/// Notes a message as received; `false` when it was before.
pub async fn receive(db: &mut PgConnection, id: Uuid, now: OffsetDateTime) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO chain.inbox (message_id, received_at) VALUES ($1, $2)
         ON CONFLICT (message_id) DO NOTHING",
    )
    .bind(id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
