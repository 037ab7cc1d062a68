//! A request is sent again, unchanged, until there is an answer or patience ends.

use acctl::client::{Api, CallError, Patience};
use acctl::config::ApiAt;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with one request, once it has read all of it.
#[derive(Clone, Copy)]
enum Reply {
    /// Closes the connection: the caller can't know whether it was done.
    Drop,
    /// Says nothing.
    Hang,
    /// Status line, more headers, body.
    Say(&'static str, &'static str, &'static str),
}

struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Gives the replies one after another, the last one for ever.
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = seen.clone();
        let task = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request);
                    log.len() - 1
                };
                match replies[number.min(replies.len() - 1)] {
                    Reply::Drop => drop(stream),
                    Reply::Hang => kept.push(stream),
                    Reply::Say(status, headers, body) => {
                        let text = format!(
                            "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        stream.write_all(text.as_bytes()).await.unwrap();
                    }
                }
            }
        });
        Self { port, seen, task }
    }

    fn api(&self, attempt: Duration, total: Duration) -> Api {
        api_at(self.port, attempt, total)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn api_at(port: u16, attempt: Duration, total: Duration) -> Api {
    let at = ApiAt {
        base: format!("http://127.0.0.1:{port}"),
        key: "secret".into(),
    };
    Api::new(at, Patience { attempt, total }).unwrap()
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let head = text.find("\r\n\r\n").map(|at| at + 4);
        let length = text
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
            .unwrap_or(0);
        if read == 0 || head.is_some_and(|head| bytes.len() >= head + length) {
            return String::from_utf8(bytes).unwrap();
        }
    }
}

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);
const DONE: Reply = Reply::Say(
    "201 Created",
    "Idempotency-Replayed: true\r\n",
    r#"{"id":"trf_1"}"#,
);

#[tokio::test]
async fn the_same_request_is_sent_until_it_is_answered() {
    let server = Server::start(vec![
        Reply::Drop,
        Reply::Hang,
        Reply::Say("500 Internal Server Error", "", r#"{"code":"INTERNAL"}"#),
        Reply::Say("502 Bad Gateway", "", "<html>"),
        Reply::Say(
            "409 Conflict",
            "Retry-After: 0\r\n",
            r#"{"code":"IDEMPOTENCY_IN_FLIGHT"}"#,
        ),
        Reply::Say("408 Request Timeout", "", r#"{"code":"REQUEST_TIMEOUT"}"#),
        Reply::Say(
            "429 Too Many Requests",
            "Retry-After: 0\r\n",
            r#"{"code":"RATE_LIMITED"}"#,
        ),
        Reply::Say("200 OK", "", "{\"id\":"),
        DONE,
    ])
    .await;
    let api = server.api(SHORT, LONG);
    let body = json!({"from": "acc_1", "amount": "5"});
    let answer = api.post("/v1/transfers", "day:17", &body).await.unwrap();
    assert!(answer.is_done() && answer.replayed && answer.tries == 9);
    assert_eq!(answer.text("id"), Some("trf_1"));
    let seen = server.seen();
    assert_eq!(seen.len(), 9);
    assert_eq!(api.retries(), 8);
    for request in &seen {
        assert_eq!(request, &seen[0]);
    }
    assert!(
        seen[0].contains("idempotency-key: day:17\r\n"),
        "{}",
        seen[0]
    );
    assert!(seen[0].contains("authorization: Bearer secret\r\n"));
    assert!(seen[0].ends_with(&body.to_string()));
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let busy = Reply::Say(
        "503 Service Unavailable",
        "Retry-After: 1\r\n",
        r#"{"code":"BACKPRESSURE"}"#,
    );
    let server = Server::start(vec![busy, DONE]).await;
    let begun = Instant::now();
    let api = server.api(SHORT, LONG);
    let answer = api.post("/v1/transfers", "k", &json!({})).await.unwrap();
    assert!(answer.is_done());
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    for (status, code) in [
        ("422 Unprocessable Entity", "INSUFFICIENT_FUNDS"),
        ("409 Conflict", "DUPLICATE_CLIENT_REF"),
        ("400 Bad Request", "ADDRESS_INVALID"),
        ("423 Locked", "CHANNEL_FROZEN"),
    ] {
        let body = Box::leak(format!("{{\"code\":\"{code}\"}}").into_boxed_str());
        let server = Server::start(vec![Reply::Say(status, "", body)]).await;
        let api = server.api(SHORT, LONG);
        let answer = api.post("/v1/transfers", "k", &json!({})).await.unwrap();
        assert_eq!(answer.code(), code);
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_key_ends_the_run_and_is_named() {
    let denied = r#"{"code":"SCOPE_MISSING","detail":"Use a key with the scope transfers:write."}"#;
    let server = Server::start(vec![Reply::Say("403 Forbidden", "", denied)]).await;
    let error = server.api(SHORT, LONG).get("/v1/hubs").await.unwrap_err();
    assert!(matches!(error, CallError::Denied { .. }));
    let text = error.to_string();
    assert!(
        text.contains("SCOPE_MISSING") && text.contains("transfers:write"),
        "{text}"
    );
}

#[tokio::test]
async fn when_patience_ends_the_error_says_that_nothing_is_known() {
    let fenced = Reply::Say("503 Service Unavailable", "", r#"{"code":"RESTORE_FENCE"}"#);
    for (reply, word) in [
        (fenced, "RESTORE_FENCE"),
        (Reply::Drop, "/v1/transfers"),
        (Reply::Hang, "time"),
    ] {
        let server = Server::start(vec![reply]).await;
        let api = server.api(Duration::from_millis(100), Duration::from_millis(400));
        let error = api
            .post("/v1/transfers", "k", &json!({}))
            .await
            .unwrap_err();
        assert!(
            matches!(error, CallError::GaveUp { tries: 2.., .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("not known") && text.contains("the same command"),
            "{text}"
        );
        assert!(text.contains(word), "{text}");
    }
    // A port that was just given back: nothing listens there.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = api_at(port, SHORT, SHORT)
        .get("/v1/hubs")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
