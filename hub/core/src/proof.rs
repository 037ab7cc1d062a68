//! `channel-proof/1`: everything needed to enforce a state on chain, or to check it offline.

use crate::eip712::{DOMAIN_NAME, DOMAIN_VERSION, Domain, Typed};
use crate::merkle::root_of;
use crate::signature::{SignatureError, verify};
use crate::types::{ChannelParams, State, StateBatch};
use crate::{Address, Hash32, Signature};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Value of `format`.
pub const FORMAT: &str = "channel-proof/1";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelProof {
    /// [`FORMAT`].
    pub format: String,
    /// The channel's parameters; their digest is the channel's id.
    pub channel_params: ChannelParams,
    /// The state, as plain EIP-712 JSON.
    pub state_typed_data: TypedData<State>,
    /// The batch it was signed in, as plain EIP-712 JSON.
    pub batch_typed_data: TypedData<StateBatch>,
    /// Whether it was the newest state when the file was made.
    pub newest: bool,
    /// Its place in the batch.
    pub merkle: MerklePath,
    /// Both signatures.
    pub signatures: Signatures,
}

/// An EIP-712 JSON object as wallets take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypedData<T> {
    /// The types used, by name.
    pub types: BTreeMap<String, Vec<TypedField>>,
    /// Name of the message's type.
    pub primary_type: String,
    /// The domain.
    pub domain: JsonDomain,
    /// The message.
    pub message: T,
}

/// One field of an EIP-712 type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypedField {
    /// Its name.
    pub name: String,
    /// Its Solidity type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The domain with all four of its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JsonDomain {
    /// `HubChannels`.
    pub name: String,
    /// `1`.
    pub version: String,
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub verifying_contract: Address,
}

/// Path from a leaf to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MerklePath {
    /// Bit i says which side the leaf's subtree is on at level i.
    pub leaf_index: u32,
    /// One per level.
    pub siblings: Vec<Hash32>,
}

/// The signatures of both parties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signatures {
    /// The hub's.
    pub hub: SignedBy,
    /// The user's.
    pub user: SignedBy,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBy {
    /// What it covers.
    pub over: Over,
    /// Whose it is.
    pub signer: Address,
    /// The signature.
    pub signature: Signature,
}

/// What a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The batch's root.
    Batch,
    /// The state alone.
    State,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a format this code knows.
    #[error("the format is {0:?}; this program reads {FORMAT:?}")]
    Format(String),
    /// A typed-data object is not of the type it should be.
    #[error("{0} is not typed data of the HubChannels protocol")]
    Types(&'static str),
    /// State and batch are of different domains.
    #[error("state and batch are signed in different domains")]
    Domains,
    /// The parameters are another channel's.
    #[error("the parameters belong to another channel than the state")]
    OtherChannel,
    /// The batch is another hub's.
    #[error("the batch belongs to another hub than the channel")]
    OtherHub,
    /// The sum of balances and locks is not the capacity.
    #[error("balances and locks do not add up to the channel's capacity")]
    BrokenSum,
    /// The path doesn't lead to the batch's root.
    #[error("the Merkle path does not lead from the state to the batch's root")]
    Path,
    /// One of the signatures is not its party's.
    #[error("the {side} signature is not valid: {error}")]
    Signature {
        /// `hub` or `user`.
        side: &'static str,
        /// What is wrong.
        error: SignatureError,
    },
}

impl From<Domain> for JsonDomain {
    fn from(domain: Domain) -> Self {
        Self {
            name: DOMAIN_NAME.into(),
            version: DOMAIN_VERSION.into(),
            chain_id: domain.chain_id,
            verifying_contract: domain.verifying_contract,
        }
    }
}

impl<T: Typed> TypedData<T> {
    /// The JSON object of a message in a domain.
    pub fn new(domain: Domain, message: T) -> Self {
        Self {
            types: types_of::<T>(),
            primary_type: T::NAME.into(),
            domain: domain.into(),
            message,
        }
    }

    fn checked_domain(&self, what: &'static str) -> Result<Domain, ProofError> {
        let known = self.primary_type == T::NAME
            && self.types.get(T::NAME) == types_of::<T>().get(T::NAME)
            && self.domain.name == DOMAIN_NAME
            && self.domain.version == DOMAIN_VERSION;
        if known {
            Ok(Domain {
                chain_id: self.domain.chain_id,
                verifying_contract: self.domain.verifying_contract,
            })
        } else {
            Err(ProofError::Types(what))
        }
    }
}

/// The `types` object of a message: its own fields and the domain's.
fn types_of<T: Typed>() -> BTreeMap<String, Vec<TypedField>> {
    let domain =
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
    [T::TYPE, domain]
        .into_iter()
        .filter_map(|text| text.trim_end_matches(')').split_once('('))
        .map(|(name, fields)| {
            let fields = fields
                .split(',')
                .filter_map(|field| field.split_once(' '))
                .map(|(kind, name)| TypedField {
                    name: name.into(),
                    kind: kind.into(),
                })
                .collect();
            (name.into(), fields)
        })
        .collect()
}

impl ChannelProof {
    /// The domain of the proof.
    pub fn domain(&self) -> Domain {
        Domain {
            chain_id: self.state_typed_data.domain.chain_id,
            verifying_contract: self.state_typed_data.domain.verifying_contract,
        }
    }

    /// Checks everything that can be checked without a chain: that the state belongs to the
    /// channel, adds up, is in the batch, and carries the signatures of both parties.
    pub fn verify(&self) -> Result<(), ProofError> {
        if self.format != FORMAT {
            return Err(ProofError::Format(self.format.clone()));
        }
        let domain = self.state_typed_data.checked_domain("state_typed_data")?;
        if domain != self.batch_typed_data.checked_domain("batch_typed_data")? {
            return Err(ProofError::Domains);
        }
        let (params, state) = (&self.channel_params, &self.state_typed_data.message);
        let batch = &self.batch_typed_data.message;
        if params.channel_id(&domain) != state.channel_id {
            return Err(ProofError::OtherChannel);
        }
        if batch.hub != params.hub {
            return Err(ProofError::OtherHub);
        }
        if state.total() != Some(params.capacity) {
            return Err(ProofError::BrokenSum);
        }
        let path = &self.merkle;
        let root = root_of(state.hash_struct(), path.leaf_index, &path.siblings);
        if path.siblings.len() != usize::from(batch.depth) || root != Some(batch.root) {
            return Err(ProofError::Path);
        }
        self.verify_side("hub", &self.signatures.hub, params.hub_signer, &domain)?;
        self.verify_side("user", &self.signatures.user, params.user_signer, &domain)
    }

    fn verify_side(
        &self,
        side: &'static str,
        signed: &SignedBy,
        signer: Address,
        domain: &Domain,
    ) -> Result<(), ProofError> {
        let digest = match signed.over {
            Over::Batch => domain.digest(&self.batch_typed_data.message),
            Over::State => domain.digest(&self.state_typed_data.message),
        };
        verify(digest, &signed.signature, signer)
            .map_err(|error| ProofError::Signature { side, error })
    }
}
