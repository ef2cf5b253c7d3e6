//! Labels of a new release, if the kernel has SELinux: its files get the labels of the directory that they
//! are made in, and the policy may have other labels for them.

use std::path::Path;
use std::time::Duration;

use wheelbarrow_base::progress::Progress;

use crate::command::as_deployer;
use crate::command::attempt::attempt;

/// It runs in a domain of its own, which may not write to a file of the deployer's, but to a pipe. A shell keeps the pipe.
const SCRIPT: &str = "said=$(\"$0\" -R \"$1\" 2>&1) || { printf '%s' \"$said\" >&2; exit 1; }";
/// More than it needs for a release of 100,000 files.
const LIMIT: Duration = Duration::from_secs(120);

/// Has restorecon(8) set them, before anything of the release is started. What went wrong is for a note: a policy that lets the site
/// run with the labels as they are is none of a deploy's business.
pub(crate) fn relabel(machine: &Path, release: &Path, progress: &dyn Progress) -> Option<String> {
    let restorecon = machine.join("usr/sbin/restorecon");
    let program = restorecon.to_str().filter(|_| restorecon.is_file())?;
    if !machine.join("sys/fs/selinux/enforce").exists() {
        return None;
    }
    let mut shell = as_deployer("/bin/sh");
    let problem = attempt(shell.args(["-c", SCRIPT, program]).arg(release), LIMIT, progress)?;
    Some(format!("`restorecon -R {}`: {problem}", release.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use fs_err as fs;
    use wheelbarrow_base::progress::Silent;

    use super::*;

    /// A restorecon that writes down how it was called.
    #[test]
    fn a_release_is_labelled_where_the_kernel_has_selinux() {
        let place = tempfile::tempdir().unwrap();
        let (machine, release) = (place.path(), place.path().join("srv/releases/1"));
        let (program, called) = (machine.join("usr/sbin/restorecon"), machine.join("called"));
        for directory in ["usr/sbin", "sys/fs/selinux"] {
            fs::create_dir_all(machine.join(directory)).unwrap();
        }
        let relabelled = || {
            let problem = relabel(machine, &release, &Silent);
            (fs::read_to_string(&called).unwrap_or_default(), problem)
        };
        let write = |more: &str| {
            let script = format!("#!/bin/sh\necho \"$@\" >>{}\n{more}\n", called.display());
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        };
        write("");
        assert_eq!(relabelled(), (String::new(), None), "the kernel has none");
        fs::write(machine.join("sys/fs/selinux/enforce"), "0").unwrap();
        let words = format!("-R {}\n", release.display());
        assert_eq!(relabelled(), (words.clone(), None));
        write("echo 'Operation not permitted' >&2; exit 1");
        let note = format!("`restorecon -R {}`: Operation not permitted", release.display());
        assert_eq!(relabelled(), (words.repeat(2), Some(note)), "the deploy goes on");
        write("readlink /proc/self/fd/2 >&2; exit 1");
        let (_, problem) = relabelled();
        assert!(problem.is_some_and(|problem| problem.contains(": pipe:[")), "no file of the deployer's");
        fs::remove_file(&program).unwrap();
        assert_eq!(relabelled(), (words.repeat(3), None), "a system without it");
    }
}
