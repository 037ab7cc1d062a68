//! Answers that say no: RFC 9457 problem documents. One code has one status.

use crate::engine::{Refused, RetryReason};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use hub_core::Amount;
use serde::Serialize;
use std::fmt;
use utoipa::ToSchema;

/// Media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($variant:ident $code:literal $status:literal $retryable:literal $title:literal $detail:literal;)+) => {
        /// Why a request was refused. The texts are the contract; see [`Code::ALL`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as callers see it.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Its HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// Whether the same request may succeed later.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }

            /// What it means, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// What to do, when there is nothing more exact to say.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }

            /// The code with this text.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes! {
    MalformedBody "MALFORMED_BODY" 400 false "The body is not a JSON object" "Send one JSON object in UTF-8, each key once, nothing after it.";
    ValidationFailed "VALIDATION_FAILED" 400 false "A field is not valid" "Correct the fields listed in errors.";
    AddressInvalid "ADDRESS_INVALID" 400 false "Not an address that can be paid" "Send 0x and 40 hexadecimal digits, in one case or with a right EIP-55 checksum; neither zero nor a contract of this system.";
    InvalidCursor "INVALID_CURSOR" 400 false "The cursor is not valid here" "Use next_cursor as it was given, with the same filters, or start again without a cursor.";
    IdempotencyKeyRequired "IDEMPOTENCY_KEY_REQUIRED" 400 false "The request needs an Idempotency-Key" "Send a header Idempotency-Key that is new for this operation and the same for its retries.";
    AuthInvalid "AUTH_INVALID" 401 false "The API key is not valid" "Send a header Authorization: Bearer with a key that exists, is not expired and not revoked.";
    SignatureInvalid "SIGNATURE_INVALID" 401 false "The request's signature is not valid" "Sign the request again.";
    ScopeMissing "SCOPE_MISSING" 403 false "The API key may not do this" "Use a key that has the scope named.";
    ApprovalRequired "APPROVAL_REQUIRED" 403 false "A second person must approve" "Have the request approved.";
    RouteNotFound "ROUTE_NOT_FOUND" 404 false "No such route" "See /openapi.json for the routes there are.";
    AccountNotFound "ACCOUNT_NOT_FOUND" 404 false "No such account" "Check the account's id.";
    AssetNotFound "ASSET_NOT_FOUND" 404 false "No such asset" "Leave asset out, or name one that exists.";
    ChannelNotFound "CHANNEL_NOT_FOUND" 404 false "No such channel" "Check the channel's id.";
    StateNotFound "STATE_NOT_FOUND" 404 false "No such state" "The channel has no co-signed state of this version; versions may have gaps.";
    TransferNotFound "TRANSFER_NOT_FOUND" 404 false "No such transfer" "Check the transfer's id.";
    IssuanceNotFound "ISSUANCE_NOT_FOUND" 404 false "No such issuance" "Check the issuance's id.";
    RedemptionNotFound "REDEMPTION_NOT_FOUND" 404 false "No such redemption" "Check the redemption's id.";
    WithdrawalNotFound "WITHDRAWAL_NOT_FOUND" 404 false "No such withdrawal" "Check the withdrawal's id.";
    DepositNotFound "DEPOSIT_NOT_FOUND" 404 false "No such deposit" "Check the deposit's id.";
    HubNotFound "HUB_NOT_FOUND" 404 false "No such hub" "GET /v1/hubs lists the hubs there are.";
    RunNotFound "RUN_NOT_FOUND" 404 false "No such reconciliation run" "Check the run's id.";
    BreakNotFound "BREAK_NOT_FOUND" 404 false "No such break" "Check the break's id.";
    MethodNotAllowed "METHOD_NOT_ALLOWED" 405 false "The route has no such method" "Use a method named in Allow.";
    RequestTimeout "REQUEST_TIMEOUT" 408 true "The request did not arrive in time" "Send the whole body within 10 s.";
    IdempotencyInFlight "IDEMPOTENCY_IN_FLIGHT" 409 true "A request with this key is under way" "Send the same request again after Retry-After.";
    DuplicateClientRef "DUPLICATE_CLIENT_REF" 409 false "The client_ref was used before" "Look up the operation by GET with ?client_ref=.";
    DuplicateExternalId "DUPLICATE_EXTERNAL_ID" 409 false "The external_id is taken" "Look up the account by GET /v1/accounts?external_id=.";
    VersionConflict "VERSION_CONFLICT" 409 false "The channel has moved on" "Read the balance again, decide again, and send a new request with a new key.";
    AlreadyCaptured "ALREADY_CAPTURED" 409 false "Already captured" "Nothing is left to do.";
    AlreadyVoided "ALREADY_VOIDED" 409 false "Already voided" "Nothing is left to do.";
    AlreadyExpired "ALREADY_EXPIRED" 409 false "Already expired" "Nothing is left to do.";
    AlreadyFulfilled "ALREADY_FULFILLED" 409 false "Already fulfilled" "Nothing is left to do.";
    AlreadyCancelled "ALREADY_CANCELLED" 409 false "Already cancelled" "Nothing is left to do.";
    AlreadyReversed "ALREADY_REVERSED" 409 false "Already reversed" "Nothing is left to do.";
    AlreadySubmitted "ALREADY_SUBMITTED" 409 false "Already on its way to the chain" "Wait for its outcome: GET the withdrawal.";
    AlreadyResolved "ALREADY_RESOLVED" 409 false "Already resolved" "Nothing is left to do.";
    EtagMismatch "ETAG_MISMATCH" 412 false "The resource has changed" "GET it again and use its new ETag.";
    BodyTooLarge "BODY_TOO_LARGE" 413 false "The body is too large" "Send at most 64 KiB, or 1 MiB on batch routes.";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" 415 false "The body is not of a type understood" "Send Content-Type: application/json in UTF-8, not compressed.";
    InsufficientFunds "INSUFFICIENT_FUNDS" 422 false "The account has too little" "Pay at most what is available.";
    CapacityExceeded "CAPACITY_EXCEEDED" 422 false "The channel can't take so much" "Send at most what is receivable.";
    LimitExceeded "LIMIT_EXCEEDED" 422 false "A limit is exceeded" "Send less, or ask the operator to raise the limit.";
    AccountFrozen "ACCOUNT_FROZEN" 422 false "The account is frozen" "Ask the operator to unfreeze it.";
    AccountClosed "ACCOUNT_CLOSED" 422 false "The account is closed" "Use another account.";
    BalanceNotZero "BALANCE_NOT_ZERO" 422 false "The account still has money" "Empty the account and wait for its withdrawals before closing it.";
    SameAccount "SAME_ACCOUNT" 422 false "Payer and payee are the same" "Name two accounts.";
    AssetMismatch "ASSET_MISMATCH" 422 false "The account has another asset" "Use accounts of the asset named.";
    AmountZero "AMOUNT_ZERO" 422 false "The amount is zero" "Send an amount of at least 1 minor unit.";
    PreimageMismatch "PREIMAGE_MISMATCH" 422 false "The preimage is another one" "Send the 32 bytes whose sha-256 is the hash.";
    HoldAmountExceeded "HOLD_AMOUNT_EXCEEDED" 422 false "More than the hold" "Capture at most what is held.";
    PayoutAddressMissing "PAYOUT_ADDRESS_MISSING" 422 false "Nowhere to pay to" "Name to_address, or open the account with a chain_address.";
    IdempotencyMismatch "IDEMPOTENCY_MISMATCH" 422 false "The key was used for another request" "Use a new Idempotency-Key for a new operation.";
    BatchRefused "BATCH_REFUSED" 422 false "An item of the atomic batch was refused" "Correct the item named in errors; nothing was done.";
    ChannelDisputed "CHANNEL_DISPUTED" 423 false "The channel is being closed on chain" "Wait for the settlement.";
    ChannelFrozen "CHANNEL_FROZEN" 423 false "The channel's records do not agree" "Start POST /v1/reconciliation/runs; its breaks name the row.";
    RateLimited "RATE_LIMITED" 429 true "Too many requests" "Wait for Retry-After.";
    Internal "INTERNAL" 500 true "A fault on our side" "Send the same request with the same Idempotency-Key again; quote request_id when you ask for help.";
    Backpressure "BACKPRESSURE" 503 true "Too busy" "Send the same request again after Retry-After.";
    Draining "DRAINING" 503 true "Stopping" "Send the same request again after Retry-After.";
    HubUnavailable "HUB_UNAVAILABLE" 503 true "The hub does not answer" "Send the same request with the same Idempotency-Key again after Retry-After.";
    ChainUnavailable "CHAIN_UNAVAILABLE" 503 true "The chain does not answer" "Send the same request again after Retry-After.";
    RestoreFence "RESTORE_FENCE" 503 true "A fence is up after a restore" "An operator has to lift the fence; then send the same request again.";
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where: a field as a path, for example `items.3.amount`, or a header.
    pub field: String,
    /// What is wrong there.
    pub message: String,
    /// The code of a refused batch item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    /// Boxed, so that results stay small where all is well.
    about: Box<About>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct About {
    detail: String,
    errors: Vec<FieldError>,
    available: Option<Amount>,
    required: Option<Amount>,
    limit: Option<String>,
    index: Option<usize>,
    allow: Option<&'static str>,
    retry_after_s: Option<u64>,
    replayed: bool,
}

/// The document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProblemBody {
    /// Identifies the code as a URI.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it means, in a few words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What to do.
    pub detail: String,
    /// The path that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// For programs.
    pub code: &'static str,
    /// Names this request in the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What there is, for lack of funds or capacity, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub available: Option<Amount>,
    /// What it takes, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub required: Option<Amount>,
    /// Which limit, for `LIMIT_EXCEEDED`: `ISSUE_PER_ORDER` or, per hour, `ISSUE_LIMIT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The item of an atomic batch that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

impl Problem {
    /// With the code's own advice.
    pub fn new(code: Code) -> Self {
        Self::with(code, code.advice())
    }

    /// With more exact advice.
    pub fn with(code: Code, detail: impl Into<String>) -> Self {
        let about = About {
            detail: detail.into(),
            retry_after_s: match code.status() {
                409 | 503 if code.retryable() => Some(1),
                _ => None,
            },
            ..About::default()
        };
        Self {
            code,
            about: Box::new(about),
        }
    }

    /// About fields.
    pub fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(code);
        problem.about.errors = errors;
        problem
    }

    /// About one field or header.
    pub fn field(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError {
            field: field.into(),
            message: message.into(),
            code: None,
        };
        Self::fields(code, vec![error])
    }

    /// A fault. The cause goes to the log, never to the caller.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(Code::Internal)
    }

    /// The route has only these methods.
    pub fn method(allow: &'static str) -> Self {
        let mut problem = Self::new(Code::MethodNotAllowed);
        problem.about.allow = Some(allow);
        problem
    }

    /// The whole atomic batch is refused because of one item. A refusal of status 422 keeps
    /// its code; one of another status would give the batch another status than 422.
    pub fn of_batch(index: usize, item: Self) -> Self {
        let error = FieldError {
            field: format!("items.{index}"),
            message: item.about.detail.clone(),
            code: Some(item.code.text()),
        };
        let mut problem = match item.code.status() {
            422 => item,
            _ => Self::new(Code::BatchRefused),
        };
        problem.about.errors = vec![error];
        problem.about.index = Some(index);
        problem
    }

    /// Says when to come back, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.about.retry_after_s = Some(seconds);
        self
    }

    /// Says that it is an earlier answer.
    #[must_use]
    pub fn replayed(mut self, replayed: bool) -> Self {
        self.about.replayed = replayed;
        self
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The document, for the request with this id on this path.
    pub fn body(&self, request: Option<(&str, &str)>) -> ProblemBody {
        ProblemBody {
            kind: format!(
                "urn:chub:problem:{}",
                self.code.text().to_ascii_lowercase().replace('_', "-")
            ),
            title: self.code.title(),
            status: self.code.status(),
            detail: self.about.detail.clone(),
            instance: request.map(|(_, path)| path.to_owned()),
            code: self.code.text(),
            request_id: request.map(|(id, _)| id.to_owned()),
            retryable: self.code.retryable(),
            errors: self.about.errors.clone(),
            available: self.about.available,
            required: self.about.required,
            limit: self.about.limit.clone(),
            index: self.about.index,
        }
    }

    /// The answer, for the request with this id on this path.
    pub fn response(&self, request: Option<(&str, &str)>) -> HttpResponse {
        let mut builder = HttpResponse::build(self.status_code());
        builder.insert_header((header::CONTENT_TYPE, MEDIA_TYPE));
        if let Some(allow) = self.about.allow {
            builder.insert_header((header::ALLOW, allow));
        }
        if let Some(seconds) = self.about.retry_after_s {
            builder.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.about.replayed {
            builder.insert_header(("Idempotency-Replayed", "true"));
        }
        if self.code == Code::AuthInvalid {
            builder.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        // The rest of such a body is not worth reading.
        if matches!(self.code, Code::RequestTimeout | Code::BodyTooLarge) {
            builder.force_close();
        }
        builder.json(self.body(request))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.text(), self.about.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.response(None)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        match RetryReason::of(&error) {
            RetryReason::Internal => Self::internal(error),
            busy => {
                tracing::warn!(%error, "the database is busy");
                busy.into()
            }
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let Some(code) = Code::parse(&refused.code) else {
            return Self::internal(format!("unknown refusal {}", refused.code));
        };
        let mut problem = Self::with(code, refused.detail);
        problem.about.available = refused.available;
        problem.about.required = refused.required;
        problem.about.limit = refused.limit.map(Into::into);
        problem
    }
}

impl From<RetryReason> for Problem {
    fn from(reason: RetryReason) -> Self {
        Self::new(match reason {
            RetryReason::InFlight => Code::IdempotencyInFlight,
            RetryReason::Backpressure => Code::Backpressure,
            RetryReason::Draining => Code::Draining,
            RetryReason::HubUnavailable => Code::HubUnavailable,
            RetryReason::RestoreFence => Code::RestoreFence,
            RetryReason::Internal => Code::Internal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// API.md, "Status and code", word for word where a code stands alone.
    const CONTRACT: &[(u16, &[&str])] = &[
        (
            400,
            &[
                "MALFORMED_BODY",
                "VALIDATION_FAILED",
                "ADDRESS_INVALID",
                "INVALID_CURSOR",
                "IDEMPOTENCY_KEY_REQUIRED",
            ],
        ),
        (408, &["REQUEST_TIMEOUT"]),
        (500, &["INTERNAL"]),
        (401, &["AUTH_INVALID", "SIGNATURE_INVALID"]),
        (403, &["SCOPE_MISSING", "APPROVAL_REQUIRED"]),
        (404, &["ACCOUNT_NOT_FOUND", "TRANSFER_NOT_FOUND"]),
        (405, &["METHOD_NOT_ALLOWED"]),
        (413, &["BODY_TOO_LARGE"]),
        (415, &["UNSUPPORTED_MEDIA_TYPE"]),
        (
            409,
            &[
                "IDEMPOTENCY_IN_FLIGHT",
                "DUPLICATE_CLIENT_REF",
                "DUPLICATE_EXTERNAL_ID",
                "VERSION_CONFLICT",
                "ALREADY_CAPTURED",
                "ALREADY_VOIDED",
                "ALREADY_EXPIRED",
                "ALREADY_FULFILLED",
                "ALREADY_CANCELLED",
                "ALREADY_REVERSED",
            ],
        ),
        (412, &["ETAG_MISMATCH"]),
        (
            422,
            &[
                "INSUFFICIENT_FUNDS",
                "CAPACITY_EXCEEDED",
                "LIMIT_EXCEEDED",
                "ACCOUNT_FROZEN",
                "ACCOUNT_CLOSED",
                "SAME_ACCOUNT",
                "ASSET_MISMATCH",
                "AMOUNT_ZERO",
                "PREIMAGE_MISMATCH",
                "HOLD_AMOUNT_EXCEEDED",
                "PAYOUT_ADDRESS_MISSING",
                "IDEMPOTENCY_MISMATCH",
            ],
        ),
        (423, &["CHANNEL_DISPUTED", "CHANNEL_FROZEN"]),
        (429, &["RATE_LIMITED"]),
        (
            503,
            &[
                "BACKPRESSURE",
                "DRAINING",
                "HUB_UNAVAILABLE",
                "CHAIN_UNAVAILABLE",
                "RESTORE_FENCE",
            ],
        ),
    ];

    /// Ours beyond the contract's table: added, none renamed.
    const ADDED: &[(&str, u16)] = &[
        ("ALREADY_SUBMITTED", 409),
        ("ALREADY_RESOLVED", 409),
        ("BALANCE_NOT_ZERO", 422),
        ("BATCH_REFUSED", 422),
    ];

    #[test]
    fn every_code_of_the_contract_has_its_status_and_there_is_no_other() {
        let mut known = HashSet::new();
        for (status, codes) in CONTRACT {
            for code in *codes {
                let found = Code::parse(code).unwrap_or_else(|| panic!("{code} is missing"));
                assert_eq!(found.status(), *status, "{code}");
                known.insert(*code);
            }
        }
        for (code, status) in ADDED {
            assert_eq!(Code::parse(code).unwrap().status(), *status, "{code}");
            known.insert(code);
        }
        for code in Code::ALL {
            let text = code.text();
            let not_found = text.ends_with("_NOT_FOUND") && code.status() == 404;
            assert!(known.contains(text) || not_found, "{text} is in no table");
        }
    }

    #[test]
    fn a_code_is_retryable_exactly_where_a_later_try_may_succeed() {
        for code in Code::ALL {
            let expected = matches!(code.status(), 408 | 429 | 500 | 503)
                || *code == Code::IdempotencyInFlight;
            assert_eq!(code.retryable(), expected, "{}", code.text());
        }
    }

    #[test]
    fn an_atomic_batch_is_always_refused_with_422() {
        for code in Code::ALL {
            let problem = Problem::of_batch(3, Problem::new(*code));
            assert_eq!(problem.code().status(), 422);
            assert_eq!(problem.body(None).index, Some(3));
            assert_eq!(problem.body(None).errors[0].code, Some(code.text()));
        }
    }

    #[test]
    fn a_refusal_of_the_engine_keeps_its_figures() {
        let problem = Problem::from(Refused {
            code: "INSUFFICIENT_FUNDS".into(),
            detail: "pay less".into(),
            available: Some(Amount::new(1)),
            required: Some(Amount::new(2)),
            limit: None,
        });
        let body = serde_json::to_value(problem.body(Some(("r-1", "/v1/transfers")))).unwrap();
        assert_eq!(body["available"], "1");
        assert_eq!(body["required"], "2");
        assert_eq!(body["request_id"], "r-1");
        assert_eq!(body["instance"], "/v1/transfers");
        assert_eq!(body["status"], 422);
    }
}
