//! The names of findings of `doctor` and `status --check`. Scripts rely on them, and the pages that explain
//! them list all of them: no finding has another name.

use std::fmt;

use serde::Serialize;

/// `old-virtualenv`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Rule(&'static str);

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl PartialEq<&str> for Rule {
    fn eq(&self, name: &&str) -> bool {
        self.0 == *name
    }
}

macro_rules! rules {
    ($list:ident: $($name:ident = $text:literal,)*) => {
        $(pub(crate) const $name: Rule = Rule($text);)*
        #[cfg(test)]
        const $list: &[Rule] = &[$($name),*];
    };
}

rules! { OF_DOCTOR:
    SERVES_ANOTHER_RELEASE = "serves-another-release",
    RUNS_ANOTHER_RELEASE = "runs-another-release",
    CANNOT_START = "cannot-start",
    UNTRUSTED_FILE = "untrusted-file",
    LEFT_IN_TRASH = "left-in-trash",
    NO_PROBE = "no-probe",
    OLD_VIRTUALENV = "old-virtualenv",
    RESOLVED_WORKING_DIRECTORY = "resolved-working-directory",
    PRELOAD = "preload",
    OWN_SOCKET = "own-socket",
    UWSGI_BINARY = "uwsgi-binary",
    TOUCH_FILE_IN_RELEASE = "touch-file-in-release",
    TOUCH_NOT_WATCHED = "touch-not-watched",
    EMBEDDED_MODE = "embedded-mode",
    SCRIPT_NOT_TOUCHED = "script-not-touched",
    GRACEFUL = "graceful",
    NAMES_A_RELEASE = "names-a-release",
    MISSING_VARIABLE = "missing-variable",
    KILL_MODE = "kill-mode",
    PROTECT_SYSTEM = "protect-system",
    PROTECT_HOME = "protect-home",
    PRIVATE_TMP = "private-tmp",
    LINGERING = "lingering",
    SELINUX_LABEL = "selinux-label",
    FAPOLICYD = "fapolicyd",
    SHARED_OWNER = "shared-owner",
    NOT_ENABLED = "not-enabled",
}

// Beside those of processes that run another release.
rules! { OF_CHECK:
    PROBE_FAILED = "probe-failed",
    NOTHING_LIVE = "nothing-live",
    BROKEN = "broken",
    JOB_FAILED = "job-failed",
    UNIT_FAILED = "unit-failed",
    NO_PROCESS = "no-process",
    NOT_VERIFIED = "not-verified",
    REVERT_FAILED = "revert-failed",
    INTERRUPTED = "interrupted",
    SETTINGS = "settings",
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in the first column of a table that begins with this line.
    fn table(page: &str, head: &str) -> Vec<String> {
        let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
        let text = fs_err::read_to_string(path).unwrap();
        let rows =
            text.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
        let mut names: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap_or(row).to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_pages_explain_every_rule_and_no_other() {
        let names = |rules: &[Rule]| {
            let mut names: Vec<_> = rules.iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(table("guides/servers.md", "| rule | what goes wrong |"), names(OF_DOCTOR));
        let of_check = [OF_CHECK, &[SERVES_ANOTHER_RELEASE, RUNS_ANOTHER_RELEASE]].concat();
        assert_eq!(table("reference/releases.md", "| finding | level | what is wrong |"), names(&of_check));
    }
}
