//! The weekly partitions of `account.operations` and `account.batch_states`.

use sqlx::PgPool;
use time::OffsetDateTime;

/// Makes the partitions of the weeks up to `until` that are missing. Returns how many it made.
/// Gives up after a second of waiting for a lock; what is missing then lands in the partition of
/// the rest, where it is found as well.
pub async fn make(pool: &PgPool, until: OffsetDateTime) -> sqlx::Result<i32> {
    sqlx::query_scalar("SELECT account.make_partitions($1)")
        .bind(until)
        .fetch_one(pool)
        .await
}
