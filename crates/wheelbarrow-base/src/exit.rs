//! How a program ends: exit codes by name, and the trait of errors that explain themselves.

use std::error::Error;
use std::io;

use serde_json::{Map, Value};

use crate::{FsError, exit_code_of_stop};

/// Where the documentation is published: the address of `docs/`.
pub const SITE: &str = "https://wheelbarrow.github.io/wheelbarrow/";

/// The address of the entry in troubleshooting.md for errors with this exit code. Stops by a signal have none.
pub fn explained_at(code: u8) -> Option<String> {
    let is_numbered = Exit::NUMBERED.iter().any(|exit| exit.code() == code);
    is_numbered.then(|| format!("{SITE}troubleshooting/#exit-{code}"))
}

/// The exit codes by name. The table of docs/reference/exit-codes.md and the constants of the Python side are
/// generated from this enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Failed,
    Usage,
    Broken,
    Unfit,
    Refused,
    NoSpace,
    Environment,
    Project,
    Network,
    Differences,
    Unhealthy,
    Prepare,
    Reverted,
    RevertFailed,
    Locked,
    Irreversible,
    Unsigned,
    Lacking,
    Newer,
    Warnings,
    /// Stopped by a signal, or on request of the caller.
    Stopped,
}

impl Exit {
    /// All codes with a fixed number, in order: all but [`Exit::Stopped`].
    pub const NUMBERED: [Self; 20] = [
        Self::Failed,
        Self::Usage,
        Self::Broken,
        Self::Unfit,
        Self::Refused,
        Self::NoSpace,
        Self::Environment,
        Self::Project,
        Self::Network,
        Self::Differences,
        Self::Unhealthy,
        Self::Prepare,
        Self::Reverted,
        Self::RevertFailed,
        Self::Locked,
        Self::Irreversible,
        Self::Unsigned,
        Self::Lacking,
        Self::Newer,
        Self::Warnings,
    ];

    /// The code for a failed system call.
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Refused,
            _ => Self::Failed,
        }
    }

    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Broken => 3,
            Self::Unfit => 4,
            Self::Refused => 5,
            Self::NoSpace => 6,
            Self::Environment => 7,
            Self::Project => 8,
            Self::Network => 9,
            Self::Differences => 10,
            Self::Unhealthy => 11,
            Self::Prepare => 12,
            Self::Reverted => 13,
            Self::RevertFailed => 14,
            Self::Locked => 15,
            Self::Irreversible => 16,
            Self::Unsigned => 17,
            Self::Lacking => 18,
            Self::Newer => 19,
            Self::Warnings => 20,
            Self::Stopped => exit_code_of_stop(),
        }
    }

    /// The meaning of the code, for the documentation, as Markdown.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Failed => {
                "a failure without a code of its own: an I/O error, a program that could not be run, too \
                 little memory, output that could not be written (unless a change had succeeded before)"
            }
            Self::Usage => "wrong usage, or a Python too old to run the artifact at all",
            Self::Broken => {
                "the artifact (or wheel, or lock) is invalid: truncated, altered, hostile, of an unknown \
                 format, or with a wrong RECORD"
            }
            Self::Unfit => {
                "the artifact does not fit this host: Python version, ABI, platform, CPU, C library, missing \
                 libraries"
            }
            Self::Refused => {
                "the destination is refused: not empty, not a directory, no right to write, a mount point in \
                 it or at it, a file system without symbolic links, relative to a removed working directory. \
                 Or the request is refused: a directory that is not a site root, a release that does not \
                 exist or is in use, files of the site that would be removed or hidden, a unit that this user \
                 may not restart, a unit name that exists"
            }
            Self::NoSpace => "not enough space or inodes",
            Self::Environment => {
                "environment.json is invalid or larger than 1 MB, lacks a required key, or may be written by \
                 another user; or it is missing and the live release has one"
            }
            Self::Project => {
                "the project cannot be built or released as it is. At build: settings, requirements, a \
                 distribution that fits no target, a wheel that could not be built, a finding of the audit \
                 (also of `audit`). On a server: settings or a store that another user may write, a unit that \
                 does not serve the site root"
            }
            Self::Network => "the network or an index failed",
            Self::Differences => "a comparison found differences (`verify`, `store verify`, `unit --diff`)",
            Self::Unhealthy => {
                "a check failed. `deploy`: the application was not found, did not answer as expected, or \
                 would write its data into the release; nothing was switched. `doctor`: the configuration of \
                 a server is wrong. `status --check`: the site does not serve the live release"
            }
            Self::Prepare => "a `prepare` command failed; nothing was switched",
            Self::Reverted => {
                "reload or probe failed; the previous release is live again (after a first deploy: no \
                 release)"
            }
            Self::RevertFailed => {
                "reload or probe failed, and the previous release could not be made live again: the error \
                 names the release that is live and the release that runs"
            }
            Self::Locked => {
                "another command works on the site root, or holds the file lock of the store or the \
                 destination"
            }
            Self::Irreversible => {
                "the rollback is refused: migrations that were applied since then cannot be reversed"
            }
            Self::Unsigned => "the artifact is not signed by a key that this host allows",
            Self::Lacking => {
                "a thin artifact leaves out files that this host does not have (each is named), or a command \
                 that needs a full artifact got a thin one. Nothing was changed"
            }
            Self::Newer => {
                "a newer version of Wheelbarrow wrote a file that this version does not understand; the error \
                 names the file and the required version. Nothing was changed: \
                 [compatibility](compatibility.md)"
            }
            Self::Warnings => {
                "`status --check` found only warnings: the site seems to serve; read the warnings"
            }
            Self::Stopped => {
                "stopped by SIGHUP, Ctrl-C (SIGINT) or SIGTERM: 128 and the number of the signal; nothing was \
                 changed, or the change was rolled back"
            }
        }
    }
}

/// An error that has an exit code and a hint.
pub trait Explain: Error {
    fn exit(&self) -> Exit;

    /// What to do, as a sentence without a full stop.
    fn hint(&self) -> Option<String> {
        None
    }

    fn exit_code(&self) -> u8 {
        self.exit().code()
    }

    /// A later failure, besides the causes in `source`, such as a failed rollback.
    fn aftermath(&self) -> Option<String> {
        None
    }

    /// Further fields of the JSON output, besides message, causes, hint and code.
    fn facts(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// An I/O error without a path and a reason: no hint is possible.
impl Explain for io::Error {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

impl Explain for FsError {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { source, .. } | Self::Unsynced { source, .. } => Exit::of_io(source),
            Self::Busy { .. } => Exit::Locked,
            Self::Unfinished { .. } => Exit::Failed,
            Self::Occupied { .. }
            | Self::NotDirectory { .. }
            | Self::NoLinks { .. }
            | Self::NoParent { .. }
            | Self::MissingParent { .. }
            | Self::NoWorkingDirectory { .. }
            | Self::Exchanged { .. } => Exit::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wheelbarrow_testing::generated::assert_part;

    use super::*;

    #[test]
    fn codes_are_numbered_in_their_order() {
        for (number, exit) in (1..).zip(Exit::NUMBERED) {
            assert_eq!(exit.code(), number, "{exit:?}");
        }
    }

    #[test]
    fn the_page_has_every_code() {
        let row = |exit: &Exit| format!("| {} | {} |\n", exit.code(), exit.meaning());
        let rows: String = Exit::NUMBERED.iter().map(row).collect();
        let table = format!("| 0 | done |\n{rows}| 129, 130, 143 | {} |\n", Exit::Stopped.meaning());
        assert_part("docs/reference/exit-codes.md", "|---|---|\n", "\nIf memory is limited", &table);
    }

    fn in_workspace(file: &str) -> String {
        fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)).unwrap()
    }

    #[test]
    fn every_address_is_that_of_an_entry_on_the_site() {
        let page = in_workspace("docs/troubleshooting.md");
        for exit in Exit::NUMBERED {
            let address = explained_at(exit.code()).unwrap();
            let anchor = address.split_once('#').unwrap().1;
            assert_eq!(
                page.matches(&format!("| <a id=\"{anchor}\"></a>{} |", exit.code())).count(),
                1,
                "{address}"
            );
        }
        assert_eq!(explained_at(0).or(explained_at(130)), None);
        let site = in_workspace("mkdocs.yml");
        let site = site.lines().find_map(|line| line.strip_prefix("site_url: ")).unwrap();
        assert_eq!(SITE, site);
    }

    #[test]
    fn python_has_every_code() {
        let name = |exit: &Exit| {
            format!("{exit:?}").replace("NoSpace", "No_Space").replace("RevertF", "Revert_F").to_uppercase()
        };
        let mut lines: String =
            Exit::NUMBERED.iter().map(|exit| format!("{} = {}\n", name(exit), exit.code())).collect();
        lines += &format!("\nSITE = \"{SITE}\"\n");
        assert_part("crates/wheelbarrow-artifact/python/exits.py", "\"\"\"\n\n", "\n# docs", &lines);
    }

    /// Files that stand alone and repeat some codes.
    #[test]
    fn other_python_files_have_the_same() {
        for (file, line) in [
            (
                "crates/wheelbarrow-artifact/python/loadenv.py",
                format!("\nBROKEN = {} ", Exit::Environment.code()),
            ),
            ("ansible/plugins/action/release.py", format!("\nLACKING = {}", Exit::Lacking.code())),
            ("crates/wheelbarrow-artifact/python/__main__.py", format!("\nSITE = \"{SITE}\"\n")),
        ] {
            assert!(in_workspace(file).contains(&line), "{file}");
        }
    }
}
