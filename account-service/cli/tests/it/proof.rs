//! A proof is checked offline, and the exit code says whether it holds.

use hub_core::eip712::Typed;
use hub_core::merkle::Tree;
use hub_core::proof::{ChannelProof, FORMAT, MerklePath, Over, Signatures, SignedBy, TypedData};
use hub_core::{Address, Amount, ChannelParams, Domain, Hash32, Signature, State, StateBatch};
use k256::ecdsa::SigningKey;
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn address(key: &SigningKey) -> Address {
    hub_core::signature::address_of(key.verifying_key())
}

fn signed<T: Typed>(key: &SigningKey, domain: &Domain, message: &T) -> SignedBy {
    let (rs, recovery) = key.sign_prehash_recoverable(&domain.digest(message).0);
    let mut signature = Signature::ZERO;
    signature.0[..64].copy_from_slice(&rs.to_bytes());
    signature.0[64] = 27 + u8::from(recovery.is_y_odd());
    SignedBy {
        over: Over::Batch,
        signer: address(key),
        signature,
    }
}

fn proof() -> ChannelProof {
    let domain = Domain {
        chain_id: 31337,
        verifying_contract: Address([0x5f; 20]),
    };
    let [hub_key, user_key] =
        [[0x11; 32], [0x22; 32]].map(|bytes| SigningKey::from_slice(&bytes).unwrap());
    let params = ChannelParams {
        hub: Address([1; 20]),
        hub_signer: address(&hub_key),
        user: address(&user_key),
        user_signer: address(&user_key),
        custodial: true,
        capacity: Amount::new(1000),
        challenge_period: 60,
        self_delay: 60,
        penalty_cap: Amount::new(10),
        bounty_bps: 500,
        salt: Hash32([5; 32]),
    };
    let mut state = State::null(params.channel_id(&domain), 0, params.capacity);
    (state.version, state.ack_version) = (7, 6);
    (state.hub_balance, state.user_balance) = (Amount::new(300), Amount::new(700));
    let tree = Tree::new(vec![state.hash_struct(), Hash32([9; 32])]).unwrap();
    let batch = StateBatch {
        root: tree.root(),
        depth: tree.depth(),
        batch_id: 42,
        prev_root: Hash32([7; 32]),
        hub: params.hub,
    };
    ChannelProof {
        format: FORMAT.into(),
        channel_params: params,
        state_typed_data: TypedData::new(domain, state),
        batch_typed_data: TypedData::new(domain, batch),
        newest: true,
        merkle: MerklePath {
            leaf_index: 0,
            siblings: tree.path(0).unwrap(),
        },
        signatures: Signatures {
            hub: signed(&hub_key, &domain, &batch),
            user: signed(&user_key, &domain, &batch),
        },
    }
}

fn verify(text: &str, json: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acctl"));
    command.args(["proof", "verify", "-"]);
    if json {
        command.arg("--json");
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_proof_that_holds_is_shown_and_one_that_does_not_is_named() {
    let mut proof = proof();
    let output = verify(&serde_json::to_string(&proof).unwrap(), false);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for word in [
        "the proof holds",
        "version 7",
        "700 minor units",
        "batch        42",
        "on chain 31337",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let output = verify(&serde_json::to_string(&proof).unwrap(), true);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&shown["holds"], &shown["state"]["user_balance"]),
        (&Value::from(true), &Value::from("700"))
    );

    proof.state_typed_data.message.user_balance = Amount::new(701);
    proof.state_typed_data.message.hub_balance = Amount::new(299);
    let output = verify(&serde_json::to_string(&proof).unwrap(), true);
    assert_eq!(output.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["holds"], Value::from(false));
    assert!(shown["error"].as_str().unwrap().contains("Merkle path"));
}

#[test]
fn what_is_no_proof_at_all_is_another_error() {
    for text in [
        "",
        "{}",
        "[]",
        "not json",
        "{\"format\":\"channel-proof/1\"}",
    ] {
        let output = verify(text, false);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("no channel-proof/1 document"), "{said}");
    }
}
