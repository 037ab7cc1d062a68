//! Prints the addresses of key files, so that scripts can name parties without reading keys.
//!
//! `key-address CUSTODY_SIGNER=custody.key HUB_SIGNER=hub.key` prints one `NAME=0x…` a line.

use signer::Signer;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if args.is_empty() {
        eprintln!("usage: key-address NAME=KEYFILE ...");
        return ExitCode::from(2);
    }
    for arg in args {
        let Some((name, file)) = arg.split_once('=') else {
            eprintln!("{arg}: write NAME=KEYFILE");
            return ExitCode::from(2);
        };
        match Signer::from_file(Path::new(file)) {
            Ok(signer) => println!("{name}={}", signer.address().checksummed()),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
