//! Cursors of lists: opaque, bound to their list, its filters and the caller, and authenticated.

use crate::problem::{Code, Problem};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::{fmt, fs, path::Path};
use uuid::Uuid;

/// Bytes of the authentication code that are kept: 128 bits are out of reach for guessing.
const TAG: usize = 16;
/// Longest position text; ours are below 100 bytes.
const MAX_POSITION: usize = 256;

/// The key that authenticates cursors. All replicas have the same one.
#[derive(Clone)]
pub struct CursorKey(Hmac<Sha256>);

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey")
    }
}

/// What a cursor belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Name of the list.
    pub list: &'a str,
    /// Who lists.
    pub owner: Uuid,
    /// Its filters, in a fixed order.
    pub filters: &'a str,
}

impl CursorKey {
    /// From a secret of at least 32 bytes in a file. What is used is derived from it, so that
    /// the same secret may serve other purposes.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let secret = fs::read(path)
            .map_err(|error| anyhow::anyhow!("cursor key file {}: {error}", path.display()))?;
        anyhow::ensure!(
            secret.len() >= 32,
            "cursor key file {}: expected at least 32 bytes; make one with: openssl rand -hex 32",
            path.display()
        );
        Self::from_secret(&secret)
    }

    /// From a secret.
    pub fn from_secret(secret: &[u8]) -> anyhow::Result<Self> {
        let derive = Hmac::<Sha256>::new_from_slice(secret)?;
        let derived = derive
            .chain_update(b"account-service cursor v1")
            .finalize()
            .into_bytes();
        Ok(Self(Hmac::new_from_slice(&derived)?))
    }

    /// The cursor after a position.
    pub fn seal(&self, scope: Scope<'_>, position: &str) -> String {
        let mut bytes = self.tag(scope, position);
        bytes.extend_from_slice(position.as_bytes());
        hex::encode(bytes)
    }

    /// The position in a cursor of this scope.
    pub fn open(&self, scope: Scope<'_>, cursor: &str) -> Result<String, Problem> {
        let invalid = || Problem::new(Code::InvalidCursor);
        if cursor.len() > 2 * (TAG + MAX_POSITION) {
            return Err(invalid());
        }
        let bytes = hex::decode(cursor).map_err(|_| invalid())?;
        let (tag, position) = bytes.split_at_checked(TAG).ok_or_else(invalid)?;
        let position = std::str::from_utf8(position).map_err(|_| invalid())?;
        self.mac(scope, position)
            .verify_truncated_left(tag)
            .map_err(|_| invalid())?;
        Ok(position.to_owned())
    }

    fn mac(&self, scope: Scope<'_>, position: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in [scope.list, scope.filters, position] {
            // The length in front keeps one field from running into the next.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(scope.owner.as_bytes());
        mac
    }

    fn tag(&self, scope: Scope<'_>, position: &str) -> Vec<u8> {
        self.mac(scope, position).finalize().into_bytes()[..TAG].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope<'a>(list: &'a str, owner: Uuid, filters: &'a str) -> Scope<'a> {
        Scope {
            list,
            owner,
            filters,
        }
    }

    #[test]
    fn a_cursor_opens_only_where_it_was_made_and_unchanged() {
        let key = CursorKey::from_secret(&[7; 32]).unwrap();
        let (me, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let here = scope("accounts", me, "status=active");
        let cursor = key.seal(here, "42");
        assert_eq!(key.open(here, &cursor).unwrap(), "42");
        for elsewhere in [
            scope("entries", me, "status=active"),
            scope("accounts", other, "status=active"),
            scope("accounts", me, ""),
            scope("accountss", me, "tatus=active"),
        ] {
            assert!(key.open(elsewhere, &cursor).is_err());
        }
        for at in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert!(
                key.open(here, std::str::from_utf8(&forged).unwrap())
                    .is_err()
            );
        }
        for junk in ["", "00", "zz", &"00".repeat(16), &"0".repeat(100_000)] {
            assert!(key.open(here, junk).is_err());
        }
        let strange = CursorKey::from_secret(&[8; 32]).unwrap();
        assert!(strange.open(here, &cursor).is_err());
    }
}
