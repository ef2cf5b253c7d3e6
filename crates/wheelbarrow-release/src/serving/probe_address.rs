//! What a probe asks for, out of its settings.

use std::path::PathBuf;

use wheelbarrow_artifact::release::ProbeSettings;

use crate::ReleaseError;

/// Where and what to ask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProbeAddress {
    /// `host:port`.
    pub(crate) authority: String,
    pub(crate) socket: Option<PathBuf>,
    pub(super) host: String,
    pub(super) path: String,
}

impl ProbeAddress {
    /// Refuses what cannot be asked for.
    pub(crate) fn of(settings: &ProbeSettings) -> Result<Self, ReleaseError> {
        let wrong = |reason: &str| ReleaseError::Setting {
            key: "probe.url",
            reason: format!("`{}` {reason}", settings.url),
        };
        let Some(rest) = settings.url.strip_prefix("http://") else {
            return Err(wrong("does not begin with http://; probes go to the server behind the proxy"));
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = settings.host.clone().unwrap_or_else(|| authority.to_owned());
        let is_clean = |text: &str| !text.contains(|character: char| character <= ' ' || character == '\x7f');
        if authority.is_empty()
            || authority.contains('@')
            || ![authority, path, &host].into_iter().all(is_clean)
        {
            return Err(wrong("is not like http://127.0.0.1:8000/health/"));
        }
        // The port is what follows the last colon, unless that is in an IPv6 address.
        let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
        Ok(Self {
            authority: if has_port { authority.to_owned() } else { format!("{authority}:80") },
            socket: settings.socket.clone(),
            host,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> ProbeSettings {
        ProbeSettings { url: url.to_owned(), ..ProbeSettings::default() }
    }

    #[test]
    fn addresses_are_read() {
        let parts = |url: &str| {
            let address = ProbeAddress::of(&settings(url)).unwrap();
            (address.authority, address.host, address.path)
        };
        let strings = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parts("http://a:8/x?y"), strings("a:8", "a:8", "/x?y"));
        assert_eq!(parts("http://a"), strings("a:80", "a", "/"));
        assert_eq!(parts("http://[::1]/"), strings("[::1]:80", "[::1]", "/"));
        for wrong in ["https://a/", "http://", "http://a/ b", "http://u@a/", "a"] {
            assert!(ProbeAddress::of(&settings(wrong)).is_err(), "{wrong}");
        }
    }
}
