//! What lies above a project, or beside the output, and decides what a build packs, installs and runs. In a directory such as `/tmp`
//! any user can make it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::FileType;
use wheelbarrow_base::read_regular;

use crate::inputs::workspace;
use crate::uv::uv_settings;
use crate::{Error, Result};

/// Wheelbarrow's own rules for what a build leaves out.
pub(crate) const IGNORE_FILE: &str = ".wheelbarrowignore";
/// What git finds at the top of a work tree: a directory, or a file that names one.
pub(crate) const DOT_GIT: &str = ".git";
/// In the directory of a worktree: the path of the repository that it belongs to (gitrepository-layout(5)).
pub(crate) const COMMON: &str = "commondir";

/// In a repository: the directories of its worktrees.
const WORKTREES: &str = "worktrees";

/// What uv and the walk of a project read above it. Of `.venv`, uv runs the Python.
const READ: [&str; 6] = [".venv", "uv.toml", "pyproject.toml", "uv.lock", IGNORE_FILE, ".gitignore"];

/// Of these, the walk of a project looks only whether they exist, but follows links.
const MARKS: [&str; 2] = [DOT_GIT, ".jj"];

/// Files that every user may write to, as a part of a mode.
const BY_ALL: u32 = 0o002;

/// Bytes. A larger file of another user is not read.
const LARGEST: u64 = 4 << 20;

/// Refuses what another user may have made above `project` and a build would use, or wait for.
pub fn check(project: &Path) -> Result<()> {
    let Ok(project) = fs::canonicalize(project) else { return Ok(()) };
    for directory in project.ancestors().skip(1) {
        let paths = READ.into_iter().chain(MARKS).map(|name| directory.join(name));
        if let Some(path) = paths.into_iter().find(|path| look(path).is_err_and(|error| is_mount(&error))) {
            return Err(Error::Above { path });
        }
        let marks = MARKS.into_iter().map(|name| directory.join(name));
        if let Some(path) = marks.into_iter().find(|path| is_link(path) && is_foreign(path, &project)) {
            return Err(Error::Above { path });
        }
    }
    let top = checkout(&project);
    for directory in project.ancestors().skip(1) {
        for path in
            READ.map(|name| directory.join(name)).into_iter().filter(|path| is_foreign(path, &project))
        {
            let is_used = match path.file_name().and_then(|name| name.to_str()) {
                // The walk of the project opens it also if it does not count.
                _ if !is_small_file(&path) => true,
                Some("pyproject.toml") => uv_settings::is_in_pyproject(directory),
                Some("uv.lock") => workspace::is_member(&path, &project),
                Some(IGNORE_FILE) => top.is_some(),
                Some(".gitignore") => top.is_some_and(|top| directory.starts_with(top)),
                _ => true,
            };
            if is_used {
                return Err(Error::Above { path });
            }
        }
    }
    Ok(())
}

/// Its owner, kind and size; links are not followed. No file system of another user is asked, which may never answer.
#[cfg(target_os = "linux")]
fn look(path: &Path) -> io::Result<Option<(u32, FileType, u64)>> {
    use wheelbarrow_base::beneath::Directory;

    let name = path.file_name().unwrap_or_default();
    let directory = match Directory::open_following(path.parent().unwrap_or(path)) {
        Ok(directory) => directory,
        // It may be gone through without being read.
        Err(_) => return look_by_path(path),
    };
    let found = directory.find(name)?;
    let kind = |mode| FileType::from_raw_mode(mode);
    Ok(found.map(|found| (found.st_uid, kind(found.st_mode), found.st_size.cast_unsigned())))
}

#[cfg(not(target_os = "linux"))]
use look_by_path as look;

fn look_by_path(path: &Path) -> io::Result<Option<(u32, FileType, u64)>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => {
            let kind = FileType::from_raw_mode(metadata.mode() as rustix::fs::RawMode);
            Ok(Some((metadata.uid(), kind, metadata.len())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether [`look`] has found a file system that another user has mounted.
fn is_mount(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

fn is_small_file(path: &Path) -> bool {
    let is_small = |(_, kind, size)| kind == FileType::RegularFile && size <= LARGEST;
    look(path).is_ok_and(|found| found.is_some_and(is_small))
}

fn is_link(path: &Path) -> bool {
    look(path).is_ok_and(|found| found.is_some_and(|(_, kind, _)| kind == FileType::Symlink))
}

/// The nearest directory that git takes for the top of a work tree, `from` or above.
pub(crate) fn top(from: &Path) -> Option<&Path> {
    from.ancestors().find(|directory| directory.join(DOT_GIT).exists())
}

/// The same, if no other user has made it.
pub(crate) fn checkout(from: &Path) -> Option<&Path> {
    top(from).filter(|top| is_trusted(top, from) && is_trusted(&top.join(DOT_GIT), from))
}

/// Where a checkout is not used since another user has made it.
pub(crate) fn note(from: &Path) -> Option<String> {
    let named = top(from).filter(|_| checkout(from).is_none())?.join(DOT_GIT);
    let named = named.display();
    Some(format!(
        "{named} belongs to another user: neither it nor the ignore rules above the project are used"
    ))
}

/// The top of the work tree that `from` is in, and its repository. Git runs programs that the configuration of a repository names.
pub(crate) fn repository(from: &Path) -> Option<(PathBuf, PathBuf)> {
    let top = checkout(from)?;
    let named = top.join(DOT_GIT);
    let kind = fs::symlink_metadata(&named).ok()?.file_type();
    let repository = match kind.is_file() {
        true => top.join(text(&named)?.strip_prefix("gitdir:")?.trim()),
        false => named.clone(),
    };
    let repository = fs::canonicalize(repository).ok()?;
    let common = common(&repository)?;
    let is_own = kind.is_dir() || (kind.is_file() && points_back(&repository, &named));
    if !is_own || (common != repository && repository.parent() != Some(&common.join(WORKTREES))) {
        return None;
    }
    let all = [&repository, &common];
    all.iter().all(|path| is_trusted(path, from)).then(|| (top.to_path_buf(), repository))
}

/// Whether `repository` is that of a worktree or of a submodule, and names `named` or the directory with it. Otherwise a source
/// could name any repository of who builds it.
fn points_back(repository: &Path, named: &Path) -> bool {
    let is = |path: &str, wanted: Option<&Path>| {
        let found = fs::canonicalize(repository.join(path));
        wanted.is_some_and(|wanted| found.is_ok_and(|found| fs::canonicalize(wanted).ok() == Some(found)))
    };
    let gitdir = text(&repository.join("gitdir"));
    let config = text(&repository.join("config")).unwrap_or_default();
    let mut lines = config.lines().filter_map(|line| line.trim().strip_prefix("worktree"));
    let work_tree =
        lines.find_map(|rest| Some(rest.trim_start().strip_prefix('=')?.trim().trim_matches('"')));
    gitdir.is_some_and(|path| is(path.trim_end(), Some(named)))
        || work_tree.is_some_and(|path| is(path, named.parent()))
}

fn text(path: &Path) -> Option<String> {
    String::from_utf8(read_regular(path, LARGEST).ok()?).ok()
}

/// The ignore rules that the repository of `from` has for itself, if they are a file that can be read.
pub(crate) fn exclude(from: &Path) -> Option<PathBuf> {
    let path = common(&repository(from)?.1)?.join("info/exclude");
    read_regular(&path, LARGEST).is_ok().then_some(path)
}

/// The repository itself, or that of which `repository` is a worktree.
pub(crate) fn common(repository: &Path) -> Option<PathBuf> {
    match fs::read_to_string(repository.join(COMMON)) {
        Ok(common) => fs::canonicalize(repository.join(common.trim_end())).ok(),
        Err(_) => Some(repository.to_path_buf()),
    }
}

/// Whether it belongs to root, to this user, or to the owner of `from`, whose code is run anyway.
fn is_trusted(path: &Path, from: &Path) -> bool {
    let owner = |path: &Path| Some(fs::symlink_metadata(path).ok()?.uid());
    let trusted = [Some(0), Some(rustix::process::geteuid().as_raw()), owner(from)];
    owner(path).is_some_and(|owner| trusted.contains(&Some(owner)))
}

/// Refuses a file that is used without being named, if it may be another user's.
pub(crate) fn check_file(path: &Path, project: &Path) -> Result<()> {
    if is_foreign(path, project) { Err(Error::Above { path: path.to_path_buf() }) } else { Ok(()) }
}

/// Whether it exists and may be another user's work. Those who share a directory by its group trust each other.
fn is_foreign(path: &Path, project: &Path) -> bool {
    match look(path) {
        Err(error) if is_mount(&error) => return true,
        Ok(None) | Err(_) => return false,
        Ok(Some(_)) if is_trusted(path, project) => return false,
        Ok(Some(_)) => {}
    }
    let directory = path.parent().unwrap_or(path);
    let is_closed = fs::metadata(directory).is_ok_and(|metadata| metadata.mode() & BY_ALL == 0);
    !(is_closed && is_trusted(directory, project))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn what_another_user_made_above_a_project_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: only root has files of several users");
        }
        let directory = tempfile::tempdir().unwrap();
        let all = fs::canonicalize(directory.path()).unwrap();
        let project = all.join("site/backend");
        fs::create_dir_all(&project).unwrap();
        fs::set_permissions(&all, PermissionsExt::from_mode(0o1777)).unwrap();
        let refused = || match check(&project) {
            Ok(()) => None,
            Err(Error::Above { path }) => Some(path),
            Err(error) => panic!("{error}"),
        };
        let lock = "[[package]]\nname = \"a\"\nsource = { editable = \"site/backend\" }\n";
        let is_refused = |name: &str, text: &str| {
            let path = all.join(name);
            fs::write(&path, text).unwrap();
            assert_eq!(refused(), None, "{name} of this user");
            chown(&path, Some(4321), None).unwrap();
            let refused = refused();
            fs::remove_file(&path).unwrap();
            refused == Some(path)
        };
        assert!(is_refused(".venv", ""));
        assert!(is_refused("uv.toml", ""));
        assert!(is_refused("pyproject.toml", "[tool.uv.workspace]\n"));
        assert!(!is_refused("pyproject.toml", "[tool.ruff]\n"));
        assert!(is_refused("uv.lock", lock));
        assert!(!is_refused("uv.lock", "version = 1\n"));
        assert!(!is_refused(IGNORE_FILE, "app/\n"), "outside of a checkout it is not read");
        let lock = all.join("pylock.site.toml");
        fs::write(&lock, "").unwrap();
        check_file(&lock, &project).unwrap();
        chown(&lock, Some(4321), None).unwrap();
        assert!(check_file(&lock, &project).is_err());
        fs::remove_file(&lock).unwrap();
        fs::create_dir(all.join("site/.git")).unwrap();
        assert!(is_refused(IGNORE_FILE, "app/\n"));
        assert!(!is_refused(".gitignore", "app/\n"), "above the checkout it is not read");
        chown(all.join("site/.git"), Some(4321), None).unwrap();
        assert!(!is_refused(IGNORE_FILE, "app/\n"));
        chown(&project, Some(4321), None).unwrap();
        assert!(!is_refused("uv.toml", ""), "of the owner of the project");
        chown(&project, Some(0), None).unwrap();
        fs::set_permissions(&all, PermissionsExt::from_mode(0o775)).unwrap();
        assert!(!is_refused("uv.toml", ""), "of a user whom the owner of the directory lets write");
        chown(&all, Some(1234), None).unwrap();
        assert!(is_refused("uv.toml", ""));
        fs::set_permissions(&all, PermissionsExt::from_mode(0o1777)).unwrap();
        fs::remove_dir_all(all.join("site/.git")).unwrap();
        for name in MARKS {
            let path = all.join(name);
            fs::os::unix::fs::symlink("elsewhere", &path).unwrap();
            assert_eq!(refused(), None, "{name} of this user");
            std::os::unix::fs::lchown(&path, Some(4321), None).unwrap();
            assert_eq!(refused(), Some(path.clone()), "a link");
            fs::remove_file(path).unwrap();
        }
        for name in ["pyproject.toml", "uv.lock", ".gitignore", IGNORE_FILE] {
            assert!(!is_refused(name, ""), "{name}");
            assert!(is_refused(name, &" ".repeat(5 << 20)), "{name}");
            let path = all.join(name);
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            assert_eq!(refused(), None, "{name} of this user");
            chown(&path, Some(4321), None).unwrap();
            assert_eq!(refused(), Some(path.clone()), "a FIFO");
            fs::remove_file(path).unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_of_another_user_is_refused_and_not_waited_for() {
        use wheelbarrow_testing::mounts::{SilentMount, in_time};

        let directory = tempfile::tempdir().unwrap();
        let all = fs::canonicalize(directory.path()).unwrap();
        let project = all.join("project");
        fs::create_dir(&project).unwrap();
        for name in [".venv", "uv.toml", DOT_GIT, ".gitignore", "pylock.site.toml"] {
            let path = all.join(name);
            fs::create_dir(&path).unwrap();
            let Some(mount) = SilentMount::at(&path) else { return };
            let (project, looked_at) = (project.clone(), path.clone());
            let is_lock = name == "pylock.site.toml";
            let refused = in_time(move || match is_lock {
                true => check_file(&looked_at, &project),
                false => check(&project),
            });
            assert!(matches!(refused, Err(Error::Above { path: found }) if found == path), "{name}");
            drop(mount);
            fs::remove_dir(&path).unwrap();
        }
    }
}
