//! The settings of releases: `[release]`, which the manifest contains.
//!
//! Every key may be missing, so that a later source adds to an earlier one: the manifest, then
//! `ROOT/shared/wheelbarrow.toml`, then flags. `docs/reference/settings.md` explains the keys.

mod hooks;
mod server;
mod service;
mod words;

use std::fmt;
use std::path::PathBuf;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use hooks::KEYS as HOOK_KEYS;
pub use hooks::{Hook, HookSettings};
pub use server::{Action, Manager, NotAServer, ProbeSettings, Server};
pub use service::{
    Handover, Hosts, NotAService, OwnUnit, Restriction, Service, ServiceName, ServiceProbe, ServiceProcess,
    Signal, Start, Stop,
};
pub use words::{NotWords, Words};

/// The keys of `[release]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseSettings {
    /// The value of `DJANGO_SETTINGS_MODULE` where the environment has none; else found in `manage.py` or `wsgi.py`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// `package.wsgi:application`; else found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Commands that run in the new release before the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Vec<Words>>,
    /// Commands that run before migrations, after a switch, and after what goes wrong.
    #[serde(default, skip_serializing_if = "HookSettings::is_empty")]
    pub hooks: HookSettings,
    /// Paths below the code that are links to the same below `ROOT/shared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Vec<String>>,
    /// Who the site runs as: a name or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whose group may read environment.json; else the owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Variables of who deploys that commands of the site get too when they run as another user.
    #[serde(default, alias = "pass-environment", skip_serializing_if = "Option::is_none")]
    pub pass_environment: Option<Vec<String>>,
    /// Where collectstatic puts its files, below the code; else Django is asked.
    #[serde(default, alias = "static-root", skip_serializing_if = "Option::is_none")]
    pub static_root: Option<String>,
    /// The static files of how many earlier versions stay reachable; 1 where it is missing.
    #[serde(default, alias = "keep-static", skip_serializing_if = "Option::is_none")]
    pub keep_static: Option<u32>,
    /// The number of good releases to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// The file that the server logs to, if that is not the journal of its unit; relative to `ROOT/shared`.
    #[serde(default, alias = "server-log", skip_serializing_if = "Option::is_none")]
    pub server_log: Option<PathBuf>,
    /// What is asked in process before the switch; `false` for nothing.
    #[serde(default, deserialize_with = "check_settings", skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSettings>,
    /// What is asked of the server after the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeSettings>,
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Every process of the site, where that is more than one server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Vec<Service>>,
    /// The first part of the names of units of Wheelbarrow's own; else the name of the project.
    #[serde(default, alias = "unit-name", skip_serializing_if = "Option::is_none")]
    pub unit_name: Option<String>,
    /// Whether the site's Python is started once for all that happens before the switch; true where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<bool>,
    /// Whose systemd has the units of the site; that of the system where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<Manager>,
    /// Whether this host runs what only one host of a fleet may run; true where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub singletons: Option<bool>,
}

impl Default for ReleaseSettings {
    /// No setting. Derived, it would be compiled at each of its callers: 6 kB.
    #[inline(never)]
    fn default() -> Self {
        Self {
            settings: None,
            application: None,
            prepare: None,
            hooks: HookSettings::default(),
            shared: None,
            owner: None,
            group: None,
            pass_environment: None,
            static_root: None,
            keep_static: None,
            keep: None,
            server: None,
            server_log: None,
            check: None,
            probe: None,
            timeouts: Timeouts::default(),
            service: None,
            unit_name: None,
            fork: None,
            systemd: None,
            singletons: None,
        }
    }
}

/// A request that the application answers in process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    /// False where the application cannot be imported without being served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// `/` where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The `Host` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `https` where it is missing, as a proxy in front says of most requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// What it may answer; 200, 204 or a redirect where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Vec<u16>>,
    /// Findings that are no errors here: `security.W004` of Django's checks, or `ID=reason`. What a site writes into its
    /// releases needs a reason: `data-in-release:MEDIA_ROOT=reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<CheckAllowance>>,
}

/// The finding that a site would write data into its releases, as `data-in-release:SETTING`, or alone for all settings.
pub const DATA_IN_RELEASE: &str = "data-in-release";

/// A finding of the check that somebody has looked at. In settings `ID`, or `ID=reason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckAllowance {
    /// `security.W004`
    pub id: String,
    pub reason: Option<String>,
}

#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAllowance {
    #[error("invalid allowance `{0}`: use the ID of a check, such as `security.W004`, or `ID=reason`")]
    NoId(String),
    #[error("`{0}` lets a site lose what it writes, so it needs a reason: `{0}=REASON`")]
    NoReason(String),
}

wheelbarrow_base::debug_error!(NotAnAllowance);

/// Seconds that a step may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// The check of the application; 60 where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<u64>,
    /// One command of `prepare`; 3600 where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<u64>,
    /// The command that restarts the server; 120 where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<u64>,
    /// A hook that has no timeout of its own; 600 where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<u64>,
}

/// The directory in `ROOT/shared` that has the files of `shared` where the site runs as another user.
pub const FILES_IN_SHARED: &str = ".files";
/// The directory in `ROOT/shared` for what was copied out of releases.
pub const RESCUED_IN_SHARED: &str = "rescued";

/// What is Wheelbarrow's own in `ROOT/shared`.
const IN_SHARED: [&str; 4] = ["environment.json", "wheelbarrow.toml", FILES_IN_SHARED, RESCUED_IN_SHARED];

/// Whether a path of `shared` is that of something of Wheelbarrow's own in `ROOT/shared`, or of one that is not in place yet.
pub fn is_reserved_in_shared(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or(path);
    let is_new = |file| {
        let rest = first.strip_prefix('.').and_then(|rest| rest.strip_prefix(file));
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    IN_SHARED.into_iter().any(|file| first == file || is_new(file))
}

impl ReleaseSettings {
    /// What `later` says, and this where that says nothing.
    #[must_use]
    pub fn overridden_by(self, later: Self) -> Self {
        Self {
            settings: later.settings.or(self.settings),
            application: later.application.or(self.application),
            prepare: later.prepare.or(self.prepare),
            hooks: self.hooks.overridden_by(later.hooks),
            shared: later.shared.or(self.shared),
            owner: later.owner.or(self.owner),
            group: later.group.or(self.group),
            pass_environment: later.pass_environment.or(self.pass_environment),
            static_root: later.static_root.or(self.static_root),
            keep_static: later.keep_static.or(self.keep_static),
            keep: later.keep.or(self.keep),
            server: later.server.or(self.server),
            server_log: later.server_log.or(self.server_log),
            check: match (self.check, later.check) {
                (Some(earlier), Some(later)) => Some(earlier.overridden_by(later)),
                (earlier, later) => later.or(earlier),
            },
            probe: later.probe.or(self.probe),
            timeouts: Timeouts {
                check: later.timeouts.check.or(self.timeouts.check),
                prepare: later.timeouts.prepare.or(self.timeouts.prepare),
                reload: later.timeouts.reload.or(self.timeouts.reload),
                hook: later.timeouts.hook.or(self.timeouts.hook),
            },
            service: later.service.or(self.service),
            unit_name: later.unit_name.or(self.unit_name),
            fork: later.fork.or(self.fork),
            systemd: later.systemd.or(self.systemd),
            singletons: later.singletons.or(self.singletons),
        }
    }
}

impl CheckSettings {
    #[must_use]
    fn overridden_by(self, later: Self) -> Self {
        Self {
            enabled: later.enabled.or(self.enabled),
            path: later.path.or(self.path),
            host: later.host.or(self.host),
            scheme: later.scheme.or(self.scheme),
            expected: later.expected.or(self.expected),
            allow: later.allow.or(self.allow),
        }
    }
}

impl TryFrom<String> for CheckAllowance {
    type Error = NotAnAllowance;

    fn try_from(text: String) -> Result<Self, NotAnAllowance> {
        let (id, reason) = match text.split_once('=') {
            Some((id, reason)) => (id.trim(), Some(reason.trim())),
            None => (text.trim(), None),
        };
        let is_id = !id.is_empty() && !id.contains(char::is_whitespace);
        let is_of_data = id.split(':').next() == Some(DATA_IN_RELEASE);
        match (is_id, reason) {
            (false, _) | (_, Some("")) => Err(NotAnAllowance::NoId(text)),
            (true, None) if is_of_data => Err(NotAnAllowance::NoReason(text)),
            (true, reason) => Ok(Self { id: id.to_owned(), reason: reason.map(str::to_owned) }),
        }
    }
}

impl CheckAllowance {
    /// Whether it lets the site write what `setting` names into its releases.
    pub fn covers_data(&self, setting: &str) -> bool {
        match self.id.strip_prefix(DATA_IN_RELEASE) {
            Some("") => true,
            Some(rest) => rest.strip_prefix(':') == Some(setting),
            None => false,
        }
    }
}

impl From<CheckAllowance> for String {
    fn from(allowance: CheckAllowance) -> Self {
        match allowance.reason {
            Some(reason) => format!("{}={reason}", allowance.id),
            None => allowance.id,
        }
    }
}

impl fmt::Display for CheckAllowance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.id)?;
        self.reason.iter().try_for_each(|reason| write!(formatter, ": {reason}"))
    }
}

/// A table, or `false` for no check.
fn check_settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CheckSettings>, D::Error> {
    struct CheckVisitor;

    impl<'de> Visitor<'de> for CheckVisitor {
        type Value = Option<CheckSettings>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a table, or false")
        }

        fn visit_bool<E: serde::de::Error>(self, enabled: bool) -> Result<Self::Value, E> {
            Ok(Some(CheckSettings { enabled: Some(enabled), ..CheckSettings::default() }))
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            CheckSettings::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(CheckVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_from_a_string_and_from_a_list() {
        let text = r#"{"prepare": ["a 'b c'", ["a", "b c"]], "server": {"kind": "systemd", "unit": "x"}}"#;
        let settings: ReleaseSettings = serde_json::from_str(text).unwrap();
        let prepare = settings.prepare.clone().unwrap();
        assert_eq!(prepare[0], prepare[1]);
        assert_eq!(prepare[0].to_string(), "a 'b c'");
        let again = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<ReleaseSettings>(&again).unwrap(), settings);
        for wrong in
            [r#"{"prepare": [[]]}"#, r#"{"server": {"kind": "systemd", "units": "x"}}"#, r#"{"x": 1}"#]
        {
            assert!(serde_json::from_str::<ReleaseSettings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_check_is_a_table_or_false() {
        let check = |text: &str| serde_json::from_str::<ReleaseSettings>(text).map(|settings| settings.check);
        let off = check(r#"{"check": false}"#).unwrap().unwrap();
        assert_eq!(off.enabled, Some(false));
        let allowed = check(r#"{"check": {"allow": ["a.E1", "b.E2 = mail is sent elsewhere"]}}"#).unwrap();
        let allowed: Vec<_> = allowed.unwrap().allow.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(allowed, ["a.E1", "b.E2: mail is sent elsewhere"]);
        for wrong in [
            r#"{"check": {"paths": "/"}}"#,
            r#"{"check": {"allow": ["a b"]}}"#,
            r#"{"check": {"allow": ["data-in-release:MEDIA_ROOT"]}}"#,
            r#"{"check": 1}"#,
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        let covers =
            |text: &str, setting| CheckAllowance::try_from(text.to_owned()).unwrap().covers_data(setting);
        assert!(covers("data-in-release:MEDIA_ROOT=thumbnails", "MEDIA_ROOT"));
        assert!(!covers("data-in-release:MEDIA_ROOT=thumbnails", "DATABASES.default"));
        assert!(covers("data-in-release=a demonstration", "DATABASES.default"));
        assert!(!covers("data-in-releases=no", "MEDIA_ROOT") && !covers("x.E1", "MEDIA_ROOT"));
    }
}
