//! Labels of a new release, if the kernel has SELinux: its files get the labels of the directory that they
//! are made in, and the policy may have other labels for them.

use std::path::Path;
use std::time::Duration;

use wheelbarrow_base::progress::Progress;

use crate::command::as_deployer;
use crate::command::attempt::attempt;

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
    let problem = attempt(as_deployer(program).arg("-R").arg(release), LIMIT, progress)?;
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
        fs::remove_file(&program).unwrap();
        assert_eq!(relabelled(), (words.repeat(2), None), "a system without it");
    }
}
