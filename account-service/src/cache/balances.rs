//! Balances by version: an older version never takes the place of a newer one.

use super::Redis;
use hub_core::{ChannelId, Version};
use redis::Script;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a balance may be served without asking Postgres. A replica that can't reach Redis
/// can't withdraw what the others read there, so this bounds how stale they can be.
const KEPT_MS: u64 = 3_000;

/// A balance with what is needed to serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedBalance {
    /// The state's version.
    pub version: Version,
    /// The answer's body.
    pub body: String,
}

/// Stores a balance unless a newer version, or the notice of one, is there. Versions are below
/// 2^48, which Lua's numbers hold exactly.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local seen = tonumber(redis.call('HGET', KEYS[1], 'v') or -1)
        if seen > tonumber(ARGV[1]) then return 0 end
        redis.call('HSET', KEYS[1], 'v', ARGV[1], 'd', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return 1
        ",
    )
});

/// Gives notice of new versions where somebody reads: what is older is dropped, and kept out.
/// Nothing is stored for the many channels that nobody reads.
static ADVANCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        for i, key in ipairs(KEYS) do
            local seen = tonumber(redis.call('HGET', key, 'v'))
            if seen and seen < tonumber(ARGV[i + 1]) then
                redis.call('DEL', key)
                redis.call('HSET', key, 'v', ARGV[i + 1])
                redis.call('PEXPIRE', key, ARGV[1])
            end
        end
        return #KEYS
        ",
    )
});

/// Makes room for notices. What is there lives no longer for it.
static EXPECT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HSETNX', KEYS[1], 'v', 0) == 0 then return 0 end
        redis.call('PEXPIRE', KEYS[1], ARGV[1])
        return 1
        ",
    )
});

/// The cache of balances, by channel.
#[derive(Debug)]
pub struct Balances {
    redis: Redis,
    floors: Mutex<Floors>,
}

/// The newest versions this process knows of, for as long as something older may be cached: what
/// a caller was told here is never taken back by the cache.
#[derive(Debug)]
struct Floors {
    newer: HashMap<ChannelId, Version>,
    older: HashMap<ChannelId, Version>,
    since: Instant,
}

impl Floors {
    fn raise(&mut self, channel: ChannelId, version: Version) {
        if self.since.elapsed() > Duration::from_millis(KEPT_MS) {
            self.older = std::mem::take(&mut self.newer);
            self.since = Instant::now();
        }
        let floor = self.newer.entry(channel).or_default();
        *floor = version.max(*floor);
    }

    fn of(&self, channel: &ChannelId) -> Version {
        let known = |floors: &HashMap<_, _>| floors.get(channel).copied().unwrap_or(0);
        known(&self.newer).max(known(&self.older))
    }
}

impl Balances {
    /// In this Redis.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            floors: Mutex::new(Floors {
                newer: HashMap::new(),
                older: HashMap::new(),
                since: Instant::now(),
            }),
        }
    }

    /// The balance of a channel, when it is there and not older than what this process knows.
    pub async fn get(&self, channel: ChannelId) -> Option<CachedBalance> {
        let mut command = redis::cmd("HGET");
        command.arg(self.key(channel)).arg("d");
        let text: Option<String> = self.redis.command(&command).await?;
        let cached: CachedBalance = serde_json::from_str(&text?).ok()?;
        (cached.version >= self.floors().of(&channel)).then_some(cached)
    }

    /// Says that a balance is about to be read from Postgres and kept: from now on notices of
    /// newer versions are kept for the channel, so that none is missed meanwhile.
    pub async fn expect(&self, channel: ChannelId) {
        let mut call = EXPECT.key(self.key(channel));
        call.arg(KEPT_MS);
        let _: Option<bool> = self.redis.script(&call).await;
    }

    /// Keeps a balance that was read from Postgres. Says whether it was the newest known.
    pub async fn put(&self, channel: ChannelId, balance: &CachedBalance) -> Option<bool> {
        let text = serde_json::to_string(balance).ok()?;
        let mut call = PUT.key(self.key(channel));
        call.arg(balance.version).arg(text).arg(KEPT_MS);
        self.redis.script(&call).await
    }

    /// Notes in this process that a channel has reached a version.
    pub fn reached(&self, channel: ChannelId, version: Version) {
        self.floors().raise(channel, version);
    }

    /// Tells all replicas that channels have reached these versions.
    pub async fn advance(&self, reached: &[(ChannelId, Version)]) {
        let Some(((first, _), rest)) = reached.split_first() else {
            return;
        };
        let mut call = ADVANCE.key(self.key(*first));
        for (channel, _) in rest {
            call.key(self.key(*channel));
        }
        call.arg(KEPT_MS);
        for (_, version) in reached {
            call.arg(*version);
        }
        let _: Option<u64> = self.redis.script(&call).await;
    }

    fn key(&self, channel: ChannelId) -> String {
        self.redis.key("balance", &channel)
    }

    fn floors(&self) -> MutexGuard<'_, Floors> {
        // A raised floor is never wrong, so a panic elsewhere spoils nothing.
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
