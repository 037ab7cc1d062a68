//! What hub and account-service show the worker, so that it can answer a close without them.

use hub_core::encoding::{DecodeError, decode_states, encode_states};
use hub_core::{ChannelId, ChannelParams, Hash32, Signature, State};
use serde::{Deserialize, Serialize};

/// Batches of one page: 16 of 4,096 states are 28 MB of JSON.
pub const PAGE: u32 = 16;
/// Channels whose parameters are asked for at once: 2,000 of 300 bytes each.
pub const CHANNELS: usize = 2_000;

/// A committed batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestedBatch {
    /// The hub's number of it.
    pub batch_id: u64,
    /// Root of the batch before.
    pub prev_root: Hash32,
    /// The hub's signature.
    pub hub_signature: Signature,
    /// The custody signature.
    pub user_signature: Signature,
    /// All its states in leaf order, in their stored form.
    #[serde(with = "hex::serde")]
    pub states: Vec<u8>,
}

impl AttestedBatch {
    /// Its states.
    ///
    /// # Errors
    /// Bytes that are no states.
    pub fn states(&self) -> Result<Vec<State>, DecodeError> {
        decode_states(&self.states)
    }

    /// The stored form of states.
    pub fn encode<'a>(states: impl IntoIterator<Item = &'a State>) -> Vec<u8> {
        encode_states(states)
    }
}

/// Committed batches above a number, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestedPage {
    /// The batches.
    pub batches: Vec<AttestedBatch>,
    /// The page went up to here: the next one begins above it.
    pub last: u64,
    /// Every batch up to this number has a fate, so nothing up to it will be committed any more.
    pub next: u64,
    /// Whether there are more batches than fit.
    pub more: bool,
}

/// Asks for the parameters of channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamsRequest {
    /// At most [`CHANNELS`].
    pub channels: Vec<ChannelId>,
}

/// The parameters of those that are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamsPage {
    /// In no order; the digest of each is its channel's id. On the way as the hexadecimal text of
    /// their stored forms, one after the other: as JSON they would be four times as long to read.
    #[serde(with = "stored")]
    pub params: Vec<ChannelParams>,
}

mod stored {
    use hub_core::ChannelParams;
    use hub_core::encoding::{PARAMS_LEN, decode_params, encode_params};
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(params: &[ChannelParams], to: S) -> Result<S::Ok, S::Error> {
        hex::serde::serialize(
            params
                .iter()
                .map(encode_params)
                .collect::<Vec<_>>()
                .concat(),
            to,
        )
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ChannelParams>, D::Error> {
        let bytes: Vec<u8> = hex::serde::deserialize(from)?;
        let each = bytes.chunks(PARAMS_LEN).map(decode_params);
        each.collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}
