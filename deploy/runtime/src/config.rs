//! Configuration that is not a plain value.

use std::{fs, io, path::Path};

/// Why a secret can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error("secret file {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// Nothing in it.
    #[error("secret file {path} is empty")]
    Empty {
        /// The file.
        path: String,
    },
    /// Anybody on the machine may read it.
    #[error("secret file {path} can be read by everybody; run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: String,
    },
}

/// The content of a secret's file, for options named `*_FILE`: without the white space around
/// it, and only if not everybody may read it.
pub fn read_secret(path: &Path) -> Result<String, SecretError> {
    let shown = path.display().to_string();
    let read = |error| SecretError::Read {
        path: shown.clone(),
        error,
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(path).map_err(read)?.permissions().mode() & 0o007 != 0 {
            return Err(SecretError::Exposed { path: shown });
        }
    }
    let text = fs::read_to_string(path).map_err(read)?;
    match text.trim() {
        "" => Err(SecretError::Empty { path: shown }),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_trimmed_and_refused_when_empty_missing_or_open_to_all() {
        let path = std::env::temp_dir().join(format!("secret-{}", std::process::id()));
        fs::write(&path, " abc\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(
            read_secret(&path),
            Err(SecretError::Exposed { .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_secret(&path).unwrap(), "abc");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(read_secret(&path), Err(SecretError::Empty { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read_secret(&path), Err(SecretError::Read { .. })));
    }
}
