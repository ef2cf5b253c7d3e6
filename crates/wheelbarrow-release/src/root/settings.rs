//! The settings of a release: from its manifest, overridden by `ROOT/shared/wheelbarrow.toml`, overridden by
//! the flags of its deploy, overridden by the flags of the running command.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use wheelbarrow_artifact::manifest::Project;
use wheelbarrow_artifact::release::{
    HookSettings, Hosts, Manager, ProbeSettings, ReleaseSettings, Server, Service, ServiceProbe,
    ServiceProcess, Words, is_reserved_in_shared,
};
use wheelbarrow_base::SafePath;

use super::settings_file;
use crate::command::identity::{self, Identity};
use crate::command::secrets;
use crate::root::release::CompleteRelease;
use crate::root::shared::SharedPath;
use crate::root::{singletons, trusted};
use crate::{ReleaseError, ReleaseId, Root};

pub(crate) const FILE: &str = "wheelbarrow.toml";

const KEEP: usize = 5;
const KEEP_STATIC: u32 = 1;
const CHECK_SECONDS: u64 = 60;
const PREPARE_SECONDS: u64 = 3600;
const RELOAD_SECONDS: u64 = 120;
const HOOK_SECONDS: u64 = 600;
/// Statuses that say that a server serves, whatever it thinks of the request.
const ANSWERS: std::ops::Range<u16> = 100..500;
/// Seconds, and limits of times in settings. What is longer is a mistake, or would have a command hold the site root for ever.
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// What a release is made and made live with: nothing is missing, and everything was looked at.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As the sources said, for what is only theirs to say.
    pub declared: ReleaseSettings,
    pub prepare: Vec<Words>,
    pub shared: Vec<SharedPath>,
    /// None to leave everything to the user who deploys.
    pub identity: Option<Identity>,
    /// Variables of the user who deploys that a command of the site gets too when it runs as another user.
    pub pass_environment: Vec<String>,
    pub keep: usize,
    /// Below the code.
    pub static_root: Option<SafePath>,
    /// Where the artifact has the static files that were collected when it was built, below the release: no command of
    /// `prepare` collects them again. None if none were.
    pub collected: Option<SafePath>,
    /// How many earlier versions' static files stay.
    pub keep_static: u32,
    pub server: Server,
    /// The file that the server logs to, as it was said.
    pub server_log: Option<PathBuf>,
    pub probe: Option<ProbeSettings>,
    /// Every process of the site that this host runs, beside `server`.
    pub services: Vec<Service>,
    /// Whose systemd has all units.
    pub manager: Manager,
    /// The first part of the names of units of Wheelbarrow's own.
    pub unit_name: String,
    pub check_timeout: Duration,
    pub prepare_timeout: Duration,
    pub reload_timeout: Duration,
    /// Of a hook without a timeout of its own.
    pub hook_timeout: Duration,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedFile {
    #[serde(default)]
    release: ReleaseSettings,
}

impl Settings {
    /// Of a release that is to be made.
    pub(crate) fn of_manifest(
        root: &Root,
        name: &str,
        manifest: Option<&ReleaseSettings>,
        flags: &ReleaseSettings,
    ) -> Result<Self, ReleaseError> {
        let singletons = singletons::read(root)?.map(|record| record.runs);
        let host = ReleaseSettings { singletons, ..ReleaseSettings::default() };
        let declared = manifest.cloned().unwrap_or_default().overridden_by(host);
        let declared = declared.overridden_by(shared_file(root)?);
        let mut declared = declared.overridden_by(flags.clone());
        let has_own = declared.service.iter().flatten().any(|service| service.own().is_some());
        if declared.systemd.is_none() && has_own && root.is_of_plain_user() {
            declared.systemd = Some(Manager::User);
        }
        Self::check(name, declared)
    }

    /// Of a release on another machine, whose settings are not known here.
    pub(crate) fn of_artifact(
        name: &str,
        declared: ReleaseSettings,
        flags: &ReleaseSettings,
    ) -> Result<Self, ReleaseError> {
        Self::check(name, declared.overridden_by(flags.clone()))
    }

    /// Refuses settings that every server refuses. Whether there is an `owner` depends on the server.
    pub fn check_declared(declared: &ReleaseSettings) -> Result<(), ReleaseError> {
        let declared = ReleaseSettings { owner: None, group: None, ..declared.clone() };
        Self::check("", declared).map(drop)
    }

    /// The same, if the artifact brings its static files.
    pub(crate) fn with_collected(mut self, project: &Project) -> Result<Self, ReleaseError> {
        self.collected = project.static_root.as_deref().map(static_root).transpose()?;
        if self.collected.is_some() {
            self.prepare.retain(|words| !words.collects_static());
        }
        Ok(self)
    }

    /// What counts for the root, whatever release is in it.
    pub(crate) fn of_root(root: &Root) -> Result<Self, ReleaseError> {
        Self::of_manifest(root, "", None, &ReleaseSettings::default())
    }

    /// Of a release that is there.
    pub fn of(root: &Root, release: &CompleteRelease, flags: &ReleaseSettings) -> Result<Self, ReleaseError> {
        let flags = release.record.settings.clone().overridden_by(flags.clone());
        let site = release.site()?;
        Self::of_manifest(root, &release.record.name, site.release.as_ref(), &flags)?
            .with_collected(&site.project)
    }

    /// Of a release that is left. It may be gone, or be the very thing that is broken.
    pub(crate) fn of_left(root: &Root, id: Option<&ReleaseId>) -> Option<Self> {
        let release = root.complete_or_none(id?).ok()??;
        Self::of(root, &release, &Default::default()).ok()
    }

    /// For going back to a release without a server or a probe, from one that has them: what runs was told by that one, and
    /// must be told again. A server that is `none` is borrowed too: a flag of a first deploy may have set it, before a server
    /// ran. A borrowed probe may ask for a page that the older release does not have, so every answer below 500
    /// counts; the processes show which release answers.
    pub(crate) fn going_back_from(mut self, left: Option<&Self>) -> Self {
        let Some(left) = left else { return self };
        if self.server == Server::None {
            self.server = left.server.clone();
            self.reload_timeout = left.reload_timeout;
            self.server_log = self.server_log.or_else(|| left.server_log.clone());
        }
        if self.probe.is_none() {
            self.probe =
                left.probe.clone().map(|probe| ProbeSettings { expected: Some(ANSWERS.collect()), ..probe });
        }
        self
    }

    fn check(name: &str, declared: ReleaseSettings) -> Result<Self, ReleaseError> {
        let seconds = |set: Option<u64>, usual| Duration::from_secs(set.unwrap_or(usual));
        if let Some(probe) = &declared.probe {
            crate::serving::probe_address::ProbeAddress::of(probe)?;
            statuses("probe.expected", probe.expected.as_deref())?;
        }
        if let Some(check) = &declared.check {
            statuses("check.expected", check.expected.as_deref())?;
            if let Some(path) = check.path.as_ref().filter(|path| !path.starts_with('/')) {
                let reason = format!("`{path}` does not begin with a slash");
                return Err(ReleaseError::Setting { key: "check.path", reason });
            }
        }
        required_hooks(&declared.hooks)?;
        limits(&declared)?;
        secrets::hide_passed(declared.pass_environment.as_deref().unwrap_or_default());
        Ok(Self {
            prepare: declared.prepare.clone().unwrap_or_default(),
            shared: shared_paths(declared.shared.as_deref().unwrap_or_default())?,
            identity: identity::find(declared.owner.as_deref(), declared.group.as_deref())?,
            pass_environment: declared.pass_environment.clone().unwrap_or_default(),
            // The live release stays in any case.
            keep: declared.keep.unwrap_or(KEEP).max(1),
            static_root: declared.static_root.as_deref().map(static_root).transpose()?,
            collected: None,
            keep_static: declared.keep_static.unwrap_or(KEEP_STATIC),
            server: at(declared.server.clone().unwrap_or(Server::None), declared.systemd),
            manager: declared.systemd.unwrap_or_default(),
            server_log: declared.server_log.clone(),
            probe: declared.probe.clone(),
            services: services(&declared)?,
            unit_name: declared.unit_name.clone().unwrap_or_else(|| name.to_owned()),
            check_timeout: seconds(declared.timeouts.check, CHECK_SECONDS),
            prepare_timeout: seconds(declared.timeouts.prepare, PREPARE_SECONDS),
            reload_timeout: seconds(declared.timeouts.reload, RELOAD_SECONDS),
            hook_timeout: seconds(declared.timeouts.hook, HOOK_SECONDS),
            declared,
        })
    }
}

/// Those that this host runs, by their names each once.
fn services(declared: &ReleaseSettings) -> Result<Vec<Service>, ReleaseError> {
    let wrong = |reason: String| Err(ReleaseError::Setting { key: "service", reason });
    let mut services = declared.service.clone().unwrap_or_default();
    let mut names = BTreeSet::new();
    for service in &services {
        if !names.insert(service.name.as_str()) {
            return wrong(format!("two services have the name `{}`", service.name));
        }
        if service.name.as_str() == "web"
            && declared.server.as_ref().is_some_and(|server| *server != Server::None)
        {
            return wrong("`[release.server]` is a service `web` already: have one or the other".to_owned());
        }
        if let Some(ServiceProbe::Path(probe) | ServiceProbe::Request(probe)) = &service.probe {
            statuses("probe.expected", probe.expected.as_deref())?;
        }
        match &service.probe {
            Some(ServiceProbe::Request(probe)) => _ = crate::serving::probe_address::ProbeAddress::of(probe)?,
            Some(ServiceProbe::Path(probe)) => {
                let url = format!("http://localhost{}", probe.url);
                crate::serving::probe_address::ProbeAddress::of(&ProbeSettings { url, ..probe.clone() })?;
            }
            Some(ServiceProbe::Command { .. }) | None => {}
        }
    }
    for service in &mut services {
        if let ServiceProcess::Told(server) = &mut service.process {
            *server = at(server.clone(), declared.systemd);
        }
    }
    if declared.singletons == Some(false) {
        services.retain(|service| service.hosts == Hosts::All);
    }
    Ok(services)
}

/// A unit, as one of this systemd.
fn at(server: Server, systemd: Option<Manager>) -> Server {
    match server {
        Server::Systemd { unit, action, .. } => {
            Server::Systemd { unit, action, manager: systemd.unwrap_or_default() }
        }
        other => other,
    }
}

/// What `ROOT/shared/wheelbarrow.toml` says.
pub(crate) fn shared_file(root: &Root) -> Result<ReleaseSettings, ReleaseError> {
    let path = root.shared().join(FILE);
    let Some((text, _)) = trusted::read(root, FILE)? else { return Ok(ReleaseSettings::default()) };
    let text = String::from_utf8(text)
        .map_err(|_| ReleaseError::Settings { path: path.clone(), reason: "not UTF-8".to_owned() })?;
    settings_file::read::<SharedFile>(&text)
        .map(|file| file.release)
        .map_err(|reason| ReleaseError::Settings { path, reason })
}

/// Refuses what no answer can have (RFC 9110, section 15).
fn statuses(key: &'static str, expected: Option<&[u16]>) -> Result<(), ReleaseError> {
    match expected.unwrap_or_default().iter().find(|status| !(100..600).contains(*status)) {
        Some(status) => Err(ReleaseError::Setting { key, reason: format!("{status} is not an HTTP status") }),
        None => Ok(()),
    }
}

/// Refuses a time that is longer than anybody waits, or none: systemd would wait without end, and others not at all.
fn limits(declared: &ReleaseSettings) -> Result<(), ReleaseError> {
    let timeouts = [
        (DAY, "timeouts.check", declared.timeouts.check),
        (DAY, "timeouts.prepare", declared.timeouts.prepare),
        (DAY, "timeouts.reload", declared.timeouts.reload),
        (DAY, "timeouts.hook", declared.timeouts.hook),
        (HOUR, "probe.deadline", declared.probe.as_ref().and_then(|probe| probe.deadline)),
    ];
    let of_service = |service: &Service| {
        let deadline = match &service.probe {
            Some(ServiceProbe::Path(probe) | ServiceProbe::Request(probe)) => probe.deadline,
            Some(ServiceProbe::Command { deadline, .. }) => Some(*deadline),
            None => None,
        };
        let stop = service.own().map(|own| own.stop.timeout);
        let watchdog = service.own().and_then(|own| own.watchdog);
        [
            (HOUR, "service.probe.deadline", deadline),
            (DAY, "service.stop.timeout", stop),
            (HOUR, "service.stays-up", Some(service.stays_up)),
            (HOUR, "service.watchdog", watchdog),
        ]
    };
    let all = timeouts
        .into_iter()
        .chain(declared.hooks.all().map(|hook| (DAY, "hooks.timeout", hook.timeout)))
        .chain(declared.service.iter().flatten().flat_map(of_service));
    for (longest, key, seconds) in all {
        if seconds == Some(0) && key != "service.stays-up" {
            return Err(ReleaseError::Setting { key, reason: "the limit is 0 s: name 1 or more".to_owned() });
        }
        if let Some(seconds) = seconds.filter(|seconds| *seconds > longest) {
            let limit = if longest == DAY { "a day" } else { "an hour" };
            let reason = format!("{seconds} s are over {limit}: name {longest} or less");
            return Err(ReleaseError::Setting { key, reason });
        }
    }
    Ok(())
}

/// Refuses `required` where a failure of a hook has an effect of its own.
fn required_hooks(hooks: &HookSettings) -> Result<(), ReleaseError> {
    match hooks.wrongly_required() {
        Some((key, why)) => Err(ReleaseError::Setting {
            key,
            reason: format!("`required` is for `after_switch` only: {why}"),
        }),
        None => Ok(()),
    }
}

fn static_root(path: &str) -> Result<SafePath, ReleaseError> {
    SafePath::new(path.trim_end_matches('/'))
        .map_err(|error| ReleaseError::Setting { key: "static_root", reason: error.to_string() })
}

/// Refuses what leads out, a path inside another, and files of Wheelbarrow's own, which the site's user must not get.
fn shared_paths(paths: &[String]) -> Result<Vec<SharedPath>, ReleaseError> {
    let wrong = |reason: String| ReleaseError::Setting { key: "shared", reason };
    let mut safe = BTreeMap::new();
    for path in paths {
        let shared = SharedPath::new(path).map_err(|error| wrong(error.to_string()))?;
        let path = shared.path.clone();
        if is_reserved_in_shared(path.as_str()) {
            return Err(wrong(format!("`{path}` is Wheelbarrow's own in `ROOT/shared`: name another path")));
        }
        safe.insert(path, shared);
    }
    let inside = |inner: &SafePath, outer: &SafePath| {
        inner.as_str().strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    for outer in safe.keys() {
        if let Some(inner) = safe.keys().find(|inner| inside(inner, outer)) {
            return Err(wrong(format!("`{inner}` is inside `{outer}`")));
        }
    }
    Ok(safe.into_values().collect())
}

/// Where a path of a program is looked for beside what is on PATH.
pub(crate) fn bin(release: &CompleteRelease) -> PathBuf {
    release.virtualenv().join("bin")
}

#[cfg(test)]
mod tests {
    use wheelbarrow_base::Explain;

    use super::*;

    #[test]
    fn an_extension_makes_a_file_and_a_slash_a_directory() {
        use crate::root::shared::SharedKind;
        let kind = |path: &str| SharedPath::new(path).unwrap().kind;
        for file in ["db.sqlite3", "data/site.db", "log/site.log", ".data/x.db", "conf/.env"] {
            assert_eq!(kind(file), SharedKind::File, "{file}");
        }
        for directory in ["media", ".data", ".env/", "var/log", "conf.d", "media.v2/", "site.db/log"] {
            assert_eq!(kind(directory), SharedKind::Directory, "{directory}");
        }
    }

    #[test]
    fn times_have_limits() {
        let check = |text: &str| Settings::check("site", serde_json::from_str(text).unwrap());
        for (longest, key, text) in [
            (DAY, "timeouts.check", r#"{"timeouts": {"check": N}}"#),
            (DAY, "timeouts.prepare", r#"{"timeouts": {"prepare": N}}"#),
            (DAY, "timeouts.reload", r#"{"timeouts": {"reload": N}}"#),
            (DAY, "timeouts.hook", r#"{"timeouts": {"hook": N}}"#),
            (HOUR, "probe.deadline", r#"{"probe": {"url": "http://a/", "deadline": N}}"#),
            (DAY, "hooks.timeout", r#"{"hooks": {"after_switch": {"run": "a", "timeout": N}}}"#),
            (DAY, "hooks.timeout", r#"{"hooks": {"on_failure": {"run": "a", "timeout": N}}}"#),
            (
                DAY,
                "service.stop.timeout",
                r#"{"service": [{"name": "a", "run": "a", "stop": {"timeout": N}}]}"#,
            ),
            (HOUR, "service.stays-up", r#"{"service": [{"name": "a", "run": "a", "stays-up": N}]}"#),
            (HOUR, "service.watchdog", r#"{"service": [{"name": "a", "run": "a", "watchdog": N}]}"#),
            (
                HOUR,
                "service.probe.deadline",
                r#"{"service": [{"name": "a", "run": "a", "probe": {"command": "a", "deadline": N}}]}"#,
            ),
            (
                HOUR,
                "service.probe.deadline",
                r#"{"service": [{"name": "a", "run": "a", "socket": true, "probe": {"path": "/", "deadline": N}}]}"#,
            ),
        ] {
            let limit = if longest == DAY { "a day" } else { "an hour" };
            for seconds in [u64::MAX, longest + 1] {
                let said = check(&text.replace('N', &seconds.to_string())).unwrap_err().to_string();
                let expected = format!("`{key}`: {seconds} s are over {limit}: name {longest} or less");
                assert!(said.contains(&expected), "{said}");
            }
            for seconds in [1, longest] {
                assert!(check(&text.replace('N', &seconds.to_string())).is_ok(), "{text}");
            }
            if !matches!(key, "service.stays-up" | "service.watchdog") {
                let said = check(&text.replace('N', "0")).unwrap_err().to_string();
                assert!(said.contains(&format!("`{key}`: the limit is 0 s: name 1 or more")), "{said}");
            }
        }
    }

    #[test]
    fn the_path_of_a_probe_is_one_of_http() {
        let service = |path: &str| {
            let probe = serde_json::json!({ "path": path });
            let service = serde_json::json!([{ "name": "a", "run": "a", "socket": true, "probe": probe }]);
            let said = serde_json::from_value(serde_json::json!({ "service": service })).unwrap();
            Settings::check("site", said).is_ok()
        };
        assert!(service("/health/?a=b"));
        assert!(!service("/a\r\nX: y") && !service("/a b"));
    }

    #[test]
    fn internal_files_cannot_be_shared() {
        let shared = |path: &str| {
            let declared =
                ReleaseSettings { shared: Some(vec![path.to_owned()]), ..ReleaseSettings::default() };
            Settings::check("site", declared)
        };
        for own in [
            "environment.json",
            "environment.json/",
            "environment.json/media",
            "wheelbarrow.toml",
            ".environment.json.wheelbarrow-new",
            ".wheelbarrow.toml.1a2b3c4d",
            ".files",
            "rescued/1-1a2b3c4d",
        ] {
            let error = shared(own).unwrap_err();
            assert_eq!(error.exit_code(), 8, "{error}");
            assert!(error.to_string().contains("is Wheelbarrow's own"), "{error}");
        }
        for free in
            ["media", "var/environment.json", "environment", "environment.json.d", ".wheelbarrow.tomlin"]
        {
            assert!(shared(free).is_ok(), "{free}");
        }
    }
}
