//! Checking signatures. Making them is the `signer` crate's work: this one knows no secret.

use crate::{Address, Hash32, Signature, keccak256};
use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, VerifyingKey};

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// r, s or v out of range, or s in the upper half.
    #[error("not a canonical signature: 65 bytes r, s, v with v 27 or 28 and s in the lower half")]
    Malformed,
    /// Made by another key, or over other content.
    #[error("signed by {actual}, not by {expected}")]
    WrongSigner {
        /// Who should have signed.
        expected: Address,
        /// Who did, as far as the content goes.
        actual: Address,
    },
}

/// The address of a public key.
pub fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    let hash = keccak256(&point.as_bytes()[1..]);
    let mut address = Address::ZERO;
    address.0.copy_from_slice(&hash.0[12..]);
    address
}

/// Who signed the digest. The same rules as the contract: low s, v 27 or 28.
pub fn recover(digest: Hash32, signature: &Signature) -> Result<Address, SignatureError> {
    let (rs, v) = signature.0.split_at(64);
    let ecdsa = EcdsaSignature::from_slice(rs).map_err(|_| SignatureError::Malformed)?;
    if ecdsa.normalize_s() != ecdsa {
        return Err(SignatureError::Malformed);
    }
    let id = match v {
        [27] => RecoveryId::new(false, false),
        [28] => RecoveryId::new(true, false),
        _ => return Err(SignatureError::Malformed),
    };
    VerifyingKey::recover_from_prehash(&digest.0, &ecdsa, id)
        .map(|key| address_of(&key))
        .map_err(|_| SignatureError::Malformed)
}

/// Checks that `signer` signed the digest.
pub fn verify(
    digest: Hash32,
    signature: &Signature,
    signer: Address,
) -> Result<(), SignatureError> {
    match recover(digest, signature)? {
        actual if actual == signer => Ok(()),
        actual => Err(SignatureError::WrongSigner {
            expected: signer,
            actual,
        }),
    }
}
