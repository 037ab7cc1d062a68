//! The part of PostgreSQL's protocol that preparing databases needs: trusted login and the simple
//! query.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{Error, error::Attempt, http};

/// Rows of text columns; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// Longest a statement may take: CREATE DATABASE on a busy disk is the slowest.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// Runs one statement outside any transaction block, as the cluster's owner, and returns its rows.
/// Blocks.
///
/// # Errors
/// [`Error::Sql`] with the server's message; [`Error::Io`] when the server can't be reached.
pub fn execute(port: u16, database: &str, statement: &str) -> Result<Rows, Error> {
    let mut session = Session::open(port, database, STATEMENT_LIMIT)?;
    session.query(statement)
}

struct Session {
    stream: TcpStream,
}

impl Session {
    fn open(port: u16, database: &str, limit: Duration) -> Result<Self, Error> {
        let stream = http::connect(port, limit)
            .attempt(|| format!("connecting to PostgreSQL on port {port}"))?;
        let mut session = Self { stream };
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        for text in ["user", crate::postgres::OWNER, "database", database, ""] {
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
        session.send(None, &startup)?;
        session.until_ready("login")?;
        Ok(session)
    }

    fn query(&mut self, statement: &str) -> Result<Rows, Error> {
        let mut body = statement.as_bytes().to_vec();
        body.push(0);
        self.send(Some(b'Q'), &body)?;
        self.until_ready(statement)
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> Result<(), Error> {
        let mut message: Vec<u8> = kind.into_iter().collect();
        // A statement of 4 GiB does not exist.
        message.extend_from_slice(
            &u32::try_from(body.len() + 4)
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        message.extend_from_slice(body);
        self.stream
            .write_all(&message)
            .attempt(|| "writing to PostgreSQL".into())
    }

    fn until_ready(&mut self, statement: &str) -> Result<Rows, Error> {
        let refused = |message: String| Error::Sql {
            statement: statement.to_owned(),
            message,
        };
        let mut rows = Rows::new();
        let mut failure = None;
        loop {
            let (kind, body) = match self.receive() {
                Ok(message) => message,
                // After a fatal error the server closes the connection; its message is the better
                // answer.
                Err(source) => {
                    return Err(failure.unwrap_or(Error::Io {
                        what: "reading from PostgreSQL".into(),
                        source,
                    }));
                }
            };
            match kind {
                b'R' if body != [0; 4] => {
                    return Err(refused("the server asks for a password".into()));
                }
                b'D' => rows.push(columns(&body)),
                b'E' => failure = Some(refused(error_text(&body))),
                b'Z' => return failure.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; (length as usize).saturating_sub(4)];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }
}

fn columns(mut body: &[u8]) -> Vec<Option<String>> {
    let mut found = Vec::new();
    body = body.get(2..).unwrap_or_default();
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let text = length.and_then(|length| rest.get(..length));
        found.push(text.map(|text| String::from_utf8_lossy(text).into_owned()));
        body = &rest[text.map_or(0, <[u8]>::len)..];
    }
    found
}

fn error_text(body: &[u8]) -> String {
    let fields: Vec<String> = body
        .split(|byte| *byte == 0)
        .filter(|field| matches!(field.first(), Some(b'S' | b'C' | b'M' | b'D')))
        .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
        .collect();
    fields.join(" ")
}
