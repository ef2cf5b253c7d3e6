//! Files that git tracks although a `.gitignore` names them: they are packed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::above;

/// Git fetches what a repository lacks, by a program that its configuration names.
const NO_FETCH: [(&str, &str); 2] = [("GIT_ALLOW_PROTOCOL", "none"), ("GIT_NO_LAZY_FETCH", "1")];

/// Variables of a hook, which name another repository than the one that `root` is in.
const REPOSITORY: [&str; 3] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"];

/// Their paths below `root`; none outside of a checkout, in a repository of another user, or without git on PATH.
pub(super) fn tracked_and_ignored(root: &Path) -> BTreeSet<PathBuf> {
    if above::repository(root).is_none() {
        return BTreeSet::new();
    }
    let mut git = Command::new("git");
    // The owner of the project may be another user than the one who builds, in a container say. Nothing that the
    // configuration of the repository names is run.
    git.args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C"]).arg(root);
    git.args(["ls-files", "-z", "--cached", "--ignored", "--exclude-standard"]);
    git.envs(NO_FETCH);
    REPOSITORY.iter().for_each(|name| _ = git.env_remove(name));
    let output = git.stdin(Stdio::null()).output().ok().filter(|output| output.status.success());
    let names = output.map(|output| output.stdout).unwrap_or_default();
    names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(path).collect()
}

fn path(name: &[u8]) -> PathBuf {
    OsStr::from_bytes(name).into()
}
