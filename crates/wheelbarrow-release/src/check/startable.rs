//! Whether a release can be started: the site's user can read it, and its Python runs.
//!
//! Every user can read the files of a release, whatever the umask was; the directories above it have the
//! modes that a user gave them. The interpreter is not part of the release: an upgrade of the system may have
//! removed it.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use rustix::process::getuid;
use wheelbarrow_base::beneath::{exposure, exposure_of};
use wheelbarrow_base::progress::{Progress, Silent};
use wheelbarrow_base::{as_user, open_no_link, open_regular};

use crate::ReleaseError;
use crate::command::as_site;
use crate::command::child::{self, Leftovers, ProgramEnd};
use crate::command::deadline;
use crate::command::identity::Identity;
use crate::command::output::Output;
use crate::command::secrets::Secrets;
use crate::root::moved_root;
use crate::root::release::CompleteRelease;
use crate::root::settings::{Settings, bin};

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
    readable_by(identity, |_| {
        let is_closed = |path: &PathBuf| {
            fs::metadata(path.join(".")).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        ways.into_iter().find(is_closed)
    })
}

/// Reads every directory and opens every file of a new release as the user of the site. What the store has under another
/// mode, and what a site keeps for itself, would be found only by a request.
pub(crate) fn check_files(release: &CompleteRelease, settings: &Settings) -> Result<(), ReleaseError> {
    let top = release.path();
    let own = top.join(".wheelbarrow");
    readable_by(settings.identity.as_ref(), |user| first_closed(top.to_path_buf(), &own, user))
}

/// The first file or directory below `directory` that may not be read. What belongs to `user` is left out with all that is in it:
/// its owner can do anything there, also while it is looked at, and can mend its mode.
fn first_closed(directory: PathBuf, left_out: &Path, user: u32) -> Option<PathBuf> {
    let is_denied = |error: &std::io::Error| error.kind() == ErrorKind::PermissionDenied;
    let mut directories = vec![directory];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries.flatten(),
            Err(error) if is_denied(&error) => return Some(directory),
            Err(_) => continue,
        };
        for path in entries.map(|entry| entry.path()).filter(|path| path != left_out) {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            match metadata.file_type() {
                _ if metadata.uid() == user => {}
                kind if kind.is_dir() => directories.push(path),
                kind if kind.is_file() && open_no_link(&path).is_err_and(|error| is_denied(&error)) => {
                    return Some(path);
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
    let is_closed = fs::metadata(&python).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    // Whoever looks is not who runs it.
    if is_closed && !getuid().is_root() {
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

/// Whether root may run the Python to which the virtualenv of a release leads, by its own path: it is not of the release, where
/// wheels and the artifact may have written beside it what changes how it starts, and nobody but root can have written it.
fn is_roots_own(python: &Path, release: &CompleteRelease) -> bool {
    let is_of_release = fs::canonicalize(release.path()).map_or(true, |release| python.starts_with(release));
    let is_trusted = || -> std::io::Result<bool> {
        // The directories first: where others may write, what is opened may be a FIFO by then.
        let is_exposed = python.parent().map_or(Ok(None), exposure_of)?.is_some();
        Ok(!is_exposed && exposure(open_regular(python)?.as_fd(), python)?.is_none())
    };
    !is_of_release && is_trusted().unwrap_or(false)
}

/// A user whose processes neither the user of the site nor any other can stop, and who has the rights of the site's group.
fn stranger(group: u32) -> Identity {
    Identity { user: Some(STRANGER), group: Some(group), name: "nobody".to_owned(), home: "/".to_owned() }
}

/// Fails with the path that `closed` finds as the user of the site, whose number it gets.
fn readable_by(
    identity: Option<&Identity>,
    closed: impl FnOnce(u32) -> Option<PathBuf> + Send,
) -> Result<(), ReleaseError> {
    let Some((user, group)) = user_of(identity) else { return Ok(()) };
    let first = as_user(user, group, || closed(user)).map_err(|source| ReleaseError::Io {
        action: "become the user of",
        path: "the site".into(),
        source,
    })?;
    let Some(path) = first else { return Ok(()) };
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
    if let Err(error) = fs::metadata(&python)
        && error.kind() == ErrorKind::NotFound
    {
        let mut target = python.clone();
        // As many as the kernel follows: others may make more meanwhile.
        for _ in 0..40 {
            let Ok(next) = fs::read_link(&target) else { break };
            target = target.parent().unwrap_or(Path::new("/")).join(next);
        }
        return Err(cannot(format!("it leads to {}, which is missing", target.display())));
    }
    // Neither the site's modules nor its environment: nothing of the site runs.
    let started = |python: &Path, identity: Option<&Identity>, passed: &[String]| {
        let (output, secrets) = (Output::memory()?, Secrets::default());
        let mut command = Command::new(python);
        command.args(["-I", "-S", "-c", ""]).current_dir("/");
        as_site(&mut command, release.path(), identity, passed);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output.writer()?);
        let running = match limit {
            Some(limit) => child::start_hastily(&mut command, limit),
            None => child::start(&mut command, Leftovers::Keep, None),
        };
        let most = limit.unwrap_or(LIMIT);
        let ended = running.and_then(|running| running.wait(most, progress, || output.cut(&secrets)));
        match ended {
            Ok(ProgramEnd::By(status)) if status.success() => Ok(None),
            Ok(ProgramEnd::Cancelled) => Err(ReleaseError::Cancelled),
            Ok(ProgramEnd::Late) if limit.is_some() => Ok(None),
            Ok(ProgramEnd::Late) => Ok(Some(format!("it does not end within {} s", LIMIT.as_secs()))),
            Ok(ProgramEnd::By(status)) => Ok(Some(format!("{status}: {}", output.last_lines(&secrets)))),
            Err(error) => Ok(Some(error.to_string())),
        }
    };
    let identity = settings.identity.as_ref();
    let Some(reason) = started(&python, identity, &settings.pass_environment)? else { return Ok(()) };
    let Some((_, group)) = user_of(identity) else { return Err(cannot(reason)) };
    // The processes of that user can stop one another, and nobody is kept in a release by that. Whether the site has an
    // application that the reason keeps from running, its check finds.
    let base = fs::canonicalize(&python).map_err(ReleaseError::io("find", &python))?;
    let stranger = (!is_roots_own(&base, release)).then(|| stranger(group));
    if let Some(reason) = started(&base, stranger.as_ref(), &[])? {
        return Err(cannot(reason));
    }
    progress.note(&format!("the user of the site cannot start {}: {reason}", python.display()));
    Ok(())
}
