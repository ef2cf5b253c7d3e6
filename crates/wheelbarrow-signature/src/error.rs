//! Errors of signatures and of trust.

use std::io;
use std::path::PathBuf;

use wheelbarrow_artifact::ArtifactError;
use wheelbarrow_base::{Exit, Explain, FsError};

#[derive(thiserror::Error)]
pub enum SignatureError {
    #[error("it is not signed")]
    Unsigned,
    #[error("its signature has an invalid format")]
    NoSignature { source: ssh_key::Error },
    #[error("its signature has the namespace {found:?}, not \"wheelbarrow\"")]
    Namespace { found: String },
    #[error("the signature by the key {fingerprint} does not match the manifest: one of them was altered")]
    Wrong { fingerprint: String },
    #[error("signed by {fingerprint}, which is not listed in {}{}", file.display(), because(.but.as_deref()))]
    Stranger {
        fingerprint: String,
        file: PathBuf,
        /// What the file says of that key, where it has it after all.
        but: Option<String>,
    },
    #[error("cannot read the allowed signers")]
    Read(#[source] io::Error),
    #[error("line {line} of {} is not a valid allowed signer: {reason}", path.display())]
    Line { path: PathBuf, line: usize, reason: String },
    #[error("cannot run ssh-keygen")]
    Run(#[source] io::Error),
    #[error("ssh-keygen does not sign with {}: {message}", key.display())]
    Refused { key: PathBuf, message: String },
    #[error("{} is a link, which would become a file; sign what it leads to", path.display())]
    Link { path: PathBuf },
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("cannot write the signed artifact")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Fs(#[from] FsError),
}

wheelbarrow_base::debug_error!(SignatureError);

fn because(but: Option<&str>) -> String {
    but.map(|but| format!(" for that: {but}")).unwrap_or_default()
}

impl Explain for SignatureError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unsigned
            | Self::NoSignature { .. }
            | Self::Namespace { .. }
            | Self::Wrong { .. }
            | Self::Stranger { .. } => Exit::Unsigned,
            Self::Line { .. } | Self::Refused { .. } | Self::Link { .. } => Exit::Usage,
            Self::Artifact(error) => error.exit(),
            Self::Read(_) | Self::Run(_) => Exit::Failed,
            Self::Write(error) => Exit::of_io(error),
            Self::Fs(error) => error.exit(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Line { .. } => {
                "a line is `NAME[,NAME] [namespaces=\"wheelbarrow\"] KEYTYPE BASE64`, as in the section ALLOWED SIGNERS of ssh-keygen(1)"
            }
            Self::Run(_) => "it comes with OpenSSH: install openssh-client",
            Self::Refused { .. } => {
                "--key needs a private key that only you can read (`chmod 600`), with a line end at its end (`echo >> KEY`), or the public half of a key in an agent or a hardware token"
            }
            Self::Artifact(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
