//! Mount points on a path. Where a user has mounted a file system by FUSE, that user answers each request: the owner of
//! a file is what the answer says, and without an answer the process waits without end.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Which mount points are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crossing {
    /// Those of root and of this user.
    Trusted,
    None,
}

/// The kernel's number of the mount, which it names since Linux 3.15. A bind mount has the device of its source. Nothing is
/// asked of a file system by this.
pub(super) fn mount_of(open: BorrowedFd<'_>) -> Option<String> {
    let info = fs_err::read_to_string(format!("/proc/self/fdinfo/{}", open.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(|id| id.trim().to_owned())
}

/// Whether a mount, by its number, is one that another user has made.
pub(super) fn is_of_another(mount: &str) -> bool {
    let text = fs_err::read("/proc/self/mountinfo").unwrap_or_default();
    user_in(mount, &String::from_utf8_lossy(&text))
        .is_some_and(|user| user != 0 && user != rustix::process::geteuid().as_raw())
}

/// Who has made a mount by FUSE (proc_pid_mountinfo(5), mount.fuse(8)).
fn user_in(mount: &str, text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.split(' ').next() == Some(mount))?;
    let mut fields = line.split_once(" - ")?.1.split(' ');
    let kind = fields.next()?;
    let options = fields.next_back()?;
    let is_fuse = kind == "fuse" || kind == "fuseblk" || kind.starts_with("fuse.");
    let user = options.split(',').find_map(|option| option.strip_prefix("user_id="));
    user.filter(|_| is_fuse)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_mounted_a_file_system_is_known() {
        let text = "36 35 0:44 / /srv/a rw,nosuid - fuse.sshfs joe@b:/c rw,user_id=1000,group_id=1000,allow_other\n\
                    37 35 0:45 / /srv/b rw shared:1 - fuse x rw,user_id=0,group_id=0\n\
                    38 35 8:1 / /srv/c rw - ext4 /dev/sda1 rw,user_id=7\n";
        let users = ["36", "37", "38", "3"].map(|mount| user_in(mount, text));
        assert_eq!(users, [Some(1000), Some(0), None, None]);
    }
}
