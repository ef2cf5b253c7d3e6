//! Finds programs of services that no wheel contains.
//!
//! A service looks for its program in the virtualenv, then on the `PATH` of its host. Only names are checked:
//! a path is an explicit decision.

use std::collections::BTreeSet;

use wheelbarrow_artifact::release::{ReleaseSettings, Service, Start, Words};
use wheelbarrow_audit::Subject;

/// What every Linux server has: shells, and programs that start another one.
const OF_EVERY_HOST: [&str; 5] = ["sh", "bash", "env", "nice", "timeout"];

/// A program that a service runs by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceProgram {
    service: String,
    program: String,
}

impl ServiceProgram {
    /// Those of the settings.
    pub fn all(release: Option<&ReleaseSettings>) -> Vec<Self> {
        let programs = commands(release).filter_map(|(service, run)| {
            let program = run.program();
            let is_name = !program.contains('/') && !OF_EVERY_HOST.contains(&program);
            is_name.then(|| Self { service: service.to_owned(), program: program.to_owned() })
        });
        programs.collect()
    }
}

/// The first service with a word in its command that no unit can hold, and that word.
pub(crate) fn unfit(release: Option<&ReleaseSettings>) -> Option<(&str, &str)> {
    commands(release).find_map(|(service, run)| Some((service, run.not_for_unit()?)))
}

/// The words for times that systemd.time(7) lists.
pub(super) const CALENDARS: [&str; 9] =
    ["minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "annually"];

/// Other spellings that systemd reads.
const SPELLINGS: [&str; 4] = ["anually", "biannually", "bi-annually", "semi-annually"];

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The first service whose `schedule` has neither a digit nor `*`, and does not begin with a word of systemd; and its
/// `schedule`.
pub(crate) fn unfit_schedule(release: Option<&ReleaseSettings>) -> Option<(&str, &str)> {
    services(release).find_map(|service| match &service.own()?.start {
        Start::Schedule(schedule) if !is_calendar(schedule) => {
            Some((service.name.as_str(), schedule.as_str()))
        }
        _ => None,
    })
}

fn is_calendar(schedule: &str) -> bool {
    let word = schedule.split_whitespace().next().unwrap_or_default().to_lowercase();
    let is_word = CALENDARS.iter().chain(&SPELLINGS).any(|known| *known == word);
    let day = word.split([',', '.', '-']).next().unwrap_or_default();
    let is_weekday = WEEKDAYS.iter().any(|known| *known == day || known[..3] == *day);
    is_word || is_weekday || schedule.contains(|mark: char| mark.is_ascii_digit() || mark == '*')
}

fn commands(release: Option<&ReleaseSettings>) -> impl Iterator<Item = (&str, &Words)> {
    services(release).filter_map(|service| Some((service.name.as_str(), &service.own()?.run)))
}

fn services(release: Option<&ReleaseSettings>) -> impl Iterator<Item = &Service> {
    release.and_then(|release| release.service.as_deref()).unwrap_or_default().iter()
}

/// A warning for each service that lacks its program in the virtualenv of a target.
pub(super) fn missing(programs: &[ServiceProgram], subjects: &[Subject<'_>]) -> Vec<String> {
    let warnings = programs.iter().filter_map(|ServiceProgram { service, program }| {
        let lacks = |subject: &&Subject<'_>| !is_in_virtualenv(program, subject);
        let targets: BTreeSet<_> = subjects.iter().filter(lacks).map(|subject| &subject.floor.name).collect();
        let of_which = match targets.len() {
            0 => return None,
            count if count == subjects.len() => String::new(),
            _ => format!(" for {}", targets.into_iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        Some(format!(
            "the service {service} runs {program}, and no wheel{of_which} has a program of that name: add its package to the \
             requirements; if the server has it, give its path, as `run = \"/usr/bin/{program} ...\"`"
        ))
    });
    warnings.collect()
}

fn is_in_virtualenv(program: &str, subject: &Subject<'_>) -> bool {
    let (major, minor) = subject.floor.python;
    let pythons = ["python".to_owned(), format!("python{major}"), format!("python{major}.{minor}")];
    let pip = subject.site.as_ref().and_then(|site| site.pip);
    pythons.iter().any(|python| python == program)
        || subject.wheels.iter().copied().chain(pip).any(|wheel| wheel.open.has_program(program))
}
