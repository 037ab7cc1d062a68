//! What makes two requests the same request.

use hub_client::BatchRequest;
use hub_core::{Action, Hash32, sha256};

/// Digest of what a request asks to be signed. Fates and session are not part of it: they may
/// differ between two tries. State hashes cover every leg with its operation; what no leg has is
/// added: payees, refunded orders, bases.
pub fn operations_digest(request: &BatchRequest) -> Hash32 {
    let mut bytes =
        Vec::with_capacity(16 + request.proposals.len() * 152 + request.operations.len() * 52);
    bytes.extend_from_slice(&(request.proposals.len() as u64).to_be_bytes());
    for proposal in &request.proposals {
        bytes.extend_from_slice(&proposal.channel.0);
        bytes.extend_from_slice(&proposal.base_hash.0);
        bytes.extend_from_slice(&proposal.state_hash.0);
        for number in [proposal.base_version, proposal.base_batch, proposal.version] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&(request.operations.len() as u64).to_be_bytes());
    for operation in &request.operations {
        bytes.extend_from_slice(&operation.id.0);
        match &operation.action {
            Action::Withdraw { to, .. } => bytes.extend_from_slice(&to.0),
            Action::Refund { order, .. } => bytes.extend_from_slice(&order.0),
            _ => {}
        }
        bytes.push(kind(&operation.action));
    }
    sha256(&bytes)
}

fn kind(action: &Action) -> u8 {
    match action {
        Action::Open { .. } => 0,
        Action::Issue { .. } => 1,
        Action::Redeem { .. } => 2,
        Action::Transfer { .. } => 3,
        Action::Withdraw { .. } => 4,
        Action::Refund { .. } => 5,
        Action::Deposit { .. } => 6,
    }
}
