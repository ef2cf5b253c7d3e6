//! `singletons`: whether this host runs the services that only one host of a fleet may run.
//!
//! To move services to another host, run this on the old host first: when it returns, the services are
//! stopped there.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;
use wheelbarrow_artifact::release::{Hosts, ReleaseSettings, Server, ServiceProcess};

use crate::operation::recovery;
use crate::root::compatible;
use crate::root::locked_root::LockedRoot;
use crate::root::operator::Operator;
use crate::root::release::CompleteRelease;
use crate::root::settings::{Settings, shared_file};
use crate::root::singletons::{self, SingletonsRecord};
use crate::serving::services::{self, Workers};
use crate::serving::systemd;
use crate::steps::verify::prove_all;
use crate::{ReleaseError, ReleaseId, Root};

/// Whether a host runs services with `hosts = "one"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Singletons {
    pub root: PathBuf,
    pub runs: bool,
    pub said_by: SaidBy,
    /// When the command was given, in seconds since 1970.
    pub since: Option<u64>,
    /// Their names, in the release that was asked for.
    pub services: Vec<String>,
    /// Whether anything was changed.
    pub is_changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SaidBy {
    Nobody,
    Command,
    /// `singletons` of ROOT/shared/wheelbarrow.toml, which the command does not override.
    Settings,
}

/// What counts, and which services of a release, else of the live one, that is about.
pub fn singletons(root: &Root, release: Option<&ReleaseId>) -> Result<Singletons, ReleaseError> {
    let release = match release {
        Some(id) => Some(root.complete(id)?),
        None => root.live()?.map(|live| root.complete(&live)).transpose()?,
    };
    look(root, release.as_ref())
}

/// Has the host run them, or not: those of the live release are started, or stopped, at once.
pub fn set_singletons(root: &Root, runs: bool, operator: &Operator<'_>) -> Result<Singletons, ReleaseError> {
    let locked = recovery::begin(root, "singletons", operator)?;
    if shared_file(root)?.singletons == Some(!runs) {
        let reason = "ROOT/shared/wheelbarrow.toml has another value: remove the key there".to_owned();
        return Err(ReleaseError::Setting { key: "singletons", reason });
    }
    let live = root.live()?.map(|live| root.complete(&live)).transpose()?;
    let before = singletons::read(root)?;
    let is_told = before.as_ref().is_some_and(|told| told.runs == runs);
    let told = if is_told { before.clone() } else { Some(SingletonsRecord::new(runs, operator.now())) };
    let is_changed = match (&live, runs) {
        (Some(live), true) => {
            singletons::write(root, told.as_ref())?;
            start(&locked, live, is_told).inspect_err(|_| {
                // As it was: what cannot be started here may be started elsewhere.
                _ = stop(&locked, live);
                _ = singletons::write(root, before.as_ref());
                _ = settle(&locked, live);
            })?
        }
        (Some(live), false) => {
            let is_stopped = stop(&locked, live)?;
            singletons::write(root, told.as_ref())?;
            settle(&locked, live)?;
            is_stopped
        }
        (None, _) => singletons::write(root, told.as_ref()).map(|()| false)?,
    };
    Ok(Singletons { is_changed: is_changed || !is_told, ..look(root, live.as_ref())? })
}

fn look(root: &Root, release: Option<&CompleteRelease>) -> Result<Singletons, ReleaseError> {
    compatible::check(root)?;
    let (told, said) = (singletons::read(root)?, shared_file(root)?.singletons);
    let services = release.map(|release| all(root, release).map(|settings| settings.services)).transpose()?;
    let names = services.unwrap_or_default().into_iter().map(|service| service.name.to_string());
    Ok(Singletons {
        root: root.path().to_path_buf(),
        runs: said.or(told.as_ref().map(|told| told.runs)).unwrap_or(true),
        said_by: match (said, &told) {
            (Some(_), _) => SaidBy::Settings,
            (None, Some(_)) => SaidBy::Command,
            (None, None) => SaidBy::Nobody,
        },
        since: told.map(|told| told.since),
        services: names.collect(),
        is_changed: false,
    })
}

/// The settings as if the site had nothing else, whatever the host was told.
fn all(root: &Root, release: &CompleteRelease) -> Result<Settings, ReleaseError> {
    let flags = ReleaseSettings { singletons: Some(true), ..ReleaseSettings::default() };
    let mut settings = Settings::of(root, release, &flags)?;
    settings.services.retain(|service| service.hosts == Hosts::One);
    Ok(Settings { server: Server::None, probe: None, ..settings })
}

/// Starts and verifies what does not run; whether there was any.
fn start(locked: &LockedRoot<'_>, live: &CompleteRelease, is_told: bool) -> Result<bool, ReleaseError> {
    let (root, settings) = (locked.root, all(locked.root, live)?);
    let units: Vec<String> = units(&settings, live);
    let is_up =
        |unit: &String| systemd::state(settings.manager, unit).is_some_and(|state| state.active == "active");
    // What has no unit can only be told.
    if (is_told || !units.is_empty()) && units.iter().all(is_up) {
        return Ok(false);
    }
    services::inspect(root, &settings, &live.site()?.project.import_path)?;
    let (told, progress) = (SystemTime::now(), locked.operator.progress);
    services::start(root, live, &settings, Workers::Restarted, progress)?;
    prove_all(locked, live, &settings, told, progress).map(|_| true)
}

/// Stops what runs; whether there was any.
fn stop(locked: &LockedRoot<'_>, live: &CompleteRelease) -> Result<bool, ReleaseError> {
    let (root, progress) = (locked.root, locked.operator.progress);
    let settings = all(root, live)?;
    for service in &settings.services {
        if let ServiceProcess::Told(server) = &service.process
            && !server.is_unit()
        {
            progress.note(&format!("the service `{}` has no unit: stop it by hand", service.name));
        }
    }
    let is_up = |unit: &String| {
        systemd::state(settings.manager, unit).is_some_and(|state| state.active != "inactive")
    };
    if !units(&settings, live).iter().any(is_up) {
        return Ok(false);
    }
    services::stop_singletons(live, &settings, progress).map(|()| true)
}

fn units(settings: &Settings, live: &CompleteRelease) -> Vec<String> {
    let services = settings.services.iter();
    services.flat_map(|service| services::units_of(&settings.unit_name, service, live.id())).collect()
}

/// Removes the units that the host must not have.
fn settle(locked: &LockedRoot<'_>, live: &CompleteRelease) -> Result<(), ReleaseError> {
    let settings = Settings::of(locked.root, live, &Default::default())?;
    services::settle(locked.root, Some((live, &settings)), locked.operator.progress)
}
