//! Calls that end with an answer or with a clear reason why not, whatever dies in between.
//!
//! A time-out is no refusal: nobody knows what happened, so the same request with the same key is
//! sent until there is an answer.

use crate::config::ApiAt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// First pause after a failed try; doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A service that is started again is ready within 5 s; asking twice a second finds it soon.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Answers kept of a body that is no JSON, in characters.
const SHOWN: usize = 200;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For one try.
    pub attempt: Duration,
    /// For an answer, over all tries.
    pub total: Duration,
}

impl Default for Patience {
    /// A batch under load takes a second or two; an outage of the whole system some minutes.
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(15),
            total: Duration::from_secs(120),
        }
    }
}

/// A final answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The JSON document.
    pub body: Value,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
    /// How often the request was sent here.
    pub tries: u32,
}

impl Answer {
    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The code of a refusal; of one without code, its status.
    pub fn code(&self) -> String {
        match self.text("code") {
            Some(code) => code.to_owned(),
            None => format!("HTTP_{}", self.status),
        }
    }

    /// A text of the document.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Nobody knows what became of the request. The same request may be sent again.
    #[error(
        "{what}: no answer within {waited_s} s and {tries} tries; the last one: {last}. What became of it is not \
         known; the same command again finds out and goes on"
    )]
    GaveUp {
        /// Method and path.
        what: String,
        /// Seconds waited.
        waited_s: u64,
        /// How often it was sent.
        tries: u32,
        /// How the last try ended.
        last: String,
    },
    /// The key is wrong, or may not do this.
    #[error("{what}: the API key is refused ({code}): {detail}")]
    Denied {
        /// Method and path.
        what: String,
        /// The code.
        code: String,
        /// What to do.
        detail: String,
    },
    /// An answer that this program does not understand.
    #[error("{what}: the answer is not what API.md says: {why}")]
    Unexpected {
        /// Method and path.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

/// How a try ended.
enum Try {
    Answered(Answer),
    /// To be sent again, after a pause that the server named.
    Again(String, Option<Duration>),
}

/// A client bound to one API.
#[derive(Debug)]
pub struct Api {
    http: reqwest::Client,
    at: ApiAt,
    patience: Patience,
    waiting: AtomicUsize,
    retries: AtomicU64,
    trouble: Mutex<String>,
}

impl Api {
    /// A client.
    pub fn new(at: ApiAt, patience: Patience) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(patience.attempt)
            .tcp_nodelay(true)
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            at,
            patience,
            waiting: AtomicUsize::new(0),
            retries: AtomicU64::new(0),
            trouble: Mutex::default(),
        })
    }

    /// How often a request was sent again so far.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Why requests wait for their next try, if any do.
    pub fn trouble(&self) -> Option<String> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        // The text is whole at every moment, so a panic elsewhere spoils nothing.
        let trouble = self
            .trouble
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        (waiting > 0).then(|| format!("{waiting} to be sent again: {trouble}"))
    }

    /// Asks for something.
    pub async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.call(Method::GET, path, None).await
    }

    /// Asks for something that must be there.
    pub async fn fetch(&self, path: &str) -> Result<Value, CallError> {
        let answer = self.get(path).await?;
        if answer.is_done() {
            return Ok(answer.body);
        }
        Err(unexpected("GET", path, &answer))
    }

    /// Orders something, once, under a key.
    pub async fn post(&self, path: &str, key: &str, body: &Value) -> Result<Answer, CallError> {
        self.call(Method::POST, path, Some((key, body))).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        order: Option<(&str, &Value)>,
    ) -> Result<Answer, CallError> {
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            let tried = self.attempt(&method, path, order).await;
            tries += 1;
            let (last, named) = match tried {
                Try::Answered(answer) => {
                    return denied(&method, path, Answer { tries, ..answer });
                }
                Try::Again(last, named) => (last, named),
            };
            let waited = begun.elapsed();
            let own = pause(tries, path, order.map(|(key, _)| key));
            let pause = named.unwrap_or(own).max(own);
            if waited + pause > self.patience.total {
                return Err(CallError::GaveUp {
                    what: format!("{method} {path}"),
                    waited_s: waited.as_secs(),
                    tries,
                    last,
                });
            }
            self.wait(last, pause).await;
        }
    }

    async fn wait(&self, last: String, pause: Duration) {
        *self
            .trouble
            .lock()
            .unwrap_or_else(|poison| poison.into_inner()) = last;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.retries.fetch_add(1, Ordering::Relaxed);
        sleep(pause).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    async fn attempt(&self, method: &Method, path: &str, order: Option<(&str, &Value)>) -> Try {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.at.base))
            .bearer_auth(&self.at.key);
        if let Some((key, body)) = order {
            request = request.header("Idempotency-Key", key).json(body);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Try::Again(why(&error), None),
        };
        let status = response.status();
        let named = retry_after(response.headers());
        let replayed = response.headers().contains_key("idempotency-replayed");
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return Try::Again(why(&error), None),
        };
        let Ok(body) = serde_json::from_str::<Value>(&text) else {
            let shown: String = text.chars().take(SHOWN).collect();
            return Try::Again(
                format!("{status} with a body that is no JSON: {shown}"),
                named,
            );
        };
        let answer = Answer {
            status: status.as_u16(),
            body,
            replayed,
            tries: 1,
        };
        if is_passing(status, &answer) {
            return Try::Again(format!("{status} {}", answer.code()), named);
        }
        Try::Answered(answer)
    }
}

/// Whether the same request may get another answer later.
fn is_passing(status: StatusCode, answer: &Answer) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || (status == StatusCode::CONFLICT && answer.text("code") == Some("IDEMPOTENCY_IN_FLIGHT"))
}

fn denied(method: &Method, path: &str, answer: Answer) -> Result<Answer, CallError> {
    if answer.status != 401 && answer.status != 403 {
        return Ok(answer);
    }
    Err(CallError::Denied {
        what: format!("{method} {path}"),
        code: answer.code(),
        detail: answer.text("detail").unwrap_or_default().to_owned(),
    })
}

/// An answer that ends the run.
pub fn unexpected(method: &str, path: &str, answer: &Answer) -> CallError {
    let detail = answer.text("detail").unwrap_or_default();
    CallError::Unexpected {
        what: format!("{method} {path}"),
        why: format!("{} {} {detail}", answer.status, answer.code()),
    }
}

/// The error with its causes, which reqwest keeps apart.
fn why(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The pause after a number of tries: doubled each time, up to half of it taken off by the key,
/// so that many callers don't come back at once.
fn pause(tries: u32, path: &str, key: Option<&str>) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << tries.min(10).saturating_sub(1));
    let longest = doubled.min(LONGEST_PAUSE);
    let mut hasher = DefaultHasher::new();
    (tries, path, key).hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % 500).unwrap_or(0);
    longest - longest * share / 1000
}
