//! A node that stops answering at the worst moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to transactions on their way to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They get through.
    Pass = 0,
    /// They don't arrive, and no answer comes.
    Swallow = 1,
    /// They arrive, and no answer comes.
    Mute = 2,
}

/// Between the worker and its node.
pub struct Proxy {
    pub url: String,
    mode: Arc<AtomicU8>,
    held: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn start(node: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mode, held) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicU64::new(0)));
        let (seen, count) = (Arc::clone(&mode), Arc::clone(&held));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, count) = (Arc::clone(&seen), Arc::clone(&count));
                tokio::spawn(async move { serve(stream, node, &seen, &count).await });
            }
        });
        Self { url, mode, held }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Transactions that were not answered.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, node: u16, mode: &AtomicU8, held: &AtomicU64) {
    let Some(body) = read(&mut stream).await else {
        return;
    };
    let mode = mode.load(Ordering::SeqCst);
    let is_held = mode != Mode::Pass as u8 && body.contains("eth_sendRawTransaction");
    if is_held && mode == Mode::Swallow as u8 {
        held.fetch_add(1, Ordering::SeqCst);
        return std::future::pending().await;
    }
    let limit = Duration::from_secs(10);
    let asked = move || stack::request(node, "POST", "/", &body, limit);
    let Ok(Ok((status, answer))) = tokio::task::spawn_blocking(asked).await else {
        return;
    };
    if is_held {
        held.fetch_add(1, Ordering::SeqCst);
        return std::future::pending().await;
    }
    let head = format!(
        "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// The body of one request.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let count = stream.read(&mut buffer).await.ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length? {
            return Some(body.to_owned());
        }
    }
}
