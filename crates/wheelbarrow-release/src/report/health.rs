//! `status --check`: whether the site serves the live release, for a monitor. It probes the site, queries
//! systemd and the kernel, and looks for interrupted operations. It changes nothing and takes no file lock.

use std::time::Duration;

use serde::Serialize;
use wheelbarrow_artifact::release::Server;
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_wheel::order;

use crate::command::deadline;
use crate::report::rule::{self, Rule};
use crate::report::status::{Status, status};
use crate::root::settings::Settings;
use crate::serving::doctor::{Finding, stale_processes};
use crate::serving::proof::{self, Verdict};
use crate::serving::server_log::ServerLog;
use crate::serving::services::{self, ServingProcess};
use crate::serving::{probe, systemd};
use crate::stage::fingerprint::AskSchema;
use crate::{ReleaseError, ReleaseId, Root};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The site serves as far as is known, and somebody should look.
    Warning,
    /// The site does not serve the live release.
    Critical,
}

/// Something that is wrong just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthProblem {
    pub level: Level,
    #[serde(flatten)]
    pub finding: Finding,
}

/// The status of a root, and what is wrong; the worst first.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    #[serde(flatten)]
    pub status: Status,
    /// Whether the site was probed; false if no probe is configured, or nothing is live.
    pub is_probed: bool,
    pub findings: Vec<HealthProblem>,
}

impl Health {
    /// None if all is well.
    pub fn level(&self) -> Option<Level> {
        self.findings.iter().map(|ailment| ailment.level).max()
    }
}

/// Looks at everything, within `limit`.
pub fn health(
    root: &Root,
    schema: AskSchema,
    limit: Duration,
    progress: &dyn Progress,
) -> Result<Health, ReleaseError> {
    deadline::within(limit, || look(root, schema, limit, progress))
}

fn look(
    root: &Root,
    schema: AskSchema,
    limit: Duration,
    progress: &dyn Progress,
) -> Result<Health, ReleaseError> {
    let mut look = HealthCheck { root, findings: Vec::new() };
    let live = match root.live() {
        // The status has it.
        Err(ReleaseError::ForeignCurrent { .. }) => None,
        live => live?,
    };
    let settings = look.settings(live.as_ref());
    // First: a request may start what serves.
    let is_probed = settings.as_ref().is_some_and(|settings| look.probe(settings, limit));
    if let (Some(id), Some(settings)) = (&live, &settings) {
        look.other_probes(settings, id, limit);
    }
    let mut status = status(root, schema, progress)?;
    let has_trouble = status.unit.as_ref().is_some_and(|unit| unit.trouble().is_some());
    if is_probed && look.findings.is_empty() && !has_trouble {
        status.doubt = None;
    }
    look.live(&status);
    look.unit(&status);
    look.processes(&status, settings.as_ref(), is_probed)?;
    look.operations(&status);
    if let Some(id) = &live {
        look.jobs(id);
    }
    look.is_whole();
    let mut findings = look.findings;
    if status.holder.is_some() {
        // What a command is about to change may be wrong for a moment.
        findings.iter_mut().for_each(|ailment| ailment.level = Level::Warning);
    }
    order::sort_by_key(&mut findings, |ailment| std::cmp::Reverse(ailment.level));
    Ok(Health { status, is_probed, findings })
}

struct HealthCheck<'r> {
    root: &'r Root,
    findings: Vec<HealthProblem>,
}

impl HealthCheck<'_> {
    fn find(&mut self, level: Level, rule: Rule, place: String, what: String, hint: String) {
        self.findings.push(HealthProblem { level, finding: Finding { rule, place, what, hint } });
    }

    fn current(&self) -> String {
        self.root.current().display().to_string()
    }

    /// None where nothing is live, or what is live is not complete, which the status says.
    fn settings(&mut self, live: Option<&ReleaseId>) -> Option<Settings> {
        let release = self.root.complete(live?).ok()?;
        match Settings::of(self.root, &release, &Default::default()) {
            Ok(settings) => Some(services::main(self.root, settings, release.id())),
            Err(error) => {
                let place = self.root.shared().join(crate::root::settings::FILE).display().to_string();
                let said = error.to_string();
                let said = said.strip_prefix(&format!("{place}: ")).unwrap_or(&said);
                let what = format!("{said}, so the site was not probed");
                let hint = error.hint().unwrap_or_else(|| "correct it: a deploy refuses it too".to_owned());
                self.find(Level::Warning, rule::SETTINGS, place, what, hint);
                None
            }
        }
    }

    /// Whether there is a probe.
    fn probe(&mut self, settings: &Settings, limit: Duration) -> bool {
        let Some(asked) = &settings.probe else { return false };
        if let Err(answer) = probe::probe_without_retry(asked, deadline::left(limit)) {
            let hint = match ServerLog::begin(self.root, settings).command() {
                Some(command) => format!("`{command}` shows what the server wrote"),
                None => "read the log of the server; `[release] server_log` names it".to_owned(),
            };
            self.find(Level::Critical, rule::PROBE_FAILED, asked.url.clone(), answer, hint);
        }
        true
    }

    /// Of services beside the one that answers requests.
    fn other_probes(&mut self, main: &Settings, live: &ReleaseId, limit: Duration) {
        for served in self.services(live) {
            if served.settings.server != main.server && !deadline::left(limit).is_zero() {
                self.probe(&served.settings, limit);
            }
        }
    }

    fn services(&self, live: &ReleaseId) -> Vec<ServingProcess> {
        let settings =
            self.root.complete(live).and_then(|live| Settings::of(self.root, &live, &Default::default()));
        settings.map(|settings| services::of(self.root, &settings, live)).unwrap_or_default()
    }

    /// Of timers.
    fn jobs(&mut self, live: &ReleaseId) {
        for served in self.services(live).into_iter().filter(|served| served.is_timer) {
            let Server::Systemd { unit, manager, .. } = &served.settings.server else { continue };
            let job = unit.replace(".timer", ".service");
            let Some(state) = systemd::state(*manager, &job).filter(|state| state.active == "failed") else {
                continue;
            };
            let what = format!("the last run of `{}` failed ({})", served.name, state.result);
            let words = [&["journalctl"][..], manager.flags()].concat().join(" ");
            let hint = format!("`{words} --unit={job}` shows the reason");
            self.find(Level::Warning, rule::JOB_FAILED, job, what, hint);
        }
    }

    fn live(&mut self, status: &Status) {
        if let Some(broken) = &status.broken {
            let hint = "`wheelbarrow rollback` returns to a complete release, `wheelbarrow deploy` makes one";
            let hint = status.broken_hint.clone().unwrap_or_else(|| hint.to_owned());
            self.find(Level::Critical, rule::BROKEN, self.current(), broken.clone(), hint);
        } else if status.live.is_none() {
            let hint = "`wheelbarrow deploy` or `wheelbarrow activate ID` makes a release live";
            let what = "no release is live".to_owned();
            self.find(Level::Critical, rule::NOTHING_LIVE, self.current(), what, hint.to_owned());
        }
    }

    fn unit(&mut self, status: &Status) {
        let others = status.services.iter().map(|service| &service.unit);
        let others = others.filter(|unit| status.unit.as_ref().is_none_or(|main| main.unit != unit.unit));
        for unit in status.unit.iter().chain(others) {
            if let Some(trouble) = unit.trouble() {
                let hint =
                    format!("`journalctl --unit={0}` and `systemctl status {0}` show the reason", unit.unit);
                self.find(Level::Critical, rule::UNIT_FAILED, unit.unit.clone(), trouble, hint);
            }
        }
    }

    fn processes(
        &mut self,
        status: &Status,
        settings: Option<&Settings>,
        is_probed: bool,
    ) -> Result<(), ReleaseError> {
        let Some(live) = &status.live else { return Ok(()) };
        for finding in stale_processes(self.root, settings, &live.id)? {
            let level =
                if finding.rule == rule::SERVES_ANOTHER_RELEASE { Level::Critical } else { Level::Warning };
            self.findings.push(HealthProblem { level, finding });
        }
        let serving = &status.serving;
        let is_seen = serving.verdict != Verdict::Nothing;
        let place = serving.unit.clone().or_else(|| serving.listener.clone());
        if status.unit.as_ref().is_some_and(|unit| unit.trouble().is_some()) {
            return Ok(());
        }
        if !is_seen && !serving.is_partial && serving.unit.is_some() {
            let what = "no process of the unit runs from a release of this root".to_owned();
            let hint = "`wheelbarrow doctor` checks the unit; `systemctl restart` restarts it".to_owned();
            self.find(Level::Critical, rule::NO_PROCESS, place.unwrap_or_default(), what, hint);
            return Ok(());
        }
        let asked = settings.filter(|_| !is_seen);
        if let Some((settings, other)) =
            asked.and_then(|asked| Some((asked, proof::other_root(self.root, asked)?)))
        {
            let url = settings.probe.as_ref().map(|probe| probe.url.clone()).unwrap_or_default();
            let what = format!("a process of the site root {} answers the probe", other.display());
            let hint =
                "correct the address in `[release.probe]`, or start the server of this site".to_owned();
            self.find(Level::Critical, rule::NO_PROCESS, url, what, hint);
            return Ok(());
        }
        let is_named = settings.is_some_and(|settings| settings.server != Server::None);
        let is_verified = is_seen && (place.is_some() || !is_named);
        // An answer is enough: the processes of other users are seen by root only, and a proxy may answer.
        if !is_probed && !is_verified && status.broken.is_none() {
            let what = match &status.doubt {
                Some(doubt) => format!("{serving}; {doubt}"),
                None => serving.to_string(),
            };
            let place = place.unwrap_or_else(|| self.root.path().display().to_string());
            self.find(Level::Warning, rule::NOT_VERIFIED, place, what, verifying(settings));
        }
        Ok(())
    }

    /// What was not looked at may be wrong.
    fn is_whole(&mut self) {
        if proof::saw_all() {
            return;
        }
        let what = "there was no time to look at everything".to_owned();
        let hint = "`--timeout SECONDS` gives it more; are there more processes than usual?".to_owned();
        let place = self.root.path().display().to_string();
        self.find(Level::Warning, rule::NOT_VERIFIED, place, what, hint);
    }

    fn operations(&mut self, status: &Status) {
        let root = self.root.path().display().to_string();
        if status.interrupted {
            let what = "the last command was killed and left its work half done".to_owned();
            let hint = "`wheelbarrow recover` completes or reverts it".to_owned();
            self.find(Level::Warning, rule::INTERRUPTED, root.clone(), what, hint);
        }
        let left = status.last.as_ref().filter(|last| last.is_left_switched());
        if let Some(last) = left {
            let what = format!("the {} of {} failed and could not be rolled back", last.operation, last.id);
            let hint =
                "`wheelbarrow history` shows the reason; `wheelbarrow activate ID` verifies a release again"
                    .to_owned();
            self.find(Level::Warning, rule::REVERT_FAILED, root, what, hint);
        }
    }
}

/// What would show whether a site serves.
fn verifying(settings: Option<&Settings>) -> String {
    match settings.map(|settings| (&settings.server, &settings.probe)) {
        Some((Server::None, None)) => {
            "configure the server in `[release.server]` and the probe in `[release.probe]`".to_owned()
        }
        Some((_, None)) => "`[release.probe]` names the address to probe".to_owned(),
        _ => "run it as root, who sees all processes; is the server started from ROOT/current?".to_owned(),
    }
}
