//! Static files of earlier versions that stay reachable: a page that was served before a switch names files, often with a
//! hash in their names, that the next version has no more.
//!
//! Before a switch, what the live release has in its STATIC_ROOT and the new one lacks is linked into that of the new
//! one. `.wheelbarrow/static.json` says which files are such guests, and from how many versions ago, so that they go in
//! time: with a release that does not get them any more. It is written before the links: a name too many does no harm.
//!
//! A STATIC_ROOT that all releases share keeps every file by itself; nothing is done about it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::release::Words;

use crate::django::{self, Question};
use crate::release::CompleteRelease;
use crate::settings::Settings;
use crate::work::Work;
use crate::{ReleaseError, Root, switch};

pub(crate) const STATIC_PATH: &str = ".wheelbarrow/static.json";
const STATIC_ROOT: &str = include_str!("../python/static_root.py");

/// `static.json`.
#[derive(Debug, Deserialize, Serialize)]
struct Statics {
    /// Missing in those of 0.1.0.
    #[serde(default = "format")]
    format: u32,
    /// Below the release.
    root: String,
    /// Files below `root` that came from earlier versions: how many versions ago they were a version's own.
    guests: BTreeMap<String, u32>,
    /// What a later version keeps there, and gets back.
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// The format of that file, and the only one that is read.
pub(crate) const FORMAT: u32 = 1;

fn format() -> u32 {
    FORMAT
}

/// Writes down where the release has its static files, once they are there.
pub(crate) fn note_root(
    work: &Work<'_>,
    release: &CompleteRelease,
    settings: &Settings,
) -> Result<(), ReleaseError> {
    if settings.keep_static == 0 {
        return Ok(());
    }
    let found = match &settings.static_root {
        Some(below) => Some(release.path().join(release.site()?.project.directory).join(below.as_str())),
        None if collects(&settings.prepare) => ask(work, release, settings)?,
        None => None,
    };
    let Some(root) = found.and_then(|found| inside(release.path(), &found)) else { return Ok(()) };
    write(
        work.root,
        release,
        &Statics { format: FORMAT, root, guests: BTreeMap::new(), other: Default::default() },
    )
}

/// Links what `live` has and `next` lacks, if both are known to have static files of their own.
pub(crate) fn carry(
    site: &Root,
    live: &CompleteRelease,
    next: &CompleteRelease,
    keep: u32,
) -> Result<(), ReleaseError> {
    let (Some(from), Some(mut to)) = (read(live)?, read(next)?) else { return Ok(()) };
    // The same version with another environment is no other version.
    let step = u32::from(live.record.manifest_sha256 != next.record.manifest_sha256);
    let (old, new) = (live.path().join(&from.root), next.path().join(&to.root));
    let mut paths = Vec::new();
    walk(&old, Path::new(""), &mut paths)?;
    let age = |path: &String| from.guests.get(path).copied().unwrap_or(0) + step;
    paths.retain(|path| age(path) <= keep && fs::symlink_metadata(new.join(path)).is_err());
    if paths.is_empty() {
        return Ok(());
    }
    to.guests.extend(paths.iter().map(|path| (path.clone(), age(path).max(1))));
    write(site, next, &to)?;
    switch::sync(next.path().join(STATIC_PATH).parent().unwrap_or(next.path()))?;
    paths.iter().try_for_each(|path| link(&old.join(path), &new.join(path)))
}

/// Where the release has collected its static files, below it; none where that is not known.
pub(crate) fn root(release: &CompleteRelease) -> Result<Option<String>, ReleaseError> {
    Ok(read(release)?.map(|statics| statics.root))
}

/// A directory may stand where the other release has a file, or a file where it has a directory: then it has no place.
fn link(from: &Path, to: &Path) -> Result<(), ReleaseError> {
    let directory = to.parent().unwrap_or(to);
    match fs::create_dir_all(directory) {
        Err(_) if !directory.is_dir() && directory.ancestors().any(Path::is_file) => return Ok(()),
        made => made.map_err(ReleaseError::io("make the directory", directory))?,
    }
    // A link, as `collectstatic --link` makes them, may lead into a release that is going to be pruned.
    let is_link = fs::symlink_metadata(from).is_ok_and(|metadata| metadata.is_symlink());
    if !is_link && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    // Another owner's file under `fs.protected_hardlinks`, say. Whole or not at all: nobody replaces a part of one.
    let beside = to.with_file_name(format!(".{}.wheelbarrow-new", std::process::id()));
    let copied = fs::copy(from, &beside).and_then(|_| fs::rename(&beside, to));
    copied.map_err(|error| {
        let _ = fs::remove_file(&beside);
        ReleaseError::io("keep the static file", from)(error)
    })
}

/// Files below `root`, and links to files, as paths that are UTF-8, as those of a URL are.
fn walk(root: &Path, below: &Path, paths: &mut Vec<String>) -> Result<(), ReleaseError> {
    let directory = root.join(below);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ReleaseError::io("list", &directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(ReleaseError::io("list", &directory))?;
        let path = below.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(root, &path, paths)?,
            Ok(_) if entry.path().is_file() => paths.extend(path.to_str().map(str::to_owned)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether one of the commands collects static files.
fn collects(commands: &[Words]) -> bool {
    commands.iter().any(|words| words.as_slice().iter().any(|word| word == "collectstatic"))
}

/// STATIC_ROOT, absolute; none where Django cannot say.
fn ask(
    work: &Work<'_>,
    release: &CompleteRelease,
    settings: &Settings,
) -> Result<Option<PathBuf>, ReleaseError> {
    let question = Question { script: STATIC_ROOT, words: "the question for STATIC_ROOT", log: "static.log" };
    Ok(django::ask::<Option<PathBuf>>(work, release, settings, &question)?.flatten())
}

/// Where `path` really is below the release, if it is there and not elsewhere.
fn inside(release: &Path, path: &Path) -> Option<String> {
    let (release, path) = (fs::canonicalize(release).ok()?, fs::canonicalize(path).ok()?);
    let below = path.strip_prefix(release).ok()?.to_str()?;
    (!below.is_empty()).then(|| below.to_owned())
}

fn read(release: &CompleteRelease) -> Result<Option<Statics>, ReleaseError> {
    let path = release.path().join(STATIC_PATH);
    match fs::read(&path) {
        // One that is broken tells as much as none.
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReleaseError::io("read", &path)(error)),
    }
}

/// What a crash leaves on the way lies in the trash.
fn write(site: &Root, release: &CompleteRelease, statics: &Statics) -> Result<(), ReleaseError> {
    let path = release.path().join(STATIC_PATH);
    let text = serde_json::to_vec_pretty(statics).map_err(std::io::Error::other);
    let mut text = text.map_err(ReleaseError::io("write", &path))?;
    text.push(b'\n');
    let new = site.trash().join("static.json");
    let written = (|| {
        let mut file = fs::File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    })();
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        ReleaseError::io("write", &path)(error)
    })
}
