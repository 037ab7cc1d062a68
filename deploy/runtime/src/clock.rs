//! The one place that reads the time.

use time::OffsetDateTime;

/// Now, in UTC and whole microseconds: what a `timestamptz` column can hold, so that an answer
/// given at once and the same answer read back later are equal.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    let micros = now.microsecond() * 1_000;
    now.replace_nanosecond(micros).unwrap_or(now)
}
