//! What a side answers to a close, by itself or by its tower (P2, P3, N6).

use super::book::Book;
use super::evidence::Signed;
use crate::dispute::Side;
use crate::{Amount, Epoch, Signature, Version};

/// What a close posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The state with both signatures, or the null state.
    pub signed: Signed,
    /// The newest credit, if the user closes and holds one.
    pub credit: Option<(Amount, Signature)>,
}

/// What to send to the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A newer state; penalizes by itself when it names a base above the closed version.
    Challenge(Box<Signed>),
    /// A state that the closer signed, on a base above the closed version.
    PenalizeBySigned(Box<Signed>),
    /// The closer's `Revoke`.
    PenalizeByRevoke(Version, Signature),
    /// A higher credit.
    AddCredit(Amount, Signature),
}

/// A close as the contract shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispute {
    /// The epoch.
    pub epoch: Epoch,
    /// Who closed as a party; none for an exit, which never forfeits.
    pub closer: Option<Side>,
    /// The version that was posted first.
    pub closed_version: Version,
    /// The version that stands now.
    pub current_version: Version,
    /// Whether a penalty is proved.
    pub penalized: bool,
    /// The highest credit shown.
    pub credit_max: Amount,
}

/// What the side with this book answers, in order. Pure evidence: a tower needs no key for it.
pub fn answer(side: Side, book: &Book, dispute: &Dispute) -> Vec<Answer> {
    let mut answers = Vec::new();
    if book.held.content.state.epoch != dispute.epoch {
        return answers;
    }
    let mut proved = dispute.penalized || dispute.closer.is_none_or(|closer| closer == side);
    if book.held_version() > dispute.current_version {
        proved |= book.held.content.state.ack_version > dispute.closed_version;
        answers.push(Answer::Challenge(Box::new(book.held.clone())));
    }
    if !proved {
        answers.extend(penalty(book, dispute));
    }
    if let Some((total, signature)) = book.credit
        && side == Side::User
        && total > dispute.credit_max
    {
        answers.push(Answer::AddCredit(total, signature));
    }
    answers
}

/// The proof that the closer had left the posted state behind, if there is one.
fn penalty(book: &Book, dispute: &Dispute) -> Option<Answer> {
    if let Some((version, signature)) = book.revoke
        && version >= dispute.closed_version
    {
        return Some(Answer::PenalizeByRevoke(version, signature));
    }
    let signed_by_closer = |signed: &&Signed| match dispute.closer {
        Some(Side::Hub) => signed.by_hub.is_some(),
        Some(Side::User) => signed.by_user.is_some(),
        None => false,
    };
    book.possible()
        .filter(signed_by_closer)
        .find(|signed| signed.content.state.ack_version > dispute.closed_version)
        .map(|signed| Answer::PenalizeBySigned(Box::new(signed.clone())))
}
