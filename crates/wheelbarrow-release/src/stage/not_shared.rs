//! Paths that become shared after the site has written to them, or are shared no longer: nothing is moved
//! without a request. A deploy that would lose sight of files is refused, and a return to a release that does
//! not see them is noted.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use wheelbarrow_base::beneath::found;
use wheelbarrow_wheel::order;

use crate::check::writes_in_release::WriteInRelease;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::root::shared::SharedPath;
use crate::root::{data, rescued, shared};
use crate::{ReleaseError, ReleaseId, Root};

/// Refuses to share a path at which the live release holds what the site has written and `ROOT/shared` does not have: the
/// site would lose sight of it. Of a path that becomes shared only names are compared. Where the release had a link, the
/// site or a person has replaced it, and what was changed later than in `ROOT/shared` is lost too.
pub(crate) fn refuse(root: &Root, settings: &Settings) -> Result<(), ReleaseError> {
    let Some(live) = root.live()?.map(|live| root.complete_or_none(&live)).transpose()?.flatten() else {
        return Ok(());
    };
    let (code, id) = (live.site()?.project.directory, live.id().clone());
    let is_real = |shared: &&SharedPath| is_link(&live, shared) == Some(false);
    let real: Vec<&SharedPath> = settings.shared.iter().filter(is_real).collect();
    if real.is_empty() {
        return Ok(());
    }
    let was_shared = Settings::of(root, &live, &Default::default()).map(|own| own.shared).unwrap_or_default();
    let (written, mut paths, mut moves) = (data::written_files(root, &id)?, Vec::new(), Vec::new());
    for shared in real {
        let path = Path::new(&code).join(shared.path.as_str());
        let rescued = rescued::path(root, &id).join(&path);
        let is_replaced = was_shared.iter().any(|before| before.path == shared.path);
        let is_lost = |written: &PathBuf| {
            let below = written.strip_prefix(&code).ok().filter(|_| written.starts_with(&path));
            below.is_some_and(|below| {
                shared::is_missing(root, below) || is_replaced && is_newer(root, &live, written, below)
            })
        };
        if written.iter().any(is_lost) {
            let identity = settings.identity.as_ref();
            moves.push(shared::move_command(root, shared, &rescued, is_replaced, identity)?);
            paths.push(path.display().to_string());
        }
    }
    if paths.is_empty() { Ok(()) } else { Err(ReleaseError::NotShared { id, paths, moves }) }
}

/// Whether the file at `path` in the release was changed after the one at `below` in `ROOT/shared`, or came there later.
fn is_newer(root: &Root, release: &CompleteRelease, path: &Path, below: &Path) -> bool {
    let here = release.open().ok().and_then(|open| open.stat_at(path).ok());
    let there = found(&root.shared().join(below)).ok();
    here.zip(there).is_some_and(|(here, (_, there))| {
        // Clocks of file systems tick some hundred times a second.
        let is_same = (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino);
        !is_same && (here.st_ctime, here.st_ctime_nsec) >= (there.st_ctime, there.st_ctime_nsec)
    })
}

/// Directories that have uploads, by the names that people give them.
const UPLOADS: [&str; 4] = ["attachments", "media", "uploads", "userfiles"];
/// Ends of names of databases of other kinds, and of keys.
const STORES: [&str; 9] = [".dbm", ".duckdb", ".gdbm", ".kdbx", ".key", ".mdb", ".p12", ".pem", ".pfx"];

/// How many paths are looked at: each is compared with all others.
const LISTED: usize = 1000;

/// What of a file in the code of the site people would miss: itself if it has settings, keys or a database that is not SQLite's,
/// the directory if it has uploads. Everything else may be a cache. Paths are below the code.
fn missed(path: &Path) -> Option<&Path> {
    let lower = |part: &OsStr| part.to_string_lossy().to_ascii_lowercase();
    let name = lower(path.file_name()?);
    let mut above = path.ancestors().skip(1).filter_map(|above| Some((above, lower(above.file_name()?))));
    let is_cache = above.clone().any(|(_, part)| part.contains("cache") || part == "tmp");
    if is_cache || [".log", ".pid", ".pyc"].iter().any(|end| name.ends_with(end)) {
        return None;
    }
    let is_settings =
        [".env", "local_settings.py", "settings_local.py"].iter().any(|end| name.ends_with(end));
    let is_store = STORES.iter().any(|end| name.ends_with(end));
    let uploads = above.find_map(|(above, part)| UPLOADS.contains(&part.as_str()).then_some(above));
    let is_missed = is_settings || is_store || name.trim_start_matches('.').starts_with("secret");
    uploads.or(is_missed.then_some(path))
}

/// What the site or a person has written into the live release, and that `next` neither shares nor has from its artifact, but for
/// what is `known`: databases, and other files that are missed.
pub(crate) fn left(
    root: &Root,
    live: &ReleaseId,
    next: &CompleteRelease,
    settings: &Settings,
    known: &[WriteInRelease],
) -> Result<Vec<WriteInRelease>, ReleaseError> {
    let code = &next.site()?.project.directory;
    let is_shared = |path: &Path| {
        let below = path.strip_prefix(code);
        below.is_ok_and(|below| settings.shared.iter().any(|shared| below.starts_with(shared.path.as_str())))
    };
    let written = data::written_files(root, live)?;
    let mut left = data::databases(root, live, &written)?;
    let mut own = Vec::new();
    for path in &written {
        own.extend(
            path.strip_prefix(code).ok().and_then(missed).map(|missed| (path, Path::new(code).join(missed))),
        );
    }
    if !own.is_empty() {
        // What the check has made is not of the artifact either.
        let (made, open) = (data::written_files(root, next.id())?, next.open()?);
        // Ordered as bytes.
        let is_made =
            |path: &Path| made.binary_search_by(|one| one.as_os_str().cmp(path.as_os_str())).is_ok();
        own.retain(|(path, _)| is_made(path) || open.stat_at(path).is_err());
        left.extend(own.into_iter().filter_map(|(_, missed)| missed.to_str().map(str::to_owned)));
        order::sort(&mut left);
        left.dedup();
    }
    let is_known = |path: &Path| known.iter().any(|inside| path.starts_with(&inside.path));
    left.truncate(LISTED);
    left.retain(|path| !is_shared(Path::new(path)) && !is_known(Path::new(path)));
    Ok(left.into_iter().map(|path| WriteInRelease { setting: path.clone(), path, is_data: true }).collect())
}

/// A note on what the live release shares and `next` does not.
pub(crate) fn note(root: &Root, live: Option<&ReleaseId>, next: &CompleteRelease) -> Option<String> {
    let live = root.complete_or_none(live?).ok()??;
    let settings = Settings::of(root, &live, &Default::default()).ok()?;
    let is_left =
        |shared: &&SharedPath| is_link(&live, shared) == Some(true) && is_link(next, shared) != Some(true);
    let left: Vec<&str> = settings.shared.iter().filter(is_left).map(|shared| shared.path.as_str()).collect();
    let (id, paths, shared) = (next.id(), left.join(", "), root.shared());
    let note =
        || format!("{id} does not use {}: the site does not see these files: {paths}", shared.display());
    (!left.is_empty()).then(note)
}

/// A note on files that the site has written into the live release, where `next` does not have them.
pub(crate) fn note_written(root: &Root, live: Option<&ReleaseId>, next: &ReleaseId) -> Option<String> {
    let live = live.filter(|live| *live != next)?;
    let written = data::written(root, live).ok().filter(|written| !written.is_empty())?;
    if is_shared_by(root, live, next).unwrap_or_default() {
        return None;
    }
    Some(format!(
        "{next} does not have files that were written into {live}: {written}; `shared` in [release] keeps such files for all releases"
    ))
}

/// Whether `next` finds in `ROOT/shared` all that the site has written into the live release: somebody has moved it there.
fn is_shared_by(root: &Root, live: &ReleaseId, next: &ReleaseId) -> Option<bool> {
    let (live, next) = (root.complete_or_none(live).ok()??, root.complete_or_none(next).ok()??);
    let settings = |release| Settings::of(root, release, &Default::default()).ok();
    let (shared, was_shared) = (settings(&next)?.shared, settings(&live)?.shared);
    let code = next.site().ok()?.project.directory;
    let is_there = |written: &PathBuf| {
        let Ok(below) = written.strip_prefix(&code) else { return false };
        let is_below = |shared: &&SharedPath| below.starts_with(shared.path.as_str());
        shared.iter().filter(is_below).any(|shared| is_link(&next, shared) == Some(true))
            && !shared::is_missing(root, below)
            && !(was_shared.iter().any(|shared| is_below(&shared)) && is_newer(root, &live, written, below))
    };
    Some(data::written_files(root, live.id()).ok()?.iter().all(is_there))
}

/// Whether the release has a link at the path; none if it has nothing there. A link above it leads to what is the site
/// user's, and is not followed.
fn is_link(release: &CompleteRelease, shared: &SharedPath) -> Option<bool> {
    let path = Path::new(&release.site().ok()?.project.directory).join(shared.path.as_str());
    release.open().ok()?.stat_at(path).ok().map(|stat| rescued::is_link(&stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keys_uploads_and_databases_are_missed() {
        for path in [".env", "a/prod.env", "local_settings.py", "secret.key", "a/.secret_key", "a/b/x.DuckDB"]
        {
            assert_eq!(missed(Path::new(path)), Some(Path::new(path)));
        }
        assert_eq!(missed(Path::new("a/Uploads/1/2.png")), Some(Path::new("a/Uploads")));
        for path in [
            "media/x.log",
            "a/x.json",
            "a/.cache/secret.key",
            "a/media_cache/x.png",
            "a/celerybeat-schedule.db",
        ] {
            assert_eq!(missed(Path::new(path)), None);
        }
    }
}
