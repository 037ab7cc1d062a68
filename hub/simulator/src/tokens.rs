//! Signatures as tokens: who signed which digest, in the bytes of a signature.
//!
//! Making a token is free, so that thousands of histories run in a second. Everything that is
//! signed or checked goes through the machine's own code; only elliptic curves are left out.

use hub_core::party::Keys;
use hub_core::{Address, Hash32, Signature};

/// The key of an address.
#[derive(Debug, Clone, Copy)]
pub struct Tokens(pub Address);

fn token(signer: Address, digest: Hash32) -> Signature {
    let mut bytes = [0; 65];
    bytes[..20].copy_from_slice(&signer.0);
    bytes[20..52].copy_from_slice(&digest.0);
    Signature(bytes)
}

impl Keys for Tokens {
    fn sign(&self, digest: Hash32) -> Signature {
        token(self.0, digest)
    }

    fn verify(&self, digest: Hash32, signature: &Signature, signer: Address) -> bool {
        *signature == token(signer, digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_signer_and_digest_only() {
        let (one, other) = (Address([1; 20]), Address([2; 20]));
        let signed = Tokens(one).sign(Hash32([3; 32]));
        let keys = Tokens(other);
        assert!(keys.verify(Hash32([3; 32]), &signed, one));
        assert!(!keys.verify(Hash32([3; 32]), &signed, other));
        assert!(!keys.verify(Hash32([4; 32]), &signed, one));
    }
}
