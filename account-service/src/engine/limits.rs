//! The engine's limits, each with what it is derived from.

use std::time::Duration;

/// Jobs of one batch: two channels each at most, so that 4,096 leaves (depth 12) always do.
pub const BATCH_MAX: usize = 2_048;

/// Batches of one hub under way at once: while one waits for its fsyncs another is decided. A
/// third would only make the others smaller: what a batch costs by itself is a tenth of a transfer
/// in batches of fifty.
pub const OVERLAPPING_BATCHES: usize = 2;

/// Groups for which a batch is begun beside a running one. Fewer cost less, and are answered sooner,
/// when they go together once that one is through.
pub const WORTH_A_BATCH: usize = 32;

/// How long requests may wait for others while a batch runs: less than a batch takes under load.
/// When none runs, nothing waits.
pub const LINGER: Duration = Duration::from_millis(12);

/// Groups taken from the queue and not yet started: two full batches, so that a hot channel
/// doesn't hide work on others.
pub const WAITING_GROUPS: usize = 2 * BATCH_MAX;

/// Groups in the queue; beyond that callers get BACKPRESSURE. At 15,000 a second this is half
/// a second of waiting, well inside every caller's time-out.
pub const QUEUE: usize = 8_192;

/// Operations of one hub that are accepted and not answered; beyond that callers get BACKPRESSURE
/// as well. As many as single ones find room for in queue, waiting and batches: a list of a
/// thousand takes as much memory and time as a thousand of them.
pub const ACCEPTED: usize = QUEUE + WAITING_GROUPS + OVERLAPPING_BATCHES * BATCH_MAX;

/// Heads remembered: about 450 bytes each, so 700 MB at most.
pub const CACHED_HEADS: usize = 1_500_000;

/// Accounts remembered: about 450 bytes each, so 700 MB at most.
pub const CACHED_ACCOUNTS: usize = 1_500_000;

/// Tries of one batch before its callers are told to try again. Each names its cause; only a
/// database edited under us or a hub at war with us gets this far.
pub const ATTEMPTS: usize = 12;

/// How long the hub may take to answer. Three tries stay below [`TRANSACTION_LIMIT`].
pub const HUB_TIMEOUT: Duration = Duration::from_secs(2);

/// Tries of one hub call; the identical request gets the identical answer.
pub const HUB_TRIES: u32 = 3;

/// After this a batch that has no fate is burned: longer than any transaction that could
/// still commit it (three hub time-outs and a commit).
pub const TRANSACTION_LIMIT: Duration = Duration::from_secs(10);

/// Fates sent along with one batch.
pub const FATES_PER_REQUEST: usize = 256;

/// Quiet after which fates are handed over by themselves.
pub const FATES_DELAY: Duration = Duration::from_millis(50);

/// After this a fate goes by itself although a request has carried it: its answer got lost.
pub const FATES_RESENT: Duration = Duration::from_secs(1);
