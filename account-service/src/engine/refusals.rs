//! Business refusals in the words of the API.

use super::types::Refused;
use crate::store::directory::Account;
use hub_client::{ISSUE_LIMIT, ISSUE_PER_ORDER};
use hub_core::{Amount, Refusal};

fn refused(code: &str, detail: impl Into<Box<str>>) -> Refused {
    Refused {
        code: code.into(),
        detail: detail.into(),
        available: None,
        required: None,
        limit: None,
    }
}

fn amounts(mut refusal: Refused, available: Amount, required: Amount) -> Refused {
    refusal.available = Some(available);
    refusal.required = Some(required);
    refusal
}

/// The machine's refusal as the API says it.
pub(crate) fn of_machine(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::AmountZero => refused("AMOUNT_ZERO", "Send an amount above zero."),
        Refusal::InsufficientFunds {
            available,
            required,
            ..
        } => amounts(
            refused(
                "INSUFFICIENT_FUNDS",
                "The account has less than the amount. Lower it, or credit the account first.",
            ),
            available,
            required,
        ),
        Refusal::CapacityExceeded {
            receivable,
            required,
            ..
        } => amounts(
            refused(
                "CAPACITY_EXCEEDED",
                "The receiving account's channel can't take in that much. Lower the amount.",
            ),
            receivable,
            required,
        ),
        Refusal::SameChannel => same_account(),
        Refusal::Closing(_) => refused(
            "CHANNEL_DISPUTED",
            "The channel is being closed on chain. Wait until it is settled.",
        ),
        Refusal::DepositNotFinal { .. } => refused(
            "VERSION_CONFLICT",
            "The deposit is not final yet. It is credited when it is.",
        ),
        Refusal::WithdrawStillLive { .. } => refused(
            "VERSION_CONFLICT",
            "The withdrawal can still be executed on chain. It is given back when it can't.",
        ),
        Refusal::UnknownChannel(_)
        | Refusal::AlreadyOpen(_)
        | Refusal::BadParams
        | Refusal::VersionsExhausted(_) => frozen_channel(),
    }
}

pub(crate) fn account_not_found() -> Refused {
    refused(
        "ACCOUNT_NOT_FOUND",
        "No account of yours has this id. Check it, or open the account first.",
    )
}

pub(crate) fn hub_not_found() -> Refused {
    refused(
        "HUB_NOT_FOUND",
        "No hub has this id. GET /v1/hubs lists them.",
    )
}

pub(crate) fn same_account() -> Refused {
    refused("SAME_ACCOUNT", "Payer and payee must be two accounts.")
}

pub(crate) fn asset_mismatch() -> Refused {
    refused("ASSET_MISMATCH", "The accounts hold different assets.")
}

pub(crate) fn cross_hub() -> Refused {
    refused(
        "HUB_MISMATCH",
        "The accounts belong to different hubs. Use accounts of one hub.",
    )
}

pub(crate) fn payout_address_missing() -> Refused {
    refused(
        "PAYOUT_ADDRESS_MISSING",
        "Send to_address, or open the account with a chain_address.",
    )
}

pub(crate) fn payout_address_invalid() -> Refused {
    refused(
        "ADDRESS_INVALID",
        "Tokens can't be paid to the token or the channel contract.",
    )
}

pub(crate) fn frozen_account(account: &Account) -> Refused {
    refused(
        "ACCOUNT_FROZEN",
        format!("Account acc_{} is frozen. Unfreeze it first.", account.id),
    )
}

pub(crate) fn closed_account(account: &Account) -> Refused {
    refused(
        "ACCOUNT_CLOSED",
        format!("Account acc_{} is closed. Use another account.", account.id),
    )
}

pub(crate) fn frozen_channel() -> Refused {
    refused(
        "CHANNEL_FROZEN",
        "The stored balance is not the one both parties signed. Nothing moves in this channel \
         until an operator has mended it: POST /v1/reconciliation/runs names the row.",
    )
}

pub(crate) fn version_conflict(current: u64) -> Refused {
    refused(
        "VERSION_CONFLICT",
        format!(
            "Another operation came first: the payer's channel is at version {current}. Read \
             the balance again and decide anew."
        ),
    )
}

pub(crate) fn duplicate_client_ref() -> Refused {
    refused(
        "DUPLICATE_CLIENT_REF",
        "This client_ref was used before. GET with ?client_ref= shows for what.",
    )
}

pub(crate) fn duplicate_external_id() -> Refused {
    refused(
        "DUPLICATE_EXTERNAL_ID",
        "An account with this external_id exists. GET /v1/accounts?external_id= shows it.",
    )
}

/// A cap that the hub itself found exceeded.
pub(crate) fn hub_cap(name: &str) -> Refused {
    let detail = if name == ISSUE_LIMIT {
        "The hub has issued what its operator allows in 60 minutes. Issue later with a new key, \
         or ask the hub's operator."
    } else {
        "The amount is above what the hub issues in one order. Send less, or ask its operator."
    };
    Refused {
        limit: Some(name.into()),
        ..refused("LIMIT_EXCEEDED", detail)
    }
}

/// An issuance above what the hub issues in one order.
pub(crate) fn above_order_cap(cap: Amount, amount: Amount) -> Refused {
    amounts(hub_cap(ISSUE_PER_ORDER), cap, amount)
}

/// Whether an issuance that waits for funding may yet pass: the hour ends, an operator unfreezes
/// the account or mends the row, a dispute is settled. Any other refusal ends it.
pub(crate) fn may_pass(refusal: &Refused) -> bool {
    refusal.limit.as_deref() == Some(ISSUE_LIMIT)
        || ["ACCOUNT_FROZEN", "CHANNEL_FROZEN", "CHANNEL_DISPUTED"].contains(&&*refusal.code)
}

pub(crate) fn not_refundable() -> Refused {
    refused(
        "VERSION_CONFLICT",
        "The withdrawal is not waiting to be given back.",
    )
}
