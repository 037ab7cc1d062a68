//! Just enough of Rust's lexical rules to tell code, comments and strings apart.

/// A file taken apart. Lines count from 1.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The code of each line, with comments and the insides of strings left out.
    pub code: Vec<String>,
    /// The insides of strings, with the line each begins in.
    pub strings: Vec<(usize, String)>,
}

impl Scan {
    /// Lines of code that contain a word as a whole.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let lines = (1..).zip(&self.code);
        lines
            .filter(move |(_, code)| has_word(code, word))
            .map(|(line, _)| line)
    }

    /// Forgets everything from a line on.
    pub fn keep_above(&mut self, line: usize) {
        self.code.truncate(line - 1);
        self.strings.retain(|(at, _)| *at < line);
    }
}

/// Whether a text contains a word, not as a part of a longer one.
pub fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(is_part);
        let after = text[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

/// The line in which the tests of a file begin, when they stand at its end.
pub fn test_module(scan: &Scan) -> Option<usize> {
    let mut lines = (1..).zip(&scan.code);
    lines
        .find(|(line, code)| {
            let next = scan.code.get(*line).map_or("", String::as_str);
            code.trim() == "#[cfg(test)]" && next.trim_start().starts_with("mod ")
        })
        .map(|(line, _)| line)
}

/// Takes a file apart.
pub fn scan(text: &str) -> Scan {
    let bytes: Vec<char> = text.chars().collect();
    let mut scan = Scan {
        code: vec![String::new()],
        strings: Vec::new(),
    };
    let mut at = 0;
    while at < bytes.len() {
        at = step(&bytes, at, &mut scan);
    }
    scan
}

fn step(text: &[char], at: usize, scan: &mut Scan) -> usize {
    let ahead = |n: usize| text.get(at + n).copied().unwrap_or('\0');
    match text[at] {
        '/' if ahead(1) == '/' => skip(text, at, scan, |rest| rest.first() == Some(&'\n')),
        '/' if ahead(1) == '*' => {
            skip(text, at + 2, scan, |rest| rest.starts_with(&['*', '/'])) + 2
        }
        '"' => string(text, at + 1, scan, None),
        'r' if !follows_name(scan) && matches!(ahead(1), '"' | '#') => {
            let hashes = text[at + 1..].iter().take_while(|c| **c == '#').count();
            if text.get(at + 1 + hashes) == Some(&'"') {
                string(text, at + 2 + hashes, scan, Some(hashes))
            } else {
                push(scan, 'r');
                at + 1
            }
        }
        // A character, not a lifetime.
        '\'' if ahead(1) == '\\' => {
            let end = (at + 3..text.len()).find(|end| text[*end] == '\'');
            end.map_or(text.len(), |end| end + 1)
        }
        '\'' if ahead(2) == '\'' => at + 3,
        c => {
            push(scan, c);
            at + 1
        }
    }
}

fn follows_name(scan: &Scan) -> bool {
    let last = scan.code.last().and_then(|line| line.chars().next_back());
    last.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn push(scan: &mut Scan, c: char) {
    if c == '\n' {
        scan.code.push(String::new());
    } else if let Some(line) = scan.code.last_mut() {
        line.push(c);
    }
}

/// Leaves out what comes before `end`, but keeps count of lines.
fn skip(text: &[char], from: usize, scan: &mut Scan, end: impl Fn(&[char]) -> bool) -> usize {
    let mut at = from;
    while at < text.len() && !end(&text[at..]) {
        if text[at] == '\n' {
            push(scan, '\n');
        }
        at += 1;
    }
    at
}

/// A string from behind its first quote; `raw` has as many `#` behind the last one.
fn string(text: &[char], from: usize, scan: &mut Scan, raw: Option<usize>) -> usize {
    let line = scan.code.len();
    let mut inside = String::new();
    push(scan, '"');
    let mut at = from;
    while at < text.len() {
        let c = text[at];
        let closes = match raw {
            None => c == '"',
            Some(hashes) => {
                let behind = text[at + 1..].iter().take_while(|c| **c == '#').count();
                c == '"' && behind >= hashes
            }
        };
        if closes {
            break;
        }
        if raw.is_none() && c == '\\' {
            inside.push(c);
            at += 1;
        }
        let c = text.get(at).copied().unwrap_or('\0');
        inside.push(c);
        if c == '\n' {
            push(scan, '\n');
        }
        at += 1;
    }
    push(scan, '"');
    scan.strings.push((line, inside));
    at + 1 + raw.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let scan = scan(
            "let a = \"x // \\\" y\"; // word\nlet c = '\"'; /* word\n */ word<'a>(r#\"w\"o\"#)",
        );
        let strings: Vec<_> = scan.strings.iter().map(|(_, s)| s.as_str()).collect();
        assert_eq!(strings, ["x // \\\" y", "w\"o"]);
        assert_eq!(scan.lines_with("word").collect::<Vec<_>>(), [3]);
        assert_eq!(scan.code.len(), 3);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("a SigningKey;", "SigningKey"));
        assert!(!has_word("MySigningKeys", "SigningKey"));
    }

    #[test]
    fn tests_at_the_end_are_left_out() {
        let mut scan = scan("code();\n#[cfg(test)]\nmod tests {\n    tested(\"x\");\n}\n");
        assert_eq!(test_module(&scan), Some(2));
        scan.keep_above(2);
        assert_eq!(scan.lines_with("tested").count(), 0);
        assert!(scan.strings.is_empty());
    }
}
