//! All settings, in the order of the protocol's table R.

use crate::duo::{self, Bug, Config, Rule};
use crate::engine::{self, Mode};
use crate::setting::{Expect, Found, Setting, Violation};
use crate::{hops, settle};
use hub_core::dispute::Side;

const HONEST: Config = Config::honest(true);
const SELF: Config = Config::honest(false);
const LATE: Config = Config {
    cheater: Some(Side::User),
    sleeps: true,
    ..HONEST
};

/// Declares a setting of one channel.
macro_rules! duo {
    ($name:literal, $about:literal, $expect:expr, $exercises:expr, $config:expr) => {{
        fn run(seed: u64) -> Found {
            const CONFIG: Config = $config;
            duo::run(CONFIG, seed)
        }
        Setting {
            name: $name,
            about: $about,
            expect: $expect,
            exercises: $exercises,
            run,
        }
    }};
}

const RICH: &[&str] = &[
    "completed",
    "burned",
    "crash",
    "refused",
    "honest close",
    "hub's cheat",
    "user's cheat",
    "revoked state posted",
    "one behind replaced",
    "bounty",
    "payout",
    "reversal",
    "deposit folded",
    "lock",
    "locks settled",
];
const CREDITS: &[&str] = &[
    "credit",
    "credit folded",
    "revoked state posted",
    "bounty",
    "payout",
    "locks settled",
];

/// One channel, with and without planted bugs.
pub const DUO: &[Setting] = &[
    duo!(
        "custodial",
        "`ackVersion` = base, custodial",
        Expect::Clean,
        RICH,
        HONEST
    ),
    duo!(
        "self-custody",
        "`ackVersion` = base and `Revoke`, self-custody, with the Credit leg",
        Expect::Clean,
        CREDITS,
        SELF
    ),
    duo!(
        "custodial-restores",
        "either database restored behind a fence, versions jump, heads imported",
        Expect::Clean,
        &["restored", "fence", "fence lifted"],
        Config {
            restores: true,
            ..HONEST
        }
    ),
    duo!(
        "self-custody-restores",
        "the same in self-custody",
        Expect::Clean,
        &["restored", "fence", "fence lifted", "credit"],
        Config {
            restores: true,
            ..SELF
        }
    ),
    duo!(
        "custodial-late",
        "the hub's tower sleeps through the window and comes back before a cheating user is paid",
        Expect::Clean,
        &["revoked state posted", "forfeited late", "bounty"],
        LATE
    ),
    duo!(
        "self-custody-late",
        "the same in self-custody",
        Expect::Clean,
        &["revoked state posted", "forfeited late", "bounty"],
        Config {
            custodial: false,
            ..LATE
        }
    ),
    duo!(
        "late-forgotten",
        "a tower forgets a close when it is settled",
        Expect::Caught(Violation::CheaterEscaped),
        &[],
        Config {
            bug: Bug::ForgetsSettled,
            ..LATE
        }
    ),
    duo!(
        "ack-unchecked",
        "the first signer does not check `ackVersion` and learns the last signature later",
        Expect::Caught(Violation::HonestPunished),
        &[],
        Config {
            bug: Bug::AckUnchecked,
            ..HONEST
        }
    ),
    duo!(
        "ack-by-acknowledgement",
        "`ackVersion` names what the hub acknowledged, and a cheating hub is mute",
        Expect::Caught(Violation::CheaterEscaped),
        &[],
        Config {
            bug: Bug::AckAcknowledged,
            cheater: Some(Side::Hub),
            rich: false,
            ..HONEST
        }
    ),
    duo!(
        "n-plus-2",
        "n+2 with burned versions",
        Expect::Caught(Violation::HonestPunished),
        &[],
        Config {
            rule: Rule::TwoAbove,
            ..HONEST
        }
    ),
    duo!(
        "revoke-alone",
        "strict `Revoke` alone",
        Expect::Caught(Violation::CheaterEscaped),
        &[],
        Config {
            rule: Rule::RevokeOnly,
            ..SELF
        }
    ),
    duo!(
        "penalty-final",
        "the first proof ends the dispute",
        Expect::Caught(Violation::HonestShort),
        &[],
        Config {
            rule: Rule::PenaltyFinal,
            ..HONEST
        }
    ),
    duo!(
        "penalty-current",
        "evidence compared with the state that stands",
        Expect::Caught(Violation::CheaterEscaped),
        &[],
        Config {
            rule: Rule::ComparesCurrent,
            ..HONEST
        }
    ),
    duo!(
        "no-reserve",
        "no reserve for pending withdrawals",
        Expect::Caught(Violation::HonestShort),
        &[],
        Config {
            bug: Bug::NoReserve,
            ..HONEST
        }
    ),
    duo!(
        "early-reversal",
        "a withdrawal given back by a clock ahead of the final block",
        Expect::Caught(Violation::HonestShort),
        &[],
        Config {
            bug: Bug::EarlyReversal,
            ..HONEST
        }
    ),
    duo!(
        "close-without-freeze",
        "a closer goes on signing",
        Expect::Caught(Violation::HonestPunished),
        &[],
        Config {
            bug: Bug::CloseWithoutFreeze,
            ..HONEST
        }
    ),
    duo!(
        "restore-no-guard",
        "a restored side goes on as before",
        Expect::Caught(Violation::TwoContents),
        &[],
        Config {
            bug: Bug::NoGuard,
            restores: true,
            ..HONEST
        }
    ),
    duo!(
        "restore-high-water",
        "a restored side knows its highest version only",
        Expect::Caught(Violation::HonestPunished),
        &[],
        Config {
            bug: Bug::HighWaterOnly,
            restores: true,
            ..HONEST
        }
    ),
    duo!(
        "metered-early",
        "anybody resolves a metered lock before its expiry",
        Expect::Caught(Violation::HonestShort),
        &[],
        Config {
            rule: Rule::MeteredEarly,
            ..HONEST
        }
    ),
];

/// Declares a setting whose run takes one value beside the seed.
macro_rules! one {
    ($name:literal, $about:literal, $expect:expr, $exercises:expr, $run:expr) => {
        Setting {
            name: $name,
            about: $about,
            expect: $expect,
            exercises: $exercises,
            run: $run,
        }
    };
}

/// Who is paid what.
pub const SETTLE: &[Setting] = &[
    one!(
        "settlement",
        "settlement N7",
        Expect::Clean,
        &["executed", "reversed", "deposit folded", "credit"],
        |seed| settle::run(settle::Bug::None, seed)
    ),
    one!(
        "settlement-no-reserve",
        "no reserve for what is pending",
        Expect::Caught(Violation::HonestShort),
        &[],
        |seed| settle::run(settle::Bug::NoReserve, seed)
    ),
    one!(
        "settlement-early-reversal",
        "reversed while it can be executed",
        Expect::Caught(Violation::HonestShort),
        &[],
        |seed| settle::run(settle::Bug::EarlyReversal, seed)
    ),
    one!(
        "settlement-clamp",
        "clamped to the capacity, with large deposits",
        Expect::Caught(Violation::HonestShort),
        &[],
        |seed| settle::run(settle::Bug::ClampToCapacity, seed)
    ),
];

/// Transfers across hubs.
pub const HOPS: &[Setting] = &[
    one!(
        "locks",
        "delta = outage + inclusion + finality + restart",
        Expect::Clean,
        &["completed", "returned", "registered", "payee registers"],
        |seed| hops::run(hops::Rule::Ours, seed)
    ),
    one!(
        "locks-no-outage",
        "delta = 2 x (inclusion + finality)",
        Expect::Caught(Violation::ForwarderShort),
        &[],
        |seed| hops::run(hops::Rule::NoOutage, seed)
    ),
    one!(
        "locks-delta-0",
        "delta 0",
        Expect::Caught(Violation::ForwarderShort),
        &[],
        |seed| hops::run(hops::Rule::NoDelta, seed)
    ),
    one!(
        "locks-by-clock",
        "an in-lock failed by the clock",
        Expect::Caught(Violation::ForwarderShort),
        &[],
        |seed| hops::run(hops::Rule::ByClock, seed)
    ),
    one!(
        "locks-never-registered",
        "the preimage is never registered on chain",
        Expect::Caught(Violation::ForwarderShort),
        &[],
        |seed| hops::run(hops::Rule::NeverRegisters, seed)
    ),
    one!(
        "locks-registered-late",
        "registered only at expiry - (inclusion + finality), outage or not",
        Expect::Caught(Violation::ForwarderShort),
        &[],
        |seed| hops::run(hops::Rule::RegistersLate, seed)
    ),
];

/// Batches, replicas, databases.
pub const ENGINE: &[Setting] = &[
    one!(
        "engine",
        "engine N3 + N5: 4 replicas, crashes, ambiguous commits, `burned` rows under live batches",
        Expect::Clean,
        &[
            "committed",
            "crash",
            "ambiguous commit",
            "burned",
            "burned under a live batch",
            "version used",
            "base unknown"
        ],
        |seed| engine::run(Mode::Usual, seed)
    ),
    one!(
        "partial-commit",
        "a row loses its race and is dropped, the rest of the root is committed",
        Expect::Caught(Violation::Diverged),
        &[],
        |seed| engine::run(Mode::PartialCommit, seed)
    ),
    one!(
        "burned-late",
        "burned versions learnt only at a restart",
        Expect::Caught(Violation::Stuck),
        &[],
        |seed| engine::run(Mode::BurnedLate, seed)
    ),
    one!(
        "lossy-at-commit",
        "lossy fail-over, callers answered at commit",
        Expect::Caught(Violation::AcknowledgedLost),
        &[],
        |seed| engine::run(Mode::LossyAtCommit, seed)
    ),
    one!(
        "lossy-after-hub",
        "lossy fail-over, callers answered after the hub stored the custody signature; the operator's steps after the fence",
        Expect::Clean,
        &["fence", "fence lifted", "account database lost commits"],
        |seed| engine::run(Mode::LossyAfterHub, seed)
    ),
    one!(
        "account-no-fence",
        "account database restored, no fence",
        Expect::Caught(Violation::AcknowledgedLost),
        &[],
        |seed| engine::run(Mode::RestoredNoFence, seed)
    ),
    one!(
        "both-restored",
        "both restored to before the same commit, fences lifted",
        Expect::Caught(Violation::AcknowledgedLost),
        &[],
        |seed| engine::run(Mode::BothRestored, seed)
    ),
    one!(
        "both-restored-anchor",
        "the same; the anchor is compared first, and answers for all that it covers",
        Expect::Clean,
        &["both restored", "fence kept by the anchor", "fence lifted"],
        |seed| engine::run(Mode::BothRestoredAnchor, seed)
    ),
    one!(
        "both-restored-newest",
        "the same; the anchor names the newest committed batch, above some without a fate",
        Expect::Caught(Violation::AcknowledgedLost),
        &[],
        |seed| engine::run(Mode::BothRestoredNewest, seed)
    ),
    one!(
        "hub-no-guard",
        "hub database restored, no guard",
        Expect::Caught(Violation::TwoContents),
        &[],
        |seed| engine::run(Mode::HubNoGuard, seed)
    ),
    one!(
        "hub-jump",
        "hub database restored, floor jump, heads imported",
        Expect::Clean,
        &["hub restored", "committed"],
        |seed| engine::run(Mode::HubJump, seed)
    ),
    one!(
        "user-leaf-first",
        "user-signed leaf inside a hub-first batch",
        Expect::Caught(Violation::HalfTransfer),
        &[],
        |seed| engine::run(Mode::UserLeafFirst, seed)
    ),
    one!(
        "user-leaf-after",
        "the hub signs a user's leaf after the commit (N4)",
        Expect::Clean,
        &["user's leaf unsigned"],
        |seed| engine::run(Mode::UserLeafAfter, seed)
    ),
    one!(
        "burn-limit",
        "a stolen account-service abandons batches, `burn_limit` counted",
        Expect::Clean,
        &["something created", "refused above the limit"],
        |seed| engine::run_limit(true, seed)
    ),
    one!(
        "burn-limit-uncounted",
        "the same, abandoned batches not counted",
        Expect::Caught(Violation::BurnLimitPassed),
        &[],
        |seed| engine::run_limit(false, seed)
    ),
];

/// Every setting.
pub fn all() -> Vec<Setting> {
    [DUO, SETTLE, HOPS, ENGINE].concat()
}
