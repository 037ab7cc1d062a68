//! What a run says.

use serde::Serialize;
use time::OffsetDateTime;

/// One of the comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum CheckId {
    /// Channel conservation.
    R1,
    /// Head rows against signed states.
    R2,
    /// Batches: roots, links, signatures.
    R3,
    /// Replay of the journal.
    R4,
    /// Issue identity.
    R5,
    /// Escrow on chain.
    R6,
    /// Withdrawals.
    R7,
    /// Deposits.
    R8,
}

impl CheckId {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::R7,
        Self::R8,
    ];

    /// Its name in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::R1 => "R1",
            Self::R2 => "R2",
            Self::R3 => "R3",
            Self::R4 => "R4",
            Self::R5 => "R5",
            Self::R6 => "R6",
            Self::R7 => "R7",
            Self::R8 => "R8",
        }
    }
}

/// What kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Two amounts that should be equal are not.
    AmountMismatch,
    /// A state, or what is said about one, is not the newest co-signed one.
    StaleState,
    /// A signature is not by whom it should be, or covers something else.
    SignatureInvalid,
    /// Two different states of one version.
    Equivocation,
    /// Something other than an amount is not what was signed.
    Tamper,
    /// A row that should be here is not.
    MissingInternal,
    /// Something the rows speak of is not on chain.
    MissingExternal,
    /// There are two where one should be.
    Duplicate,
    /// It should have ended long ago.
    Stuck,
}

impl Class {
    /// Its word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::AmountMismatch => "amount_mismatch",
            Self::StaleState => "stale_state",
            Self::SignatureInvalid => "signature_invalid",
            Self::Equivocation => "equivocation",
            Self::Tamper => "tamper",
            Self::MissingInternal => "missing_internal",
            Self::MissingExternal => "missing_external",
            Self::Duplicate => "duplicate",
            Self::Stuck => "stuck",
        }
    }

    /// How bad it is, unless the check makes it worse.
    pub fn severity(self) -> Severity {
        match self {
            Self::SignatureInvalid | Self::Equivocation | Self::Tamper | Self::Duplicate => {
                Severity::Critical
            }
            Self::AmountMismatch
            | Self::StaleState
            | Self::MissingInternal
            | Self::MissingExternal => Severity::High,
            Self::Stuck => Severity::Medium,
        }
    }
}

/// How bad a break is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be looked at with the next report.
    Low,
    /// To be looked at within days.
    Medium,
    /// To be looked at today.
    High,
    /// To be looked at now: no money should move where it was found.
    Critical,
}

impl Severity {
    /// Its word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A difference, and the row it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// The check that found it.
    pub check: CheckId,
    /// What kind of difference.
    pub class: Class,
    /// How bad it is.
    pub severity: Severity,
    /// Schema of the row.
    pub schema: &'static str,
    /// Table of the row.
    pub table: &'static str,
    /// Key of the row: ids as in the database, channels as 0x-hex, parts joined by `/`.
    pub key: String,
    /// What should be there. Amounts in minor units.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The check.
    pub id: CheckId,
    /// How many things were compared.
    pub compared: u64,
    /// How many differed, listed or not.
    pub breaks: u64,
}

/// A finished run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// When the snapshot was taken, by the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub snapshot_at: OffsetDateTime,
    /// The final block that the chain was read at.
    pub block: u64,
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// The differences, as many as [`crate::Options::max_breaks`] allows.
    pub breaks: Vec<Break>,
}

impl Report {
    /// Whether nothing differed.
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|check| check.breaks == 0)
    }
}
