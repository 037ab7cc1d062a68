//! One request on its way through a handler: who calls, what is asked, in this order.

use super::App;
use super::body;
use super::envelope::{ExtraHeaders, RequestNames, names_of};
use super::fields::Fields;
use crate::auth::Caller;
use crate::ids::IdKind;
use crate::problem::{Code, Problem};
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use hub_core::ChannelId;
use serde_json::{Map, Value};
use std::future::{Ready, ready};
use uuid::Uuid;

/// A request.
pub struct Call {
    /// What the handlers work with.
    pub app: web::Data<App>,
    /// What the request is called.
    pub names: RequestNames,
    request: HttpRequest,
    payload: Payload,
}

impl FromRequest for Call {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let Some(app) = request.app_data::<web::Data<App>>().cloned() else {
            return ready(Err(Problem::internal("the server has no App")));
        };
        ready(Ok(Self {
            app,
            names: names_of(request),
            request: request.clone(),
            payload: payload.take(),
        }))
    }
}

impl Call {
    /// Who calls, if the key is valid, may do this, and is within its rate limit.
    pub async fn caller(&self, scope: &str) -> Result<Caller, Problem> {
        let failed = |reason: &str| self.app.metrics.auth_failed(reason);
        let caller = match self.app.keys.caller(self.secret()?).await {
            Ok(caller) => caller,
            Err(problem) => {
                failed("key");
                return Err(problem);
            }
        };
        if !caller.may(scope) {
            failed("scope");
            let detail = format!("Use a key with the scope {scope}.");
            return Err(Problem::with(Code::ScopeMissing, detail));
        }
        if let Some(limit) = caller.rate_limit {
            let standing = Box::pin(self.app.limits.take(caller.key_id, limit)).await;
            let extra = ExtraHeaders(standing.headers());
            self.request.extensions_mut().insert(extra);
            if let Some(problem) = standing.refusal() {
                self.app.metrics.rate_limited();
                return Err(problem);
            }
        }
        Ok(caller)
    }

    fn secret(&self) -> Result<&str, Problem> {
        let mut values = self.request.headers().get_all(header::AUTHORIZATION);
        let found = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(|text| text.split_once(' ')),
            _ => None,
        };
        match found {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => Ok(secret.trim()),
            _ => {
                self.app.metrics.auth_failed("missing");
                Err(Problem::new(Code::AuthInvalid))
            }
        }
    }

    /// The body as an object.
    pub async fn body(&mut self, limit: usize) -> Result<Map<String, Value>, Problem> {
        body::read(&self.request, &mut self.payload, limit, false).await
    }

    /// The body as an object; an absent one is empty.
    pub async fn optional_body(&mut self) -> Result<Map<String, Value>, Problem> {
        body::read(&self.request, &mut self.payload, body::SINGLE, true).await
    }

    /// The pattern of the route.
    pub fn pattern(&self) -> String {
        self.request.match_pattern().unwrap_or_default()
    }

    /// A header that may be there once, as text.
    pub fn header(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let refused = || {
            Problem::field(
                Code::ValidationFailed,
                name,
                "must be sent once, in visible ASCII",
            )
        };
        let mut values = self.request.headers().get_all(name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| refused()),
            _ => Err(refused()),
        }
    }

    /// The id in the path.
    pub fn id(&self, kind: IdKind) -> Result<Uuid, Problem> {
        kind.parse(self.path_part("id")).ok_or_else(|| {
            let message = format!(
                "must be an id: {} and 32 lower-case hexadecimal digits",
                kind.prefix()
            );
            Problem::field(Code::ValidationFailed, "id", message)
        })
    }

    /// The channel in the path.
    pub fn channel_id(&self) -> Result<ChannelId, Problem> {
        let text = self.path_part("id");
        let parsed = text
            .parse::<ChannelId>()
            .ok()
            .filter(|id| id.to_string() == text);
        parsed.ok_or_else(|| {
            let message = "must be 0x and 64 lower-case hexadecimal digits";
            Problem::field(Code::ValidationFailed, "id", message)
        })
    }

    /// A part of the path, as it was sent.
    pub fn path_part(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// The parameters of the query, each at most once.
    pub fn query(&self) -> Result<Fields, Problem> {
        let refused =
            |field: &str, message: &str| Problem::field(Code::ValidationFailed, field, message);
        let text = self.request.query_string();
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| refused("", "the query can't be read"))?;
        let mut map = Map::new();
        for (name, value) in pairs.into_inner() {
            if value.chars().chain(name.chars()).any(char::is_control) {
                return Err(refused("", "the query must not hold control characters"));
            }
            if map.insert(name.clone(), Value::String(value)).is_some() {
                return Err(refused(&name, "must be given once"));
            }
        }
        Ok(Fields::new(map))
    }

    /// Refuses every parameter: the route takes none.
    pub fn no_query(&self) -> Result<(), Problem> {
        self.query()?.finish()
    }

    /// Refuses the request if it was meant for another version of a resource.
    pub fn check_etag(&self, version: u64) -> Result<(), Problem> {
        let Some(wanted) = self.header("if-match")? else {
            return Ok(());
        };
        let fits = wanted
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag == format!("\"{version}\""));
        if fits {
            Ok(())
        } else {
            Err(Problem::new(Code::EtagMismatch))
        }
    }
}
