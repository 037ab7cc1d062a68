//! What the parts of a batch cost by themselves, on one core.

use anyhow::Context as _;
use hub_core::encoding::{decode_states, encode_states};
use hub_core::merkle::Tree;
use hub_core::types::StateBatch;
use hub_core::{Address, Amount, ChannelId, Domain, Hash32, State, Typed, keccak256, signature};
use signer::Signer;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Leaves of the tree that is timed, and states that are encoded.
const LEAVES: usize = 1_024;
/// Rounds of each; the median counts.
const ROUNDS: usize = 9;

/// Microseconds of one call, the median of several rounds that fill `time` together.
fn time_us<T>(time: Duration, mut work: impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    black_box(work());
    let one = begun.elapsed().max(Duration::from_nanos(20));
    let share = time / ROUNDS as u32;
    let calls = (share.as_nanos() / one.as_nanos()).clamp(1, 1_000_000) as u32;
    let rounds = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        for _ in 0..calls {
            black_box(work());
        }
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    });
    super::report::median(rounds)
}

fn state(number: u64) -> State {
    State {
        channel_id: ChannelId(keccak256(&number.to_be_bytes()).0),
        epoch: 0,
        version: number,
        ack_version: number.saturating_sub(1),
        hub_balance: Amount::new(10_u128.pow(28) - u128::from(number)),
        user_balance: Amount::new(u128::from(number)),
        hub_locked: Amount::ZERO,
        user_locked: Amount::ZERO,
        withdrawn: Amount::ZERO,
        deposited: Amount::ZERO,
        credited: Amount::ZERO,
        locks_hash: Hash32::ZERO,
        transfers_root: keccak256(b"legs"),
    }
}

/// Times the parts and writes a table of them; `time` is spent on each.
pub fn run(time: Duration) -> anyhow::Result<String> {
    let domain = Domain {
        chain_id: 31_337,
        verifying_contract: Address([7; 20]),
    };
    let signer = Signer::from_bytes(&[0x11; 32]).context("a key")?;
    let batch = StateBatch {
        root: keccak256(b"root"),
        depth: 10,
        batch_id: 7,
        prev_root: keccak256(b"previous"),
        hub: signer.address(),
    };
    let digest = domain.digest(&batch);
    let signed = signer.sign(&domain, &batch);
    let states: Vec<_> = (1..=LEAVES as u64).map(state).collect();
    let leaves: Vec<_> = states.iter().map(Typed::hash_struct).collect();
    let stored = encode_states(&states);
    decode_states(&stored)?;

    let root = |leaves: &[Hash32]| Tree::new(leaves.to_vec()).map(|tree| tree.root());
    let hashes = || states.iter().map(Typed::hash_struct).collect::<Vec<_>>();
    let mut rows = Vec::new();
    let mut row = |what, floor, us| rows.push((what, floor, us));
    row(
        "keccak-256 of 256 bytes",
        "0.54-0.70",
        time_us(time, || keccak256(black_box(&[7; 256]))),
    );
    row(
        "hash of a state (14 words)",
        "",
        time_us(time, || black_box(&states[5]).hash_struct()),
    );
    row(
        "digest of a batch, domain included",
        "",
        time_us(time, || domain.digest(black_box(&batch))),
    );
    row(
        "sign",
        "33-43",
        time_us(time, || signer.sign(&domain, black_box(&batch))),
    );
    row(
        "verify (recovers the signer)",
        "60-80",
        time_us(time, || {
            signature::verify(digest, black_box(&signed), signer.address())
        }),
    );
    row(
        "Merkle root of 1,024 hashes",
        "",
        time_us(time, || root(black_box(&leaves))),
    );
    row(
        "encode 1,024 states",
        "",
        time_us(time, || encode_states(black_box(&states))),
    );
    row(
        "decode 1,024 states",
        "",
        time_us(time, || decode_states(black_box(&stored))),
    );
    let whole = time_us(time, || {
        (root(&hashes()), signer.sign(&domain, black_box(&batch)))
    });
    row(
        "1,024 states: hash, Merkle root and one signature, per state",
        "1.4-2.9",
        whole / LEAVES as f64,
    );
    let mut text = String::from("| what | us | floor |\n|---|---|---|\n");
    for (what, floor, us) in rows {
        writeln!(text, "| {what} | {us:.2} | {floor} |")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_part_is_timed() {
        let table = super::run(std::time::Duration::from_millis(9)).unwrap();
        assert_eq!(table.lines().count(), 11);
        assert!(!table.contains("| 0.00 |"), "{table}");
    }
}
