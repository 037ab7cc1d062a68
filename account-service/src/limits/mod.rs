//! Rate limits of API keys: shared by all replicas through Redis, per process without it.
//!
//! Both sides use the same rule (GCRA): a key may send its limit at once, and gets it back
//! evenly within a minute.

mod local;
mod shared;

use crate::cache::Redis;
use crate::problem::{Code, Problem};
use actix_web::http::header::{HeaderName, HeaderValue};
use uuid::Uuid;

/// Seconds in which a used-up limit is whole again.
pub const WINDOW_S: u32 = 60;

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests a minute.
    pub limit: u32,
    /// Requests that may be sent at once now.
    pub remaining: u32,
    /// Seconds until the limit is whole again.
    pub reset_s: u64,
    /// Seconds until the next request is let through; 0 when this one was.
    pub retry_s: u64,
}

/// Both limiters.
#[derive(Debug)]
pub struct Limits {
    redis: Redis,
    local: local::Local,
}

impl Limits {
    /// With nothing used.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            local: local::Local::default(),
        }
    }

    /// Counts a request of a key that has a limit.
    pub async fn take(&self, key: Uuid, limit: u32) -> Standing {
        match shared::take(&self.redis, key, limit).await {
            Some(standing) => standing,
            None => self.local.take(key, limit),
        }
    }
}

impl Standing {
    /// The headers that tell the caller.
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let header = |name, text: String| {
            let value = HeaderValue::from_str(&text).ok()?;
            Some((HeaderName::from_static(name), value))
        };
        [
            header(
                "ratelimit-policy",
                format!("\"default\";q={};w={WINDOW_S}", self.limit),
            ),
            header(
                "ratelimit",
                format!("\"default\";r={};t={}", self.remaining, self.reset_s),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The refusal, when the request is over the limit.
    pub fn refusal(&self) -> Option<Problem> {
        (self.retry_s > 0).then(|| Problem::new(Code::RateLimited).retry_after(self.retry_s))
    }
}
