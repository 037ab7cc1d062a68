//! The fast path of idempotency: answers that were given, so that a retry needs no engine.

use super::Redis;
use crate::engine::Route;
use hub_core::{Hash32, sha256};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long an answer is kept here: most retries come within minutes. Postgres keeps it for ever.
const KEPT_S: u64 = 600;

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Hash of the request it was given to.
    pub request_hash: Hash32,
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// The cache of answers.
#[derive(Debug, Clone)]
pub struct Answers {
    redis: Redis,
}

impl Answers {
    /// In this Redis.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// The answer that a key got.
    pub async fn get(&self, owner: Uuid, route: Route, key: &str) -> Option<Remembered> {
        let mut command = redis::cmd("GET");
        command.arg(self.key(owner, route, key));
        let text: Option<String> = self.redis.command(&command).await?;
        serde_json::from_str(&text?).ok()
    }

    /// Keeps the answer that a key got. The first one stays.
    pub async fn put(&self, owner: Uuid, route: Route, key: &str, answer: &Remembered) {
        let Ok(text) = serde_json::to_string(answer) else {
            return;
        };
        let mut command = redis::cmd("SET");
        command
            .arg(self.key(owner, route, key))
            .arg(text)
            .arg("NX")
            .arg("EX")
            .arg(KEPT_S);
        let _: Option<Option<String>> = self.redis.command(&command).await;
    }

    fn key(&self, owner: Uuid, route: Route, key: &str) -> String {
        // Hashed, because a caller's key may be long and may look like anything.
        let name = format!(
            "{}:{}:{}",
            owner.simple(),
            route as i16,
            sha256(key.as_bytes())
        );
        self.redis.key("answer", &name)
    }
}
