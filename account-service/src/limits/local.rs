//! The limit of this process alone, for as long as Redis is away.

use super::{Standing, WINDOW_S};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Keys that are remembered; each takes some 200 bytes. Forgetting one gives it a fresh limit.
const MAX_KEYS: usize = 10_000;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// One limiter per key and limit.
#[derive(Debug, Default)]
pub struct Local {
    limiters: Mutex<HashMap<(Uuid, u32), Arc<Limiter>>>,
}

impl Local {
    /// Counts a request.
    pub fn take(&self, key: Uuid, limit: u32) -> Standing {
        let limiter = self.limiter(key, limit);
        let window = u64::from(WINDOW_S);
        match limiter.check() {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity().min(limit);
                let used = u64::from(limit - remaining);
                Standing {
                    limit,
                    remaining,
                    reset_s: (used * window).div_ceil(u64::from(limit.max(1))),
                    retry_s: 0,
                }
            }
            Err(until) => Standing {
                limit,
                remaining: 0,
                reset_s: window,
                retry_s: until
                    .wait_time_from(DefaultClock::default().now())
                    .as_secs()
                    .saturating_add(1),
            },
        }
    }

    fn limiter(&self, key: Uuid, limit: u32) -> Arc<Limiter> {
        // The map is whole at every step, so a panic elsewhere spoils nothing.
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        if limiters.len() >= MAX_KEYS {
            limiters.clear();
        }
        let quota = Quota::per_minute(NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN));
        let fresh = || Arc::new(RateLimiter::direct(quota).with_middleware());
        Arc::clone(limiters.entry((key, limit)).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_limit_and_no_more_and_others_have_their_own() {
        let local = Local::default();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for left in [2, 1, 0] {
            assert_eq!(local.take(one, 3).remaining, left);
        }
        let over = local.take(one, 3);
        assert!((1..=21).contains(&over.retry_s), "{over:?}");
        assert!(over.refusal().is_some());
        assert!(local.take(two, 3).refusal().is_none());
    }
}
