//! Artifacts of the site, and roots that they are deployed to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use serde_json::Value;

use super::host::{Host, Said};
use crate::children::{clean, run as run_child, wheelbarrow, workspace};
use crate::{pythons, tools};

/// As the guide has them, for `/srv/mysite` and the user `www-data`.
pub(super) const NGINX: &str = include_str!("configuration/nginx.conf");
pub(super) const UWSGI: &str = include_str!("configuration/uwsgi.ini");
/// One line more, for a uWSGI that is among the requirements.
pub(super) const OWN_UWSGI: &str = include_str!("configuration/own-uwsgi.ini");
pub(super) const APACHE: &str = include_str!("configuration/apache.conf");
pub(super) const HUP: &str = include_str!("configuration/gunicorn-hup.service");
pub(super) const OWN_PORT: &str = include_str!("configuration/granian.service");
#[cfg(test)]
pub(super) const CONFIGURATION: [(&str, &str); 6] = [
    ("nginx.conf", NGINX),
    ("uwsgi.ini", UWSGI),
    ("own-uwsgi.ini", OWN_UWSGI),
    ("apache.conf", APACHE),
    ("gunicorn-hup.service", HUP),
    ("granian.service", OWN_PORT),
];

/// Versions that work.
pub(super) const GOOD: [u32; 2] = [1, 2];
/// A version that cannot be imported, and one that answers 500 where a server runs it.
pub(super) const CANNOT_BE_IMPORTED: u32 = 3;
pub(super) const ANSWERS_500: u32 = 4;
/// Versions with services: two that work, one whose worker and one whose beat does not start, one that has web alone.
pub(super) const SERVICES: [u32; 2] = [5, 6];
pub(super) const NO_WORKER: u32 = 7;
pub(super) const NO_BEAT: u32 = 8;
pub(super) const WEB_ALONE: u32 = 9;
/// With other queues.
pub(super) const QUEUES: [u32; 2] = [10, 11];
/// For many deploys: web does not start, its probe fails, a required hook fails, a migration fails.
pub(super) const FAILS: [u32; 4] = [12, 13, 14, 15];
/// Of a service with a watchdog: one that reports, and one that stops to do so.
pub(super) const REPORTS: u32 = 16;
pub(super) const HANGS: u32 = 17;
/// Two that work, with other servers.
pub(super) const GUNICORN_26: [u32; 2] = [18, 19];
pub(super) const GRANIAN: [u32; 2] = [20, 21];
const KINDS: [(u32, &str); 21] = [
    (GOOD[0], "good"),
    (GOOD[1], "good"),
    (CANNOT_BE_IMPORTED, "import"),
    (ANSWERS_500, "served"),
    (SERVICES[0], "services"),
    (SERVICES[1], "services"),
    (NO_WORKER, "worker"),
    (NO_BEAT, "beat"),
    (WEB_ALONE, "web"),
    (QUEUES[0], "queues"),
    (QUEUES[1], "queues"),
    (FAILS[0], "no-web"),
    (FAILS[1], "probe"),
    (FAILS[2], "hook"),
    (FAILS[3], "migration"),
    (REPORTS, "reports"),
    (HANGS, "hangs"),
    (GUNICORN_26[0], "gunicorn-26"),
    (GUNICORN_26[1], "gunicorn-26"),
    (GRANIAN[0], "granian"),
    (GRANIAN[1], "granian"),
];

pub(super) struct Versions {
    /// Holds `1.zip` and so on.
    pub(super) directory: PathBuf,
    pub(super) wheelbarrow: PathBuf,
}

impl Versions {
    /// Those that fail in many deploys only if they are wanted.
    pub(super) fn build(place: &Path, system: &str, has_failing: bool) -> Result<Self> {
        let directory = place.join("artifacts");
        fs::create_dir_all(&directory)?;
        let versions = Self { directory, wheelbarrow: wheelbarrow()? };
        let python = pythons::find_all().pop().context("no Python here")?;
        let uv = tools::uv(&[])?;
        for (number, kind) in KINDS.into_iter().filter(|(number, _)| has_failing || !FAILS.contains(number)) {
            let site = place.join(format!("site-{number}"));
            let mut write = clean(&python.path);
            write.arg(workspace().join("xtask/src/servers/site.py")).arg(&site);
            run_child(write.args([&number.to_string(), kind, system]))?;
            let mut build = clean(&versions.wheelbarrow);
            build
                .arg("build")
                .arg(&site)
                .arg("--output")
                .arg(versions.directory.join(format!("{number}.zip")));
            run_child(build.arg("--cache-dir").arg(place.join("cache")).env("UV", &uv))?;
        }
        Ok(versions)
    }
}

/// Seconds: a deploy waits for services, of which the old ones still have work.
const LIMIT: &str = "600";

/// A root, and what serves it.
pub(super) struct Place<'h> {
    pub(super) host: &'h Host<'h>,
    root: String,
}

impl<'h> Place<'h> {
    /// `/srv/NAME`, with these settings for all of its releases, as TOML has them below `[release]`.
    pub(super) fn new(host: &'h Host<'h>, name: &str, settings: &str) -> Result<Self> {
        Self::at(host, &format!("/srv/{name}"), settings)
    }

    pub(super) fn at(host: &'h Host<'h>, root: &str, settings: &str) -> Result<Self> {
        let place = Self { host, root: root.to_owned() };
        place.settings(settings)?;
        Ok(place)
    }

    /// From now on.
    pub(super) fn settings(&self, settings: &str) -> Result<()> {
        self.host
            .write(&format!("{}/shared/wheelbarrow.toml", self.root()), &format!("[release]\n{settings}"))
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// A file of the guide, for this root and this port.
    pub(super) fn adapt(&self, text: &str, port: u16) -> String {
        let text = text.replace("/srv/mysite", &self.root).replace("/run/mysite.sock", &self.socket());
        let text = text.replace("127.0.0.1:8000", &format!("127.0.0.1:{port}"));
        text.replace(
            "<VirtualHost *:80>",
            &format!("Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>"),
        )
    }

    pub(super) fn socket(&self) -> String {
        format!("/run/{}.sock", self.root.trim_start_matches("/srv/"))
    }

    pub(super) fn wheelbarrow(&self, words: &str) -> Said {
        self.host.sh_within(LIMIT, &format!("cd / && WHEELBARROW_ROOT={} wheelbarrow {words}", self.root()))
    }

    pub(super) fn deploy(&self, version: u32) -> Said {
        self.wheelbarrow(&format!("deploy /artifacts/{version}.zip --without-pip"))
    }

    /// Deploys, and compares what the proof says of what runs with what was deployed.
    pub(super) fn switch(&self, version: u32) -> Result<()> {
        self.deploy(version).expect(0, &[])?;
        self.expect_serving(version)
    }

    /// All of the server's processes run what is live, which is of this version; so says the kernel, and so does a page.
    pub(super) fn expect_serving(&self, version: u32) -> Result<()> {
        let status = self.status()?;
        let serving = &status["serving"];
        let is_known = !serving["unit"].is_null() || !serving["listener"].is_null();
        let is_right = serving["verdict"] == "one"
            && serving["id"] == status["live"]["id"]
            && status["live"]["version"] == version.to_string().as_str();
        if !is_known || !is_right || serving["environment"].is_object() {
            bail!("version {version} does not serve: {status:#}");
        }
        Ok(())
    }

    pub(super) fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.wheelbarrow("status --json").expect(0, &[])?.out)?)
    }

    /// Which rules of the doctor's found something.
    pub(super) fn ailments(&self, flags: &str) -> Result<Vec<String>> {
        let said = self.wheelbarrow(&format!("doctor --json {flags}"));
        let report: Value = serde_json::from_str(&said.out).with_context(|| said.err.clone())?;
        let findings = report["findings"].as_array().context("no findings")?;
        if said.code != if findings.is_empty() { 0 } else { 11 } {
            bail!("exit code {} with {report:#}", said.code);
        }
        let mut rules: Vec<_> =
            findings.iter().filter_map(|one| Some(one["rule"].as_str()?.to_owned())).collect();
        rules.sort();
        rules.dedup();
        Ok(rules)
    }

    pub(super) fn expect_ailments(&self, flags: &str, wanted: &[&str]) -> Result<()> {
        let found = self.ailments(flags)?;
        if found != wanted {
            bail!(
                "the doctor names {found:?}, not {wanted:?}:\n{}",
                self.wheelbarrow(&format!("doctor {flags}")).out
            );
        }
        println!("   doctor: {}", if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(", ") });
        Ok(())
    }
}
