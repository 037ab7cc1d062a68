//! The batch request as bytes: the one body that carries thousands of hashes, for which JSON
//! would cost more than all the work on them.
//!
//! Fields follow one another without padding, numbers big-endian. Operations that are rare, and
//! fates, are JSON texts inside it.

use crate::wire::{BatchRequest, Proposal};
use hub_core::encoding::{PARAMS_LEN, decode_params, encode_params};
use hub_core::{Action, Amount, ChannelId, Hash32, Operation, OperationId};
use uuid::Uuid;

/// What every frame begins with; another layout gets another mark.
const MARK: [u8; 4] = *b"HUB2";
/// Operations a frame may announce before any of them is read, so that a wrong number reserves
/// no memory: as many as a batch can have.
const MOST: usize = 4_096;

const AS_JSON: u8 = 0;
const TRANSFER: u8 = 1;
const ISSUE: u8 = 2;
const REDEEM: u8 = 3;
const OPEN: u8 = 4;

/// Why bytes are not a batch request.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Cut short, too long, or not in this layout.
    #[error("the body is not a batch request in layout HUB2")]
    Layout,
    /// A JSON text inside it is none.
    #[error("the batch request holds a text that can't be read: {0}")]
    Text(#[from] serde_json::Error),
}

impl BatchRequest {
    /// The request as the body of a call. Fails only when a part has no JSON form.
    pub fn to_frame(&self) -> Result<Vec<u8>, serde_json::Error> {
        let size = 64 + self.operations.len() * 97 + self.proposals.len() * 120;
        let mut out = Vec::with_capacity(size + self.fates.len() * 200);
        out.extend_from_slice(&MARK);
        out.extend_from_slice(self.request_id.as_bytes());
        out.extend_from_slice(self.session.as_bytes());
        put_count(&mut out, self.operations.len());
        for operation in &self.operations {
            put_operation(&mut out, operation)?;
        }
        put_count(&mut out, self.proposals.len());
        for proposal in &self.proposals {
            out.extend_from_slice(&proposal.channel.0);
            out.extend_from_slice(&proposal.base_version.to_be_bytes());
            out.extend_from_slice(&proposal.base_hash.0);
            out.extend_from_slice(&proposal.base_batch.to_be_bytes());
            out.extend_from_slice(&proposal.version.to_be_bytes());
            out.extend_from_slice(&proposal.state_hash.0);
        }
        put_text(&mut out, &serde_json::to_vec(&self.fates)?);
        Ok(out)
    }

    /// Reads back what [`Self::to_frame`] wrote, and nothing else.
    pub fn from_frame(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Reader(bytes);
        if rest.take::<4>()? != MARK {
            return Err(FrameError::Layout);
        }
        let request_id = Uuid::from_bytes(rest.take()?);
        let session = Uuid::from_bytes(rest.take()?);
        let count = rest.count()?;
        let mut operations = Vec::with_capacity(count.min(MOST));
        for _ in 0..count {
            operations.push(rest.operation()?);
        }
        let count = rest.count()?;
        let mut proposals = Vec::with_capacity(count.min(MOST));
        for _ in 0..count {
            proposals.push(Proposal {
                channel: ChannelId(rest.take()?),
                base_version: rest.number()?,
                base_hash: Hash32(rest.take()?),
                base_batch: rest.number()?,
                version: rest.number()?,
                state_hash: Hash32(rest.take()?),
            });
        }
        let fates = serde_json::from_slice(rest.text()?)?;
        if !rest.0.is_empty() {
            return Err(FrameError::Layout);
        }
        Ok(Self {
            request_id,
            session,
            operations,
            proposals,
            fates,
        })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // A count beyond 32 bits becomes one that no body is long enough for.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_count(out, text.len());
    out.extend_from_slice(text);
}

fn put_operation(out: &mut Vec<u8>, operation: &Operation) -> Result<(), serde_json::Error> {
    out.extend_from_slice(&operation.id.0);
    let mut put = |tag: u8, channels: &[ChannelId], amount: Amount| {
        out.push(tag);
        for channel in channels {
            out.extend_from_slice(&channel.0);
        }
        out.extend_from_slice(&amount.units().to_be_bytes());
    };
    match &operation.action {
        Action::Transfer {
            payer,
            payee,
            amount,
        } => put(TRANSFER, &[*payer, *payee], *amount),
        Action::Issue { channel, amount } => put(ISSUE, &[*channel], *amount),
        Action::Redeem { channel, amount } => put(REDEEM, &[*channel], *amount),
        Action::Open { params } => {
            out.push(OPEN);
            out.extend_from_slice(&encode_params(params));
        }
        other => {
            out.push(AS_JSON);
            put_text(out, &serde_json::to_vec(other)?);
        }
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(FrameError::Layout)?;
        self.0 = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn amount(&mut self) -> Result<Amount, FrameError> {
        Ok(Amount::new(u128::from_be_bytes(self.take()?)))
    }

    fn count(&mut self) -> Result<usize, FrameError> {
        let count = u32::from_be_bytes(self.take()?);
        usize::try_from(count).map_err(|_| FrameError::Layout)
    }

    fn text(&mut self) -> Result<&'a [u8], FrameError> {
        let count = self.count()?;
        let (text, rest) = self.0.split_at_checked(count).ok_or(FrameError::Layout)?;
        self.0 = rest;
        Ok(text)
    }

    fn operation(&mut self) -> Result<Operation, FrameError> {
        let id = OperationId(self.take()?);
        let [tag] = self.take()?;
        let action = match tag {
            TRANSFER => Action::Transfer {
                payer: ChannelId(self.take()?),
                payee: ChannelId(self.take()?),
                amount: self.amount()?,
            },
            ISSUE => Action::Issue {
                channel: ChannelId(self.take()?),
                amount: self.amount()?,
            },
            REDEEM => Action::Redeem {
                channel: ChannelId(self.take()?),
                amount: self.amount()?,
            },
            OPEN => {
                let params = decode_params(&self.take::<PARAMS_LEN>()?);
                let params = params.map_err(|_| FrameError::Layout)?;
                Action::Open { params }
            }
            AS_JSON => serde_json::from_slice(self.text()?)?,
            _ => return Err(FrameError::Layout),
        };
        Ok(Operation { id, action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Fate;
    use hub_core::{Address, ChannelParams, Signature};

    fn request() -> BatchRequest {
        let (one, two) = (ChannelId([1; 32]), ChannelId([2; 32]));
        let amount = Amount::new(u128::from(u64::MAX) * 3);
        let actions = [
            Action::Transfer {
                payer: one,
                payee: two,
                amount,
            },
            Action::Issue {
                channel: one,
                amount,
            },
            Action::Redeem {
                channel: two,
                amount,
            },
            Action::Withdraw {
                channel: two,
                amount,
                to: Address([7; 20]),
            },
            Action::Open {
                params: ChannelParams {
                    hub: Address([1; 20]),
                    hub_signer: Address([2; 20]),
                    user: Address([3; 20]),
                    user_signer: Address([4; 20]),
                    custodial: true,
                    capacity: Amount::MAX_BALANCE,
                    challenge_period: 60,
                    self_delay: 61,
                    penalty_cap: Amount::new(5),
                    bounty_bps: 500,
                    salt: Hash32([6; 32]),
                },
            },
        ];
        let operation = |(action, id): (Action, u8)| Operation {
            id: OperationId([id; 16]),
            action,
        };
        let proposal = |channel: ChannelId| Proposal {
            channel,
            base_version: 3,
            base_hash: Hash32([4; 32]),
            base_batch: 5,
            version: (1 << 48) - 1,
            state_hash: Hash32([6; 32]),
        };
        BatchRequest {
            request_id: Uuid::from_bytes([9; 16]),
            session: Uuid::from_bytes([8; 16]),
            operations: actions.into_iter().zip(1..).map(operation).collect(),
            proposals: [one, two].map(proposal).to_vec(),
            fates: vec![
                Fate::Burned { batch_id: 1 },
                Fate::Committed {
                    batch_id: 2,
                    user_signature: Signature([3; 65]),
                },
            ],
        }
    }

    #[test]
    fn a_request_survives_the_way() {
        let request = request();
        let frame = request.to_frame().unwrap();
        assert_eq!(BatchRequest::from_frame(&frame).unwrap(), request);
    }

    #[test]
    fn a_frame_that_is_cut_short_lengthened_or_of_another_layout_is_refused() {
        let frame = request().to_frame().unwrap();
        for length in 0..frame.len() {
            let cut = BatchRequest::from_frame(&frame[..length]);
            assert!(cut.is_err(), "the first {length} bytes were taken");
        }
        let longer = [frame.as_slice(), &[0]].concat();
        assert!(BatchRequest::from_frame(&longer).is_err());
        // The mark, and the first operation's tag behind its id.
        for (at, byte) in [(0, b'X'), (56, 9)] {
            let mut other = frame.clone();
            other[at] = byte;
            assert!(BatchRequest::from_frame(&other).is_err(), "byte {at}");
        }
        let mut endless = frame;
        // More operations than there are bytes for.
        endless[36..40].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(BatchRequest::from_frame(&endless).is_err());
    }
}
