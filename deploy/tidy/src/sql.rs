//! Where SQL stands, and what it may say.

use crate::rust::has_word;
use crate::{Source, Violation};

/// Files outside `store/` that may hold SQL, with the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("migrations/", "schema, roles and rights"),
    (
        "deploy/stack/src/",
        "creates and drops the databases of tests",
    ),
    (
        "deploy/runtime/src/outbox.rs",
        "the one relay for two schemas",
    ),
    ("deploy/tidy/src/", "this"),
];

/// Files that may put a statement together, with the reason.
const ASSEMBLED: &[(&str, &str)] = &[
    (
        "migrations/src/lib.rs",
        "names of roles and databases can't be bound",
    ),
    (
        "hub/src/store/heads.rs",
        "one constant SELECT with constant ends",
    ),
    (
        "account-service/reconcile/src/store/snapshot.rs",
        "the name of a snapshot can't be bound",
    ),
];

/// What a statement begins with.
const STATEMENTS: &[&[&str]] = &[
    &["SELECT"],
    &["INSERT", "INTO"],
    &["UPDATE", "", "SET"],
    &["DELETE", "FROM"],
    &["WITH", "", "AS"],
    &["CREATE", "TABLE"],
    &["CREATE", "INDEX"],
    &["CREATE", "SCHEMA"],
    &["CREATE", "ROLE"],
    &["ALTER", "TABLE"],
    &["DROP", "TABLE"],
    &["TRUNCATE"],
    &["GRANT"],
    &["LOCK", "TABLE"],
    &["LISTEN"],
    &["NOTIFY"],
];

/// What engines to grow into don't have, or what serialises every transfer.
const FORBIDDEN: &[(&str, &str)] = &[
    ("LISTEN", "poll, or use the broker"),
    ("NOTIFY", "poll, or use the broker"),
    ("TRIGGER", "do it in the statement that makes it necessary"),
    ("SEQUENCE", "use a UUIDv7, or a number that a row owns"),
    ("SERIAL", "use a UUIDv7, or a number that a row owns"),
    ("BIGSERIAL", "use a UUIDv7, or a number that a row owns"),
    ("PG_ADVISORY_LOCK", "lock a row"),
    ("PG_ADVISORY_XACT_LOCK", "lock a row"),
    ("PG_TRY_ADVISORY_LOCK", "lock a row"),
    ("PG_TRY_ADVISORY_XACT_LOCK", "lock a row"),
];

/// Whether a string is a statement. `SELECT 1`, which asks whether somebody is there, is none.
pub fn is_statement(text: &str) -> bool {
    let words: Vec<_> = text.split_whitespace().collect();
    if words == ["SELECT", "1"] {
        return false;
    }
    STATEMENTS.iter().any(|statement| {
        // Prose may begin with one of these words too, but then goes on in small letters.
        words.len() > 1
            && words.len() >= statement.len()
            && statement
                .iter()
                .zip(&words)
                .all(|(s, w)| s.is_empty() || s == w)
    })
}

fn excused(path: &str, list: &[(&str, &str)]) -> bool {
    list.iter().any(|(start, _)| path.starts_with(start))
}

fn in_store(path: &str) -> bool {
    path.contains("/store/") || path.ends_with("/store.rs")
}

/// SQL stands under `store`, in migrations and in tests.
pub fn placement(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && !s.is_test()) {
        if in_store(&source.path) || excused(&source.path, ELSEWHERE) {
            continue;
        }
        for (line, text) in source.product().strings {
            if is_statement(&text) {
                let message =
                    "SQL outside store/; move the query into the store module of its table";
                found.push(Violation::new(&source.path, line, message));
            }
        }
    }
    found
}

/// Statements are constants.
pub fn assembled(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && !s.is_test()) {
        if excused(&source.path, ASSEMBLED) || excused(&source.path, &[("deploy/tidy/src/", "")]) {
            continue;
        }
        for line in source.product().lines_with("AssertSqlSafe") {
            let message = "SQL put together at run time; bind values, or choose between constants";
            found.push(Violation::new(&source.path, line, message));
        }
    }
    found
}

/// Words that no statement of ours has.
pub fn words(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        let statements: Vec<(usize, String)> = if source.path.ends_with(".sql") {
            let lines = (1..).zip(source.text.lines());
            lines
                .map(|(at, line)| (at, line.split("--").next().unwrap_or("").to_owned()))
                .collect()
        } else if source.is_rust() && !source.is_test() && !source.path.starts_with("deploy/tidy/")
        {
            let strings = source.product().strings.into_iter();
            strings.filter(|(_, text)| is_statement(text)).collect()
        } else {
            continue;
        };
        for (line, text) in statements {
            let text = text.to_uppercase();
            for (word, instead) in FORBIDDEN.iter().filter(|(word, _)| has_word(&text, word)) {
                let message = format!("{word} in SQL; {instead}");
                found.push(Violation::new(&source.path, line, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_outside_store_is_found_with_its_line() {
        let text = "fn f() {\n    q(\"SELECT a FROM b\");\n}\n#[cfg(test)]\nmod tests {\n q(\"SELECT 2 FROM c\"); }\n";
        let found = placement(&[Source::new("hub/src/run.rs", text)]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].path.as_str(), found[0].line),
            ("hub/src/run.rs", 2)
        );
        for allowed in [
            "hub/src/store/x.rs",
            "hub/src/store.rs",
            "hub/tests/it/x.rs",
            "migrations/src/x.rs",
        ] {
            assert!(
                placement(&[Source::new(allowed, text)]).is_empty(),
                "{allowed}"
            );
        }
    }

    #[test]
    fn prose_and_pings_are_no_statements() {
        for text in [
            "SELECT 1",
            "Select one",
            "UPDATE is late",
            "with care AS",
            "SELECT",
        ] {
            assert!(!is_statement(text), "{text}");
        }
        for text in [
            "\n  WITH a AS (SELECT 1)",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "TRUNCATE t",
        ] {
            assert!(is_statement(text), "{text}");
        }
    }

    #[test]
    fn statements_made_at_run_time_are_found() {
        let text = "fn f() {\n    q(AssertSqlSafe(s));\n}\n";
        assert_eq!(
            assembled(&[Source::new("hub/src/store/x.rs", text)]).len(),
            1
        );
        assert!(assembled(&[Source::new("hub/tests/it/x.rs", text)]).is_empty());
    }

    #[test]
    fn forbidden_words_are_found_in_migrations_and_queries_but_not_in_comments() {
        let sql = "-- no TRIGGER here\nCREATE TABLE a (id bigserial);\nCREATE trigger t;\n";
        let found = words(&[Source::new("migrations/sql/9.sql", sql)]);
        assert_eq!(found.iter().map(|v| v.line).collect::<Vec<_>>(), [2, 3]);
        let rust = "const A: &str = \"SELECT pg_advisory_lock(1)\";";
        assert_eq!(words(&[Source::new("hub/src/store/x.rs", rust)]).len(), 1);
    }
}
