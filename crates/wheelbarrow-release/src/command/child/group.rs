//! A control group (cgroup v2) for a program and its children, which the kernel kills at once. If processes
//! are killed one by one, they can fork faster.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;

/// How long the kernel may take until a group is empty whose processes were killed.
const EMPTYING: Duration = Duration::from_secs(2);

/// How many groups this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Removed when it is dropped; what runs in it is not ended by that.
pub(super) struct ControlGroup {
    path: PathBuf,
    members: File,
}

impl ControlGroup {
    /// Makes one below that of this process. None if there is no cgroup v2, or this process may not change it.
    pub(super) fn make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = own(&mounts, &fs::read_to_string("/proc/self/cgroup").ok()?)?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            remove_left(&own);
        }
        let path = own.join(format!("wheelbarrow-{}-{number}", std::process::id()));
        // One that a killed process of this number has left is empty, or not this program's.
        if fs::create_dir(&path).is_err() {
            fs::remove_dir(&path).and_then(|()| fs::create_dir(&path)).ok()?;
        }
        match OpenOptions::new().write(true).open(path.join("cgroup.procs")) {
            Ok(members) => Some(Self { path, members }),
            Err(_) => {
                let _ = fs::remove_dir(&path);
                None
            }
        }
    }

    /// For [`enter`].
    pub(super) fn descriptor(&self) -> RawFd {
        self.members.as_raw_fd()
    }

    /// Kills all that runs in it (Linux 5.14).
    pub(super) fn kill(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        io::Write::write_all(&mut options.write(true).open(self.path.join("cgroup.kill"))?, b"1")
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let begun = Instant::now();
        while fs::remove_dir(&self.path).is_err() && begun.elapsed() < EMPTYING {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Removes the groups of processes of this program that were killed, if nothing runs in them any more.
fn remove_left(own: &Path) {
    let maker = |name: &str| name.strip_prefix("wheelbarrow-")?.split_once('-')?.0.parse::<u32>().ok();
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let maker = entry.file_name().to_str().and_then(maker);
        if maker.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // The kernel keeps one in which something runs.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Puts the process that calls it into the group of [`ControlGroup::descriptor`]. Makes one system call and no more, as is wanted between
/// fork(2) and exec(2); without a right to it the process stays where it is.
pub(super) fn enter(group: RawFd) {
    // SAFETY: a system call with a byte that lives as long as the program.
    let _ = unsafe { libc::write(group, b"0".as_ptr().cast(), 1) };
}

/// Where the group of a process is, by what /proc has of it: proc_pid_mountinfo(5), cgroups(7).
fn own(mounts: &str, groups: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = Path::new(group).strip_prefix(root).ok()?;
        kind.starts_with("cgroup2 ").then(|| Path::new(point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_groups_of_killed_processes_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let (ended, own) = (ended.id(), std::process::id());
        let names = [
            format!("wheelbarrow-{ended}-0"),
            format!("wheelbarrow-{ended}-1"),
            format!("wheelbarrow-{own}-0"),
        ];
        let others =
            [format!("other-{ended}-0"), format!("wheelbarrow-{ended}"), "wheelbarrow-x-0".to_owned()];
        for name in names.iter().chain(&others) {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        fs::write(place.path().join(&names[1]).join("as-if-it-ran"), "").unwrap();
        remove_left(place.path());
        let is_there = |name: &String| place.path().join(name).exists();
        assert_eq!(names.each_ref().map(is_there), [false, true, true]);
        assert!(others.iter().all(is_there));
    }

    #[test]
    fn the_group_of_this_process_is_found() {
        let mounts = "26 25 0:23 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      33 25 0:30 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let found = |groups| own(mounts, groups).map(|path| path.display().to_string());
        let scope = "4:pids:/\n0::/user.slice/a.scope\n";
        assert_eq!(found(scope).as_deref(), Some("/sys/fs/cgroup/unified/user.slice/a.scope"));
        assert_eq!(found("0::/\n").as_deref(), Some("/sys/fs/cgroup/unified/"));
        assert_eq!(found("4:pids:/\n"), None);
        let container = mounts.replace("0:30 / ", "0:30 /docker/1 ");
        assert_eq!(own(&container, "0::/docker/1\n"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(own(&container, "0::/docker/12\n"), None);
    }
}
