//! Work on files as another user, in a thread of its own. For files, the kernel checks the thread's file
//! system user (credentials(7)), without root's rights over other users' files. For signals and everything
//! else the thread keeps the user of the process, so the other user has no power over it.

use std::io;

/// Runs `work` with the file rights of `user` and its groups `group`. Only root may change the user.
pub fn as_user<T: Send>(user: u32, group: u32, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new();
        let thread = thread.spawn_scoped(scope, || become_user(user, group).map(|()| work()))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Changes this thread only: the C library's calls for groups would change all threads.
fn become_user(user: u32, group: u32) -> io::Result<()> {
    let groups = [group];
    // SAFETY: the kernel reads one number behind the pointer, which lives as long as the call.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, 1_usize, groups.as_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // They give what was before, and say nothing of a failure: the second call of each shows what is.
    // SAFETY: the calls take numbers alone.
    let (now_group, now_user) = unsafe {
        libc::setfsgid(group);
        libc::setfsuid(user);
        (libc::setfsgid(u32::MAX), libc::setfsuid(u32::MAX))
    };
    let is = |now: i32, wanted: u32| u32::try_from(now).is_ok_and(|now| now == wanted);
    match is(now_group, group) && is(now_user, user) {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use fs_err as fs;

    use super::*;

    #[test]
    fn the_rights_are_those_of_the_user() {
        // Who runs the tests may have a directory for temporary files that nobody else enters: the other user reaches
        // this one by its descriptor.
        let made = tempfile::tempdir().unwrap();
        let opened = fs::File::open(made.path()).unwrap();
        let place = std::path::PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        let (secret, given) = (place.join("secret"), place.join("given"));
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        fs::create_dir(&given).unwrap();
        fs::set_permissions(made.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (user, group) = (4321, 4322);
        if !rustix::process::getuid().is_root() {
            assert!(as_user(user, group, || ()).is_err());
            return;
        }
        std::os::unix::fs::chown(&given, Some(user), None).unwrap();
        let (read, written) = as_user(user, group, || {
            (fs::read(&secret).map_err(|error| error.kind()), fs::write(given.join("file"), ""))
        })
        .unwrap();
        assert_eq!(read, Err(io::ErrorKind::PermissionDenied));
        written.unwrap();
        let metadata = fs::metadata(given.join("file")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (user, group));
        assert!(fs::read(&secret).is_ok(), "the other threads have kept their rights");
    }
}
