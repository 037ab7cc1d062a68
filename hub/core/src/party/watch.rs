//! What a side answers to a close, by itself or by its tower (P2, P3, N6).

use super::book::Book;
use super::evidence::Signed;
use crate::dispute::Side;
use crate::dispute::answer::{self, Closing, GivenUp, Held, Move, Proof};
use crate::{Amount, Signature, Version};

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

/// What the side with this book answers next. Pure evidence: a tower needs no key for it. Ending
/// the epoch and paying is anybody's.
pub fn answer(side: Side, book: &Book, closing: &Closing) -> Option<Answer> {
    let held = held(side, book);
    match answer::next(closing, Some(&held), side.into())? {
        Move::Challenge => Some(Answer::Challenge(Box::new(book.held.clone()))),
        Move::AddCredit => {
            let (total, signature) = book.credit?;
            Some(Answer::AddCredit(total, signature))
        }
        Move::Penalize(Proof::Revoke) => {
            let (version, signature) = book.revoke?;
            Some(Answer::PenalizeByRevoke(version, signature))
        }
        Move::Penalize(Proof::State) => {
            let proof = signed_by(side.other(), book);
            let proof = proof.max_by_key(|signed| signed.content.state.ack_version)?;
            Some(Answer::PenalizeBySigned(Box::new(proof.clone())))
        }
        Move::Settle | Move::Claim => None,
    }
}

fn held(side: Side, book: &Book) -> Held {
    let given_up = |by: Side| {
        let bases = signed_by(by, book).map(|signed| signed.content.state.ack_version);
        GivenUp {
            base: bases.max().unwrap_or(0),
            revoked: book
                .revoke
                .filter(|_| by != side)
                .map(|(version, _)| version),
        }
    };
    Held {
        state: book.held.content.state,
        credit: book.credited(),
        hub: given_up(Side::Hub),
        user: given_up(Side::User),
    }
}

/// States that a side has signed, as far as they are known here.
fn signed_by(by: Side, book: &Book) -> impl Iterator<Item = &Signed> {
    book.possible().filter(move |signed| match by {
        Side::Hub => signed.by_hub.is_some(),
        Side::User => signed.by_user.is_some(),
    })
}
