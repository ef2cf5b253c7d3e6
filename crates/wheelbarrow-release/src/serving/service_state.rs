//! How the services of a site are doing, as systemd knows it: for `status`.

use serde::Serialize;
use wheelbarrow_artifact::release::{Manager, Server};

use crate::root::settings::Settings;
use crate::serving::services;
use crate::serving::systemd::{self, UnitState};
use crate::{ReleaseId, Root};

/// How a service is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceState {
    pub name: String,
    pub unit: UnitState,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Of a service that runs at times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timer: Option<TimerState>,
}

/// When a service runs that runs at times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimerState {
    /// Seconds since 1970. None if systemd has no next run, as of a timer that is stopped.
    pub next_at: Option<u64>,
}

/// Of those that are units.
pub(crate) fn states(root: &Root, settings: &Settings, id: &ReleaseId) -> Vec<ServiceState> {
    let states = services::of(root, settings, id).into_iter().filter_map(|served| {
        let Server::Systemd { unit, manager, .. } = &served.settings.server else { return None };
        let state = systemd::state(*manager, unit)?;
        let timer = served.is_timer.then(|| TimerState { next_at: next_run(*manager, unit) });
        Some(ServiceState { name: served.name, trouble: state.trouble(), unit: state, timer })
    });
    states.collect()
}

fn next_run(manager: Manager, timer: &str) -> Option<u64> {
    let shown = systemd::show(manager, timer, "--property=NextElapseUSecRealtime").ok()?;
    seconds(shown.get("NextElapseUSecRealtime")?)
}

/// Of `Mon 2026-11-30 00:00:00 UTC`, as systemctl prints a time. It prints the microseconds that a random delay adds only if it
/// is asked for them.
fn seconds(text: &str) -> Option<u64> {
    let mut words = text.strip_suffix(" UTC")?.split(' ').skip(1);
    let numbers = |word: Option<&str>, mark: char| -> Option<[u64; 3]> {
        let numbers: Vec<u64> = word?.split(mark).map(str::parse).collect::<Result<_, _>>().ok()?;
        numbers.try_into().ok()
    };
    let [year, month, day] = numbers(words.next(), '-')?;
    let [hour, minute, second] = numbers(words.next(), ':')?;
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days are counted from 1 March of the year 0, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_systemctl_are_read() {
        assert_eq!(seconds("Thu 1970-01-01 00:00:00 UTC"), Some(0));
        assert_eq!(seconds("Thu 2024-02-29 23:59:59 UTC"), Some(1_709_251_199));
        assert_eq!(seconds("Mon 2026-11-30 03:30:00 UTC"), Some(1_796_009_400));
        for other in ["", "n/a", "Mon 2026-11-30 03:30:00 CET", "Mon 2026-13-30 03:30:00 UTC"] {
            assert_eq!(seconds(other), None, "{other}");
        }
    }
}
