//! What is checked: the text files that git tracks.

use crate::rust;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs, io};

/// A text file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// A file with this text.
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of it is tests.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.starts_with("contracts/test/")
    }

    /// Whether a tool writes it.
    pub fn is_lock_file(&self) -> bool {
        self.path.ends_with("Cargo.lock") || self.path.ends_with("package-lock.json")
    }

    /// Its Rust, without what only tests have.
    pub fn product(&self) -> rust::Scan {
        let mut scan = rust::scan(&self.text);
        if let Some(line) = rust::test_module(&scan) {
            scan.keep_above(line);
        }
        scan
    }
}

/// A rule that a line breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Violation {
    /// In a line of a file.
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// The root of the repository that this package belongs to.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Paths of all tracked files.
///
/// # Errors
/// When git can't be run, or this is no checkout.
pub fn tracked(root: &Path) -> io::Result<Vec<String>> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z"])
        .output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(message));
    }
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

/// Whether a path belongs to something that a package manager unpacked.
pub fn is_third_party(path: &str) -> bool {
    path.split('/').any(|part| part == "node_modules")
}

/// Files of others are downloaded, never tracked.
pub fn third_party(paths: &[String]) -> Vec<Violation> {
    let mut folders: Vec<_> = paths
        .iter()
        .filter(|path| is_third_party(path))
        .filter_map(|path| path.split_once("node_modules"))
        .map(|(before, _)| format!("{before}node_modules"))
        .collect();
    folders.dedup();
    let message =
        "tracked files of others; add the folder to .gitignore and `git rm -r --cached` it";
    folders
        .iter()
        .map(|path| Violation::new(path, 1, message))
        .collect()
}

/// The text files among them that are there and ours.
///
/// # Errors
/// When a file can't be read.
pub fn load(root: &Path, paths: &[String]) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths.iter().filter(|path| !is_third_party(path)) {
        let bytes = match fs::read(root.join(path)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source {
                path: path.clone(),
                text,
            });
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracked_folder_of_others_is_found_once() {
        let paths = ["a/node_modules/x.js", "a/node_modules/y/z.js", "a/b.rs"];
        let found = third_party(&paths.map(str::to_owned));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "a/node_modules");
    }

    #[test]
    fn this_very_file_is_tracked_text() {
        let paths = [
            "deploy/tidy/src/sources.rs".to_owned(),
            "no/such/file".to_owned(),
        ];
        let sources = load(&root(), &paths).unwrap();
        assert_eq!(sources.len(), 1);
        assert!(sources[0].is_rust() && !sources[0].is_test());
    }
}
