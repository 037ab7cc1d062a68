//! A copy of a co-signed state, and how it is made: nothing is believed that both signatures do
//! not cover.

use chain::cosigned::CoSigned;
use chain_messages::tower::AttestedBatch;
use hub_core::eip712::Domain;
use hub_core::merkle::Tree;
use hub_core::{
    Address, ChannelId, ChannelParams, Epoch, Hash32, Signature, State, StateBatch, Typed as _,
    signature,
};

/// What both sides signed of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The hub's number.
    pub batch_id: u64,
    /// Root over the states.
    pub root: Hash32,
    /// Root of the batch before.
    pub prev_root: Hash32,
    /// Levels of the tree.
    pub depth: u8,
    /// The hub's signature.
    pub hub_signature: Signature,
    /// The user side's signature.
    pub user_signature: Signature,
}

impl Seal {
    /// What was signed.
    pub fn message(&self, hub: Address) -> StateBatch {
        StateBatch {
            root: self.root,
            depth: self.depth,
            batch_id: self.batch_id,
            prev_root: self.prev_root,
            hub,
        }
    }
}

/// A co-signed state with all that the contract wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The state.
    pub state: State,
    /// Its place among the leaves.
    pub leaf: u32,
    /// From leaf to root.
    pub siblings: Vec<Hash32>,
    /// What was signed.
    pub seal: Seal,
}

impl Copy {
    /// As the contract wants to see it.
    pub fn co_signed(&self, hub: Address) -> CoSigned {
        CoSigned::in_batch(
            self.state,
            self.seal.message(hub),
            self.leaf,
            self.siblings.clone(),
            (self.seal.hub_signature, self.seal.user_signature),
        )
    }
}

/// Why a batch is not copied.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    /// The bytes are no states.
    #[error("batch {0} holds bytes that are no states")]
    States(u64),
    /// No tree can be made of them.
    #[error("batch {0} has no state, too many, or some in the wrong order")]
    Tree(u64),
    /// Its channels belong to another hub than the one that was asked about.
    #[error("batch {0} is another hub's")]
    OtherHub(u64),
    /// Nobody gives the parameters of one of its channels.
    #[error("batch {0} holds a channel whose parameters are not given")]
    NoParams(u64),
    /// A signature is not of the side's signer.
    #[error("batch {batch}: the {side} side's signature is {found}, not by {expected}")]
    Signature {
        /// The batch.
        batch: u64,
        /// Whose.
        side: &'static str,
        /// Who should have signed.
        expected: Address,
        /// Who did.
        found: String,
    },
}

/// A batch whose tree was made.
#[derive(Debug)]
pub struct Opened {
    /// Its states, in leaf order.
    pub states: Vec<State>,
    tree: Tree,
    seal: Seal,
}

impl Opened {
    /// Makes the tree of a batch.
    ///
    /// # Errors
    /// [`Unsound`] when there is none.
    pub fn new(batch: &AttestedBatch) -> Result<Self, Unsound> {
        let id = batch.batch_id;
        let states = batch.states().map_err(|_| Unsound::States(id))?;
        let ordered = states.is_sorted_by(|one, next| one.channel_id < next.channel_id);
        let leaves = states.iter().map(State::hash_struct).collect();
        let tree = Tree::new(leaves).filter(|_| ordered);
        let tree = tree.ok_or(Unsound::Tree(id))?;
        let seal = Seal {
            batch_id: id,
            root: tree.root(),
            prev_root: batch.prev_root,
            depth: tree.depth(),
            hub_signature: batch.hub_signature,
            user_signature: batch.user_signature,
        };
        Ok(Self { states, tree, seal })
    }

    /// Checks both signatures against the parameters of the batch's channels. One hub signs a
    /// batch with one key, and one custody key signs for all its channels.
    ///
    /// # Errors
    /// [`Unsound::Signature`].
    pub fn verify(&self, domain: &Domain, params: &ChannelParams) -> Result<(), Unsound> {
        let digest = domain.digest(&self.seal.message(params.hub));
        for (side, signed, expected) in [
            ("hub", &self.seal.hub_signature, params.hub_signer),
            ("user", &self.seal.user_signature, params.user_signer),
        ] {
            let found = match signature::recover(digest, signed) {
                Ok(signer) if signer == expected => continue,
                Ok(signer) => format!("by {signer}"),
                Err(error) => error.to_string(),
            };
            return Err(Unsound::Signature {
                batch: self.seal.batch_id,
                side,
                expected,
                found,
            });
        }
        Ok(())
    }

    /// Copies of those of its states that are wanted. Paths are made for these alone.
    pub fn copies(&self, mut wanted: impl FnMut((ChannelId, Epoch)) -> bool) -> Vec<Copy> {
        let states = self.states.iter().enumerate();
        let found = states.filter(|(_, state)| wanted((state.channel_id, state.epoch)));
        found.filter_map(|(at, _)| self.copy(at)).collect()
    }

    fn copy(&self, at: usize) -> Option<Copy> {
        Some(Copy {
            state: *self.states.get(at)?,
            leaf: u32::try_from(at).ok()?,
            siblings: self.tree.path(at)?,
            seal: self.seal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::Amount;
    use hub_core::merkle::root_of;
    use signer::Signer;

    fn domain() -> Domain {
        Domain {
            chain_id: 1,
            verifying_contract: Address([7; 20]),
        }
    }

    fn params() -> ChannelParams {
        ChannelParams {
            hub: Address([1; 20]),
            hub_signer: key(2).address(),
            user: Address([3; 20]),
            user_signer: key(4).address(),
            custodial: true,
            capacity: Amount::new(100),
            challenge_period: 60,
            self_delay: 60,
            penalty_cap: Amount::new(1),
            bounty_bps: 500,
            salt: Hash32::ZERO,
        }
    }

    fn key(byte: u8) -> Signer {
        Signer::from_bytes(&[byte; 32]).unwrap()
    }

    fn batch(id: u64, states: &[(u8, u64)]) -> AttestedBatch {
        let states: Vec<_> = states
            .iter()
            .map(|(channel, version)| State {
                version: *version,
                ack_version: version - 1,
                ..State::null(ChannelId([*channel; 32]), 0, Amount::new(100))
            })
            .collect();
        let tree = Tree::new(states.iter().map(State::hash_struct).collect()).unwrap();
        let message = StateBatch {
            root: tree.root(),
            depth: tree.depth(),
            batch_id: id,
            prev_root: Hash32::ZERO,
            hub: params().hub,
        };
        AttestedBatch {
            batch_id: id,
            prev_root: Hash32::ZERO,
            hub_signature: key(2).sign(&domain(), &message),
            user_signature: key(4).sign(&domain(), &message),
            states: AttestedBatch::encode(&states),
        }
    }

    #[test]
    fn a_wanted_state_is_copied_with_a_path_to_the_signed_root() {
        let opened = Opened::new(&batch(1, &[(1, 1), (2, 4), (3, 1)])).unwrap();
        let copies = opened.copies(|(channel, _)| channel != ChannelId([3; 32]));
        let versions: Vec<_> = copies.iter().map(|c| c.state.version).collect();
        assert_eq!(versions, [1, 4]);
        for copy in copies {
            let root = root_of(copy.state.hash_struct(), copy.leaf, &copy.siblings);
            assert_eq!(root, Some(copy.seal.root));
        }
    }

    #[test]
    fn a_batch_counts_only_with_both_signatures_over_exactly_its_states() {
        let sound = batch(5, &[(1, 1), (2, 1)]);
        let check = |batch: &AttestedBatch| Opened::new(batch)?.verify(&domain(), &params());
        assert!(check(&sound).is_ok());
        let other = batch(5, &[(1, 1), (2, 2)]).states;
        let swapped = batch(5, &[(2, 1), (1, 1)]).states;
        let with = |states| AttestedBatch {
            states,
            ..sound.clone()
        };
        let forged = [
            AttestedBatch {
                batch_id: 6,
                ..sound.clone()
            },
            AttestedBatch {
                prev_root: Hash32([1; 32]),
                ..sound.clone()
            },
            AttestedBatch {
                user_signature: sound.hub_signature,
                ..sound.clone()
            },
            AttestedBatch {
                hub_signature: sound.user_signature,
                ..sound.clone()
            },
            with(other),
            with(swapped),
            with(sound.states[..300].to_vec()),
            with(Vec::new()),
        ];
        for batch in forged {
            assert!(check(&batch).is_err(), "{batch:?}");
        }
    }
}
