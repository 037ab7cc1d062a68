//! A proof is accepted whole and refused when any part of it is changed.

use hub_core::eip712::Typed;
use hub_core::merkle::Tree;
use hub_core::proof::{ChannelProof, FORMAT, MerklePath, Over, Signatures, SignedBy, TypedData};
use hub_core::{Address, Amount, ChannelParams, Domain, Hash32, Signature, State, StateBatch};
use k256::ecdsa::SigningKey;

fn address(key: &SigningKey) -> Address {
    hub_core::signature::address_of(key.verifying_key())
}

fn sign<T: Typed>(key: &SigningKey, domain: &Domain, message: &T) -> Signature {
    let (rs, recovery) = key.sign_prehash_recoverable(&domain.digest(message).0);
    let mut signature = Signature::ZERO;
    signature.0[..64].copy_from_slice(&rs.to_bytes());
    signature.0[64] = 27 + u8::from(recovery.is_y_odd());
    signature
}

fn proof() -> ChannelProof {
    let domain = Domain {
        chain_id: 31337,
        verifying_contract: Address([0x5f; 20]),
    };
    let hub_key = SigningKey::from_slice(&[0x11; 32]).unwrap();
    let user_key = SigningKey::from_slice(&[0x22; 32]).unwrap();
    let params = ChannelParams {
        hub: Address([1; 20]),
        hub_signer: address(&hub_key),
        user: Address([3; 20]),
        user_signer: address(&user_key),
        custodial: true,
        capacity: Amount::new(1000),
        challenge_period: 3600,
        self_delay: 600,
        penalty_cap: Amount::new(10),
        bounty_bps: 500,
        salt: Hash32([5; 32]),
    };
    let mut state = State::null(params.channel_id(&domain), 0, params.capacity);
    state.version = 7;
    state.ack_version = 6;
    state.hub_balance = Amount::new(300);
    state.user_balance = Amount::new(700);
    let leaves = vec![Hash32([8; 32]), state.hash_struct(), Hash32([9; 32])];
    let tree = Tree::new(leaves).unwrap();
    let batch = StateBatch {
        root: tree.root(),
        depth: tree.depth(),
        batch_id: u64::MAX,
        prev_root: Hash32([7; 32]),
        hub: params.hub,
    };
    let signed = |key: &SigningKey| SignedBy {
        over: Over::Batch,
        signer: address(key),
        signature: sign(key, &domain, &batch),
    };
    ChannelProof {
        format: FORMAT.into(),
        channel_params: params,
        state_typed_data: TypedData::new(domain, state),
        batch_typed_data: TypedData::new(domain, batch),
        newest: true,
        merkle: MerklePath {
            leaf_index: 1,
            siblings: tree.path(1).unwrap(),
        },
        signatures: Signatures {
            hub: signed(&hub_key),
            user: signed(&user_key),
        },
    }
}

#[test]
fn a_whole_proof_verifies_after_a_trip_through_json() {
    let text = serde_json::to_string(&proof()).unwrap();
    let read: ChannelProof = serde_json::from_str(&text).unwrap();
    assert_eq!(read, proof());
    assert_eq!(read.verify(), Ok(()));
}

#[test]
fn a_signature_over_the_state_alone_is_accepted_too() {
    let mut proof = proof();
    let key = SigningKey::from_slice(&[0x22; 32]).unwrap();
    proof.signatures.user = SignedBy {
        over: Over::State,
        signer: address(&key),
        signature: sign(&key, &proof.domain(), &proof.state_typed_data.message),
    };
    assert_eq!(proof.verify(), Ok(()));
}

#[test]
fn changing_any_part_of_a_proof_breaks_it() {
    type Change = (&'static str, fn(&mut ChannelProof));
    let changes: Vec<Change> = vec![
        ("format", |p| p.format.push('x')),
        ("params", |p| p.channel_params.salt = Hash32::ZERO),
        ("hub of params", |p| p.channel_params.hub = Address::ZERO),
        ("state", |p| {
            p.state_typed_data.message.user_balance = Amount::new(701)
        }),
        ("sum", |p| {
            p.state_typed_data.message.user_balance = Amount::new(701);
            p.state_typed_data.message.hub_balance = Amount::new(299);
        }),
        ("batch id", |p| p.batch_typed_data.message.batch_id = 1),
        ("depth", |p| p.batch_typed_data.message.depth = 3),
        ("batch hub", |p| {
            p.batch_typed_data.message.hub = Address::ZERO
        }),
        ("leaf index", |p| p.merkle.leaf_index = 0),
        ("far leaf index", |p| p.merkle.leaf_index = 5),
        ("siblings", |p| p.merkle.siblings.reverse()),
        ("short path", |p| {
            p.merkle.siblings.pop();
        }),
        ("hub signature", |p| p.signatures.hub.signature.0[5] ^= 1),
        ("user signature", |p| {
            p.signatures.user = p.signatures.hub.clone()
        }),
        ("chain", |p| p.state_typed_data.domain.chain_id = 1),
        ("both chains", |p| {
            p.state_typed_data.domain.chain_id = 1;
            p.batch_typed_data.domain.chain_id = 1;
        }),
        ("types", |p| p.state_typed_data.types.clear()),
        ("primary type", |p| {
            p.batch_typed_data.primary_type = "State".into()
        }),
        ("domain name", |p| {
            p.state_typed_data.domain.name = "Other".into()
        }),
    ];
    for (what, change) in changes {
        let mut changed = proof();
        change(&mut changed);
        assert!(changed.verify().is_err(), "{what}");
    }
}
