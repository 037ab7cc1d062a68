//! Digests and trees that Rust and Solidity must compute alike.
//!
//! This side generates `contracts/vectors/digests.json`, the contracts' tests check it.
//! `UPDATE_VECTORS=1 cargo test -p hub-core` writes it anew.

use hub_core::merkle::{Tree, depth_of};
use hub_core::trade::{Book, Cheque, Meter, Order};
use hub_core::types::{
    AcceptClose, CloseIntent, CoopSettle, Credit, Leg, LegKind, Revoke, Withdraw,
};
use hub_core::{
    Address, Amount, ChannelId, ChannelParams, Domain, Hash32, State, StateBatch, Typed, keccak256,
};
use serde_json::{Value, json};
use std::path::Path;

/// Values that depend on nothing but their place.
pub struct Source(u64);

impl Source {
    /// Values from this place on.
    pub fn at(place: u64) -> Self {
        Self(place)
    }

    pub fn hash(&mut self) -> Hash32 {
        self.0 += 1;
        keccak256(&self.0.to_be_bytes())
    }

    pub fn bits(&mut self, bits: u32) -> u128 {
        // Every seventh value is the largest, every eleventh zero: the ends matter most.
        let hash = self.hash();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.0[..16]);
        match self.0 {
            n if n.is_multiple_of(7) => u128::MAX >> (128 - bits),
            n if n.is_multiple_of(11) => 0,
            _ => u128::from_be_bytes(bytes) >> (128 - bits),
        }
    }

    pub fn u64(&mut self, bits: u32) -> u64 {
        u64::try_from(self.bits(bits)).unwrap()
    }

    fn u32(&mut self) -> u32 {
        u32::try_from(self.bits(32)).unwrap()
    }

    pub fn amount(&mut self, bits: u32) -> Amount {
        Amount::new(self.bits(bits))
    }

    fn address(&mut self) -> Address {
        let hash = self.hash();
        Address::from_slice(&hash.0[..20]).unwrap()
    }

    fn channel(&mut self) -> ChannelId {
        ChannelId(self.hash().0)
    }
}

fn state(s: &mut Source) -> State {
    State {
        channel_id: s.channel(),
        epoch: s.u32(),
        version: s.u64(48),
        ack_version: s.u64(48),
        hub_balance: s.amount(96),
        user_balance: s.amount(96),
        hub_locked: s.amount(96),
        user_locked: s.amount(96),
        withdrawn: s.amount(128),
        deposited: s.amount(128),
        credited: s.amount(128),
        locks_hash: s.hash(),
        transfers_root: s.hash(),
    }
}

fn params(s: &mut Source) -> ChannelParams {
    ChannelParams {
        hub: s.address(),
        hub_signer: s.address(),
        user: s.address(),
        user_signer: s.address(),
        custodial: s.0.is_multiple_of(2),
        capacity: s.amount(96),
        challenge_period: s.u32(),
        self_delay: s.u32(),
        penalty_cap: s.amount(96),
        bounty_bps: u16::try_from(s.bits(16)).unwrap(),
        salt: s.hash(),
    }
}

fn case<T: Typed + serde::Serialize>(domain: &Domain, message: &T) -> Value {
    // All numbers as text, so that no JSON reader rounds them.
    let mut fields = serde_json::to_value(message).unwrap();
    for value in fields.as_object_mut().unwrap().values_mut() {
        if value.is_number() {
            *value = Value::String(value.to_string());
        }
    }
    json!({
        "type": T::NAME,
        "fields": fields,
        "hashStruct": message.hash_struct(),
        "digest": domain.digest(message),
    })
}

fn messages(domain: &Domain, s: &mut Source) -> Vec<Value> {
    let leg = Leg {
        operation: s.hash(),
        kind: LegKind::Withdraw,
        amount: s.amount(96),
        counterparty: s.hash(),
    };
    let mut leg_case = case(domain, &leg);
    leg_case["fields"]["kind"] = json!((leg.kind as u8).to_string());
    vec![
        case(domain, &params(s)),
        case(domain, &state(s)),
        case(
            domain,
            &StateBatch {
                root: s.hash(),
                depth: u8::try_from(s.bits(8)).unwrap(),
                batch_id: s.u64(64),
                prev_root: s.hash(),
                hub: s.address(),
            },
        ),
        case(
            domain,
            &Revoke {
                channel_id: s.channel(),
                epoch: s.u32(),
                version: s.u64(48),
            },
        ),
        case(
            domain,
            &Credit {
                channel_id: s.channel(),
                epoch: s.u32(),
                cumulative: s.amount(128),
            },
        ),
        case(
            domain,
            &Withdraw {
                channel_id: s.channel(),
                epoch: s.u32(),
                prev_total: s.amount(128),
                amount: s.amount(96),
                to: s.address(),
                valid_until: s.u64(40),
                request_id: s.hash(),
            },
        ),
        case(
            domain,
            &CloseIntent {
                channel_id: s.channel(),
                epoch: s.u32(),
                state_hash: s.hash(),
                valid_until: s.u64(40),
            },
        ),
        case(
            domain,
            &AcceptClose {
                channel_id: s.channel(),
                epoch: s.u32(),
                state_hash: s.hash(),
            },
        ),
        case(
            domain,
            &CoopSettle {
                channel_id: s.channel(),
                epoch: s.u32(),
                withdrawn: s.amount(128),
                deposited: s.amount(128),
                user_amount: s.amount(96),
                valid_until: s.u64(40),
            },
        ),
        leg_case,
    ]
}

fn trades(domain: &Domain, s: &mut Source) -> Vec<Value> {
    vec![
        case(
            domain,
            &Order {
                signer: s.address(),
                terms: s.hash(),
            },
        ),
        case(
            domain,
            &Meter {
                order_id: s.hash(),
                delivered: s.u64(64),
            },
        ),
        case(
            domain,
            &Book {
                signer: s.address(),
                terms: s.hash(),
            },
        ),
        case(
            domain,
            &Cheque {
                book_id: s.hash(),
                beneficiary: s.address(),
                cumulative: s.amount(128),
            },
        ),
    ]
}

fn tree(s: &mut Source, count: usize) -> Value {
    let leaves: Vec<_> = (0..count).map(|_| s.hash()).collect();
    let tree = Tree::new(leaves.clone()).unwrap();
    let index = count / 2;
    json!({
        "leaves": leaves,
        "depth": depth_of(count),
        "root": tree.root(),
        "index": index,
        "siblings": tree.path(index).unwrap(),
    })
}

fn generate() -> String {
    let mut s = Source(0);
    let domain = Domain {
        chain_id: 31337,
        verifying_contract: s.address(),
    };
    let mut cases: Vec<_> = (0..8).flat_map(|_| messages(&domain, &mut s)).collect();
    let merkle: Vec<_> = [1, 2, 3, 4, 5, 8, 9, 33].map(|n| tree(&mut s, n)).into();
    cases.extend((0..8).flat_map(|_| trades(&domain, &mut s)));
    let vectors = json!({
        "domain": {"chainId": domain.chain_id.to_string(), "verifyingContract": domain.verifying_contract},
        "domainSeparator": domain.separator(),
        "cases": cases,
        "merkle": merkle,
    });
    format!("{}\n", serde_json::to_string_pretty(&vectors).unwrap())
}

#[test]
fn the_committed_vectors_are_what_this_code_computes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/vectors/digests.json");
    let generated = generate();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == generated,
        "run UPDATE_VECTORS=1 cargo test -p hub-core"
    );
}

#[test]
fn no_two_types_share_a_type_hash() {
    let types = [
        ChannelParams::TYPE,
        State::TYPE,
        StateBatch::TYPE,
        Revoke::TYPE,
        Credit::TYPE,
        Withdraw::TYPE,
        CloseIntent::TYPE,
        AcceptClose::TYPE,
        CoopSettle::TYPE,
        Leg::TYPE,
        Order::TYPE,
        Meter::TYPE,
        Book::TYPE,
        Cheque::TYPE,
    ];
    let hashes: std::collections::BTreeSet<_> = types
        .iter()
        .map(|text| keccak256(text.as_bytes()))
        .collect();
    assert_eq!(hashes.len(), types.len());
}
