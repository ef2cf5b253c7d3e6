//! Errors of downloads.

use std::io;
use std::path::{Path, PathBuf};

use wheelbarrow_base::{Exit, Explain, FsError};

/// No variant holds a URL with credentials: whoever fills one in passes it through [`crate::redact`].
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("cannot fetch {url}: {reason}")]
    Fetch { url: String, reason: String },
    #[error("{variable} is not the URL of a proxy: {value}")]
    Proxy { variable: String, value: String },
    #[error("{url} requires a valid user name and password (HTTP {status})")]
    Unauthorized { url: String, status: u16 },
    #[error("the certificates in {} cannot be read: {reason}", path.display())]
    Certificates { path: PathBuf, reason: String },
}

impl HttpError {
    /// For `map_err` on an I/O call; `action` completes "cannot ... PATH".
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl Explain for HttpError {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { source, .. } => Exit::of_io(source),
            Self::Fs(error) => error.exit(),
            Self::Certificates { .. } => Exit::Failed,
            Self::Fetch { .. } | Self::Proxy { .. } | Self::Unauthorized { .. } => Exit::Network,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { .. } => return None,
            Self::Fs(error) => return error.hint(),
            Self::Fetch { .. } => {
                "check the network, the proxy variables and SSL_CERT_FILE, then run again: what was fetched is kept"
            }
            Self::Proxy { variable, .. } => {
                return Some(format!(
                    "set {variable} to a URL such as http://proxy.example.org:3128, or unset it"
                ));
            }
            Self::Unauthorized { .. } => {
                "put the user name and password into ~/.netrc, or set UV_INDEX_URL or PIP_INDEX_URL to \
                    https://USER:PASSWORD@HOST/simple; for an index of [[tool.uv.index]], UV_INDEX_NAME_USERNAME and \
                    UV_INDEX_NAME_PASSWORD"
            }
            Self::Certificates { .. } => "SSL_CERT_FILE must name a PEM file",
        };
        Some(hint.to_owned())
    }
}
