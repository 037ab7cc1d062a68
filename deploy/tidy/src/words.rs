//! Words that don't belong into what is committed.

use crate::rust::has_word;
use crate::{Source, Violation};

/// Put together, so that this file does not break the rule itself.
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Macros and attributes of unfinished code.
const MACROS: [(&str, &str); 4] = [
    ("dbg!", "remove it, or log it"),
    ("todo!", "write it"),
    (
        "unimplemented!",
        "write it, or make it impossible to ask for",
    ),
    ("#[ignore", "make the test run, or delete it"),
];

/// Folders of somebody's machine.
const MACHINE: [&str; 4] = ["home", "root", "work", "tmp"];

/// The account that `deploy/newcomer` makes inside its own root folder.
const NEWCOMER: &str = "/home/newcomer";

/// Hosts that only lock files name.
const REGISTRIES: [&str; 5] = [
    concat!("registry.", "npmjs.org"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("files.", "pythonhosted.org"),
    concat!("proxy.", "golang.org"),
];

/// Modules that the pure core does not know.
const IMPURE: [&str; 5] = ["fs", "net", "time", "process", "env"];

/// Types that hold a secret key.
const SECRETS: [&str; 5] = [
    "SigningKey",
    "SecretKey",
    "NonZeroScalar",
    "PrivateKeySigner",
    "LocalSigner",
];

fn each_line(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(source.text.lines())
}

/// Nothing is left for later.
pub fn unfinished(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_lock_file()) {
        for (line, text) in each_line(source) {
            for word in UNFINISHED.iter().filter(|word| has_word(text, word)) {
                let message = format!("{word}; do it now, or write it into the issue tracker");
                found.push(Violation::new(&source.path, line, message));
            }
        }
        if !source.is_rust() {
            continue;
        }
        let scan = crate::rust::scan(&source.text);
        for (line, code) in (1..).zip(&scan.code) {
            let code: String = code.split_whitespace().collect();
            for (word, instead) in MACROS.iter().filter(|(word, _)| starts_word(&code, word)) {
                let message = format!("{word}; {instead}");
                found.push(Violation::new(&source.path, line, message));
            }
        }
    }
    found
}

fn starts_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Nothing names a folder of the machine it was written on.
pub fn machine_paths(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_lock_file()) {
        for (line, text) in each_line(source) {
            let text = text.replace(NEWCOMER, "");
            for folder in MACHINE {
                let path = format!("/{folder}/");
                let named = text.match_indices(&path).any(|(at, _)| {
                    let before = text[..at].chars().next_back();
                    // A part of a longer path, of an address or of a variable's value.
                    !before.is_some_and(|c| c.is_alphanumeric() || "._-}/)*".contains(c))
                });
                if named {
                    let message =
                        format!("{path} is a folder of one machine; derive the path at run time");
                    found.push(Violation::new(&source.path, line, message));
                }
            }
        }
    }
    found
}

/// Only lock files name the hosts of package registries.
pub fn registries(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_lock_file()) {
        for (line, text) in each_line(source) {
            for host in REGISTRIES.iter().filter(|host| text.contains(**host)) {
                let message =
                    format!("{host}; leave the host to the package manager's own settings");
                found.push(Violation::new(&source.path, line, message));
            }
        }
    }
    found
}

/// The core asks nobody: no files, no network, no clock, no environment.
pub fn pure_core(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources
        .iter()
        .filter(|s| s.path.starts_with("hub/core/src/"))
    {
        let scan = crate::rust::scan(&source.text);
        for (line, code) in (1..).zip(&scan.code) {
            let code: String = code.split_whitespace().collect();
            for module in IMPURE {
                if names_module(&code, module) {
                    let message =
                        format!("std::{module} in the core; take the value as an argument");
                    found.push(Violation::new(&source.path, line, message));
                }
            }
        }
    }
    found
}

/// `std::fs` by itself, or in a list such as `std::{fmt, fs::File}`.
fn names_module(code: &str, module: &str) -> bool {
    code.match_indices("std::").any(|(at, found)| {
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split(['}', ';']).next().unwrap_or("");
                list.split(',')
                    .any(|item| item.split("::").next() == Some(module))
            }
            None => {
                let name: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                name == module
            }
        }
    })
}

/// Only one crate can hold a secret key.
pub fn secrets(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && !s.is_test()) {
        if source.path.starts_with("hub/signer/") {
            continue;
        }
        let scan = source.product();
        for word in SECRETS {
            for line in scan.lines_with(word) {
                let message =
                    format!("{word}; use signer::Signer, the only place that holds a key");
                found.push(Violation::new(&source.path, line, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(found: &[Violation]) -> Vec<usize> {
        found.iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn unfinished_code_is_found() {
        let text = format!(
            "// {}: later\nlet x = dbg!(1);\ntodo!()\n#[ignore = \"slow\"]\nfn f() {{}}\n",
            UNFINISHED[0]
        );
        assert_eq!(at(&unfinished(&[Source::new("a.rs", &text)])), [1, 2, 3, 4]);
        let fine = "let todos = mytodo!(); // ignore dbg! and todo! in prose\n";
        assert!(unfinished(&[Source::new("a.rs", fine)]).is_empty());
        assert_eq!(at(&unfinished(&[Source::new("a.sql", &text)])), [1]);
    }

    #[test]
    fn machine_paths_are_found() {
        let path = |folder: &str| format!("/{folder}/somebody/x");
        for folder in MACHINE {
            let text = format!("ok\npath = \"{}\"\n", path(folder));
            assert_eq!(
                at(&machine_paths(&[Source::new("a.toml", &text)])),
                [2],
                "{folder}"
            );
        }
        let fine =
            "$root/home/x ../tmp/y https://example.org/work/z ${dir}/tmp/a /home/newcomer/b\n";
        assert!(machine_paths(&[Source::new("a.sh", fine)]).is_empty());
    }

    #[test]
    fn registries_are_found_outside_lock_files() {
        let text = format!("url = https://{}/x\n", REGISTRIES[0]);
        assert_eq!(registries(&[Source::new("a.json", &text)]).len(), 1);
        assert!(registries(&[Source::new("a/package-lock.json", &text)]).is_empty());
    }

    #[test]
    fn a_core_that_asks_is_found() {
        let text = "use std::fmt;\nuse std::{fmt, time::Instant};\nlet a = std::env::var(x);\nuse std::envelope;\n";
        assert_eq!(
            at(&pure_core(&[Source::new("hub/core/src/a.rs", text)])),
            [2, 3]
        );
        assert!(pure_core(&[Source::new("hub/src/a.rs", text)]).is_empty());
    }

    #[test]
    fn a_key_outside_the_signer_is_found() {
        let text = "// SigningKey\nuse k256::ecdsa::SigningKey;\n";
        assert_eq!(at(&secrets(&[Source::new("hub/src/a.rs", text)])), [2]);
        assert!(secrets(&[Source::new("hub/signer/src/a.rs", text)]).is_empty());
        assert!(secrets(&[Source::new("hub/core/tests/it/a.rs", text)]).is_empty());
    }
}
