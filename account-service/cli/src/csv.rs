//! Reads comma-separated lines strictly: what is not plainly right is refused with its row.

use std::io::BufRead;

/// Longest line in bytes: seven fields of the longest names and amounts are a tenth of it.
const MAX_LINE: usize = 4096;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// The file can't be read.
    #[error("can't be read: {0}")]
    Io(String),
    /// Longer than any line of this format.
    #[error("the line has more than {MAX_LINE} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the line is not UTF-8 text")]
    Encoding,
    /// A tab, a NUL, a lone carriage return and the like.
    #[error("the line holds a control character (a tab or a lone carriage return, for example)")]
    Control,
    /// A quotation mark inside a field, or one without its partner.
    #[error(
        "a quotation mark is out of place: quote the whole field, and write \"\" for one inside"
    )]
    Quote,
    /// Nothing in it.
    #[error("the line is empty")]
    Blank,
}

/// Gives the fields of one row after another.
pub struct Rows<R> {
    from: R,
    row: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Rows<R> {
    /// Rows of a file.
    pub fn new(from: R) -> Self {
        Self {
            from,
            row: 0,
            buffer: Vec::with_capacity(256),
        }
    }

    /// The next row, counted from 1, with its fields; nothing at the end of the file.
    pub fn next_row(&mut self) -> Option<(u64, Result<Vec<String>, CsvError>)> {
        self.buffer.clear();
        let read = self.read_line();
        match read {
            Ok(false) => None,
            Ok(true) => {
                self.row += 1;
                Some((self.row, fields(self.line())))
            }
            Err(error) => {
                self.row += 1;
                Some((self.row, Err(error)))
            }
        }
    }

    /// Reads to the end of a line; one that is too long is skipped whole.
    fn read_line(&mut self) -> Result<bool, CsvError> {
        let mut read = 0;
        loop {
            let chunk = self
                .from
                .fill_buf()
                .map_err(|error| CsvError::Io(error.to_string()))?;
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(chunk.len(), |at| at + 1);
            if read + taken <= MAX_LINE {
                self.buffer.extend_from_slice(&chunk[..taken]);
            }
            read += taken;
            self.from.consume(taken);
            if end.is_some() {
                break;
            }
        }
        if read > MAX_LINE {
            return Err(CsvError::TooLong);
        }
        Ok(read > 0)
    }

    fn line(&self) -> &[u8] {
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.row == 1 {
            line.strip_prefix(BOM).unwrap_or(line)
        } else {
            line
        }
    }
}

fn fields(line: &[u8]) -> Result<Vec<String>, CsvError> {
    let line = std::str::from_utf8(line).map_err(|_| CsvError::Encoding)?;
    if line.is_empty() {
        return Err(CsvError::Blank);
    }
    if line.chars().any(char::is_control) {
        return Err(CsvError::Control);
    }
    let mut fields = Vec::with_capacity(8);
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => plain(rest)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// A field without quotes, and what follows its comma.
fn plain(text: &str) -> Result<(String, Option<&str>), CsvError> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    if field.contains('"') {
        return Err(CsvError::Quote);
    }
    Ok((field.to_owned(), after))
}

/// A field whose opening quote is gone, and what follows its comma.
fn unquote(text: &str) -> Result<(String, Option<&str>), CsvError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"').ok_or(CsvError::Quote)?;
        field.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            field.push('"');
            rest = after;
        } else if let Some(after) = after.strip_prefix(',') {
            return Ok((field, Some(after)));
        } else if after.is_empty() {
            return Ok((field, None));
        } else {
            return Err(CsvError::Quote);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> Vec<Result<Vec<String>, CsvError>> {
        let mut rows = Rows::new(bytes);
        std::iter::from_fn(|| rows.next_row())
            .map(|(_, row)| row)
            .collect()
    }

    fn ok(fields: &[&str]) -> Result<Vec<String>, CsvError> {
        Ok(fields.iter().map(|&field| field.to_owned()).collect())
    }

    #[test]
    fn line_ends_a_byte_order_mark_and_quotes_change_nothing() {
        let plain = vec![ok(&["a", "b"]), ok(&["1", "x,\"y\""])];
        for text in [
            "a,b\n1,\"x,\"\"y\"\"\"\n",
            "a,b\r\n1,\"x,\"\"y\"\"\"\r\n",
            "\u{feff}a,b\n\"1\",\"x,\"\"y\"\"\"",
        ] {
            assert_eq!(rows(text.as_bytes()), plain, "{text:?}");
        }
        assert_eq!(rows(b",,\n"), vec![ok(&["", "", ""])]);
        assert!(rows(b"").is_empty());
    }

    #[test]
    fn what_is_not_plainly_right_is_refused() {
        let cases: [(&[u8], CsvError); 9] = [
            (b"\n", CsvError::Blank),
            (b"\r\n", CsvError::Blank),
            (b"a\tb\n", CsvError::Control),
            (b"a\rb\n", CsvError::Control),
            (b"a\0b\n", CsvError::Control),
            (b"a,\xff\n", CsvError::Encoding),
            (b"a,b\"c\n", CsvError::Quote),
            (b"a,\"b\n", CsvError::Quote),
            (b"\"a\"b,c\n", CsvError::Quote),
        ];
        for (bytes, error) in cases {
            assert_eq!(rows(bytes), vec![Err(error)], "{bytes:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_and_the_next_one_is_read() {
        let mut bytes = vec![b'x'; 100_000];
        bytes.extend_from_slice(b"\na,b\n");
        assert_eq!(rows(&bytes), vec![Err(CsvError::TooLong), ok(&["a", "b"])]);
    }
}
