//! API keys: who calls, and what they may do.
//!
//! A key is 256 random bits, so its SHA-256 can't be guessed back and a slow password hash would
//! only cost time. Only the hash is stored. It is looked up as a whole, by an index or a hash
//! map: how long that takes says nothing about a stored key.

use crate::problem::{Code, Problem};
use crate::store::api_keys::{self, ApiKey, NewKey};
use hub_core::{Hash32, sha256};
use rand::TryRngCore as _;
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use uuid::Uuid;

/// How long a key's row is believed: a revocation takes effect within this time.
const BELIEVED: Duration = Duration::from_secs(5);
/// Keys kept in memory: some 300 bytes each.
const MAX_KEPT: usize = 10_000;
/// What every key begins with, so that secret scanners know one when they see it.
const SECRET_PREFIX: &str = "chub_";

/// Who makes a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key.
    pub key_id: Uuid,
    /// Whose accounts it works with.
    pub owner: Uuid,
    /// Whether it works with everybody's.
    pub all_owners: bool,
    /// Requests a minute, if limited.
    pub rate_limit: Option<u32>,
    scopes: Vec<String>,
}

impl Caller {
    /// Whether a scope allows `resource:action`.
    pub fn may(&self, wanted: &str) -> bool {
        self.scopes.iter().any(|scope| allows(scope, wanted))
    }

    /// Whose accounts it may see: `None` for everybody's.
    pub fn only_owner(&self) -> Option<Uuid> {
        (!self.all_owners).then_some(self.owner)
    }
}

/// Whether `scope` (`transfers:write`, `transfers:*`, `*:read`, `admin:*`) covers `wanted`.
/// What only an administrator may do is covered by `admin:…` alone, never by `*`.
fn allows(scope: &str, wanted: &str) -> bool {
    let (Some((resource, action)), Some((want_resource, want_action))) =
        (scope.split_once(':'), wanted.split_once(':'))
    else {
        return false;
    };
    let action_fits = action == "*" || action == want_action;
    let resource_fits = resource == want_resource
        || resource == "admin"
        || (resource == "*" && want_resource != "admin");
    action_fits && resource_fits
}

/// Whether a text is a scope: two parts of lower-case letters, `-` or a single `*`.
pub fn is_scope(text: &str) -> bool {
    let part = |part: &str| {
        part == "*"
            || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
    };
    text.split_once(':')
        .is_some_and(|(resource, action)| part(resource) && part(action))
}

/// Makes a key and stores its hash. Returns the secret, which is not stored anywhere.
pub async fn create_key(pool: &PgPool, new: &NewKey) -> anyhow::Result<String> {
    anyhow::ensure!(!new.scopes.is_empty(), "a key needs at least one --scope");
    for scope in &new.scopes {
        anyhow::ensure!(
            is_scope(scope),
            "{scope:?} is not a scope; write resource:action, for example transfers:write, accounts:* or admin:*"
        );
    }
    let mut bytes = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
    let secret = format!("{SECRET_PREFIX}{}", hex::encode(bytes));
    api_keys::insert(pool, new, sha256(secret.as_bytes())).await?;
    Ok(secret)
}

/// Checks keys against the database, with a short memory.
#[derive(Debug)]
pub struct Keys {
    pool: PgPool,
    kept: Mutex<HashMap<Hash32, Kept>>,
}

#[derive(Debug)]
struct Kept {
    key: ApiKey,
    read_at: Instant,
    used_at: Option<OffsetDateTime>,
}

impl Keys {
    /// With an empty memory.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            kept: Mutex::default(),
        }
    }

    /// The caller that a secret belongs to. The answer to a wrong, an expired and a revoked key
    /// is the same.
    pub async fn caller(&self, secret: &str) -> Result<Caller, Problem> {
        let invalid = || Problem::new(Code::AuthInvalid);
        if !secret.starts_with(SECRET_PREFIX) || secret.len() > 128 {
            return Err(invalid());
        }
        let hash = sha256(secret.as_bytes());
        let now = OffsetDateTime::now_utc();
        let key = match self.remembered(&hash, now) {
            Some(key) => key,
            None => Box::pin(self.read(hash, now)).await?.ok_or_else(invalid)?,
        };
        if key.revoked_at.is_some() || key.expires_at.is_some_and(|at| at <= now) {
            return Err(invalid());
        }
        Ok(Caller {
            key_id: key.id,
            owner: key.owner,
            all_owners: key.scopes.iter().any(|scope| scope.starts_with("admin:")),
            rate_limit: key.rate_limit,
            scopes: key.scopes,
        })
    }

    /// Writes down which keys were used since the last time.
    pub async fn flush_last_used(&self) -> sqlx::Result<()> {
        let used: Vec<(Uuid, OffsetDateTime)> = self
            .lock()
            .values_mut()
            .filter_map(|kept| Some((kept.key.id, kept.used_at.take()?)))
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        api_keys::touch(&self.pool, &used).await
    }

    fn remembered(&self, hash: &Hash32, now: OffsetDateTime) -> Option<ApiKey> {
        let mut kept = self.lock();
        let known = kept.get_mut(hash)?;
        if known.read_at.elapsed() > BELIEVED {
            return None;
        }
        known.used_at = Some(now);
        Some(known.key.clone())
    }

    async fn read(&self, hash: Hash32, now: OffsetDateTime) -> Result<Option<ApiKey>, Problem> {
        let Some(key) = api_keys::by_hash(&self.pool, hash).await? else {
            return Ok(None);
        };
        let mut kept = self.lock();
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, kept| kept.read_at.elapsed() <= BELIEVED);
        }
        if kept.len() < MAX_KEPT {
            let fresh = Kept {
                key: key.clone(),
                read_at: Instant::now(),
                used_at: Some(now),
            };
            kept.insert(hash, fresh);
        }
        Ok(Some(key))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash32, Kept>> {
        // What is kept is valid at every step, so a panic elsewhere spoils nothing.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_what_it_names_and_no_more() {
        for (scope, wanted) in [
            ("transfers:write", "transfers:write"),
            ("transfers:*", "transfers:write"),
            ("*:read", "accounts:read"),
            ("*:*", "accounts:read"),
            ("admin:*", "accounts:read"),
            ("admin:*", "admin:write"),
            ("admin:read", "accounts:read"),
        ] {
            assert!(allows(scope, wanted), "{scope} {wanted}");
        }
        for (scope, wanted) in [
            ("transfers:read", "transfers:write"),
            ("transfers:write", "accounts:write"),
            ("*:read", "accounts:write"),
            ("*:*", "admin:write"),
            ("admin:read", "accounts:write"),
            ("transfer:*", "transfers:write"),
            ("*", "transfers:write"),
        ] {
            assert!(!allows(scope, wanted), "{scope} {wanted}");
        }
    }

    #[test]
    fn only_two_plain_parts_make_a_scope() {
        for good in [
            "admin:*",
            "*:read",
            "transfers:write",
            "account-batches:write",
        ] {
            assert!(is_scope(good), "{good}");
        }
        for bad in [
            "", "admin", "admin:", ":x", "a:b:c", "A:b", "a b:c", "tr*:x",
        ] {
            assert!(!is_scope(bad), "{bad}");
        }
    }
}
