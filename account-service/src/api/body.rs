//! Reading a request's body: bounded, in time, and one JSON object without any looseness.

use crate::problem::{Code, Problem};
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::BytesMut;
use futures_util::StreamExt as _;
use hub_core::{Hash32, sha256};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes of a body, and of one on a batch route.
pub const SINGLE: usize = 64 * 1024;
/// A thousand transfers of 300 bytes each, with room for metadata.
pub const BATCH: usize = 1024 * 1024;
/// Time a body has to arrive as a whole. The server itself sets no limit.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Values in one document: a batch of 1,000 items of 60. A value costs some 30 times the
/// memory of its shortest text.
const MAX_VALUES: usize = 60_000;

/// Why a document is refused. The marks tell these from serde's own words, which never reach
/// the caller.
const DUPLICATE: &str = "strict: duplicate key";
const CONTROL: &str = "strict: control character";
const TOO_MANY: &str = "strict: too many values";

/// Reads the body as a JSON object. An absent body is an empty object where `optional`.
pub async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
    optional: bool,
) -> Result<Map<String, Value>, Problem> {
    let bytes = receive(request, payload, limit).await?;
    let typed = request.headers().contains_key(header::CONTENT_TYPE);
    if optional && bytes.is_empty() && !typed {
        return Ok(Map::new());
    }
    check_type(request)?;
    parse(&bytes)
}

async fn receive(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> Result<BytesMut, Problem> {
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| {
        usize::try_from(length).is_ok_and(|n| n > limit) || length > BATCH as u64
    }) {
        return Err(Problem::new(Code::BodyTooLarge));
    }
    let deadline = Instant::now() + BODY_TIME;
    let mut bytes = BytesMut::new();
    loop {
        let chunk = timeout_at(deadline, payload.next())
            .await
            .map_err(|_| Problem::new(Code::RequestTimeout))?;
        let Some(chunk) = chunk else {
            return Ok(bytes);
        };
        let chunk = chunk.map_err(|_| Problem::new(Code::MalformedBody))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Problem::new(Code::BodyTooLarge));
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// `application/json`, at most with `charset=utf-8`, once, and not compressed.
fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let refused = || Problem::new(Code::UnsupportedMediaType);
    let one = |name| {
        let mut values = request.headers().get_all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(refused()),
        }
    };
    let encoding = one(header::CONTENT_ENCODING)?;
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(refused());
    }
    let value = one(header::CONTENT_TYPE)?.ok_or_else(refused)?;
    let text = value.to_str().map_err(|_| refused())?;
    let mut parts = text.split(';').map(str::trim);
    if !parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
    {
        return Err(refused());
    }
    for parameter in parts {
        let (name, value) = parameter.split_once('=').ok_or_else(refused)?;
        let utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
        if !name.eq_ignore_ascii_case("charset") || !utf8 {
            return Err(refused());
        }
    }
    Ok(())
}

/// Parses one JSON object.
pub fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let first = bytes.iter().find(|byte| !b" \t\r\n".contains(byte));
    if first != Some(&b'{') {
        return Err(Problem::new(Code::MalformedBody));
    }
    let left = Cell::new(MAX_VALUES);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { left: &left }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| refusal(&error))?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Problem::new(Code::MalformedBody)),
    }
}

fn refusal(error: &serde_json::Error) -> Problem {
    // The texts are ours, made below; anything else is serde's and is kept back.
    let text = error.to_string();
    let ours = |mark: &str| text.starts_with(mark);
    if ours(CONTROL) {
        Problem::field(
            Code::ValidationFailed,
            "",
            "texts and names must not hold control characters",
        )
    } else if ours(DUPLICATE) {
        Problem::with(Code::MalformedBody, "Send each key of an object once.")
    } else if ours(TOO_MANY) {
        Problem::with(Code::MalformedBody, "Send fewer values in one request.")
    } else {
        Problem::new(Code::MalformedBody)
    }
}

/// Builds a value, refusing what a plain parser lets pass: duplicate keys, control characters,
/// endless lists. Depth is bounded by the parser itself, at 128.
struct Strict<'a> {
    left: &'a Cell<usize>,
}

impl Strict<'_> {
    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| E::custom(TOO_MANY))?);
        Ok(())
    }
}

fn clean<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.chars().any(char::is_control) {
        return Err(E::custom(CONTROL));
    }
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.count()?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        clean(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Strict { left: self.left })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            clean(&key)?;
            let value = entries.next_value_seed(Strict { left: self.left })?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(map))
    }
}

/// SHA-256 over method, route and the body written again with sorted keys: two requests with
/// the same hash are the same request.
pub fn request_hash(method: &str, route: &str, body: &Map<String, Value>) -> Hash32 {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(method.as_bytes());
    text.push(b' ');
    text.extend_from_slice(route.as_bytes());
    text.push(b'\n');
    write_object(body, &mut text);
    sha256(&text)
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => write_object(map, out),
        Value::Array(values) => {
            out.push(b'[');
            for value in values {
                write_value(value, out);
                out.push(b',');
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

fn write_object(map: &Map<String, Value>, out: &mut Vec<u8>) {
    // Sorted here: whether the map itself is depends on what else is in the build.
    let mut keys: Vec<_> = map.iter().collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    out.push(b'{');
    for (key, value) in keys {
        out.extend_from_slice(Value::String(key.clone()).to_string().as_bytes());
        out.push(b':');
        write_value(value, out);
        out.push(b',');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &[u8]) -> Option<Code> {
        parse(body).err().map(|problem| problem.code())
    }

    #[test]
    fn only_one_clean_object_passes() {
        assert!(parse(br#" {"a":{"b":[1,"x",null,true,1.5,-1]}} "#).is_ok());
        let nested = "{\"a\":".repeat(200_000);
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(MAX_VALUES));
        for body in [
            &b""[..],
            b" ",
            b"[]",
            b"[\"a\",\"1\"]",
            b"null",
            b"1",
            b"\"x\"",
            b"\xef\xbb\xbf{}",
            b"{}{}",
            b"{} x",
            b"{\"a\":1",
            b"{\"a\":1,\"a\":2}",
            b"{\"x\":{\"a\":1,\"a\":2}}",
            b"{'a':1}",
            b"{\"a\":NaN}",
            b"{\"a\":01}",
            b"{\"a\":1e999}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":\"\x01\"}",
            b"{\"a\":1,}",
            b"{/* */}",
            nested.as_bytes(),
            many.as_bytes(),
        ] {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert_eq!(code(body), Some(Code::MalformedBody), "{shown}");
        }
        for body in [
            &b"{\"a\":\"\\u0000\"}"[..],
            b"{\"\\u0000\":1}",
            b"{\"a\":[\"\\n\"]}",
        ] {
            assert_eq!(code(body), Some(Code::ValidationFailed));
        }
    }

    #[test]
    fn the_hash_is_of_the_content_not_of_its_spelling() {
        let hash = |text: &str| request_hash("POST", "/r", &parse(text.as_bytes()).unwrap());
        let same = hash(r#"{"a":"x","b":{"c":1,"d":[1,2]}}"#);
        assert_eq!(same, hash(r#" {"b":{"d":[1,2],"c":1}, "a":"\u0078"} "#));
        for other in [
            r#"{"a":"x","b":{"c":1,"d":[2,1]}}"#,
            r#"{"a":"x","b":{"c":"1","d":[1,2]}}"#,
            r#"{"a":"x","b":{"c":1,"d":[1,2]},"e":null}"#,
            r#"{"a":"x","b":{"c":1},"d":[1,2]}"#,
        ] {
            assert_ne!(same, hash(other), "{other}");
        }
        let map = parse(b"{}").unwrap();
        assert_ne!(
            request_hash("POST", "/a", &map),
            request_hash("POST", "/b", &map)
        );
    }
}
