//! The program refuses what it can't use before it calls anybody.

use crate::demo::demo;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

static FILES: AtomicU32 = AtomicU32::new(0);

struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &str) -> Self {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("acctl-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Left behind at worst.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn acctl(args: &[&str], api: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_acctl"))
        .args(args)
        .env("ACCOUNT_API", api)
        .env("ACCOUNT_API_KEY", "key")
        .env_remove("CHAIN_RPC")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_file_is_refused_before_anybody_is_called() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let file = TempFile::new(
        "line,op,account,counterparty,amount,to,expect\n1,open,a,,,,ok\n2,issue,b,,1,,ok\n",
    );
    let path = file.0.to_str().unwrap();
    let output = acctl(&["import", path, "--run-id", "r"], &api);
    assert_eq!(output.status.code(), Some(2));
    let text = said(&output);
    assert!(
        text.contains("row 3")
            && text.contains("\"b\" is unknown")
            && text.contains("nothing was sent"),
        "{text}"
    );
    let output = acctl(
        &["import", "/no/such/file", "--run-id", "r", "--json"],
        &api,
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"error\""));
    assert!(listener.accept().is_err(), "the API was called");
}

#[test]
fn a_planted_wrong_row_is_named() {
    let text = std::fs::read_to_string(demo().join("business-day.csv")).unwrap();
    let wrong = text.replacen(",ok\n100,", ",INSUFFICIENT_FUNDS\n100,", 1);
    assert!(wrong != text, "row 99 is not what it was");
    let file = TempFile::new(&wrong);
    let output = acctl(&["check", file.0.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        text.contains("line 99: expects INSUFFICIENT_FUNDS, but the rows before it lead to ok"),
        "{text}"
    );
}

#[test]
fn what_is_not_configured_is_named() {
    let file = demo().join("business-day.csv");
    let import = ["import", file.to_str().unwrap(), "--run-id", "r"];
    let output = acctl(&import, "");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("ACCOUNT_API is not known"),
        "{}",
        said(&output)
    );
    let with_chain = [&import[..], &["--verify"]].concat();
    let output = acctl(&with_chain, "http://127.0.0.1:1");
    assert!(
        said(&output).contains("CHAIN_RPC is not known"),
        "{}",
        said(&output)
    );
    let env = TempFile::new("ACCOUNT_API=https://bank\n");
    let with_file = [&import[..], &["--env-file", env.0.to_str().unwrap()]].concat();
    let output = acctl(&with_file, "http://127.0.0.1:1");
    assert!(said(&output).contains("plain HTTP"), "{}", said(&output));
}

#[test]
fn nobody_answering_ends_in_time_with_advice() {
    // Bound and given back: nothing listens there.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let file = demo().join("business-day.csv");
    let args = [
        "import",
        file.to_str().unwrap(),
        "--run-id",
        "r",
        "--patience",
        "1",
    ];
    let output = acctl(&args, &api);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("the same command again"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_generated_day_passes_its_own_check() {
    let day = acctl(
        &["demo", "generate", "--seed", "3", "--operations", "300"],
        "",
    );
    assert_eq!(day.status.code(), Some(0));
    let file = TempFile::new(&String::from_utf8(day.stdout).unwrap());
    let output = acctl(&["check", file.0.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("300 operations on 42 accounts"));
}
