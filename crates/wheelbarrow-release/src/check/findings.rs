//! Findings of Django's `check --deploy` in a release, kept with its logs: findings that the live release has
//! too are not new.

use std::io::Write;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use wheelbarrow_base::json;

use crate::check::CheckMessage;
use crate::report::changes::Findings;
use crate::root::release::{CompleteRelease, LOGS};
use crate::{ReleaseError, Root};

const FILE: &str = "findings.json";

/// Findings of the live release; none if nothing is live, or an earlier version of Wheelbarrow has checked it.
pub(crate) fn of_live(root: &Root) -> Vec<String> {
    let live = root.live().ok().flatten().and_then(|live| root.complete_or_none(&live).ok().flatten());
    let text = live.and_then(|live| live.read_if_there(&format!("{LOGS}/{FILE}")).ok().flatten());
    text.and_then(|text| json::from_slice(&text).ok()).unwrap_or_default()
}

pub(crate) fn is_known(release: &CompleteRelease, finding: &CheckMessage, known: &[String]) -> bool {
    known.contains(&text(release, finding))
}

pub(crate) fn compare(release: &CompleteRelease, found: &[CheckMessage], known: &[String]) -> Findings {
    let (old, new): (Vec<_>, Vec<_>) = found.iter().partition(|finding| is_known(release, finding, known));
    Findings { new: new.into_iter().map(ToString::to_string).collect(), known: old.len() }
}

/// Writes them down for the release that comes next.
pub(crate) fn keep(release: &CompleteRelease, found: &[CheckMessage]) -> Result<(), ReleaseError> {
    let path = release.logs().join(FILE);
    let texts: Vec<_> = found.iter().map(|finding| text(release, finding)).collect();
    let json = serde_json::to_vec(&texts).unwrap_or_default();
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o640);
    let written = fs::create_dir_all(release.logs())
        .and_then(|()| options.open(&path))
        .and_then(|mut file| file.write_all(&json));
    match written.map_err(ReleaseError::io("write", &path)) {
        // A finding that is shown again is no reason to stop.
        Err(error) if error.is_full() => Ok(()),
        written => written,
    }
}

/// Without the path of the release, which every release has another of.
fn text(release: &CompleteRelease, finding: &CheckMessage) -> String {
    finding.to_string().replace(&release.path().display().to_string(), "RELEASE")
}
