//! The limit that all replicas share, in Redis.

use super::{Standing, WINDOW_S};
use crate::cache::Redis;
use redis::Script;
use std::sync::LazyLock;
use uuid::Uuid;

/// GCRA with the clock of Redis, in microseconds: `tat` is the time at which the limit will be
/// whole again. Answers {remaining, reset, retry}, both times in milliseconds.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local clock = redis.call('TIME')
        local now = clock[1] * 1000000 + clock[2]
        local limit = tonumber(ARGV[1])
        local window = tonumber(ARGV[2]) * 1000000
        local each = window / limit
        local tat = tonumber(redis.call('GET', KEYS[1]) or now)
        if tat < now or tat > now + 2 * window then tat = now end
        local next = tat + each
        local retry = 0
        if next - now > window then
            retry = next - now - window
        else
            tat = next
            redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1000)
        end
        local remaining = math.floor((now + window - tat) / each + 0.000001)
        return {remaining, math.ceil((tat - now) / 1000), math.ceil(retry / 1000)}
        ",
    )
});

/// Counts a request, or says nothing when Redis doesn't.
pub async fn take(redis: &Redis, key: Uuid, limit: u32) -> Option<Standing> {
    let mut call = TAKE.key(redis.key("rate", &key.simple()));
    call.arg(limit).arg(WINDOW_S);
    let (remaining, reset_ms, retry_ms): (u32, u64, u64) = redis.script(&call).await?;
    Some(Standing {
        limit,
        remaining,
        reset_s: reset_ms.div_ceil(1000),
        retry_s: retry_ms.div_ceil(1000),
    })
}
