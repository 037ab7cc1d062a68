//! The stored forms: of a state 214 bytes, so that a batch of states is one column, and of a
//! channel's parameters 149.

use crate::{Address, Amount, ChannelId, ChannelParams, Hash32, State};

/// Bytes of one stored state.
pub const STATE_LEN: usize = 32 + 4 + 8 + 8 + 4 * 12 + 3 * 16 + 2 * 32 + 2;
/// Marks the layout of a state; another layout gets another mark.
const LAYOUT: [u8; 2] = *b"S1";
/// Bytes of a channel's stored parameters.
pub const PARAMS_LEN: usize = 2 + 4 * 20 + 1 + 2 * 12 + 2 * 4 + 2 + 32;
/// Marks the layout of parameters.
const PARAMS_LAYOUT: [u8; 2] = *b"P1";

/// Why stored bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "stored bytes are damaged: expected {STATE_LEN} of a state in layout S1 or {PARAMS_LEN} of \
     parameters in layout P1"
)]
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
        out.extend_from_slice(&narrow(amount));
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

/// The stored form of a channel's parameters.
pub fn encode_params(params: &ChannelParams) -> [u8; PARAMS_LEN] {
    let mut out = [0; PARAMS_LEN];
    let mut rest = out.as_mut_slice();
    let fields: [&[u8]; 12] = [
        &PARAMS_LAYOUT,
        &params.hub.0,
        &params.hub_signer.0,
        &params.user.0,
        &params.user_signer.0,
        &[u8::from(params.custodial)],
        &narrow(params.capacity),
        &params.challenge_period.to_be_bytes(),
        &params.self_delay.to_be_bytes(),
        &narrow(params.penalty_cap),
        &params.bounty_bps.to_be_bytes(),
        &params.salt.0,
    ];
    for field in fields {
        let (place, behind) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = behind;
    }
    out
}

/// Reads back what [`encode_params`] wrote.
pub fn decode_params(bytes: &[u8]) -> Result<ChannelParams, DecodeError> {
    let mut rest = Reader(bytes);
    if bytes.len() != PARAMS_LEN || rest.take::<2>()? != PARAMS_LAYOUT {
        return Err(DecodeError);
    }
    Ok(ChannelParams {
        hub: Address(rest.take()?),
        hub_signer: Address(rest.take()?),
        user: Address(rest.take()?),
        user_signer: Address(rest.take()?),
        custodial: match rest.take()? {
            [0] => false,
            [1] => true,
            _ => return Err(DecodeError),
        },
        capacity: rest.balance()?,
        challenge_period: u32::from_be_bytes(rest.take()?),
        self_delay: u32::from_be_bytes(rest.take()?),
        penalty_cap: rest.balance()?,
        bounty_bps: u16::from_be_bytes(rest.take()?),
        salt: Hash32(rest.take()?),
    })
}

/// The lower 96 bits, which is all that balances, capacities and caps have.
fn narrow(amount: Amount) -> [u8; 12] {
    let mut out = [0; 12];
    out.copy_from_slice(&amount.units().to_be_bytes()[4..]);
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_being_stored_and_other_bytes_are_refused() {
        let params = ChannelParams {
            hub: Address([1; 20]),
            hub_signer: Address([2; 20]),
            user: Address([3; 20]),
            user_signer: Address([4; 20]),
            custodial: true,
            capacity: Amount::MAX_BALANCE,
            challenge_period: u32::MAX,
            self_delay: 5,
            penalty_cap: Amount::new(6),
            bounty_bps: 7,
            salt: Hash32([8; 32]),
        };
        let stored = encode_params(&params);
        assert_eq!(decode_params(&stored), Ok(params));
        for length in 0..PARAMS_LEN {
            assert!(decode_params(&stored[..length]).is_err(), "{length}");
        }
        assert!(decode_params(&[stored.as_slice(), &[0]].concat()).is_err());
        // The mark, and a flag that is neither.
        for at in [0, 82] {
            let mut other = stored;
            other[at] = 2;
            assert!(decode_params(&other).is_err(), "byte {at}");
        }
    }
}
