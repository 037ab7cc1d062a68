//! What the model is told to have been shown, made into what the contract is really shown.

use crate::abi::{Value, address, hash, uint};
use crate::keys::Keys;
use hub_core::dispute::{CoSigned, Dispute, Evidence, Intent, Key, ShownCredit};
use hub_core::lock::Lock;
use hub_core::merkle::Tree;
use hub_core::types::{CloseIntent, Credit, Revoke};
use hub_core::{
    Address, ChannelParams, Domain, Hash32, Signature, State, StateBatch, Typed as _, keccak256,
};
use rand::Rng;
use rand::rngs::StdRng;

/// Makes signatures and attestations, now over a state alone, now over a batch.
pub struct Shower<'a> {
    pub keys: &'a Keys,
    pub domain: Domain,
    pub params: &'a ChannelParams,
    pub rng: &'a mut StdRng,
}

pub fn params(params: &ChannelParams) -> Value {
    Value::Tuple(vec![
        address(params.hub),
        address(params.hub_signer),
        address(params.user),
        address(params.user_signer),
        uint(params.custodial),
        uint(params.capacity.units()),
        uint(params.challenge_period),
        uint(params.self_delay),
        uint(params.penalty_cap.units()),
        uint(params.bounty_bps),
        hash(params.salt),
    ])
}

pub fn state(state: &State) -> Value {
    Value::Tuple(vec![
        hash(state.channel_id),
        uint(state.epoch),
        uint(state.version),
        uint(state.ack_version),
        uint(state.hub_balance.units()),
        uint(state.user_balance.units()),
        uint(state.hub_locked.units()),
        uint(state.user_locked.units()),
        uint(state.withdrawn.units()),
        uint(state.deposited.units()),
        uint(state.credited.units()),
        hash(state.locks_hash),
        hash(state.transfers_root),
    ])
}

/// A dispute in the contract's form.
pub fn dispute_parts(dispute: &Dispute) -> Vec<Value> {
    vec![
        hash(dispute.state.hash_struct()),
        uint(dispute.state.version),
        uint(dispute.closed_version),
        uint(dispute.credit_max.units()),
        uint(dispute.penalized.is_some()),
        address(dispute.penalized.unwrap_or_default()),
    ]
}

/// What the contract remembers of a dispute.
pub fn dispute_hash(dispute: &Dispute) -> Hash32 {
    keccak256(&crate::abi::encode(&dispute_parts(dispute)))
}

pub fn locks(locks: &[Lock]) -> Value {
    let lock = |lock: &Lock| {
        Value::Tuple(vec![
            hash(lock.id),
            uint(lock.kind as u8),
            uint(lock.user_pays),
            uint(lock.amount.units()),
            uint(lock.expiry),
            hash(lock.condition),
            uint(lock.total),
        ])
    };
    Value::List(locks.iter().map(lock).collect())
}

pub fn signature(signature: Signature) -> Value {
    Value::Bytes(signature.0.to_vec())
}

fn no_batch() -> StateBatch {
    StateBatch {
        root: Hash32::ZERO,
        depth: 0,
        batch_id: 0,
        prev_root: Hash32::ZERO,
        hub: Address::ZERO,
    }
}

fn attestation(batch: &StateBatch, index: usize, siblings: &[Hash32], bytes: Vec<u8>) -> Value {
    Value::Tuple(vec![
        Value::Tuple(vec![
            hash(batch.root),
            uint(batch.depth),
            uint(batch.batch_id),
            hash(batch.prev_root),
            address(batch.hub),
        ]),
        uint(index as u128),
        Value::List(siblings.iter().map(|sibling| hash(*sibling)).collect()),
        Value::Bytes(bytes),
    ])
}

/// No consent at all.
pub fn no_attestation() -> Value {
    attestation(&no_batch(), 0, &[], Vec::new())
}

/// A batch that holds a state, with the state's path.
struct Held {
    batch: StateBatch,
    index: usize,
    siblings: Vec<Hash32>,
}

impl Shower<'_> {
    fn batch(&mut self, state: &State) -> Held {
        let count = self.rng.random_range(1..6);
        let index = self.rng.random_range(0..count);
        let mut leaves: Vec<_> = (0..count)
            .map(|_| keccak256(&self.rng.random::<[u8; 8]>()))
            .collect();
        leaves[index] = state.hash_struct();
        let tree = Tree::new(leaves).unwrap();
        let batch = StateBatch {
            root: tree.root(),
            depth: tree.depth(),
            batch_id: self.rng.random_range(1..1 << 40),
            prev_root: Hash32(self.rng.random()),
            hub: self.params.hub,
        };
        Held {
            batch,
            index,
            siblings: tree.path(index).unwrap(),
        }
    }

    /// A signature that is not the one asked for is another key's, or over another message.
    fn batch_signature(&mut self, batch: &StateBatch, key: Key) -> Vec<u8> {
        let mut signed = *batch;
        if key == Key::Stranger && self.rng.random_bool(0.5) {
            signed.batch_id += 1;
        }
        let signature = self.keys.sign(self.params, key, &self.domain, &signed);
        signature.0.to_vec()
    }

    fn state_signature(&mut self, state: &State, key: Key) -> Vec<u8> {
        if key == Key::Stranger && self.rng.random_bool(0.3) {
            return Vec::new();
        }
        let signature = self.keys.sign(self.params, key, &self.domain, state);
        signature.0.to_vec()
    }

    /// One side's consent to a state.
    pub fn attestation(&mut self, state: &State, key: Key) -> Value {
        if self.rng.random_bool(0.5) {
            let bytes = self.state_signature(state, key);
            return attestation(&no_batch(), 0, &[], bytes);
        }
        let held = self.batch(state);
        let bytes = self.batch_signature(&held.batch, key);
        attestation(&held.batch, held.index, &held.siblings, bytes)
    }

    /// A state with what stands in both places.
    pub fn co_signed(&mut self, shown: &CoSigned) -> Value {
        let (hub, user) = if self.rng.random_bool(0.3) {
            // One batch for both, whose path is given once.
            let held = self.batch(&shown.state);
            let hub = self.batch_signature(&held.batch, shown.hub);
            let user = self.batch_signature(&held.batch, shown.user);
            (
                attestation(&held.batch, held.index, &held.siblings, hub),
                attestation(&held.batch, held.index, &[], user),
            )
        } else {
            (
                self.attestation(&shown.state, shown.hub),
                self.attestation(&shown.state, shown.user),
            )
        };
        Value::Tuple(vec![state(&shown.state), hub, user])
    }

    /// A close intent for a state, or none.
    pub fn intent(&mut self, of: &State, intent: Option<Intent>) -> Value {
        let Some(intent) = intent else {
            return Value::Tuple(vec![uint(0_u8), Value::Bytes(Vec::new())]);
        };
        let message = CloseIntent {
            channel_id: of.channel_id,
            epoch: of.epoch,
            state_hash: of.hash_struct(),
            valid_until: intent.valid_until,
        };
        // Who may close by sending may also let somebody else send.
        let by_payout = intent.signed_by == Key::User && !self.params.custodial;
        let signer = if by_payout && self.rng.random_bool(0.5) {
            self.keys.payout(self.params)
        } else {
            self.keys.of(self.params, intent.signed_by)
        };
        let signed = signer.sign(&self.domain, &message);
        Value::Tuple(vec![uint(intent.valid_until), signature(signed)])
    }

    /// A credit for a channel's epoch, or none.
    pub fn credit(&mut self, id: Hash32, epoch: u32, credit: Option<ShownCredit>) -> Value {
        let Some(credit) = credit else {
            return Value::Tuple(vec![uint(0_u8), Value::Bytes(Vec::new())]);
        };
        let message = Credit {
            channel_id: hub_core::ChannelId(id.0),
            epoch,
            cumulative: credit.cumulative,
        };
        let signed = self
            .keys
            .sign(self.params, credit.signed_by, &self.domain, &message);
        Value::Tuple(vec![uint(credit.cumulative.units()), signature(signed)])
    }

    /// Evidence about an epoch.
    pub fn evidence(&mut self, id: Hash32, epoch: u32, evidence: &Evidence) -> Value {
        match evidence {
            Evidence::State {
                state: shown,
                signed_by,
            } => {
                let attested = self.attestation(shown, *signed_by);
                let none = Value::Bytes(Vec::new());
                Value::Tuple(vec![state(shown), attested, uint(0_u8), none])
            }
            Evidence::Revoke { version, signed_by } => {
                let channel_id = hub_core::ChannelId(id.0);
                let revoke = Revoke {
                    channel_id,
                    epoch,
                    version: *version,
                };
                let signed = self
                    .keys
                    .sign(self.params, *signed_by, &self.domain, &revoke);
                let null = State::null(channel_id, epoch, hub_core::Amount::ZERO);
                Value::Tuple(vec![
                    state(&null),
                    no_attestation(),
                    uint(*version),
                    signature(signed),
                ])
            }
        }
    }
}
