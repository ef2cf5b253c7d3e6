//! Files that git tracks although a `.gitignore` names them: they are packed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Variables of a hook, which name another repository than the one that `root` is in.
const REPOSITORY: [&str; 3] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"];

/// Their paths below `root`; none outside of a checkout, or without git on PATH.
pub(super) fn tracked_and_ignored(root: &Path) -> BTreeSet<PathBuf> {
    let mut git = Command::new("git");
    // A checkout may belong to another user than the one who builds, in a container say. Nothing that its configuration
    // names is run.
    git.args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C"]).arg(root);
    git.args(["ls-files", "-z", "--cached", "--ignored", "--exclude-standard"]);
    REPOSITORY.iter().for_each(|name| _ = git.env_remove(name));
    let output = git.stdin(Stdio::null()).output().ok().filter(|output| output.status.success());
    let names = output.map(|output| output.stdout).unwrap_or_default();
    names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(path).collect()
}

fn path(name: &[u8]) -> PathBuf {
    OsStr::from_bytes(name).into()
}
