//! `account.batch_states` and `account.kept_leaves`: single states by their place.
//!
//! They are read by a statement of their own that knows the batches: it is planned for the weeks
//! that these are of. A join with operations or heads would be planned and begun for every week
//! there is, which after years takes longer than all else.

use hub_core::State;
use hub_core::encoding::{STATE_LEN, decode_state};
use sqlx::{PgPool, Row as _};
use std::collections::HashMap;
use uuid::Uuid;

// The statements that cut states out of a batch's column do so by this length.
const _: () = assert!(STATE_LEN == 214);

/// Where a state is: its batch, and its place among the leaves.
pub type Place = (Uuid, i32);

/// The states at these places; one that is gone, as nothing needs it any more, is left out.
///
/// # Errors
/// As the database fails, and when a state can't be read.
pub async fn read(pool: &PgPool, places: &[Place]) -> sqlx::Result<HashMap<Place, State>> {
    if places.is_empty() {
        return Ok(HashMap::new());
    }
    let (batches, leaves): (Vec<_>, Vec<_>) = places.iter().copied().unzip();
    let rows = sqlx::query(
        "SELECT p.batch, p.leaf, coalesce(substring(s.states FROM p.leaf * 214 + 1 FOR 214),
                (SELECT k.state FROM account.kept_leaves k WHERE k.batch = p.batch AND k.leaf = p.leaf)) AS state
         FROM unnest($1::uuid[], $2::int[]) AS p(batch, leaf)
         LEFT JOIN account.batch_states s ON s.id = p.batch AND s.id = ANY($1)",
    )
    .bind(batches)
    .bind(leaves)
    .fetch_all(pool)
    .await?;
    let mut states = HashMap::with_capacity(rows.len());
    for row in &rows {
        if let Some(state) = row.try_get::<Option<Vec<u8>>, _>("state")? {
            let state = decode_state(&state).map_err(|e| sqlx::Error::Decode(e.into()))?;
            states.insert((row.try_get("batch")?, row.try_get("leaf")?), state);
        }
    }
    Ok(states)
}
