//! How the hub says no.

use hub_client::{ErrorBody, HubRefusal, UsedVersion};
use hub_core::{Amount, OperationId, Refusal};

pub(crate) fn malformed(detail: impl Into<String>) -> ErrorBody {
    body(HubRefusal::Malformed, detail)
}

pub(crate) fn unavailable(detail: impl Into<String>) -> ErrorBody {
    body(HubRefusal::Unavailable, detail)
}

pub(crate) fn not_found(detail: impl Into<String>) -> ErrorBody {
    body(HubRefusal::NotFound, detail)
}

/// The detail of a fault stays in the log.
pub(crate) fn internal() -> ErrorBody {
    body(
        HubRefusal::Internal,
        "a fault of the hub; send the same request again",
    )
}

pub(crate) fn fenced(why: &str) -> ErrorBody {
    body(
        HubRefusal::Fenced {
            why: why.to_owned(),
        },
        why,
    )
}

pub(crate) fn version_used(channels: Vec<UsedVersion>) -> ErrorBody {
    body(
        HubRefusal::VersionUsed { channels },
        "propose versions above these",
    )
}

/// A broken rule that no operation can be named for.
pub(crate) fn rule(name: &str, detail: impl Into<String>) -> ErrorBody {
    operations_rule(name, Vec::new(), detail)
}

/// A rule that these operations break.
pub(crate) fn operations_rule(
    name: &str,
    operations: Vec<OperationId>,
    detail: impl Into<String>,
) -> ErrorBody {
    let error = HubRefusal::Rule {
        name: name.to_owned(),
        operations,
        headroom: None,
    };
    body(error, detail)
}

/// Issuances beyond what the vault covers.
pub(crate) fn headroom(operations: Vec<OperationId>, left: Amount) -> ErrorBody {
    let error = HubRefusal::Rule {
        name: "HEADROOM".to_owned(),
        operations,
        headroom: Some(left),
    };
    body(error, "the vault does not cover these issuances yet")
}

/// The name of what the machine refuses.
pub(crate) fn machine_rule(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::AmountZero => "AMOUNT_ZERO",
        Refusal::InsufficientFunds { .. } => "INSUFFICIENT_FUNDS",
        Refusal::CapacityExceeded { .. } => "CAPACITY_EXCEEDED",
        Refusal::SameChannel => "SAME_CHANNEL",
        Refusal::UnknownChannel(_) => "UNKNOWN_CHANNEL",
        Refusal::AlreadyOpen(_) => "ALREADY_OPEN",
        Refusal::BadParams => "BAD_PARAMS",
        Refusal::Closing(_) => "CLOSING",
        Refusal::DepositNotFinal { .. } => "DEPOSIT_NOT_FINAL",
        Refusal::WithdrawStillLive { .. } => "WITHDRAW_STILL_LIVE",
        Refusal::VersionsExhausted(_) => "VERSIONS_EXHAUSTED",
    }
}

pub(crate) fn body(error: HubRefusal, detail: impl Into<String>) -> ErrorBody {
    ErrorBody {
        error,
        detail: detail.into(),
    }
}

/// The refusal's code, for counters.
pub(crate) fn code(error: &HubRefusal) -> &str {
    match error {
        HubRefusal::VersionUsed { .. } => "VERSION_USED",
        HubRefusal::BaseBehind { .. } => "BASE_BEHIND",
        HubRefusal::BaseUnknown { .. } => "BASE_UNKNOWN",
        HubRefusal::BaseDiffers { .. } => "BASE_DIFFERS",
        HubRefusal::HeadDamaged { .. } => "HEAD_DAMAGED",
        HubRefusal::EventsMissing { .. } => "EVENTS_MISSING",
        HubRefusal::Closing { .. } => "CLOSING",
        HubRefusal::Rule { name, .. } => name,
        HubRefusal::Fenced { .. } => "FENCED",
        HubRefusal::Session { .. } => "SESSION",
        HubRefusal::Malformed => "MALFORMED",
        HubRefusal::NotFound => "NOT_FOUND",
        HubRefusal::Unauthorized => "UNAUTHORIZED",
        HubRefusal::Unavailable => "UNAVAILABLE",
        HubRefusal::Internal => "INTERNAL",
    }
}
