//! Asks systemd for many units at once.

use std::time::Duration;

use wheelbarrow_artifact::release::Manager;

use super::{WORK, ask};
use crate::command::attempt::answer;
use crate::command::deadline;

/// Whether systemd has read other texts of these units than they have now.
pub(crate) fn are_outdated(manager: Manager, units: &[String]) -> bool {
    show_all(manager, "--property=NeedDaemonReload", units).lines().any(|line| line == "NeedDaemonReload=yes")
}

/// A unit that ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EndingUnit {
    pub(crate) name: String,
    /// Whether it ends because its process has failed: a worker that drains was asked to.
    pub(crate) has_failed: bool,
}

/// Those of these units that end. Nobody waits for the answer longer than for all of the command.
pub(crate) fn ending(manager: Manager, units: &[String]) -> Vec<EndingUnit> {
    if units.is_empty() {
        return Vec::new();
    }
    ending_in(&show_all(manager, "--property=Id,ActiveState,Result,NRestarts", units))
}

fn ending_in(shown: &str) -> Vec<EndingUnit> {
    let units = shown.split("\n\n").filter_map(|unit| {
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key));
        let has_failed = value("Result=").is_some_and(|result| result != "success")
            || value("NRestarts=").is_some_and(|restarts| restarts != "0");
        let name = value("Id=").filter(|_| value("ActiveState=") == Some("deactivating"))?;
        Some(EndingUnit { name: name.to_owned(), has_failed })
    });
    units.collect()
}

/// What systemd says of these units, an empty line between them.
fn show_all(manager: Manager, properties: &str, units: &[String]) -> String {
    let mut systemctl = ask(manager);
    systemctl.args(["show", properties, "--"]).args(units).env("LC_ALL", "C");
    let answer = answer(&mut systemctl, deadline::left(WORK).max(Duration::from_secs(1)));
    String::from_utf8_lossy(&answer).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn units_that_end_are_found_in_one_answer() {
        let shown = "Id=a@1.service\nActiveState=active\n\nActiveState=deactivating\nResult=success\nNRestarts=0\nId=a@2.service\n\n\
                     Id=a@3.service\nActiveState=deactivating\n\nId=a@4.service\nResult=exit-code\nActiveState=deactivating\n\n\
                     Id=a@5.service\nNRestarts=2\nResult=success\nActiveState=deactivating\n";
        let found = ending_in(shown).into_iter().map(|unit| (unit.name, unit.has_failed));
        let expected = [(2, false), (3, false), (4, true), (5, true)];
        let expected = expected.map(|(number, has_failed)| (format!("a@{number}.service"), has_failed));
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let said = |script: &str| answer(Command::new("sh").args(["-c", script]), Duration::from_millis(300));
        assert_eq!((said("echo yes"), said("echo no; exec sleep 100")), (b"yes\n".to_vec(), vec![]));
    }
}
