//! Whether a release can be started: the site's user can read it, and its Python runs.
//!
//! Every user can read the files of a release, whatever the umask was; the directories above it have the
//! modes that a user gave them. The interpreter is not part of the release: an upgrade of the system may have
//! removed it.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use rustix::fs::FileType;
use rustix::process::getuid;
use wheelbarrow_base::as_user;
use wheelbarrow_base::beneath::{self, Directory};
use wheelbarrow_base::progress::{Progress, Silent};

use crate::ReleaseError;
use crate::command::as_site;
use crate::command::child::{self, Leftovers, ProgramEnd};
use crate::command::deadline;
use crate::command::identity::Identity;
use crate::command::output::Output;
use crate::command::secrets::Secrets;
use crate::environment::ENVIRONMENT;
use crate::root::moved_root;
use crate::root::release::CompleteRelease;
use crate::root::settings::{Settings, bin};
use crate::root::trusted_python;

/// Before the number of nobody, whom others are too; no distribution gives it away.
const STRANGER: u32 = 65_533;

/// An interpreter that does nothing takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(30);
/// The same for whoever only wants to know.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at the way to the release, and starts its Python.
pub(crate) fn check(
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    check_way(release, settings)?;
    start(release, settings, progress)
}

/// Looks at the way to the release alone.
pub(crate) fn check_way(release: &CompleteRelease, settings: &Settings) -> Result<(), ReleaseError> {
    moved_root::check(release)?;
    let identity = settings.identity.as_ref();
    let python = bin(release).join("python");
    let ways: Vec<&Path> = python.ancestors().skip(1).collect();
    let ways: Vec<_> = ways.into_iter().rev().map(Path::to_path_buf).collect();
    let environment = release.path().join(ENVIRONMENT);
    readable_by(identity, |_| {
        let closed = ways.into_iter().find_map(|path| {
            let error = fs::metadata(path.join(".")).err()?;
            Closed::of(path, &error)
        });
        // On another host its group may be another.
        closed.or_else(|| Closed::of(environment.clone(), &fs::File::open(&environment).err()?))
    })
}

/// Reads every directory and opens every file of a new release as the user of the site. What the store has under another
/// mode, and what a site keeps for itself, would be found only by a request.
pub(crate) fn check_files(release: &CompleteRelease, settings: &Settings) -> Result<(), ReleaseError> {
    let top = release.path();
    let own = top.join(".wheelbarrow");
    readable_by(settings.identity.as_ref(), |user| first_closed(top.to_path_buf(), &own, user))
}

/// What may not be read.
struct Closed {
    path: PathBuf,
    /// By fapolicyd, say: modes, access lists and SELinux deny with another error.
    is_by_policy: bool,
}

impl Closed {
    fn of(path: PathBuf, error: &io::Error) -> Option<Self> {
        let is_by_policy = error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error());
        (error.kind() == ErrorKind::PermissionDenied).then_some(Self { path, is_by_policy })
    }
}

/// The first file or directory below `directory` that may not be read. What belongs to `user` is left out with all that is in it:
/// its owner can do anything there, also while it is looked at, and can mend its mode.
fn first_closed(directory: PathBuf, left_out: &Path, user: u32) -> Option<Closed> {
    let mut directories = vec![directory];
    while let Some(directory) = directories.pop() {
        // Where that user has mounted a file system, its server is not asked, not even for an owner.
        let open = Directory::open(&directory).map(Directory::on_one_mount);
        let listed = open.and_then(|open| Ok((open.entries()?, open)));
        let (entries, open) = match listed {
            Ok(listed) => listed,
            Err(error) => match Closed::of(directory, &error) {
                None => continue,
                closed => return closed,
            },
        };
        for (name, kind) in entries {
            let path = directory.join(&name);
            let is_users = || open.stat_at(&name).map_or(true, |stat| stat.st_uid == user);
            match kind {
                FileType::Directory if path != left_out && !is_users() => directories.push(path),
                FileType::RegularFile => {
                    let error = open.file(&name).err().filter(|_| !is_users());
                    let closed = error.and_then(|error| Closed::of(path, &error));
                    if closed.is_some() {
                        return closed;
                    }
                }
                _ => {}
            }
        }
    }
    None
}

/// Why the release could not be started, as far as this user can tell in a short time: the user of the site can hold up what runs
/// as them.
pub(crate) fn problem(release: &CompleteRelease, settings: &Settings) -> Option<ReleaseError> {
    let python = bin(release).join("python");
    let is_closed = || fs::metadata(&python).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    // Whoever looks is not who runs it.
    if !getuid().is_root() && is_closed() {
        return None;
    }
    let limit = deadline::left(LOOK);
    let looked = check_way(release, settings).and_then(|()| {
        if limit.is_zero() { Ok(()) } else { start_within(release, settings, &Silent, Some(limit)) }
    });
    looked.err()
}

/// Root reads everything, so the user of the site is asked, if it is another.
fn user_of(identity: Option<&Identity>) -> Option<(u32, u32)> {
    let identity = identity.filter(|_| getuid().is_root())?;
    let user = identity.user?;
    Some((user, identity.group.unwrap_or(user)))
}

/// What `python` leads to, if nobody but root can have written it. Else it is not even looked at: its file system may be one
/// that waits.
pub(super) fn roots_own(python: &Path) -> Option<PathBuf> {
    trusted_python::check(python).ok().and_then(|()| fs::canonicalize(python).ok())
}

/// Whether it is not of the release, where wheels and the artifact may have written beside it what changes how it starts.
fn is_outside(python: &Path, release: &CompleteRelease) -> bool {
    fs::canonicalize(release.path()).is_ok_and(|release| !python.starts_with(release))
}

/// A user whose processes neither the user of the site nor any other can stop, and who has the rights of the site's group.
fn stranger(group: u32) -> Identity {
    Identity { user: Some(STRANGER), group: Some(group), name: "nobody".to_owned(), home: "/".to_owned() }
}

/// Fails with the path that `closed` finds as the user of the site, whose number it gets.
fn readable_by(
    identity: Option<&Identity>,
    closed: impl FnOnce(u32) -> Option<Closed> + Send,
) -> Result<(), ReleaseError> {
    let Some((user, group)) = user_of(identity) else { return Ok(()) };
    let first = as_user(user, group, || closed(user)).map_err(|source| ReleaseError::Io {
        action: "become the user of",
        path: "the site".into(),
        source,
    })?;
    let Some(Closed { path, is_by_policy }) = first else { return Ok(()) };
    if is_by_policy {
        return Err(ReleaseError::Denied { path, user });
    }
    let metadata = fs::symlink_metadata(&path).map_err(ReleaseError::io("look at", &path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    Err(ReleaseError::Unreadable { path, mode, owner: metadata.uid(), group: metadata.gid(), user })
}

/// Starts the Python of the release, and nothing of the site.
pub(crate) fn start(
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    start_within(release, settings, progress, None)
}

/// What does not end within `limit` is killed at once, and nothing is known of it.
fn start_within(
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
    limit: Option<Duration>,
) -> Result<(), ReleaseError> {
    let python = bin(release).join("python");
    let cannot = |reason: String| ReleaseError::CannotStart {
        id: release.id().clone(),
        python: python.clone(),
        reason,
    };
    if beneath::is_missing(&python) {
        let mut target = python.clone();
        // As many as the kernel follows: others may make more meanwhile.
        for _ in 0..40 {
            let Ok(next) = fs::read_link(&target) else { break };
            target = target.parent().unwrap_or(Path::new("/")).join(next);
        }
        return Err(cannot(format!("it leads to {}, which is missing", target.display())));
    }
    // Neither the site's modules nor its environment: nothing of the site runs.
    let started = |python: &Path, identity: Option<&Identity>, passed: &[String], leftovers| {
        let (output, secrets) = (Output::memory()?, Secrets::default());
        let mut command = Command::new(python);
        command.args(["-I", "-S", "-c", ""]).current_dir("/");
        as_site(&mut command, release.path(), identity, passed);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output.writer()?);
        let running = match limit {
            Some(limit) => child::start_hastily(&mut command, limit),
            None => child::start(&mut command, leftovers, None),
        };
        let most = limit.unwrap_or(LIMIT);
        let ended = running.and_then(|running| running.wait(most, progress, || output.cut(&secrets)));
        match ended {
            Ok(ProgramEnd::By(status)) if status.success() => Ok(None),
            Ok(ProgramEnd::Cancelled) => Err(ReleaseError::Cancelled),
            Ok(ProgramEnd::Late) if limit.is_some() => Ok(None),
            Ok(ProgramEnd::Late) => Ok(Some(format!("it does not end within {} s", LIMIT.as_secs()))),
            Ok(ProgramEnd::By(status)) => Ok(Some(format!("{status}: {}", output.last_lines(&secrets)))),
            Err(error) if limit.is_some() && error.kind() == ErrorKind::TimedOut => Ok(None),
            Err(error) => Ok(Some(error.to_string())),
        }
    };
    let identity = settings.identity.as_ref();
    let first = started(&python, identity, &settings.pass_environment, Leftovers::Keep)?;
    let Some(reason) = first else { return Ok(()) };
    let Some((_, group)) = user_of(identity) else { return Err(cannot(reason)) };
    // The processes of that user can stop one another, and nobody is kept in a release by that. Whether the site has an
    // application that the reason keeps from running, its check finds.
    let own = roots_own(&python).filter(|own| is_outside(own, release));
    let stranger = own.is_none().then(|| stranger(group));
    let base = own.unwrap_or_else(|| python.clone());
    // What it left behind could stop the same look at another site.
    if let Some(reason) = started(&base, stranger.as_ref(), &[], Leftovers::End)? {
        return Err(cannot(reason));
    }
    progress.note(&format!("the user of the site cannot start {}: {reason}", python.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use wheelbarrow_testing::mounts::{SilentMount, in_time};

    use super::*;

    #[test]
    fn a_directory_in_which_a_file_system_is_mounted_is_left_out() {
        let place = tempfile::tempdir().unwrap();
        let mounted = place.path().join("static");
        fs::create_dir(&mounted).unwrap();
        let Some(_mount) = SilentMount::at(&mounted) else { return };
        let top = place.path().to_path_buf();
        assert!(in_time(move || first_closed(top, Path::new("/"), 4321)).is_none());
    }

    #[test]
    fn a_policy_denies_with_another_error_than_modes() {
        let is_by_policy = |number| {
            let error = io::Error::from_raw_os_error(number);
            Closed::of(PathBuf::from("app.py"), &error).map(|closed| closed.is_by_policy)
        };
        let numbers = [rustix::io::Errno::PERM, rustix::io::Errno::ACCESS, rustix::io::Errno::NOENT];
        assert_eq!(
            numbers.map(|number| is_by_policy(number.raw_os_error())),
            [Some(true), Some(false), None]
        );
    }
}
