//! States with their lock lists and whoever signed them.

use crate::eip712::digest;
use crate::lock::Lock;
use crate::merkle::root_of;
use crate::types::{ChannelParams, StateBatch};
use crate::{Address, ChannelId, Domain, Hash32, Signature, State, Typed, signature};

/// Makes and checks signatures for one side. Signing is deterministic (RFC 6979), so the same
/// content has one signature.
pub trait Keys {
    /// Signs a digest with this side's key.
    fn sign(&self, digest: Hash32) -> Signature;

    /// Whether `signer` signed the digest.
    fn verify(&self, digest: Hash32, signature: &Signature, signer: Address) -> bool;
}

/// [`Keys`] whose checks are those of the contract; how to sign is the caller's closure.
#[derive(Debug, Clone, Copy)]
pub struct Ecdsa<F>(pub F);

impl<F: Fn(Hash32) -> Signature> Keys for Ecdsa<F> {
    fn sign(&self, digest: Hash32) -> Signature {
        (self.0)(digest)
    }

    fn verify(&self, digest: Hash32, signed: &Signature, signer: Address) -> bool {
        signature::verify(digest, signed, signer).is_ok()
    }
}

/// A channel's parameters with what is derived from them once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The parameters.
    pub params: ChannelParams,
    /// Their digest.
    pub id: ChannelId,
    separator: Hash32,
}

impl Channel {
    /// The channel of these parameters in a domain.
    pub fn new(params: ChannelParams, domain: &Domain) -> Self {
        Self {
            params,
            id: params.channel_id(domain),
            separator: domain.separator(),
        }
    }

    /// What a signature over a message covers.
    pub fn digest<T: Typed>(&self, message: &T) -> Hash32 {
        digest(self.separator, message.hash_struct())
    }

    /// What a signature over a state alone covers.
    pub fn leaf_digest(&self, leaf: Hash32) -> Hash32 {
        digest(self.separator, leaf)
    }

    /// Whether `signer` attested the leaf, alone or in a batch of this channel's hub.
    pub fn attested(
        &self,
        leaf: Hash32,
        attestation: &Attestation,
        signer: Address,
        keys: &impl Keys,
    ) -> bool {
        let covered = match &attestation.batch {
            None => Some(self.leaf_digest(leaf)),
            Some(path) => path
                .covers(leaf, self.params.hub)
                .then(|| self.digest(&path.batch)),
        };
        covered.is_some_and(|digest| keys.verify(digest, &attestation.signature, signer))
    }

    /// Whether both sides attested the state; the null state needs no signature (P8).
    pub fn is_co_signed(&self, signed: &Signed, keys: &impl Keys) -> bool {
        let state = &signed.content.state;
        if state.channel_id != self.id || state.total() != Some(self.params.capacity) {
            return false;
        }
        if state.version == 0 {
            return *state == State::null(self.id, state.epoch, self.params.capacity);
        }
        let by = |attestation: &Option<Attestation>, signer| {
            let found = attestation.as_ref();
            found.is_some_and(|found| self.attested(signed.content.leaf, found, signer, keys))
        };
        signed.content.leaf == state.hash_struct()
            && by(&signed.by_hub, self.params.hub_signer)
            && by(&signed.by_user, self.params.user_signer)
    }
}

/// A signature over a state alone, or over a batch that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The signature.
    pub signature: Signature,
    /// The batch and the way to its root; none when the state is signed alone.
    pub batch: Option<Box<BatchPath>>,
}

impl Attestation {
    /// A signature over the state alone.
    pub fn alone(signature: Signature) -> Self {
        Self {
            signature,
            batch: None,
        }
    }
}

/// Where a state stands in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPath {
    /// The batch.
    pub batch: StateBatch,
    /// The leaf's place.
    pub index: u32,
    /// Siblings from leaf to root.
    pub siblings: Vec<Hash32>,
}

impl BatchPath {
    fn covers(&self, leaf: Hash32, hub: Address) -> bool {
        self.batch.hub == hub
            && self.siblings.len() == usize::from(self.batch.depth)
            && root_of(leaf, self.index, &self.siblings) == Some(self.batch.root)
    }
}

/// A state with its lock list and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The state.
    pub state: State,
    /// The locks behind its `locksHash`.
    pub locks: Vec<Lock>,
    /// Its `hashStruct`, the leaf of a batch.
    pub leaf: Hash32,
}

impl Content {
    /// A state with its locks.
    pub fn new(state: State, locks: Vec<Lock>) -> Self {
        Self {
            leaf: state.hash_struct(),
            state,
            locks,
        }
    }
}

/// A state and the attestations there are for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The state.
    pub content: Content,
    /// The hub's attestation.
    pub by_hub: Option<Attestation>,
    /// The user side's attestation.
    pub by_user: Option<Attestation>,
}

impl Signed {
    /// A state that nobody signed: the null state, or one to be signed.
    pub fn unsigned(content: Content) -> Self {
        Self {
            content,
            by_hub: None,
            by_user: None,
        }
    }

    /// Its version.
    pub fn version(&self) -> crate::Version {
        self.content.state.version
    }
}
