//! Ids as callers see them: a prefix that says what it is, and a UUID as 32 lower-case digits.

use uuid::Uuid;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdKind {
    /// An account.
    Account,
    /// A hub.
    Hub,
    /// A transfer.
    Transfer,
    /// A list of transfers sent as one request.
    TransferBatch,
    /// An issuance.
    Issuance,
    /// A redemption.
    Redemption,
    /// A withdrawal.
    Withdrawal,
    /// A deposit.
    Deposit,
    /// A withdrawal given back.
    Refund,
    /// A balance that left with a settlement on chain.
    Settlement,
    /// What came back after a restore without its particulars.
    Recovered,
    /// A state batch.
    Batch,
    /// A reconciliation run.
    Run,
    /// A difference that a run found.
    Break,
    /// An API key.
    ApiKey,
}

impl IdKind {
    /// The prefix, with its underscore.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Account => "acc_",
            Self::Hub => "hub_",
            Self::Transfer => "trf_",
            Self::TransferBatch => "tfb_",
            Self::Issuance => "iss_",
            Self::Redemption => "red_",
            Self::Withdrawal => "wdr_",
            Self::Deposit => "dep_",
            Self::Refund => "ref_",
            Self::Settlement => "set_",
            Self::Recovered => "rcv_",
            Self::Batch => "bat_",
            Self::Run => "rec_",
            Self::Break => "brk_",
            Self::ApiKey => "key_",
        }
    }

    /// The id of this kind as text.
    pub fn text(self, id: Uuid) -> String {
        format!("{}{}", self.prefix(), id.simple())
    }

    /// The id in a text that [`IdKind::text`] could have written; no other spelling is one.
    pub fn parse(self, text: &str) -> Option<Uuid> {
        let digits = text.strip_prefix(self.prefix())?;
        let plain = digits.len() == 32
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if plain {
            Uuid::try_parse(digits).ok()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = Uuid::now_v7();
        let text = IdKind::Account.text(id);
        assert_eq!(IdKind::Account.parse(&text), Some(id));
        assert_eq!(IdKind::Hub.parse(&text), None);
        for other in [
            text.to_uppercase(),
            format!("acc_{}", id.hyphenated()),
            format!("{text} "),
            format!("{text}0"),
            text[..35].to_owned(),
            "acc_".to_owned(),
            String::new(),
            format!("acc_{}", "０".repeat(32)),
        ] {
            assert_eq!(IdKind::Account.parse(&other), None, "{other}");
        }
    }
}
