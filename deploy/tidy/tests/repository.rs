//! The rules, applied to this repository.

// A repository that can't be read is a test that fails.
#![allow(clippy::expect_used)]

use std::sync::LazyLock;
use tidy::{Source, Violation, packages, sizes, sources, sql, words};

static PATHS: LazyLock<Vec<String>> =
    LazyLock::new(|| sources::tracked(&sources::root()).expect("git ls-files"));
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let sources = sources::load(&sources::root(), &PATHS).expect("tracked files");
    // A rule that sees nothing finds nothing.
    assert!(sources.iter().filter(|source| source.is_rust()).count() > 50);
    sources
});

#[track_caller]
fn assert_none(found: &[Violation]) {
    let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn packages_depend_in_one_direction() {
    let packages = packages::read(&sources::root()).expect("cargo metadata");
    assert!(packages.ours.len() > 10, "{:?}", packages.ours);
    assert_none(&packages.check());
}

#[test]
fn sql_stands_in_stores() {
    assert_none(&sql::placement(&SOURCES));
}

#[test]
fn statements_are_constants() {
    assert_none(&sql::assembled(&SOURCES));
}

#[test]
fn sql_stays_within_what_engines_to_grow_into_run() {
    assert_none(&sql::words(&SOURCES));
}

#[test]
fn files_are_short() {
    assert_none(&sizes::sizes(&SOURCES));
}

#[test]
fn nothing_is_unfinished() {
    assert_none(&words::unfinished(&SOURCES));
}

#[test]
fn no_path_of_a_machine_is_tracked() {
    assert_none(&words::machine_paths(&SOURCES));
}

#[test]
fn no_host_of_a_registry_is_tracked() {
    assert_none(&words::registries(&SOURCES));
}

#[test]
fn the_core_is_pure() {
    assert_none(&words::pure_core(&SOURCES));
}

#[test]
fn one_crate_holds_secret_keys() {
    assert_none(&words::secrets(&SOURCES));
}

#[test]
fn files_of_others_are_not_tracked() {
    assert_none(&sources::third_party(&PATHS));
}
