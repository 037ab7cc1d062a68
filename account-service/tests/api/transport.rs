//! What goes wrong below the content: sizes, time-outs, framing, names of requests.

use crate::harness::Server;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends bytes and reads until the server closes or nothing comes for a while.
async fn exchange(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // A server that has seen enough may close before it has read all of it.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut text = Vec::new();
    let mut buffer = [0; 16_384];
    while let Ok(Ok(count)) = timeout(Duration::from_millis(700), stream.read(&mut buffer)).await {
        if count == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn status(answer: &str) -> u16 {
    let line = answer.strip_prefix("HTTP/1.1 ").unwrap_or("0");
    line[..3.min(line.len())].parse().unwrap_or(0)
}

fn head(server: &Server, path: &str, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n{more}\r\n",
        server.admin
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = Server::start().await;
    for (path, length, expected) in [
        ("/v1/transfers", 64 * 1024 + 1, 413),
        ("/v1/transfers", 10 * 1024 * 1024 * 1024_u64, 413),
        ("/v1/transfers", u64::MAX, 413),
        ("/v1/transfer-batches", 1024 * 1024 + 1, 413),
        ("/v1/account-batches", 3 * 1024 * 1024, 413),
    ] {
        let request = head(&server, path, &format!("Content-Length: {length}\r\n"));
        let begun = Instant::now();
        let answer = exchange(&server, &request).await;
        assert_eq!(status(&answer), expected, "{path} {length}: {answer}");
        assert!(answer.contains("BODY_TOO_LARGE"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    // Without a declared length it is counted.
    let chunk = format!("{:x}\r\n{}\r\n", 40_000, " ".repeat(40_000));
    let request = head(&server, "/v1/transfers", "Transfer-Encoding: chunked\r\n");
    let answer = exchange(&server, &format!("{request}{chunk}{chunk}0\r\n\r\n")).await;
    assert_eq!(status(&answer), 413, "{answer}");
    // As much as is allowed is read: it is no object, so it is refused for that.
    let spaces = "x".repeat(64 * 1024);
    let request = head(
        &server,
        "/v1/transfers",
        &format!("Content-Length: {}\r\n", spaces.len()),
    );
    let answer = exchange(&server, &format!("{request}{spaces}")).await;
    assert!(answer.contains("MALFORMED_BODY"), "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_are_cut_and_do_not_disturb_others() {
    let server = Server::start().await;
    let begun = Instant::now();
    let slow_head = async {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\n")
            .await
            .unwrap();
        drip(&mut stream, begun).await
    };
    let slow_body = async {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = head(&server, "/v1/transfers", "Content-Length: 1000\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        drip(&mut stream, begun).await
    };
    let others = async {
        for _ in 0..20 {
            let asked = Instant::now();
            server.get("/v1/accounts").await.ok(200);
            assert!(asked.elapsed() < Duration::from_secs(2));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let ((head_text, head_took), (body_text, body_took), ()) =
        tokio::join!(slow_head, slow_body, others);
    assert!(head_took < Duration::from_secs(8), "{head_took:?}");
    assert_eq!(status(&head_text), 408, "{head_text}");
    assert!((9..13).contains(&body_took.as_secs()), "{body_took:?}");
    assert_eq!(status(&body_text), 408, "{body_text}");
    assert!(body_text.contains("REQUEST_TIMEOUT"), "{body_text}");
    server.stop().await;
}

/// One byte a second, until the server has had enough.
async fn drip(stream: &mut TcpStream, begun: Instant) -> (String, Duration) {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while begun.elapsed() < Duration::from_secs(30) {
        match timeout(Duration::from_secs(1), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => text.extend_from_slice(&buffer[..count]),
            Err(_) => {
                if stream.write_all(b"x").await.is_err() {
                    break;
                }
            }
        }
    }
    (String::from_utf8_lossy(&text).into_owned(), begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn doubtful_framing_is_refused_and_never_becomes_a_second_request() {
    let server = Server::start().await;
    let body = "0\r\n\r\nGET /v1/hubs HTTP/1.1\r\nHost: x\r\n\r\n";
    for more in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length : 5\r\n",
        "Bad Header: x\r\n",
        "X-Folded: a\r\n b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let request = format!("{}{body}", head(&server, "/v1/transfers", more));
        let answer = exchange(&server, &request).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{more}: {answer}");
        assert!((400..500).contains(&status(&answer)), "{more}: {answer}");
    }
    for request in [
        "GET /livez\r\n\r\n",
        "GET /livez HTTP/9.9\r\n\r\n",
        "\0\0\0\r\n\r\n",
    ] {
        assert!(
            !exchange(&server, request).await.starts_with("HTTP/1.1 2"),
            "{request:?}"
        );
    }
    // These two actix answers itself, before any code of ours, with an empty body.
    let many: String = (0..200).map(|at| format!("X-{at}: 1\r\n")).collect();
    let answer = exchange(
        &server,
        &format!("GET /livez HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
    )
    .await;
    assert!((400..500).contains(&status(&answer)), "{answer}");
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(140_000));
    assert!((400..500).contains(&status(&exchange(&server, &long).await)));
    for path in [
        "/v1/../v1/accounts",
        "/v1/./accounts",
        "//v1/accounts",
        "/v1/accounts/../hubs",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&exchange(&server, &request).await), 404, "{path}");
    }
    server.get("/v1/accounts").await.ok(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_on_one_connection_are_answered_in_a_row() {
    let server = Server::start().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let both = format!("{}{}", get("/livez"), get("/v1/hubs"));
    let answer = exchange(&server, &both).await;
    let statuses: Vec<_> = answer
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| status(&answer[at..]))
        .collect();
    assert_eq!(statuses, [200, 401], "{answer}");
    // A body that looks like a request is a body.
    let hidden = get("/livez");
    let length = format!("Content-Length: {}\r\n", hidden.len());
    let request = format!(
        "{}{hidden}{}",
        head(&server, "/v1/transfers", &length),
        get("/livez")
    );
    let answer = exchange(&server, &request).await;
    let statuses: Vec<_> = answer
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| status(&answer[at..]))
        .collect();
    assert!(statuses == [400, 200] || statuses == [400], "{answer}");
    // An extension of a chunk is passed over or refused, and is never a length.
    let chunked = head(&server, "/v1/transfers", "Transfer-Encoding: chunked\r\n");
    let request = format!("{chunked}2;x=1\r\n{{}}\r\n0\r\n\r\n");
    let answer = exchange(&server, &request).await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_the_name_its_caller_gave_it() {
    let server = Server::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let named = |id: &str, trace: &str| {
        let request = server.request(reqwest::Method::GET, "/v1/accounts/x");
        request
            .header("X-Request-Id", id)
            .header("traceparent", trace)
    };
    let answer = server.send(named("till-7:42", trace)).await;
    assert_eq!(answer.header("x-request-id"), Some("till-7:42"));
    assert_eq!(answer.header("traceparent"), Some(trace));
    assert_eq!(answer.json()["request_id"], "till-7:42");
    assert_eq!(answer.json()["instance"], "/v1/accounts/x");
    for (id, trace) in [
        ("a b", "x"),
        ("<script>", "00-0-0-0"),
        (&"x".repeat(129), ""),
    ] {
        let answer = server.send(named(id, trace)).await;
        let given = answer.header("x-request-id").unwrap();
        assert_ne!(given, id);
        assert_eq!(given.len(), 36);
        assert_eq!(answer.header("traceparent").unwrap().len(), 55);
        answer.problem();
    }
    let answer = server.get("/v1/accounts").await;
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_a_proxy_change_nothing() {
    let server = Server::start().await;
    let key = server.key(uuid::Uuid::now_v7(), &["accounts:read"]).await;
    let plain = server.get_as(&key, "/v1/accounts").await.ok(200);
    let request = server
        .request_as(&key, reqwest::Method::GET, "/v1/accounts")
        .header("X-Forwarded-For", "127.0.0.1")
        .header("X-Real-IP", "127.0.0.1")
        .header("X-User-Id", "admin")
        .header("X-Owner", "00000000-0000-0000-0000-000000000000");
    assert_eq!(server.send(request).await.ok(200), plain);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hub_money_is_refused_as_retryable_and_nothing_is_written() {
    let server = Server::start().await;
    let before = server.fingerprint().await;
    let answer = server.post("/v1/accounts", &json!({})).await;
    answer.is(503, "HUB_UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.json()["retryable"], Value::Bool(true));
    assert_eq!(server.fingerprint().await, before);
    server.stop().await;
}
