//! Orders and chequebooks: what the conditions of metered and cover locks stand for.
//!
//! An order's or a book's id is its `hashStruct`: it commits to the key whose meters or cheques
//! count, so that a lock that names the id needs no other registration. `terms` is the hash of
//! whatever the two parties agreed on; the contract never looks behind it.

use crate::eip712::typed;
use crate::{Address, Amount, Hash32, Typed as _};
use serde::{Deserialize, Serialize};

/// A metered trade; its `hashStruct` is the condition of a metered lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// The buyer's key, which signs meters.
    pub signer: Address,
    /// Hash of the terms.
    pub terms: Hash32,
}

typed!(Order, "Order(address signer,bytes32 terms)", |o, words| {
    words.address(o.signer).hash(o.terms)
});

impl Order {
    /// What meters and locks call this order.
    pub fn id(&self) -> Hash32 {
        self.hash_struct()
    }
}

/// Granules that an order's buyer confirms; only the highest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Meter {
    /// The order.
    pub order_id: Hash32,
    /// All granules delivered so far.
    pub delivered: u64,
}

typed!(
    Meter,
    "Meter(bytes32 orderId,uint64 delivered)",
    |m, words| words.hash(m.order_id).uint(u128::from(m.delivered))
);

/// A chequebook; its `hashStruct` is the condition of the cover lock that backs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Book {
    /// The issuer's key, which signs cheques.
    pub signer: Address,
    /// Hash of the terms.
    pub terms: Hash32,
}

typed!(Book, "Book(address signer,bytes32 terms)", |b, words| words
    .address(b.signer)
    .hash(b.terms));

impl Book {
    /// What cheques and locks call this book.
    pub fn id(&self) -> Hash32 {
        self.hash_struct()
    }
}

/// A cumulative promise to one beneficiary out of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cheque {
    /// The book.
    pub book_id: Hash32,
    /// Who is paid.
    pub beneficiary: Address,
    /// All that was ever promised to the beneficiary, in minor units.
    pub cumulative: Amount,
}

typed!(
    Cheque,
    "Cheque(bytes32 bookId,address beneficiary,uint128 cumulative)",
    |c, words| words
        .hash(c.book_id)
        .address(c.beneficiary)
        .amount(c.cumulative)
);
