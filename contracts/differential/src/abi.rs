//! The ABI: values to bytes, and the names that the artefacts give to selectors.

use hub_core::{Address, Hash32, keccak256};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// A value as the ABI knows it.
#[derive(Debug, Clone)]
pub enum Value {
    /// Anything of one word.
    Word([u8; 32]),
    /// Bytes of any length.
    Bytes(Vec<u8>),
    /// An array of any length.
    List(Vec<Value>),
    /// A structure, or the arguments of a call.
    Tuple(Vec<Value>),
}

/// An unsigned integer.
pub fn uint(value: impl Into<u128>) -> Value {
    let mut word = [0; 32];
    word[16..].copy_from_slice(&value.into().to_be_bytes());
    Value::Word(word)
}

/// An address.
pub fn address(value: Address) -> Value {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&value.0);
    Value::Word(word)
}

/// 32 bytes.
pub fn hash(value: impl Into<Hash32>) -> Value {
    Value::Word(value.into().0)
}

impl Value {
    fn is_dynamic(&self) -> bool {
        match self {
            Self::Word(_) => false,
            Self::Bytes(_) | Self::List(_) => true,
            Self::Tuple(parts) => parts.iter().any(Self::is_dynamic),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Word(word) => out.extend_from_slice(word),
            Self::Bytes(bytes) => {
                uint(bytes.len() as u128).encode(out);
                out.extend_from_slice(bytes);
                out.resize(out.len().next_multiple_of(32), 0);
            }
            Self::List(items) => {
                uint(items.len() as u128).encode(out);
                encode_parts(items, out);
            }
            Self::Tuple(parts) => encode_parts(parts, out),
        }
    }
}

/// Heads, then the tails that they point to.
fn encode_parts(parts: &[Value], out: &mut Vec<u8>) {
    let encoded: Vec<Vec<u8>> = parts
        .iter()
        .map(|part| {
            let mut bytes = Vec::new();
            part.encode(&mut bytes);
            bytes
        })
        .collect();
    let heads = parts.iter().zip(&encoded).map(
        |(part, bytes)| {
            if part.is_dynamic() { 32 } else { bytes.len() }
        },
    );
    let mut at: usize = heads.sum();
    for (part, bytes) in parts.iter().zip(&encoded) {
        if part.is_dynamic() {
            uint(at as u128).encode(out);
            at += bytes.len();
        } else {
            out.extend_from_slice(bytes);
        }
    }
    for (part, bytes) in parts.iter().zip(&encoded) {
        if part.is_dynamic() {
            out.extend_from_slice(bytes);
        }
    }
}

/// Arguments or return values, encoded.
pub fn encode(parts: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_parts(parts, &mut out);
    out
}

/// A word of an answer as an integer that fits 128 bits.
pub fn word(answer: &[u8], place: usize) -> u128 {
    let word = &answer[32 * place..32 * (place + 1)];
    assert!(word[..16].iter().all(|byte| *byte == 0), "fits 128 bits");
    u128::from_be_bytes(word[16..].try_into().unwrap())
}

/// A word of an answer as 32 bytes.
pub fn word_hash(answer: &[u8], place: usize) -> Hash32 {
    Hash32::from_slice(&answer[32 * place..32 * (place + 1)]).unwrap()
}

/// What an artefact knows: creation code, selectors of functions, names of errors.
#[derive(Debug, Clone)]
pub struct Artefact {
    /// Creation code without arguments.
    pub bytecode: Vec<u8>,
    functions: BTreeMap<String, [u8; 4]>,
    errors: BTreeMap<String, [u8; 4]>,
}

impl Artefact {
    /// Reads `contracts/artifacts/NAME.json`.
    pub fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../artifacts");
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let json: Json = serde_json::from_str(&text).unwrap();
        let code = json["bytecode"].as_str().unwrap();
        let selectors = |kind: &str| {
            let entries = json["abi"].as_array().unwrap().iter();
            entries
                .filter(|entry| entry["type"] == kind)
                .map(|entry| (entry["name"].as_str().unwrap().to_owned(), selector(entry)))
                .collect()
        };
        Self {
            bytecode: hex::decode(code.trim_start_matches("0x")).unwrap(),
            functions: selectors("function"),
            errors: selectors("error"),
        }
    }

    /// Data of a call.
    pub fn call(&self, function: &str, arguments: &[Value]) -> Vec<u8> {
        let selector = self.functions.get(function);
        let selector = selector.unwrap_or_else(|| panic!("no function {function}"));
        [&selector[..], &encode(arguments)].concat()
    }

    /// Data of a revert.
    pub fn revert(&self, error: &str, arguments: &[Value]) -> Vec<u8> {
        let name = format!("HubChannels_{error}");
        let selector = self.errors.get(&name);
        let selector = selector.unwrap_or_else(|| panic!("no error {name}"));
        [&selector[..], &encode(arguments)].concat()
    }

    /// The error that revert data begins with.
    pub fn error_name(&self, data: &[u8]) -> String {
        let found = self
            .errors
            .iter()
            .find(|(_, selector)| data.starts_with(&selector[..]));
        found.map_or_else(|| hex::encode(data), |(name, _)| name.clone())
    }
}

fn selector(entry: &Json) -> [u8; 4] {
    let inputs = entry["inputs"].as_array().unwrap().iter();
    let types: Vec<_> = inputs.map(type_of).collect();
    let signature = format!("{}({})", entry["name"].as_str().unwrap(), types.join(","));
    keccak256(signature.as_bytes()).0[..4].try_into().unwrap()
}

fn type_of(input: &Json) -> String {
    let name = input["type"].as_str().unwrap();
    let Some(rest) = name.strip_prefix("tuple") else {
        return name.to_owned();
    };
    let parts = input["components"].as_array().unwrap().iter();
    let parts: Vec<_> = parts.map(type_of).collect();
    format!("({}){rest}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_encoded_as_the_abi_specification_shows() {
        // f(uint256,uint32[],bytes10,bytes) with (0x123, [0x456, 0x789], "1234567890", "Hello, world!").
        let mut ten = [0; 32];
        ten[..10].copy_from_slice(b"1234567890");
        let encoded = encode(&[
            uint(0x123_u32),
            Value::List(vec![uint(0x456_u32), uint(0x789_u32)]),
            Value::Word(ten),
            Value::Bytes(b"Hello, world!".to_vec()),
        ]);
        let words: Vec<_> = encoded.chunks(32).collect();
        assert_eq!(words.len(), 9);
        let place = |index| word(&encoded, index);
        assert_eq!((place(0), place(1), place(3)), (0x123, 0x80, 0xe0));
        assert_eq!((place(4), place(5), place(6)), (2, 0x456, 0x789));
        assert_eq!(place(7), 13);
        assert_eq!(&words[8][..13], b"Hello, world!");
        assert_eq!(words[2], ten);
    }

    #[test]
    fn selectors_are_the_known_ones() {
        let token = Artefact::read("Token");
        assert_eq!(hex::encode(&token.call("transfer", &[])[..4]), "a9059cbb");
    }
}
