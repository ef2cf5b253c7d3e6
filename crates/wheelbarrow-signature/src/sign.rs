//! Signing an artifact.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use ssh_key::{HashAlg, PublicKey};
use wheelbarrow_artifact::Artifact;
use wheelbarrow_base::progress::Progress;

use crate::attach::attach;
use crate::{NAMESPACE, SignatureError, read};

/// What was signed, and with which key.
#[derive(Clone, Debug, Serialize)]
pub struct Signed {
    pub artifact: PathBuf,
    /// As `ssh-keygen -l` shows it.
    pub fingerprint: String,
    pub key_type: String,
}

/// Signs the artifact with a key, if every member is what its manifest says, and writes it with the signature to `output`, or
/// in its own place. A signature that it has is replaced; nothing else changes.
///
/// ssh-keygen asks for a passphrase on the terminal, if the key has one that no agent holds.
pub fn sign(
    path: &Path,
    key: &Path,
    output: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Signed, SignatureError> {
    let output = output.unwrap_or(path);
    if output.is_symlink() {
        return Err(SignatureError::Link { path: output.to_path_buf() });
    }
    let artifact = Artifact::open(path)?.verify(progress)?;
    let signature = ssh_keygen(key, artifact.manifest_bytes())?;
    let (read, _) = read(&signature)?;
    let public = PublicKey::from(read.public_key().clone());
    attach(&artifact, &signature, output)?;
    Ok(Signed {
        artifact: output.to_path_buf(),
        fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
        key_type: public.algorithm().to_string(),
    })
}

/// The signature, in ASCII armour. ssh-keygen reads what it signs from its standard input; a passphrase it asks the terminal for.
fn ssh_keygen(key: &Path, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(SignatureError::Run)?;
    let mut input = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // One that refuses the key reads nothing; it says so itself.
        scope.spawn(move || input.take().map(|mut input| input.write_all(message)));
        child.wait_with_output()
    });
    let output = output.map_err(SignatureError::Run)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let last = message.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with("Signing "));
        let message = last.unwrap_or("no output").trim().to_owned();
        return Err(SignatureError::Refused { key: key.to_path_buf(), message });
    }
    Ok(output.stdout)
}
