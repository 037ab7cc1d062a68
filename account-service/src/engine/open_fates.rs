//! Fates that the hub has not confirmed, and when they go there.

use super::limits;
use hub_client::Fate;
use std::collections::BTreeMap;
use std::time::Instant;

/// By number of the batch. While batches follow each other, each request carries the fates of the
/// batches before it; they go by themselves only where no request does, or where its answer got
/// lost.
#[derive(Debug, Default)]
pub(super) struct OpenFates {
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    fate: Fate,
    /// When it goes by itself.
    due: Instant,
    /// Whether a request has carried it.
    carried: bool,
}

impl OpenFates {
    /// Adds fates known at `now`, in the place of what was known of their batches.
    pub fn add(&mut self, fates: impl IntoIterator<Item = Fate>, now: Instant) {
        let due = now + limits::FATES_DELAY;
        let open = |fate: Fate| Open {
            fate,
            due,
            carried: false,
        };
        self.open
            .extend(fates.into_iter().map(|fate| (fate.batch_id(), open(fate))));
    }

    /// The oldest ones, at most `limit`, for a request that is sent at `now` anyway.
    pub fn carry(&mut self, limit: usize, now: Instant) -> Vec<Fate> {
        let carry = |open: &mut Open| {
            // Once: requests that fail one after the other must not hold it back.
            if !open.carried {
                (open.carried, open.due) = (true, now + limits::FATES_RESENT);
            }
            open.fate.clone()
        };
        self.open.values_mut().take(limit).map(carry).collect()
    }

    /// The oldest of those that have to go by themselves at `now`, at most `limit`.
    pub fn due(&self, limit: usize, now: Instant) -> Vec<Fate> {
        let due = self.open.values().filter(|open| open.due <= now);
        due.take(limit).map(|open| open.fate.clone()).collect()
    }

    /// Drops those that the hub has.
    pub fn confirm(&mut self, fates: &[Fate]) {
        for fate in fates {
            self.open.remove(&fate.batch_id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn burned(batch_id: u64) -> Fate {
        Fate::Burned { batch_id }
    }

    #[test]
    fn what_a_request_carries_goes_by_itself_only_when_its_answer_is_lost() {
        let now = Instant::now();
        let mut fates = OpenFates::default();
        fates.add([burned(7)], now);
        assert!(fates.due(9, now).is_empty(), "a request may take it along");
        assert_eq!(fates.carry(9, now), [burned(7)]);
        assert!(fates.due(9, now + limits::FATES_DELAY).is_empty());
        assert_eq!(fates.due(9, now + limits::FATES_RESENT), [burned(7)]);
        fates.confirm(&[burned(7)]);
        assert!(fates.due(9, now + limits::FATES_RESENT).is_empty());
    }

    #[test]
    fn what_nobody_carries_goes_by_itself() {
        let now = Instant::now();
        let mut fates = OpenFates::default();
        fates.add([burned(8), burned(7)], now);
        assert_eq!(fates.due(1, now + limits::FATES_DELAY), [burned(7)]);
    }

    #[test]
    fn requests_that_fail_one_after_the_other_hold_nothing_back() {
        let now = Instant::now();
        let mut fates = OpenFates::default();
        fates.add([burned(7)], now);
        for ms in (0..1_000).step_by(50) {
            fates.carry(9, now + Duration::from_millis(ms));
        }
        assert_eq!(fates.due(9, now + limits::FATES_RESENT), [burned(7)]);
    }
}
