//! EIP-712: how a structure becomes the 32 bytes that are signed.

use crate::{Address, Amount, Hash32, keccak256};
use serde::{Deserialize, Serialize};
use std::sync::{LazyLock, OnceLock};

/// The domain every message of the system is signed in: one contract on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Domain {
    /// The chain.
    pub chain_id: u64,
    /// The `HubChannels` contract.
    pub verifying_contract: Address,
}

/// `name` of the domain.
pub const DOMAIN_NAME: &str = "HubChannels";
/// `version` of the domain.
pub const DOMAIN_VERSION: &str = "1";

impl Domain {
    /// `hashStruct` of the domain.
    pub fn separator(&self) -> Hash32 {
        // A process works in one domain, and every channel id asks for it: made anew each time it
        // would be half of what an id costs.
        static FIRST: OnceLock<(Domain, Hash32)> = OnceLock::new();
        let (domain, separator) = FIRST.get_or_init(|| (*self, self.hash_struct()));
        if domain == self {
            *separator
        } else {
            self.hash_struct()
        }
    }

    fn hash_struct(&self) -> Hash32 {
        static TYPE_HASH: LazyLock<Hash32> = LazyLock::new(|| {
            keccak256(
                b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
            )
        });
        Words::new(*TYPE_HASH)
            .hash(keccak256(DOMAIN_NAME.as_bytes()))
            .hash(keccak256(DOMAIN_VERSION.as_bytes()))
            .uint(u128::from(self.chain_id))
            .address(self.verifying_contract)
            .keccak()
    }

    /// The 32 bytes that a signature over `message` covers.
    pub fn digest<T: Typed>(&self, message: &T) -> Hash32 {
        digest(self.separator(), message.hash_struct())
    }
}

/// The digest of a message in a domain, from the hashes of both.
pub fn digest(separator: Hash32, hash_struct: Hash32) -> Hash32 {
    let mut bytes = [0; 66];
    bytes[..2].copy_from_slice(&[0x19, 0x01]);
    bytes[2..34].copy_from_slice(&separator.0);
    bytes[34..].copy_from_slice(&hash_struct.0);
    keccak256(&bytes)
}

/// A structure that can be signed.
pub trait Typed {
    /// Name of the primary type.
    const NAME: &'static str;
    /// The encoded type, for example `Revoke(bytes32 channelId,uint32 epoch,uint48 version)`.
    const TYPE: &'static str;
    /// keccak-256 of type hash and fields.
    fn hash_struct(&self) -> Hash32;
}

/// The words of an ABI-encoded structure.
pub(crate) struct Words {
    bytes: Vec<u8>,
}

impl Words {
    pub(crate) fn new(type_hash: Hash32) -> Self {
        let mut bytes = Vec::with_capacity(15 * 32);
        bytes.extend_from_slice(&type_hash.0);
        Self { bytes }
    }

    pub(crate) fn bare() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(crate) fn hash(mut self, value: impl Into<Hash32>) -> Self {
        self.bytes.extend_from_slice(&value.into().0);
        self
    }

    pub(crate) fn uint(mut self, value: u128) -> Self {
        self.bytes.extend_from_slice(&[0; 16]);
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn amount(self, value: Amount) -> Self {
        self.uint(value.units())
    }

    pub(crate) fn address(mut self, value: Address) -> Self {
        self.bytes.extend_from_slice(&[0; 12]);
        self.bytes.extend_from_slice(&value.0);
        self
    }

    pub(crate) fn keccak(self) -> Hash32 {
        keccak256(&self.bytes)
    }
}

/// Declares the type string of a message and caches its hash.
macro_rules! typed {
    ($name:ident, $type:literal, |$this:ident, $words:ident| $body:expr) => {
        impl $crate::eip712::Typed for $name {
            const NAME: &'static str = stringify!($name);
            const TYPE: &'static str = $type;

            fn hash_struct(&self) -> $crate::Hash32 {
                static TYPE_HASH: std::sync::LazyLock<$crate::Hash32> =
                    std::sync::LazyLock::new(|| $crate::keccak256($type.as_bytes()));
                let $this = self;
                let $words = $crate::eip712::Words::new(*TYPE_HASH);
                $body.keccak()
            }
        }
    };
}
pub(crate) use typed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_that_of_its_domain_whichever_was_asked_for_first() {
        let domain = |chain_id: u64, contract: u8| Domain {
            chain_id,
            verifying_contract: Address([contract; 20]),
        };
        let all = [domain(1, 1), domain(2, 1), domain(1, 2)];
        for _ in 0..2 {
            for one in all {
                assert_eq!(one.separator(), one.hash_struct());
            }
        }
        let mut separators = all.map(|one| one.separator().0).to_vec();
        separators.sort_unstable();
        separators.dedup();
        assert_eq!(separators.len(), all.len());
    }
}
