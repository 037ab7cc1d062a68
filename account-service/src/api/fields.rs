//! Taking a request apart field by field, so that every mistake in it is named at once and
//! nothing that nobody asked for passes.

use crate::ids::IdKind;
use crate::problem::{Code, FieldError, Problem};
use hub_core::{Address, Amount};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Longest text of a caller: references, names.
pub const MAX_TEXT: usize = 255;
/// Longest free text: reasons.
pub const MAX_NOTE: usize = 1_000;
/// Bytes of metadata, as compact JSON.
const MAX_METADATA: usize = 16 * 1024;
/// Levels of metadata.
const MAX_DEPTH: usize = 8;

/// The fields of one object, and what was wrong with them so far.
#[derive(Debug, Default)]
pub struct Fields {
    map: Map<String, Value>,
    path: String,
    errors: Vec<FieldError>,
    code: Option<Code>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// Of a whole body.
    pub fn new(map: Map<String, Value>) -> Self {
        Self {
            map,
            ..Self::default()
        }
    }

    /// Of an item of a list.
    pub fn item(value: Value, list: &str, index: usize) -> Result<Self, Problem> {
        let path = format!("{list}.{index}");
        match value {
            Value::Object(map) => Ok(Self {
                map,
                path: format!("{path}."),
                ..Self::default()
            }),
            _ => Err(Problem::field(
                Code::ValidationFailed,
                path,
                "must be an object",
            )),
        }
    }

    /// Ends it: refused when anything was wrong, or when a field is left that nobody took.
    pub fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<_> = self.map.keys().take(20).cloned().collect();
        for name in unknown {
            self.wrong(&name, "is not a field of this request");
        }
        if self.errors.is_empty() {
            return Ok(());
        }
        let all_of_one_code = self.code.filter(|_| self.errors.len() == 1);
        Err(Problem::fields(
            all_of_one_code.unwrap_or(Code::ValidationFailed),
            self.errors,
        ))
    }

    /// Names of the fields asked for so far.
    pub fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// Notes that a field is wrong. A value is never repeated to the caller.
    pub fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError {
            field: format!("{}{name}", self.path),
            message: message.into(),
            code: None,
        });
    }

    /// Takes a field; `null` counts as absent.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    fn take_text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.wrong(name, "must be a string");
                None
            }
        }
    }

    fn required<T: Default>(&mut self, name: &'static str, found: Option<T>) -> T {
        let complained = self
            .errors
            .iter()
            .any(|e| e.field == format!("{}{name}", self.path));
        if found.is_none() && !complained {
            self.wrong(name, "is required");
        }
        found.unwrap_or_default()
    }

    /// A required amount.
    pub fn amount(&mut self, name: &'static str) -> Amount {
        let found = self.optional_amount(name);
        self.required(name, found)
    }

    /// An amount that may be absent.
    pub fn optional_amount(&mut self, name: &'static str) -> Option<Amount> {
        match self.take(name)? {
            Value::String(text) => match text.parse() {
                Ok(amount) => Some(amount),
                Err(error) => {
                    self.wrong(name, format!("{error}"));
                    None
                }
            },
            _ => {
                self.wrong(name, format!("{}", hub_core::AmountError::Syntax));
                None
            }
        }
    }

    /// A required id.
    pub fn id(&mut self, name: &'static str, kind: IdKind) -> Uuid {
        let found = self.optional_id(name, kind);
        self.required(name, found)
    }

    /// An id that may be absent.
    pub fn optional_id(&mut self, name: &'static str, kind: IdKind) -> Option<Uuid> {
        let text = self.take_text(name)?;
        let id = kind.parse(&text);
        if id.is_none() {
            let prefix = kind.prefix();
            self.wrong(
                name,
                format!("must be an id: {prefix} and 32 lower-case hexadecimal digits"),
            );
        }
        id
    }

    /// A text of 1 to `most` bytes that may be absent.
    pub fn optional_text(&mut self, name: &'static str, most: usize) -> Option<String> {
        let text = self.take_text(name)?;
        if text.is_empty() || text.len() > most {
            self.wrong(name, format!("must have 1 to {most} bytes"));
            return None;
        }
        Some(text)
    }

    /// An address that can be paid and may be absent.
    pub fn optional_address(&mut self, name: &'static str, not: &[Address]) -> Option<Address> {
        let text = self.take_text(name)?;
        let address = Address::parse_checked(&text)
            .ok()
            .filter(|address| *address != Address::ZERO && !not.contains(address));
        if address.is_none() {
            self.wrong(name, Code::AddressInvalid.advice());
            self.code = Some(Code::AddressInvalid);
        }
        address
    }

    /// A truth value; absent is `false`.
    pub fn flag(&mut self, name: &'static str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Bool(value)) => value,
            Some(_) => {
                self.wrong(name, "must be true or false");
                false
            }
        }
    }

    /// A whole number up to `most` that may be absent.
    pub fn optional_number(&mut self, name: &'static str, most: u64) -> Option<u64> {
        let value = self.take(name)?;
        let number = value.as_u64().filter(|number| *number <= most);
        if number.is_none() {
            self.wrong(name, format!("must be a whole number from 0 to {most}"));
        }
        number
    }

    /// A whole number in a query, from `least` to `most`, that may be absent.
    pub fn query_number(&mut self, name: &'static str, least: u64, most: u64) -> Option<u64> {
        let text = self.take_text(name)?;
        let plain = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = plain.then(|| text.parse().ok()).flatten();
        let found = number.filter(|number| (least..=most).contains(number));
        if found.is_none() {
            self.wrong(
                name,
                format!("must be a whole number from {least} to {most}"),
            );
        }
        found
    }

    /// A time as RFC 3339 that may be absent.
    pub fn optional_time(&mut self, name: &'static str) -> Option<OffsetDateTime> {
        let text = self.take_text(name)?;
        let found = OffsetDateTime::parse(&text, &Rfc3339)
            .ok()
            .filter(|time| (1970..=9999).contains(&time.year()));
        if found.is_none() {
            self.wrong(
                name,
                "must be a time as RFC 3339, for example 2026-01-31T12:00:00Z",
            );
        }
        found
    }

    /// What is left, in a fixed order: the filters of a list, before they are taken.
    pub fn rest(&self) -> String {
        let mut pairs: Vec<_> = self.map.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.sort();
        pairs.join("&")
    }

    /// One of some words that may be absent.
    pub fn optional_word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.take_text(name)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, format!("must be one of: {}", list.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// One of some words; absent is the first.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> T {
        self.optional_word(name, words).unwrap_or(words[0].1)
    }

    /// The caller's own object that may be absent.
    pub fn metadata(&mut self, name: &'static str) -> Option<Value> {
        let value = self.take(name)?;
        if !value.is_object() {
            self.wrong(name, "must be an object");
            return None;
        }
        if depth(&value) > MAX_DEPTH || value.to_string().len() > MAX_METADATA {
            self.wrong(
                name,
                format!("must have at most {MAX_METADATA} bytes and {MAX_DEPTH} levels"),
            );
            return None;
        }
        Some(value)
    }

    /// A required list of 1 to `most` values.
    pub fn list(&mut self, name: &'static str, most: usize) -> Vec<Value> {
        let found = match self.take(name) {
            Some(Value::Array(values)) if (1..=most).contains(&values.len()) => Some(values),
            None => None,
            Some(_) => {
                self.wrong(name, format!("must be a list of 1 to {most}"));
                None
            }
        };
        self.required(name, found)
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::new(value.as_object().cloned().unwrap())
    }

    #[test]
    fn every_mistake_is_named_and_no_value_is_repeated() {
        let mut f = fields(json!({"amount": 5, "from": "secret", "extra": 1, "dry_run": "yes"}));
        f.amount("amount");
        f.id("from", IdKind::Account);
        f.id("to", IdKind::Account);
        f.flag("dry_run");
        let problem = f.finish().unwrap_err();
        let body = serde_json::to_value(problem.body(None)).unwrap();
        let mut named: Vec<_> = body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["field"].as_str().unwrap().to_owned())
            .collect();
        named.sort();
        assert_eq!(named, ["amount", "dry_run", "extra", "from", "to"]);
        assert!(!body.to_string().contains("secret"));
        assert_eq!(problem.code(), Code::ValidationFailed);
    }

    #[test]
    fn a_wrong_address_alone_has_its_own_code() {
        let token: Address = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
            .parse()
            .unwrap();
        for text in [
            "0x0000000000000000000000000000000000000000",
            "0x5FbDB2315678afecb367f032d93F642f64180aa3",
            "0x5fBDB2315678afecb367f032d93F642f64180aa3",
            "0x12",
            "",
        ] {
            let mut f = fields(json!({"to_address": text}));
            assert_eq!(f.optional_address("to_address", &[token]), None);
            assert_eq!(
                f.finish().unwrap_err().code(),
                Code::AddressInvalid,
                "{text}"
            );
        }
    }

    #[test]
    fn metadata_is_an_object_of_bounded_size_and_depth() {
        let deep = (0..MAX_DEPTH).fold(json!(1), |inner, _| json!({"a": inner}));
        let mut f = fields(json!({"metadata": deep}));
        assert_eq!(f.metadata("metadata"), Some(deep.clone()));
        f.finish().unwrap();
        for bad in [
            json!([]),
            json!("x"),
            json!({"a": deep}),
            json!({"a": "x".repeat(MAX_METADATA)}),
        ] {
            let mut f = fields(json!({"metadata": bad}));
            f.metadata("metadata");
            assert!(f.finish().is_err());
        }
    }
}
