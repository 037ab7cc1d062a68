//! The stored form of a state: 214 bytes, so that a batch of states is one column.

use crate::{Amount, ChannelId, Hash32, State};

/// Bytes of one stored state.
pub const STATE_LEN: usize = 32 + 4 + 8 + 8 + 4 * 12 + 3 * 16 + 2 * 32 + 2;
/// Marks the layout below; another layout gets another mark.
const LAYOUT: [u8; 2] = *b"S1";

/// Why stored bytes are not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored state is damaged: expected {STATE_LEN} bytes in layout S1")]
pub struct DecodeError;

/// Appends the stored form of a state.
pub fn encode_state(state: &State, out: &mut Vec<u8>) {
    out.extend_from_slice(&LAYOUT);
    out.extend_from_slice(&state.channel_id.0);
    out.extend_from_slice(&state.epoch.to_be_bytes());
    out.extend_from_slice(&state.version.to_be_bytes());
    out.extend_from_slice(&state.ack_version.to_be_bytes());
    for amount in [
        state.hub_balance,
        state.user_balance,
        state.hub_locked,
        state.user_locked,
    ] {
        out.extend_from_slice(&amount.units().to_be_bytes()[4..]);
    }
    for amount in [state.withdrawn, state.deposited, state.credited] {
        out.extend_from_slice(&amount.units().to_be_bytes());
    }
    out.extend_from_slice(&state.locks_hash.0);
    out.extend_from_slice(&state.transfers_root.0);
}

/// Reads back what [`encode_state`] wrote.
pub fn decode_state(bytes: &[u8]) -> Result<State, DecodeError> {
    let mut rest = Reader(bytes);
    if bytes.len() != STATE_LEN || rest.take::<2>()? != LAYOUT {
        return Err(DecodeError);
    }
    Ok(State {
        channel_id: ChannelId(rest.take()?),
        epoch: u32::from_be_bytes(rest.take()?),
        version: u64::from_be_bytes(rest.take()?),
        ack_version: u64::from_be_bytes(rest.take()?),
        hub_balance: rest.balance()?,
        user_balance: rest.balance()?,
        hub_locked: rest.balance()?,
        user_locked: rest.balance()?,
        withdrawn: rest.total()?,
        deposited: rest.total()?,
        credited: rest.total()?,
        locks_hash: Hash32(rest.take()?),
        transfers_root: Hash32(rest.take()?),
    })
}

/// The stored forms of many states, one after the other.
pub fn encode_states<'a>(states: impl IntoIterator<Item = &'a State>) -> Vec<u8> {
    let mut out = Vec::new();
    for state in states {
        encode_state(state, &mut out);
    }
    out
}

/// Reads back what [`encode_states`] wrote.
pub fn decode_states(bytes: &[u8]) -> Result<Vec<State>, DecodeError> {
    if !bytes.len().is_multiple_of(STATE_LEN) {
        return Err(DecodeError);
    }
    bytes.chunks(STATE_LEN).map(decode_state).collect()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_at_checked(N).ok_or(DecodeError)?;
        self.0 = rest;
        head.try_into().map_err(|_| DecodeError)
    }

    fn balance(&mut self) -> Result<Amount, DecodeError> {
        let mut wide = [0; 16];
        wide[4..].copy_from_slice(&self.take::<12>()?);
        Ok(Amount::new(u128::from_be_bytes(wide)))
    }

    fn total(&mut self) -> Result<Amount, DecodeError> {
        Ok(Amount::new(u128::from_be_bytes(self.take()?)))
    }
}
