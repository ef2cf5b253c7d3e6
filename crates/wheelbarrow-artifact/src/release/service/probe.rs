//! The probe of a service: `probe` of a `[[release.service]]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::release::server::ProbeSettings;
use crate::release::words::Words;

/// Seconds within which a command shows that a service works.
const COMMAND_SECONDS: u64 = 60;

/// What shows that a service works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceProbe {
    /// A request to the socket of its unit. The URL is a path.
    Path(ProbeSettings),
    /// A request.
    Request(ProbeSettings),
    /// A command of the site that succeeds within so many seconds.
    Command { command: Words, deadline: u64 },
}

/// Why a probe is invalid.
pub(super) enum NotAProbe {
    /// It has none or several of its ways.
    Way,
    /// A path needs the socket of the service.
    NoSocket,
    /// The path does not begin with a slash.
    Path(String),
}

/// How a probe stands in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Words>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Vec<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<u64>,
}

impl ProbeTable {
    pub(super) fn checked(self, has_socket: bool) -> Result<ServiceProbe, NotAProbe> {
        let request = |url: String, socket| ProbeSettings {
            url,
            socket,
            host: self.host.clone(),
            expected: self.expected.clone(),
            successes: self.successes,
            deadline: self.deadline,
        };
        match (self.path.clone(), self.url.clone(), self.command.clone()) {
            (Some(_), None, None) if !has_socket => Err(NotAProbe::NoSocket),
            (Some(path), None, None) if !path.starts_with('/') => Err(NotAProbe::Path(path)),
            (Some(path), None, None) if self.socket.is_none() => Ok(ServiceProbe::Path(request(path, None))),
            (None, Some(url), None) => Ok(ServiceProbe::Request(request(url, self.socket.clone()))),
            (None, None, Some(command)) => {
                Ok(ServiceProbe::Command { command, deadline: self.deadline.unwrap_or(COMMAND_SECONDS) })
            }
            _ => Err(NotAProbe::Way),
        }
    }
}

impl From<ServiceProbe> for ProbeTable {
    fn from(probe: ServiceProbe) -> Self {
        let (path, settings) = match probe {
            ServiceProbe::Path(settings) => (Some(settings.url.clone()), settings),
            ServiceProbe::Request(settings) => (None, settings),
            ServiceProbe::Command { command, deadline } => {
                let deadline = Some(deadline).filter(|deadline| *deadline != COMMAND_SECONDS);
                return Self { command: Some(command), deadline, ..Self::default() };
            }
        };
        Self {
            url: path.is_none().then_some(settings.url),
            path,
            command: None,
            socket: settings.socket,
            host: settings.host,
            expected: settings.expected,
            successes: settings.successes,
            deadline: settings.deadline,
        }
    }
}
