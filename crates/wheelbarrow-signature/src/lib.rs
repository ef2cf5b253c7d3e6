//! Signatures of artifacts, and the signers that a host allows.
//!
//! A signature covers the bytes of the manifest, which names every other member with its SHA-256. It has the
//! format of `ssh-keygen -Y sign` (PROTOCOL.sshsig of OpenSSH), with the namespace [`NAMESPACE`], so
//! `ssh-keygen -Y verify` can verify it too. ssh-keygen signs, since it supports agents, passphrases and keys
//! in hardware; to verify, a server needs only wheelbarrow.

mod allowed;
mod attach;
mod error;
mod sign;
mod time;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use ssh_key::{HashAlg, PublicKey, SshSig};
use wheelbarrow_artifact::{Anybody, Distrust, Trust};

/// The first line of a signature (PROTOCOL.sshsig of OpenSSH).
const BEGIN: &[u8] = b"-----BEGIN SSH SIGNATURE-----";

pub use allowed::{AllowedSigners, NAMESPACE};
pub use error::SignatureError;
pub use sign::{Signed, sign};

/// Who signed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// As the file of allowed signers has them: names or patterns, with commas between them.
    pub principals: String,
    /// As `ssh-keygen -l` shows it: `SHA256:` and base64.
    pub fingerprint: String,
    /// Of the key: `ssh-ed25519` and the like.
    pub key_type: String,
}

impl fmt::Display for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principals, fingerprint, key_type } = self;
        write!(formatter, "{principals} ({key_type} {fingerprint})")
    }
}

impl AllowedSigners {
    /// Who has signed `message`, if that may be anybody.
    pub fn signer(&self, message: &[u8], signature: &[u8]) -> Result<Signer, SignatureError> {
        // The reader of PEM skips what stands before, and ssh-keygen refuses it.
        let armoured = if signature.starts_with(BEGIN) { signature } else { b"" };
        let signature =
            SshSig::from_pem(armoured).map_err(|source| SignatureError::NoSignature { source })?;
        if signature.namespace() != NAMESPACE {
            return Err(SignatureError::Namespace { found: signature.namespace().to_owned() });
        }
        let key = PublicKey::from(signature.public_key().clone());
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        // First whether it is true at all: what is said of a forged one would be said of somebody else's key.
        key.verify(NAMESPACE, message, &signature)
            .map_err(|_| SignatureError::Wrong { fingerprint: fingerprint.clone() })?;
        let principals = self.principals_of(&key, &fingerprint)?;
        Ok(Signer { principals, fingerprint, key_type: key.algorithm().to_string() })
    }
}

impl Trust for AllowedSigners {
    fn judge(&self, manifest: &[u8], signature: Option<&[u8]>) -> Result<Option<String>, Distrust> {
        let signature = signature.ok_or(SignatureError::Unsigned)?;
        Ok(Some(self.signer(manifest, signature)?.to_string()))
    }
}

/// An artifact that both of them let pass.
#[derive(Debug)]
struct Both(AllowedSigners, AllowedSigners);

impl Trust for Both {
    fn judge(&self, manifest: &[u8], signature: Option<&[u8]>) -> Result<Option<String>, Distrust> {
        self.0.judge(manifest, signature)?;
        self.1.judge(manifest, signature)
    }
}

/// The judge of artifacts on a host. If the host has a file of allowed signers, it always counts; an artifact must be allowed by
/// `file` too, if that is given. If there is neither, everything is taken.
pub fn judge(file: Option<&Path>, of_host: &Path) -> Result<Arc<dyn Trust>, SignatureError> {
    // What cannot be looked at may be there.
    match (file, is_missing(of_host)) {
        (None, true) => Ok(Arc::new(Anybody)),
        (None, false) => Ok(Arc::new(AllowedSigners::read(of_host)?)),
        (Some(file), true) => Ok(Arc::new(AllowedSigners::read(file)?)),
        (Some(file), false) => {
            Ok(Arc::new(Both(AllowedSigners::read(of_host)?, AllowedSigners::read(file)?)))
        }
    }
}

fn is_missing(path: &Path) -> bool {
    fs_err::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
