//! Bearer tokens with scopes.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use hub_client::{ErrorBody, HubRefusal};
use std::collections::HashSet;
use std::str::FromStr;
use subtle::ConstantTimeEq as _;

/// Shortest token: 128 bits as hexadecimal digits.
const MIN_TOKEN: usize = 32;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Batches, fates, hello, withdrawals: account-service.
    Propose,
    /// Terms, journal, heads.
    Read,
    /// Chain events: the chain-worker.
    Chain,
}

/// The callers' tokens, as hashes.
#[derive(Debug)]
pub struct Tokens {
    known: Vec<(hub_core::Hash32, HashSet<Scope>)>,
}

/// Why a tokens file is no good.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not a scope list and a token.
    #[error("line {0}: expected `scope[,scope] token`; scopes are propose, read and chain")]
    Line(usize),
    /// A token that could be guessed.
    #[error("line {0}: a token has at least {MIN_TOKEN} characters")]
    Short(usize),
    /// None at all.
    #[error("no tokens: nobody could call the hub")]
    None,
}

impl FromStr for Tokens {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut known = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (scopes, token) = line
                .split_once(char::is_whitespace)
                .ok_or(TokenError::Line(number))?;
            let scopes = scopes
                .split(',')
                .map(|scope| match scope {
                    "propose" => Some(Scope::Propose),
                    "read" => Some(Scope::Read),
                    "chain" => Some(Scope::Chain),
                    _ => None,
                })
                .collect::<Option<_>>()
                .ok_or(TokenError::Line(number))?;
            let token = token.trim();
            if token.len() < MIN_TOKEN {
                return Err(TokenError::Short(number));
            }
            known.push((hub_core::sha256(token.as_bytes()), scopes));
        }
        if known.is_empty() {
            return Err(TokenError::None);
        }
        Ok(Self { known })
    }
}

impl Tokens {
    /// Whether the request carries a token with this scope.
    pub fn check(&self, request: &HttpRequest, scope: Scope) -> Result<(), ErrorBody> {
        let token = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        // All are compared, by hash and in constant time: the answer's time says nothing.
        let given = hub_core::sha256(token.trim().as_bytes());
        let mut allowed = false;
        for (hash, scopes) in &self.known {
            let same = bool::from(hash.0.ct_eq(&given.0));
            allowed |= same && scopes.contains(&scope);
        }
        if allowed {
            Ok(())
        } else {
            Err(ErrorBody {
                error: HubRefusal::Unauthorized,
                detail: "a bearer token with the route's scope is needed".to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn with(token: &str) -> HttpRequest {
        TestRequest::default()
            .insert_header((AUTHORIZATION, format!("Bearer {token}")))
            .to_http_request()
    }

    #[test]
    fn a_token_is_good_for_its_scopes_only() {
        let (one, two) = ("a".repeat(32), "b".repeat(32));
        let tokens: Tokens = format!("# comment\npropose,read {one}\n\nchain {two}\n")
            .parse()
            .unwrap();
        assert!(tokens.check(&with(&one), Scope::Propose).is_ok());
        assert!(tokens.check(&with(&one), Scope::Read).is_ok());
        assert!(tokens.check(&with(&one), Scope::Chain).is_err());
        assert!(tokens.check(&with(&two), Scope::Chain).is_ok());
        for wrong in ["", "c", &"a".repeat(31), &"a".repeat(33)] {
            assert!(tokens.check(&with(wrong), Scope::Read).is_err(), "{wrong}");
        }
        let none = TestRequest::default().to_http_request();
        assert!(tokens.check(&none, Scope::Read).is_err());
    }

    #[test]
    fn a_tokens_file_with_an_unknown_scope_a_short_token_or_nothing_is_refused() {
        let parse = |text: &str| text.parse::<Tokens>().map(drop);
        assert_eq!(parse("admin aaaa"), Err(TokenError::Line(1)));
        assert_eq!(parse("read"), Err(TokenError::Line(1)));
        assert_eq!(parse("\nread short"), Err(TokenError::Short(2)));
        assert_eq!(parse("# nothing\n"), Err(TokenError::None));
    }
}
