//! The key that sends. It comes from a file or from the environment: arguments are shown by `ps`.

use crate::config::Config;
use anyhow::{Context as _, bail};
use signer::Signer;
use std::path::Path;

/// Reads the key of `--key-file`, or else of the variable `name`.
///
/// # Errors
/// Neither is there, or it is no key.
pub fn read(config: &Config, file: Option<&Path>, name: &str) -> anyhow::Result<Signer> {
    if let Some(file) = file {
        return Ok(Signer::from_file(file)?);
    }
    let Some(text) = config.get(name) else {
        bail!("no key: name a file by --key-file, or set {name} to 64 hexadecimal digits");
    };
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(&text), &mut bytes)
        .ok()
        .and_then(|()| Signer::from_bytes(&bytes))
        .with_context(|| format!("{name} is no key: it takes 64 hexadecimal digits, not zero"))
}
