//! Keys. The only crate that names a secret-key type.
//!
//! A key signs typed messages, whose digest is built here from the message itself, so that what
//! was checked is what is signed; and chain transactions by their hash. Nonces are those of
//! RFC 6979: the same message always gets the same signature.

use hub_core::signature::address_of;
use hub_core::{Address, Domain, Hash32, Signature, Typed};
use k256::ecdsa::SigningKey;
use std::{fmt, fs, path::Path};
use zeroize::Zeroizing;

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("key file {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file holds something else.
    #[error("key file {path}: expected 32 bytes as 64 hexadecimal digits, not zero")]
    Malformed {
        /// The file.
        path: String,
    },
    /// Others may read the file.
    #[error("key file {path} can be read by others; run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: String,
    },
}

/// A secp256k1 key that signs.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    address: Address,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.address)
    }
}

impl Signer {
    /// Reads a key file: 64 hexadecimal digits, with or without `0x`, mode 0600.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let shown = path.display().to_string();
        let read = |error| KeyError::Read {
            path: shown.clone(),
            error,
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(path).map_err(read)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(KeyError::Exposed { path: shown });
            }
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(read)?);
        let digits = text.trim();
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), &mut *bytes)
            .ok()
            .and_then(|()| Self::from_bytes(&bytes))
            .ok_or(KeyError::Malformed { path: shown })
    }

    /// A key from its 32 bytes, if they are one.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let key = SigningKey::from_slice(bytes).ok()?;
        let address = address_of(key.verifying_key());
        Some(Self { key, address })
    }

    /// The key's address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a message in a domain.
    pub fn sign<T: Typed>(&self, domain: &Domain, message: &T) -> Signature {
        self.sign_hash(domain.digest(message))
    }

    /// Signs the hash of a chain transaction.
    pub fn sign_transaction(&self, hash: Hash32) -> Signature {
        self.sign_hash(hash)
    }

    fn sign_hash(&self, hash: Hash32) -> Signature {
        let (ecdsa, recovery) = self.key.sign_prehash_recoverable(&hash.0);
        let mut signature = Signature::ZERO;
        signature.0[..64].copy_from_slice(&ecdsa.to_bytes());
        signature.0[64] = 27 + u8::from(recovery.is_y_odd());
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_core::signature::{SignatureError, recover, verify};
    use hub_core::types::Revoke;

    fn domain() -> Domain {
        Domain {
            chain_id: 31337,
            verifying_contract: "0x5FbDB2315678afecb367f032d93F642f64180aa3"
                .parse()
                .unwrap(),
        }
    }

    fn revoke(version: u64) -> Revoke {
        Revoke {
            channel_id: hub_core::ChannelId::ZERO,
            epoch: 0,
            version,
        }
    }

    #[test]
    fn the_address_of_a_key_is_the_known_one() {
        // The first account of the well-known development mnemonic.
        let key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let mut bytes = [0; 32];
        hex::decode_to_slice(key, &mut bytes).unwrap();
        assert_eq!(
            Signer::from_bytes(&bytes).unwrap().address().checksummed(),
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
        );
    }

    #[test]
    fn a_signature_is_canonical_deterministic_and_names_its_signer() {
        for seed in 1..=50_u8 {
            let signer = Signer::from_bytes(&[seed; 32]).unwrap();
            let message = revoke(u64::from(seed));
            let signature = signer.sign(&domain(), &message);
            assert_eq!(signature, signer.sign(&domain(), &message));
            let digest = domain().digest(&message);
            assert_eq!(recover(digest, &signature), Ok(signer.address()));
            assert!(verify(domain().digest(&revoke(0)), &signature, signer.address()).is_err());
        }
    }

    #[test]
    fn other_forms_of_a_valid_signature_are_refused() {
        let signer = Signer::from_bytes(&[7; 32]).unwrap();
        let digest = domain().digest(&revoke(1));
        let good = signer.sign(&domain(), &revoke(1));
        for v in [0, 1, 26, 29, 255] {
            let mut other = good;
            other.0[64] = v;
            assert_eq!(recover(digest, &other), Err(SignatureError::Malformed));
        }
        let mut zero_r = good;
        zero_r.0[..32].fill(0);
        assert_eq!(recover(digest, &zero_r), Err(SignatureError::Malformed));
        let high_s = with_high_s(good);
        assert_eq!(recover(digest, &high_s), Err(SignatureError::Malformed));
    }

    /// The other signature that the curve accepts for the same message: s' = n - s.
    fn with_high_s(mut signature: Signature) -> Signature {
        let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
        let mut borrow = 0_i16;
        for (at, n) in order.unwrap().into_iter().enumerate().rev() {
            let difference = i16::from(n) - i16::from(signature.0[32 + at]) - borrow;
            borrow = i16::from(difference < 0);
            signature.0[32 + at] = (difference + 256 * borrow) as u8;
        }
        signature.0[64] = 27 + (28 - signature.0[64]);
        signature
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("key-{}", std::process::id()));
        fs::write(&path, "11".repeat(32)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Signer::from_file(&path),
            Err(KeyError::Exposed { .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Signer::from_file(&path).is_ok());
        fs::write(&path, "00".repeat(32)).unwrap();
        assert!(matches!(
            Signer::from_file(&path),
            Err(KeyError::Malformed { .. })
        ));
        fs::remove_file(&path).unwrap();
    }
}
