use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use stack::Error;

use super::{Local, io};

/// One file each with 32 random bytes in hex, readable by its owner only. A file that exists is
/// never replaced: keys sign states that are kept.
const NAMES: [&str; 9] = [
    "hub-vault.key",
    "hub-mint.key",
    "custody.key",
    "cursor.key",
    "worker-vault.key",
    "worker-mint.key",
    "account-service.token",
    "chain-worker.token",
    "roles.password",
];

/// The first account of the local chain's well-known mnemonic: it holds the chain's coins, deploys
/// and pays, and nothing else.
const ANVIL_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// Makes the secrets that do not exist; returns how many it made.
pub fn make(local: &Local) -> Result<usize, Error> {
    let dir = local.dir().join("secrets");
    let made = fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&dir);
    made.map_err(io(format!("creating {}", dir.display())))?;
    let mut count = 0;
    for name in NAMES {
        let path = local.secret(name);
        match File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
        {
            Ok(mut file) => {
                let written = random_hex()
                    .and_then(|text| writeln!(file, "{text}"))
                    .and_then(|()| file.sync_all());
                if let Err(source) = written {
                    // Half a secret would be taken for a whole one by the next run.
                    let _ = fs::remove_file(&path);
                    return Err(io(format!("writing {}", path.display()))(source));
                }
                count += 1;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(format!("creating {}", path.display()))(error)),
        }
    }
    hub_tokens(local)?;
    let deployer = local.secret("deployer.key");
    if !deployer.exists() {
        keep(&deployer, ANVIL_KEY)?;
    }
    Ok(count)
}

/// Who may ask a hub for what: account-service proposes, the worker reports.
fn hub_tokens(local: &Local) -> Result<(), Error> {
    let token = |name| {
        let path = local.secret(name);
        fs::read_to_string(&path).map_err(io(format!("reading {}", path.display())))
    };
    let text = format!(
        "propose,read {}\nchain,read {}\n",
        token("account-service.token")?.trim(),
        token("chain-worker.token")?.trim()
    );
    let path = local.secret("hub.tokens");
    if fs::read_to_string(&path).is_ok_and(|kept| kept.trim() == text.trim()) {
        return Ok(());
    }
    keep(&path, text.trim())
}

/// Writes a secret into a file that only its owner can read, whole or not at all.
pub fn keep(path: &Path, secret: &str) -> Result<(), Error> {
    let fresh = path.with_extension("new");
    // Left over by an interrupted run.
    let _ = fs::remove_file(&fresh);
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| writeln!(file, "{secret}").and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(io(format!("writing {}", path.display())))
}

fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn secrets_are_private_distinct_and_never_replaced() {
        let dir = stack::TempDir::new().unwrap();
        let local = Local::new(Some(dir.path().join("local")));
        assert_eq!(make(&local).unwrap(), NAMES.len());
        let read = || NAMES.map(|name| fs::read_to_string(local.secret(name)).unwrap());
        let first = read();
        for (index, secret) in first.iter().enumerate() {
            let hex = secret.trim_end();
            assert!(hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()));
            assert!(!first[..index].contains(secret));
            assert_eq!(
                fs::metadata(local.secret(NAMES[index])).unwrap().mode() & 0o777,
                0o600
            );
        }
        fs::remove_file(local.secret("custody.key")).unwrap();
        assert_eq!(make(&local).unwrap(), 1);
        let second = read();
        for (index, name) in NAMES.iter().enumerate() {
            assert_eq!(first[index] == second[index], *name != "custody.key");
        }
    }
}
