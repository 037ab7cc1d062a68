//! Fixed-size byte strings: hashes, channel ids, addresses. Text form is `0x` and lower-case hex.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// Why a hex text is not a value of the type asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 0x and {digits} hexadecimal digits")]
pub struct BytesError {
    /// How many hexadecimal digits the type has.
    pub digits: usize,
}

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// All bytes zero.
            pub const ZERO: Self = Self([0; $len]);

            /// The bytes, when there are exactly as many as the type has.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::ZERO
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0; 2 + $len * 2];
                f.write_str(self.text(&mut buffer))
            }
        }

        impl $name {
            /// The text form in a buffer: no memory is taken for it.
            fn text<'a>(&self, buffer: &'a mut [u8; 2 + $len * 2]) -> &'a str {
                buffer[..2].copy_from_slice(b"0x");
                // The buffer has the length that is asked for, and holds ASCII afterwards.
                let _ = hex::encode_to_slice(self.0, &mut buffer[2..]);
                std::str::from_utf8(buffer).unwrap_or_default()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BytesError;

            fn from_str(text: &str) -> Result<Self, BytesError> {
                let error = BytesError { digits: $len * 2 };
                let digits = text.strip_prefix("0x").ok_or_else(|| error.clone())?;
                let mut bytes = [0; $len];
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| error)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.text(&mut [0; 2 + $len * 2]))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

fixed_bytes!(
    /// A keccak-256 hash, or any other 32 bytes.
    Hash32,
    32
);
fixed_bytes!(
    /// The EIP-712 digest of a channel's parameters.
    ChannelId,
    32
);
fixed_bytes!(
    /// An account on the chain.
    Address,
    20
);
fixed_bytes!(
    /// A recoverable secp256k1 signature: r, s, v with v 27 or 28 and s in the lower half.
    Signature,
    65
);

impl From<ChannelId> for Hash32 {
    fn from(id: ChannelId) -> Self {
        Self(id.0)
    }
}

impl Address {
    /// The address with its EIP-55 checksum in the case of its letters.
    pub fn checksummed(&self) -> String {
        let lower = hex::encode(self.0);
        let hash = crate::keccak256(lower.as_bytes());
        let mut text = String::from("0x");
        for (index, letter) in lower.chars().enumerate() {
            let nibble = hash.0[index / 2] >> (4 * (1 - index % 2)) & 0x0f;
            text.push(if nibble >= 8 {
                letter.to_ascii_uppercase()
            } else {
                letter
            });
        }
        text
    }

    /// Parses an address that a person typed: all lower case, all upper case, or with a
    /// right EIP-55 checksum. A wrong checksum is refused, because it means a typing error.
    pub fn parse_checked(text: &str) -> Result<Self, BytesError> {
        let error = BytesError { digits: 40 };
        let digits = text.strip_prefix("0x").ok_or_else(|| error.clone())?;
        let address: Self = text.parse()?;
        let one_case = !digits.contains(|c: char| c.is_ascii_lowercase())
            || !digits.contains(|c: char| c.is_ascii_uppercase());
        if one_case || address.checksummed() == text {
            Ok(address)
        } else {
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_round_trips_through_its_checksum() {
        // From the text of EIP-55.
        let text = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        let address = Address::parse_checked(text).unwrap();
        assert_eq!(address.checksummed(), text);
        assert!(Address::parse_checked(&text.replace("aA", "Aa")).is_err());
        assert_eq!(Address::parse_checked(&text.to_lowercase()), Ok(address));
    }

    #[test]
    fn text_of_another_length_or_without_prefix_is_refused() {
        for text in [
            "",
            "0x",
            "00",
            "0x0",
            "0xzz",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
            assert!(text.parse::<Hash32>().is_err(), "{text}");
        }
    }
}
