//! What every request and answer has around it: names for the logs, problem documents, figures.

use super::App;
use crate::problem::{Code, Problem};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, web};
use uuid::Uuid;

/// Header with the caller's name for a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header of W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longest request id taken from a caller.
const MAX_REQUEST_ID: usize = 128;

/// What a request is called.
#[derive(Debug, Clone)]
pub struct RequestNames {
    /// For callers and logs; also the correlation id of everything the request causes.
    pub request_id: String,
    /// For tracers.
    pub traceparent: String,
}

impl RequestNames {
    fn of(headers: &HeaderMap) -> Self {
        let given = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let fresh = Uuid::now_v7();
        let request_id = given(&REQUEST_ID)
            .filter(|text| is_request_id(text))
            .map_or_else(|| fresh.to_string(), str::to_owned);
        let traceparent = given(&TRACEPARENT)
            .filter(|text| is_traceparent(text))
            .map_or_else(|| new_traceparent(fresh), str::to_owned);
        Self {
            request_id,
            traceparent,
        }
    }
}

/// The names that [`wrap`] gave to a request.
pub fn names_of(request: &HttpRequest) -> RequestNames {
    let kept = request.extensions().get::<RequestNames>().cloned();
    kept.unwrap_or_else(|| RequestNames::of(request.headers()))
}

/// Headers that the answer to this request gets on top.
#[derive(Debug, Default)]
pub struct ExtraHeaders(pub Vec<(HeaderName, HeaderValue)>);

fn is_request_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_REQUEST_ID
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let parts: Vec<_> = text.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return false;
    };
    version == "00"
        && hex(trace, 32)
        && hex(parent, 16)
        && hex(flags, 2)
        && trace.bytes().any(|b| b != b'0')
        && parent.bytes().any(|b| b != b'0')
}

fn new_traceparent(id: Uuid) -> String {
    let trace = id.simple().to_string();
    // The last 8 bytes of a UUID are random and never all zero: they begin with its variant.
    format!("00-{trace}-{}-00", &trace[16..])
}

/// The middleware.
pub async fn wrap(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let names = RequestNames::of(request.headers());
    request.extensions_mut().insert(names.clone());
    let app = request.app_data::<web::Data<App>>().cloned();
    let method = request.method().clone();
    let mut response = next.call(request).await?.map_into_boxed_body();

    let pattern = response.request().match_pattern();
    let problem = response
        .response()
        .error()
        .and_then(|error| error.as_error::<Problem>())
        .cloned();
    let unknown_fault = problem.is_none() && response.response().error().is_some();
    if problem.is_some() || unknown_fault {
        let problem = problem.unwrap_or_else(|| fault_of(&response));
        let path = response.request().path().to_owned();
        let answer = problem.response(Some((&names.request_id, &path)));
        if let Some(app) = &app {
            app.metrics.refused(problem.code());
        }
        response = response.into_response(answer);
    }
    let extra = response.request().extensions_mut().remove::<ExtraHeaders>();
    let headers = response.headers_mut();
    for (name, value) in extra.into_iter().flat_map(|extra| extra.0) {
        headers.insert(name, value);
    }
    for (name, text) in [
        (REQUEST_ID, &names.request_id),
        (TRACEPARENT, &names.traceparent),
    ] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    if let Some(app) = app {
        let route = pattern.as_deref().unwrap_or("unmatched");
        let status = response.status().as_u16();
        app.metrics.answered(route, status);
        tracing::debug!(request_id = %names.request_id, %method, route, status, "answered");
    }
    Ok(response)
}

/// An error of the framework itself: its text may show internals, so only its kind is kept.
fn fault_of(response: &ServiceResponse<BoxBody>) -> Problem {
    match response.status().as_u16() {
        404 => Problem::new(Code::RouteNotFound),
        408 => Problem::new(Code::RequestTimeout),
        413 => Problem::new(Code::BodyTooLarge),
        status if status < 500 => Problem::new(Code::MalformedBody),
        _ => Problem::internal(format!("{:?}", response.response().error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_from_callers_only_in_a_harmless_form() {
        assert!(is_request_id("order-17:3.a_B"));
        for bad in ["", "a b", "a\"b", "a\nb", "ä", "<x>", &"a".repeat(129)] {
            assert!(!is_request_id(bad), "{bad}");
        }
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        assert!(is_traceparent(&new_traceparent(Uuid::now_v7())));
        for bad in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
