//! The routes and measurements every service has.
//!
//! | route | answer |
//! |---|---|
//! | `GET /livez` | 200 while the process runs its event loop |
//! | `GET /readyz` | 200 when it can work, else 503 and the reason |
//! | `GET /version` | what runs |
//! | `GET /metrics` | Prometheus text |

use crate::telemetry::{Build, Metrics, SECONDS};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use prometheus::HistogramVec;
use serde_json::json;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

/// What the route label says for a request that no route takes: callers' paths never become
/// label values.
const UNMATCHED: &str = "unmatched";

type Check =
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'static>> + Send + Sync;

/// What the routes answer from. Put it into the app as `web::Data<Ops>`.
#[derive(Clone)]
pub struct Ops {
    build: Build,
    metrics: Metrics,
    durations: HistogramVec,
    ready: Arc<Check>,
}

impl std::fmt::Debug for Ops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ops").field("build", &self.build).finish()
    }
}

impl Ops {
    /// `ready` says whether the service can work now, or why not. It is asked at each probe, so
    /// it should take milliseconds.
    pub fn new<F, R>(build: Build, metrics: Metrics, ready: F) -> prometheus::Result<Self>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        let durations = metrics.histogram_vec(
            "http_request_duration_seconds",
            "Time from the request's head to the answer's head.",
            &["route", "method", "status_class"],
            &SECONDS,
        )?;
        Ok(Self {
            build,
            metrics,
            durations,
            ready: Arc::new(move || Box::pin(ready())),
        })
    }
}

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/livez", web::get().to(livez))
        .route("/readyz", web::get().to(readyz))
        .route("/version", web::get().to(version))
        .route("/metrics", web::get().to(metrics));
}

async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

async fn readyz(ops: web::Data<Ops>) -> HttpResponse {
    match (ops.ready)().await {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(reason) => HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "not_ready", "reason": reason })),
    }
}

async fn version(ops: web::Data<Ops>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "service": ops.build.service,
        "version": ops.build.version,
        "commit": ops.build.commit,
    }))
}

async fn metrics(ops: web::Data<Ops>) -> HttpResponse {
    match ops.metrics.render() {
        Ok(text) => HttpResponse::Ok()
            .content_type("text/plain; version=0.0.4")
            .body(text),
        Err(error) => {
            tracing::error!(%error, "metrics can't be rendered");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// Middleware that measures every request, by the pattern of its route. Wrap the app with
/// `actix_web::middleware::from_fn(ops::measure)`, outermost.
pub async fn measure<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let ops = request.app_data::<web::Data<Ops>>().cloned();
    let method = request.method().clone();
    let start = Instant::now();
    let outcome = next.call(request).await;
    if let Some(ops) = ops {
        let (route, status) = match &outcome {
            Ok(response) => (response.request().match_pattern(), response.status()),
            Err(error) => (None, error.as_response_error().status_code()),
        };
        ops.durations
            .with_label_values(&[
                route.as_deref().unwrap_or(UNMATCHED),
                known(method.as_str()),
                class(status),
            ])
            .observe(start.elapsed().as_secs_f64());
    }
    outcome
}

/// A caller may invent methods; each would be a new time series.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    METHODS
        .into_iter()
        .find(|m| *m == method)
        .unwrap_or("other")
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::middleware::from_fn;
    use actix_web::{App, test};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[actix_web::test]
    async fn probes_follow_readiness_and_durations_are_labelled_by_pattern() {
        let build = Build::new("test", "0.0.1");
        let ready = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ready);
        let ops = Ops::new(build, Metrics::new(&build).unwrap(), move || {
            let ready = asked.load(Ordering::SeqCst);
            async move { ready.then_some(()).ok_or("warming up".to_owned()) }
        })
        .unwrap();
        let app = test::init_service(
            App::new()
                .app_data(web::Data::new(ops))
                .wrap(from_fn(measure))
                .configure(routes)
                .route("/things/{id}", web::get().to(HttpResponse::NoContent)),
        )
        .await;
        let get = async |path: &str| {
            let response =
                test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
            let status = response.status().as_u16();
            let body = test::read_body(response).await;
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(get("/livez").await.0, 200);
        let (status, body) = get("/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains("warming up"), "{body}");
        ready.store(true, Ordering::SeqCst);
        assert_eq!(get("/readyz").await.0, 200);
        assert!(get("/version").await.1.contains("0.0.1"));
        assert_eq!(get("/things/7").await.0, 204);
        assert_eq!(get("/nothing/here").await.0, 404);
        let (_, text) = get("/metrics").await;
        for line in [
            "route=\"/things/{id}\",status_class=\"2xx\"",
            "route=\"unmatched\",status_class=\"4xx\"",
            "route=\"/readyz\",status_class=\"5xx\"",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("/things/7") && !text.contains("/nothing"));
    }
}
