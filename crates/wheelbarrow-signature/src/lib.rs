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

use base64ct::{Base64, Encoding};
use serde::Serialize;
use ssh_encoding::Decode;
use ssh_key::{HashAlg, PublicKey, SshSig};
use wheelbarrow_artifact::{Anybody, Distrust, Trust};

/// The first line of a signature, and the last (PROTOCOL.sshsig of OpenSSH).
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "\n-----END SSH SIGNATURE-----";

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
        let (signature, bytes) = read(signature)?;
        if signature.namespace() != NAMESPACE {
            return Err(SignatureError::Namespace { found: signature.namespace().to_owned() });
        }
        let key = PublicKey::from(signature.public_key().clone());
        if is_exact(&bytes, &signature, &key) != Some(true) {
            return Err(SignatureError::NoSignature { source: ssh_key::Error::FormatEncoding });
        }
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        // First whether it is true at all: what is said of a forged one would be said of somebody else's key.
        key.verify(NAMESPACE, message, &signature)
            .map_err(|_| SignatureError::Wrong { fingerprint: fingerprint.clone() })?;
        let principals = self.principals_of(&key, &fingerprint)?;
        Ok(Signer { principals, fingerprint, key_type: key.algorithm().to_string() })
    }
}

/// A signature, and its bytes without the armour.
fn read(armoured: &[u8]) -> Result<(SshSig, Vec<u8>), SignatureError> {
    let no_signature = |source| SignatureError::NoSignature { source };
    let bytes = bytes_of(armoured).ok_or_else(|| no_signature(ssh_key::Error::FormatEncoding))?;
    Ok((SshSig::decode(&mut &bytes[..]).map_err(no_signature)?, bytes))
}

/// What is in the armour: the lines that ssh-keygen writes, and nothing before them.
fn bytes_of(armoured: &[u8]) -> Option<Vec<u8>> {
    let body =
        str::from_utf8(armoured).ok()?.strip_prefix(BEGIN)?.trim_end_matches('\n').strip_suffix(END)?;
    Base64::decode_vec(&body.replace('\n', "")).ok()
}

/// Whether it has the one form that ssh-keygen writes: the reader takes version 0, and other lengths of the parts of keys and
/// around the signature. It cannot write all keys of hardware again as they were.
fn is_exact(bytes: &[u8], signature: &SshSig, key: &PublicKey) -> Option<bool> {
    let key = key.to_bytes().ok()?;
    let rest = bytes.strip_prefix(b"SSHSIG\0\0\0\x01")?.strip_prefix(&u32::to_be_bytes(key.len() as u32))?;
    let rest = rest.strip_prefix(&key[..])?;
    let texts =
        [signature.namespace().len(), signature.reserved().len(), signature.hash_alg().as_str().len()];
    let (length, signed) = rest.get(texts.map(|length| 4 + length).iter().sum()..)?.split_first_chunk()?;
    Some(u32::from_be_bytes(*length) as usize == signed.len())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys, and what they have made of `message`. The second is of hardware.
    const SIGNATURES: [(&str, &str); 2] = [
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHCs8pj/hwlnKiHkljEyWqy2DsdiQbRv01Lg2KprF8Hq",
            "-----BEGIN SSH SIGNATURE-----\n\
             U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgcKzymP+HCWcqIeSWMTJarLYOx2\n\
             JBtG/TUuDYqmsXweoAAAALd2hlZWxiYXJyb3cAAAAAAAAABnNoYTUxMgAAAFMAAAALc3No\n\
             LWVkMjU1MTkAAABA8boa8zRv2Rg/nQPsbrWt2NwrS5VOjpfBv8tqLSqI5HEQQkcbDtq/E4\n\
             f6VscF9owHEM8sYHv1p/FV4WKgbHAACw==\n\
             -----END SSH SIGNATURE-----\n\
             ",
        ),
        (
            "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBApH1bzSNjGaLSjV087k3YEt2fYSqsMZbJAUTeweJNL8XRtamFlwfPbK4tJ9zLT506cKnXT+QVoKM5gAFuFR/UAAAAAEc3NoOg==",
            "-----BEGIN SSH SIGNATURE-----\n\
             U1NIU0lHAAAAAQAAAH8AAAAic2stZWNkc2Etc2hhMi1uaXN0cDI1NkBvcGVuc3NoLmNvbQ\n\
             AAAAhuaXN0cDI1NgAAAEEECkfVvNI2MZotKNXTzuTdgS3Z9hKqwxlskBRN7B4k0vxdG1qY\n\
             WXB89sri0n3MtPnTpwqddP5BWgozmAAW4VH9QAAAAARzc2g6AAAAC3doZWVsYmFycm93AA\n\
             AAAAAAAAZzaGE1MTIAAAB4AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5j\n\
             b20AAABJAAAAIQDyfmIJMQrSoB2gFzCMgxV0loiSMb0mTcB90iG0ZIfieQAAACB+LZtpIg\n\
             jRWlcGaaubrw6e5VTqwWe9JYwkZadyzLtZVAEAAAAH\n\
             -----END SSH SIGNATURE-----\n\
             ",
        ),
    ];

    /// In one form alone, which is that of ssh-keygen.
    #[test]
    fn no_byte_of_a_signature_can_be_another() {
        for (key, text) in SIGNATURES {
            let allowed = AllowedSigners::parse(Path::new("allowed"), &format!("* {key}\n")).unwrap();
            let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            let bytes = Base64::decode_vec(&body).unwrap();
            let is_taken = |bytes: &[u8]| {
                let body = Base64::encode_string(bytes);
                let lines = body.as_bytes().chunks(70).map(|line| str::from_utf8(line).unwrap());
                let lines = lines.collect::<Vec<_>>().join("\n");
                let text = format!("-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n");
                allowed.signer(b"message", text.as_bytes()).is_ok()
            };
            assert!(is_taken(&bytes), "{key}");
            // What the curves judge themselves is at the end, and slow.
            let taken: Vec<_> = (0..bytes.len() - 64)
                .filter(|&at| {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1;
                    is_taken(&changed)
                })
                .collect();
            assert!(taken.is_empty(), "{key}: {taken:?}");
            assert!(!is_taken(&[&bytes[..], b"\0"].concat()), "{key}");
            assert!(allowed.signer(b"message", text.as_bytes()).is_ok(), "{key}");
            for line_end in [super::BEGIN, super::END] {
                let joined = text.replacen(line_end, line_end.trim_matches('\n'), 1);
                assert!(joined != text && allowed.signer(b"message", joined.as_bytes()).is_err(), "{joined}");
            }
        }
    }
}
