use std::{
    io::{Read, Write},
    time::Duration,
};

use crate::{http, sql};

/// How long one attempt may take. Attempts follow each other until the server's own limit.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How a process shows, in its own protocol, that it can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `SELECT 1`.
    Postgres(u16),
    /// `PING`.
    Redis(u16),
    /// The broker's `connection.start`: its listener opens as the last step of a boot.
    Amqp(u16),
    /// A request for a name that nobody has registered.
    Epmd(u16),
    /// `eth_chainId`.
    Evm(u16),
    /// 200 on `/readyz`.
    Http(u16),
    /// It has no port: running is enough.
    Running,
}

impl Probe {
    /// Where the answer is expected from.
    pub(crate) fn port(self) -> Option<u16> {
        match self {
            Probe::Running => None,
            Probe::Postgres(port) | Probe::Redis(port) | Probe::Amqp(port) => Some(port),
            Probe::Epmd(port) | Probe::Evm(port) | Probe::Http(port) => Some(port),
        }
    }

    /// One attempt; blocks up to some seconds.
    ///
    /// # Errors
    /// What was seen instead of an answer.
    pub fn check(self) -> Result<(), String> {
        match self {
            Probe::Running => Ok(()),
            Probe::Postgres(port) => {
                sql::execute(port, "postgres", "SELECT 1").map_err(|e| e.to_string())?;
                Ok(())
            }
            Probe::Redis(port) => exchange(port, b"PING\r\n", b"+PONG\r\n"),
            // Frame type 1 (method) on channel 0.
            Probe::Amqp(port) => exchange(port, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"),
            // PORT_PLEASE2_REQ for the name "-"; 119 is the answer's tag.
            Probe::Epmd(port) => exchange(port, b"\x00\x02z-", b"\x77"),
            Probe::Evm(port) => {
                let call = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
                let (status, body) =
                    http::request(port, "POST", "/", call, ATTEMPT).map_err(|e| e.to_string())?;
                let answered = status == 200 && body.contains(r#""result""#);
                if answered {
                    Ok(())
                } else {
                    Err(format!("status {status}: {body}"))
                }
            }
            Probe::Http(port) => {
                let (status, body) = http::request(port, "GET", "/readyz", "", ATTEMPT)
                    .map_err(|e| e.to_string())?;
                if status == 200 {
                    Ok(())
                } else {
                    Err(format!("/readyz answers {status}: {}", body.trim()))
                }
            }
        }
    }
}

fn exchange(port: u16, question: &[u8], expected: &[u8]) -> Result<(), String> {
    let mut answer = vec![0; expected.len()];
    http::connect(port, ATTEMPT)
        .and_then(|mut stream| {
            stream.write_all(question)?;
            stream.read_exact(&mut answer)
        })
        .map_err(|e| e.to_string())?;
    if answer == expected {
        Ok(())
    } else {
        Err(format!("unexpected answer {answer:02x?}"))
    }
}
