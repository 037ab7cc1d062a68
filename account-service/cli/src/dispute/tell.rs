//! What happened on chain, in words and token units.

use crate::money;
use chain::LogBody;
use hub_core::settlement::Closer;
use hub_core::{Address, Amount, Hash32};

/// How amounts are shown.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Digits behind the point.
    pub decimals: u8,
    /// The token's symbol.
    pub symbol: String,
}

impl Unit {
    /// An amount with its unit.
    pub fn show(&self, amount: Amount) -> String {
        format!("{} {}", money::tokens(amount, self.decimals), self.symbol)
    }
}

/// Who closed.
pub fn closer(closer: Closer) -> &'static str {
    match closer {
        Closer::Hub => "the hub",
        Closer::User => "the user's side",
        Closer::Exit => "the payout address (an exit)",
    }
}

/// The first characters of a hash: enough to tell channels apart.
pub fn short(hash: impl Into<Hash32>) -> String {
    hash.into().to_string().chars().take(12).collect()
}

/// One line for what a log says; nothing for what concerns nobody here.
pub fn log(body: &LogBody, user: Address, unit: &Unit) -> Option<String> {
    Some(match body {
        LogBody::Closed {
            state, closer: by, ..
        } => format!("{} posted version {}", closer(*by), state.version),
        LogBody::Challenged {
            state, penalized, ..
        } => {
            let forfeits = if *penalized {
                "; the closer had moved past what it posted and forfeits"
            } else {
                ""
            };
            format!("version {} is posted now{forfeits}", state.version)
        }
        LogBody::CreditAdded { credit_max, .. } => {
            format!("a credit of {} counts", unit.show(*credit_max))
        }
        LogBody::Penalized { bounty_to, .. } => format!(
            "the closer forfeits; the bounty goes to {}",
            bounty_to.checksummed()
        ),
        LogBody::Settled { paid, epoch, .. } => {
            let mut text = format!("epoch {epoch} is settled");
            let now = paid.user_pay.less(paid.owed);
            if !now.is_zero() {
                text += &format!(": {} for {}", unit.show(now), user.checksummed());
            }
            if paid.pay_at != 0 {
                text += ", the closer's own payout is due later";
            }
            for (amount, what) in [
                (paid.user_bonus, "paid to the user out of the hub's bond"),
                (paid.bounty, "bounty"),
                (paid.lock_reserve, "set aside for locks"),
                (paid.owed, "owed, because the hub's funds were short"),
            ] {
                if !amount.is_zero() {
                    text += &format!("; {} {what}", unit.show(amount));
                }
            }
            text
        }
        LogBody::DelayedPaid { to, amount, .. } => {
            format!("{} paid to {}", unit.show(*amount), to.checksummed())
        }
        LogBody::DelayedForfeited { amount, .. } => {
            format!("the late payout of {} was forfeited", unit.show(*amount))
        }
        LogBody::OwedPaid { amount, left, .. } => format!(
            "{} of what was owed paid to {}; {} still owed",
            unit.show(*amount),
            user.checksummed(),
            unit.show(*left)
        ),
        LogBody::Unlocked {
            resolved,
            user_pay,
            owed,
            ..
        } => format!(
            "{} locks resolved: {} paid to {}",
            resolved.len(),
            unit.show(user_pay.less(*owed)),
            user.checksummed()
        ),
        LogBody::PreimageRegistered { hash, .. } => {
            format!("the preimage of {} is known", short(*hash))
        }
        LogBody::Reclaimable { account, amount } => format!(
            "{} could not be delivered and wait for {}",
            unit.show(*amount),
            account.checksummed()
        ),
        LogBody::CallSkipped { reason, .. } => format!("a call was skipped: {reason}"),
        _ => return None,
    })
}
