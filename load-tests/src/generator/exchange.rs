//! One HTTP/1.1 exchange on a kept connection, with nothing that a load generator doesn't need:
//! no header map, no pool, one write and usually one read.

use std::io::{Error, ErrorKind, Result, Write as _};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest head of an answer.
const MAX_HEAD: usize = 16 * 1024;
/// Room for an answer to a transfer; longer ones make the buffer grow.
const BUFFER: usize = 4 * 1024;

/// A connection to the service.
pub(super) struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    buffer: Vec<u8>,
    filled: usize,
}

/// What came back.
pub(super) struct Reply<'a> {
    pub status: u16,
    pub retry_after: bool,
    pub body: &'a [u8],
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            out: Vec::with_capacity(BUFFER),
            buffer: vec![0; BUFFER],
            filled: 0,
        })
    }

    /// Posts a body and reads the whole answer. After an error the connection is of no more use.
    pub async fn post(&mut self, head: &Head<'_>, body: &[u8]) -> Result<Reply<'_>> {
        self.out.clear();
        write!(
            self.out,
            "POST {} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nIdempotency-Key: {}\r\nContent-Length: {}\r\n\r\n",
            head.path,
            head.api_key,
            head.key,
            body.len()
        )?;
        self.out.extend_from_slice(body);
        self.stream.write_all(&self.out).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply<'_>> {
        self.filled = 0;
        let (head, answer) = loop {
            self.read_more().await?;
            match Answer::parse(&self.buffer[..self.filled]) {
                Some(found) => break found,
                None if self.filled > MAX_HEAD => return Err(malformed("an endless head")),
                None => {}
            }
        };
        let length = answer
            .length
            .ok_or_else(|| malformed("no Content-Length"))?;
        let end = head + length;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while self.filled < end {
            self.read_more().await?;
        }
        Ok(Reply {
            status: answer.status,
            retry_after: answer.retry_after,
            body: &self.buffer[head..end],
        })
    }

    async fn read_more(&mut self) -> Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }
}

/// What differs between requests, the body apart.
pub(super) struct Head<'a> {
    pub path: &'a str,
    pub api_key: &'a str,
    pub key: &'a str,
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    length: Option<usize>,
    retry_after: bool,
}

impl Answer {
    /// The head and where it ends, once all of it is there.
    fn parse(bytes: &[u8]) -> Option<(usize, Self)> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let (mut length, mut retry_after) = (None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            }
            retry_after |= name.eq_ignore_ascii_case("retry-after");
        }
        let answer = Self {
            status,
            length,
            retry_after,
        };
        Some((end + 4, answer))
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the answer has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text =
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 12\r\nRetry-After: 1\r\n\r\nbody";
        assert_eq!(Answer::parse(&text[..40]), None);
        let answer = Answer {
            status: 503,
            length: Some(12),
            retry_after: true,
        };
        assert_eq!(Answer::parse(text), Some((text.len() - 4, answer)));
    }
}
