//! All settings, in the order of the protocol's table R.

use crate::duo::{self, Bug, Config, Rule};
use crate::setting::{Expect, Found, Setting, Violation};
use hub_core::dispute::Side;

const HONEST: Config = Config::honest(true);
const SELF: Config = Config::honest(false);

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

/// Every setting.
pub fn all() -> Vec<Setting> {
    [DUO].concat()
}
