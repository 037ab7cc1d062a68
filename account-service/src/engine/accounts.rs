//! Accounts that are not remembered: read many at a time, however they are asked for.

use crate::store::directory::{self, Account};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Look-ups of one statement: both sides of two full batches.
const AT_ONCE: usize = 8_192;

/// Somebody waits for an account.
pub(super) struct LookUp {
    pub id: Uuid,
    pub reply: oneshot::Sender<sqlx::Result<Option<Arc<Account>>>>,
}

/// Answers look-ups until nobody can ask any more. What comes while the database works is the
/// next statement's.
pub(super) async fn run(pool: PgPool, mut queue: mpsc::Receiver<LookUp>) {
    let mut wanted = Vec::new();
    while queue.recv_many(&mut wanted, AT_ONCE).await > 0 {
        let mut ids: Vec<_> = wanted.iter().map(|look_up| look_up.id).collect();
        ids.sort_unstable();
        ids.dedup();
        match directory::load(&pool, &ids).await {
            Ok(found) => {
                let found: HashMap<_, _> = found
                    .into_iter()
                    .map(|account| (account.id, Arc::new(account)))
                    .collect();
                for look_up in wanted.drain(..) {
                    // Who went away needs no answer.
                    let _ = look_up.reply.send(Ok(found.get(&look_up.id).cloned()));
                }
            }
            Err(error) => {
                tracing::error!(%error, "accounts can't be read");
                for look_up in wanted.drain(..) {
                    let same = match error {
                        sqlx::Error::PoolTimedOut => sqlx::Error::PoolTimedOut,
                        _ => sqlx::Error::WorkerCrashed,
                    };
                    let _ = look_up.reply.send(Err(same));
                }
            }
        }
    }
}
