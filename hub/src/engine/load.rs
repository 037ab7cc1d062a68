//! Starting, and reading the ledger from its rows.

use super::head::{ChannelFacts, Head};
use super::ledger::{Entry, Ledger, OpenBatch, Seal};
use super::{Core, Hub, HubParts, Memory, limits};
use crate::store;
use hub_core::{ChannelId, State};
use sqlx::{Acquire as _, PgPool};
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use uuid::Uuid;

/// Why the hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key is not the one of the terms.
    #[error("the hub key is {key}, the terms name {terms}")]
    OtherKey {
        /// The key's address.
        key: hub_core::Address,
        /// The terms'.
        terms: hub_core::Address,
    },
    /// The rows belong to other keys, another contract or another funding mode.
    #[error("hub {hub_id} was run on other terms: {before}; parameters of a channel never change")]
    OtherTerms {
        /// The hub.
        hub_id: Uuid,
        /// The terms its channels were opened on.
        before: String,
    },
    /// The database.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl Hub {
    /// Takes the hub over, and reads its ledger. Any other process of this hub stops signing.
    /// Call it inside the runtime the hub is to work in.
    pub async fn start(parts: HubParts) -> Result<Self, StartError> {
        if parts.signer.address() != parts.terms.hub_signer {
            return Err(StartError::OtherKey {
                key: parts.signer.address(),
                terms: parts.terms.hub_signer,
            });
        }
        let session = Uuid::new_v4();
        let mut tx = parts.pool.begin().await?;
        let before = store::hubs::take_over(&mut tx, &parts.terms, session).await?;
        if let Some(before) = before.filter(|before| !before.same_identity(&parts.terms)) {
            return Err(StartError::OtherTerms {
                hub_id: parts.terms.hub_id,
                before: format!("{before:?}"),
            });
        }
        tx.commit().await?;
        let ledger = load(&parts.pool, parts.terms.hub_id).await?;
        let seen = ledger.newest;
        let core = Core {
            session: RwLock::new(session),
            greeted: AtomicBool::new(false),
            memory: Mutex::new(Memory { ledger: None, seen }),
            parts,
        };
        core.show(&ledger);
        core.memory.lock().await.ledger = Some(ledger);
        Ok(Self {
            core: Arc::new(core),
            runtime: Handle::current(),
        })
    }
}

/// Reads everything the ledger sums up, in one snapshot.
pub(super) async fn load(pool: &PgPool, hub_id: Uuid) -> sqlx::Result<Ledger> {
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    store::snapshot(&mut tx).await?;
    let marks = store::hubs::marks(&mut tx, hub_id).await?;
    let mut ledger = Ledger {
        generation: marks.generation,
        floor: marks.floor,
        version_floor: marks.version_floor,
        fence: marks.fence,
        newest: store::journal::newest(&mut tx, hub_id).await?,
        chain: store::facts::chain_mark(&mut tx, hub_id).await?,
        liabilities: store::heads::committed_entitlements(&mut tx, hub_id).await?,
        ..Ledger::default()
    };
    let since = runtime::clock::now() - limits::ISSUE_WINDOW;
    for (at, amount) in store::journal::issued_since(&mut tx, hub_id, since).await? {
        ledger.issued.add(at, amount);
    }
    let pending = store::heads::load_pending(&mut tx, hub_id).await?;
    for head in &pending.intact {
        ledger.liabilities += head.worst().unwrap_or(0);
        if !head.pending().is_zero() {
            ledger
                .abandoned
                .insert(head.signed.channel_id, head.pending());
        }
    }
    for channel in &pending.damaged {
        tracing::error!(%channel, "a head was edited: its channel signs nothing");
    }
    for (channel, known) in store::facts::load(&mut tx, hub_id).await? {
        if known.has_head {
            ledger.liabilities += known.facts.claim().unwrap_or(0);
        }
        ledger.facts.insert(channel, known.facts);
    }
    let heads: HashMap<_, _> = pending
        .intact
        .into_iter()
        .map(|head| (head.signed.channel_id, head))
        .collect();
    for (batch_id, seal, states) in store::journal::open(&mut tx, hub_id).await? {
        let batch = open_batch(batch_id, seal, &states, &heads);
        ledger.open.insert(batch_id, batch);
    }
    let behind = store::heads::behind(&mut tx, hub_id).await?;
    ledger.behind.extend(behind);
    tx.commit().await?;
    Ok(ledger)
}

/// What an open batch holds of the channels whose newest state is in it.
fn open_batch(
    batch_id: u64,
    seal: Seal,
    states: &[State],
    heads: &HashMap<ChannelId, Head>,
) -> OpenBatch {
    let mut batch = OpenBatch {
        seal,
        ..OpenBatch::default()
    };
    for state in states {
        let newest = heads
            .get(&state.channel_id)
            .filter(|head| head.signed_batch == batch_id);
        let Some(head) = newest else {
            batch.suspect = true;
            continue;
        };
        batch.suspect |= head.below.version != state.ack_version;
        batch.entries.insert(
            state.channel_id,
            Entry {
                release: head.worst().unwrap_or(0) - state.entitlement().unwrap_or(0),
                pending: head.pending(),
            },
        );
    }
    batch
}

/// Nothing known of a channel yet, in its epoch.
pub(super) fn no_facts(epoch: hub_core::Epoch) -> ChannelFacts {
    ChannelFacts {
        epoch,
        ..ChannelFacts::default()
    }
}
