//! Meters and cheques of a file: evidence for metered and cover locks, checked against its list.

use anyhow::{Context as _, bail};
use chain::calls::claims::{SignedCheque, SignedMeter};
use hub_core::lock::{Lock, LockKind};
use hub_core::signature::verify;
use hub_core::trade::{Book, Cheque, Meter, Order};
use hub_core::{Address, Amount, Domain, Hash32, Signature};
use serde::{Deserialize, Serialize};

/// What a buyer confirms of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterEntry {
    /// The buyer's key, to which the order's id commits.
    pub signer: Address,
    /// Hash of the order's terms.
    pub terms: Hash32,
    /// All granules that were delivered.
    pub delivered: u64,
    /// The buyer's, over `Meter`.
    pub signature: Signature,
}

/// A cumulative promise out of a chequebook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChequeEntry {
    /// The book's key, to which the book's id commits.
    pub signer: Address,
    /// Hash of the book's terms.
    pub terms: Hash32,
    /// Who is paid.
    pub beneficiary: Address,
    /// All that was ever promised to it, in minor units.
    pub cumulative: Amount,
    /// The book's, over `Cheque`.
    pub signature: Signature,
}

/// The lock list's id of a meter's order.
pub fn order(meter: &SignedMeter) -> Hash32 {
    let (signer, terms) = (meter.signer, meter.terms);
    Order { signer, terms }.id()
}

/// The lock list's id of a cheque's book.
pub fn book(cheque: &SignedCheque) -> Hash32 {
    let (signer, terms) = (cheque.signer, cheque.terms);
    Book { signer, terms }.id()
}

/// Checks meters.
///
/// # Errors
/// One is of no metered lock of the list, or not signed by the order's buyer.
pub fn meters(
    entries: &[MeterEntry],
    locks: &[Lock],
    domain: Domain,
) -> anyhow::Result<Vec<SignedMeter>> {
    let check = |entry: &MeterEntry| {
        let meter = SignedMeter {
            signer: entry.signer,
            terms: entry.terms,
            delivered: entry.delivered,
            signature: entry.signature,
        };
        let order_id = order(&meter);
        if !has(locks, LockKind::Metered, order_id) {
            bail!("the meter of order {order_id} is for none of the file's locks");
        }
        let delivered = entry.delivered;
        let signed = domain.digest(&Meter {
            order_id,
            delivered,
        });
        verify(signed, &entry.signature, entry.signer)
            .with_context(|| format!("the meter of order {order_id} is not its buyer's"))?;
        Ok(meter)
    };
    entries.iter().map(check).collect()
}

/// Checks cheques.
///
/// # Errors
/// One is on no cover lock of the list, or not signed by the book's key.
pub fn cheques(
    entries: &[ChequeEntry],
    locks: &[Lock],
    domain: Domain,
) -> anyhow::Result<Vec<SignedCheque>> {
    let check = |entry: &ChequeEntry| {
        let cheque = SignedCheque {
            signer: entry.signer,
            terms: entry.terms,
            beneficiary: entry.beneficiary,
            cumulative: entry.cumulative,
            signature: entry.signature,
        };
        let book_id = book(&cheque);
        if !has(locks, LockKind::Cover, book_id) {
            bail!("the cheque of book {book_id} is on none of the file's locks");
        }
        let signed = domain.digest(&Cheque {
            book_id,
            beneficiary: entry.beneficiary,
            cumulative: entry.cumulative,
        });
        verify(signed, &entry.signature, entry.signer)
            .with_context(|| format!("the cheque of book {book_id} is not by the book's key"))?;
        Ok(cheque)
    };
    entries.iter().map(check).collect()
}

fn has(locks: &[Lock], kind: LockKind, condition: Hash32) -> bool {
    let mut locks = locks.iter();
    locks.any(|lock| lock.kind == kind && lock.condition == condition)
}

/// Keeps the highest meter of each order.
pub fn highest_meters(meters: &mut Vec<SignedMeter>) {
    meters.sort_by_key(|one| (one.signer, one.terms, std::cmp::Reverse(one.delivered)));
    meters.dedup_by_key(|one| (one.signer, one.terms));
}

/// Keeps the highest cheque of each book and beneficiary.
pub fn highest_cheques(cheques: &mut Vec<SignedCheque>) {
    let of = |one: &SignedCheque| (one.signer, one.terms, one.beneficiary);
    cheques.sort_by_key(|one| (of(one), std::cmp::Reverse(one.cumulative)));
    cheques.dedup_by_key(|one| of(one));
}
