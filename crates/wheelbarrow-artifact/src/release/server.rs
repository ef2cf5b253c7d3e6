//! The settings of a server and of its reload.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::words::Words;

/// What serves the site, and how it is told that the release is another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ServerTable", tag = "kind", rename_all = "lowercase")]
pub enum Server {
    /// Nothing is told.
    None,
    /// Any command.
    Command { command: Words },
    /// A file gets a fresh modification time: uWSGI's touch-reload, mod_wsgi's script.
    Touch { path: PathBuf },
    Systemd {
        unit: String,
        action: Action,
        /// As the settings of the site say for all units.
        #[serde(skip)]
        manager: Manager,
    },
}

/// The table of a server as it is read, with the keys of all kinds: one reader of tables is smaller than one for each kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerTable {
    kind: Kind,
    command: Option<Words>,
    path: Option<PathBuf>,
    unit: Option<String>,
    action: Option<Action>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    None,
    Command,
    Touch,
    Systemd,
}

impl TryFrom<ServerTable> for Server {
    type Error = String;

    fn try_from(ServerTable { kind, command, path, unit, action }: ServerTable) -> Result<Self, String> {
        let keys = [
            ("command", command.is_some(), Kind::Command),
            ("path", path.is_some(), Kind::Touch),
            ("unit", unit.is_some(), Kind::Systemd),
            ("action", action.is_some(), Kind::Systemd),
        ];
        if let Some((key, ..)) = keys.iter().find(|(_, is_given, of)| *is_given && *of != kind) {
            return Err(format!("a server of this kind has no `{key}`"));
        }
        let missing = |key| format!("missing field `{key}`");
        Ok(match kind {
            Kind::None => Self::None,
            Kind::Command => Self::Command { command: command.ok_or_else(|| missing("command"))? },
            Kind::Touch => Self::Touch { path: path.ok_or_else(|| missing("path"))? },
            Kind::Systemd => Self::Systemd {
                unit: unit.ok_or_else(|| missing("unit"))?,
                action: action.unwrap_or_default(),
                manager: Manager::default(),
            },
        })
    }
}

impl Server {
    /// Of the option that names one, in the forms of [`Server::from_str`].
    pub const HELP: &'static str =
        "How to reload the server: none, systemd:UNIT, touch:PATH or command:WORDS";

    /// Whether it is a unit, which can be looked at, started and stopped.
    pub fn is_unit(&self) -> bool {
        matches!(self, Self::Systemd { .. })
    }

    /// Whether processes of the release before may serve for a while after it was told of another.
    pub fn hands_over(&self) -> bool {
        !matches!(self, Self::None | Self::Systemd { action: Action::Restart, .. })
    }
}

/// Whose systemd has the units of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    #[default]
    System,
    /// That of the user who deploys.
    User,
}

impl Manager {
    /// What `systemctl` is told beside what it is to do.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            Self::System => &[],
            Self::User => &["--user"],
        }
    }
}

/// What `systemctl` is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    #[default]
    Restart,
    Reload,
}

#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid server `{0}`: use `none`, `systemd:UNIT`, `touch:PATH` or `command:WORDS`")]
pub struct NotAServer(String);

wheelbarrow_base::debug_error!(NotAServer);

/// A request that the server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    /// `http://127.0.0.1:8000/health/`; with `socket`, its host is only a header.
    pub url: String,
    /// A Unix socket to connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// The `Host` header, where it is not that of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What it may answer; any of 200 to 399 where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Vec<u16>>,
    /// How many good answers in a row prove it; 3 where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successes: Option<u32>,
    /// Seconds until it must be proved; 30 where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
}

/// The keys by which a service names its server.
#[derive(Default)]
pub(super) struct ServerKeys {
    pub(super) unit: Option<String>,
    pub(super) action: Option<Action>,
    pub(super) touch: Option<PathBuf>,
    pub(super) command: Option<Words>,
}

impl From<ServerKeys> for Server {
    fn from(ServerKeys { unit, action, touch, command }: ServerKeys) -> Self {
        let manager = Manager::default();
        let unit = unit.map(|unit| Self::Systemd { unit, action: action.unwrap_or_default(), manager });
        let touch = touch.map(|path| Self::Touch { path });
        unit.or(touch).or_else(|| command.map(|command| Self::Command { command })).unwrap_or(Self::None)
    }
}

impl From<Server> for ServerKeys {
    fn from(server: Server) -> Self {
        match server {
            Server::Systemd { unit, action, .. } => {
                let action = Some(action).filter(|action| *action != Action::default());
                Self { unit: Some(unit), action, ..Self::default() }
            }
            Server::Touch { path } => Self { touch: Some(path), ..Self::default() },
            Server::Command { command } => Self { command: Some(command), ..Self::default() },
            Server::None => Self::default(),
        }
    }
}

impl FromStr for Server {
    type Err = NotAServer;

    fn from_str(text: &str) -> Result<Self, NotAServer> {
        let wrong = || NotAServer(text.to_owned());
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            Some(("systemd", unit)) if !unit.is_empty() => Ok(Self::Systemd {
                unit: unit.to_owned(),
                action: Action::default(),
                manager: Manager::default(),
            }),
            Some(("touch", path)) if path.starts_with('/') => Ok(Self::Touch { path: path.into() }),
            Some(("command", words)) => Ok(Self::Command { command: words.parse().map_err(|_| wrong())? }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Command { command } => command.fmt(formatter),
            Self::Touch { path } => write!(formatter, "touch {}", path.display()),
            Self::Systemd { unit, action, manager } => {
                let verb = if *action == Action::Restart { "restart" } else { "reload" };
                let words = [&["systemctl"][..], manager.flags(), &[verb, unit.as_str()]].concat();
                formatter.write_str(&words.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_keys_of_its_kind() {
        let server = |text: &str| serde_json::from_str::<Server>(text);
        for text in [
            r#"{"kind":"none"}"#,
            r#"{"kind":"command","command":["kill","7"]}"#,
            r#"{"kind":"touch","path":"/run/site"}"#,
            r#"{"kind":"systemd","unit":"site.service","action":"reload"}"#,
        ] {
            assert_eq!(serde_json::to_string(&server(text).unwrap()).unwrap(), text);
        }
        let refusal = |text: &str| server(text).unwrap_err().to_string();
        assert_eq!(
            refusal(r#"{"kind":"touch","path":"/x","unit":"y"}"#),
            "a server of this kind has no `unit`"
        );
        assert_eq!(refusal(r#"{"kind":"systemd","action":"reload"}"#), "missing field `unit`");
        assert!(refusal(r#"{"kind":"systemd","units":"y"}"#).starts_with("unknown field `units`"));
        assert!(refusal(r#"{"unit":"y"}"#).starts_with("missing field `kind`"));
        assert!(refusal(r#"{"kind":"upstart"}"#).starts_with("unknown variant `upstart`"));
    }

    #[test]
    fn servers_are_named_in_a_word() {
        let server = |text: &str| text.parse::<Server>().map(|server| server.to_string());
        assert_eq!(server("systemd:site.service").unwrap(), "systemctl restart site.service");
        assert_eq!(server("command:kill -HUP 7").unwrap(), "kill -HUP 7");
        assert_eq!(server("touch:/run/site").unwrap(), "touch /run/site");
        assert!(server("touch:here").is_err() && server("apache").is_err());
    }
}
