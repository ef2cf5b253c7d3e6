//! Static files of earlier versions: a page that was served before a switch names files, often with a hash in
//! their names, that the next version does not have.
//!
//! Before a switch, files in the STATIC_ROOT of the live release that the new release does not have are
//! linked into the new STATIC_ROOT. `.wheelbarrow/static.json` lists them with their age in versions, so that
//! old ones are not linked again. It is written before the links: a superfluous name does no harm.
//!
//! The site's user may write in both directories. So the links are made with that user's rights (`carry`), as
//! far as possible: a failure is a note, never an error.
//!
//! A STATIC_ROOT that all releases share keeps every file by itself and is not changed.

mod earlier_files;
mod static_root_place;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wheelbarrow_artifact::release::Words;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_base::{SafePath, json, read_limited};
use wheelbarrow_wheel::order;

use self::earlier_files::{NAMES, StaticRoots, recorded_length};
use self::static_root_place::is_own;
use crate::check::django_query::{self, Question};
use crate::command::fork_server::ForkServer;
use crate::command::identity::Identity;
use crate::root::current;
use crate::root::locked_root::LockedRoot;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::stage::configure::make_given;
use crate::stage::static_files;
use crate::{ReleaseError, Root};

pub(crate) const STATIC_PATH: &str = ".wheelbarrow/static.json";
/// Bytes of it; twice what the names take, which the site's user chooses.
const LARGEST: u64 = 2 * NAMES as u64;
/// The last line of what it prints is null, or an object: `path` is absolute, `writable` whether this user may write there, or
/// where it would be made.
const STATIC_ROOT: &str = include_str!("../../python/static_root.py");

/// `static.json`.
#[derive(Debug, Serialize)]
struct StaticRecord {
    /// Missing in those of 0.1.0.
    format: u32,
    /// Below the release.
    root: String,
    /// Files below `root` that came from earlier versions: how many versions ago they were a version's own.
    guests: BTreeMap<String, u32>,
    /// What a later version keeps there, and gets back.
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl StaticRecord {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut other: Map<String, Value> = json::from_slice(text).ok()?;
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let format = other.remove("format").map_or(Some(FORMAT), |format| number(&format))?;
        let Value::String(root) = other.remove("root")? else { return None };
        let Value::Object(guests) = other.remove("guests")? else { return None };
        let mut ages = BTreeMap::new();
        for (path, age) in guests {
            ages.insert(path, number(&age)?);
        }
        Some(Self { format, root, guests: ages, other })
    }
}

/// The format of that file, and the only one that is read.
pub(crate) const FORMAT: u32 = 1;

/// STATIC_ROOT, as Django says.
#[derive(Debug, Deserialize)]
pub(crate) struct StaticsAnswer {
    /// Absolute.
    path: PathBuf,
    /// Whether the site's user may write there, or where it would be made.
    writable: bool,
}

/// Asks Django for STATIC_ROOT, if a `prepare` command collects static files and no setting names it, or if the artifact
/// brings them. None also if Django cannot say.
pub(crate) fn ask(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    server: Option<&mut ForkServer>,
) -> Result<Option<StaticsAnswer>, ReleaseError> {
    let is_open = settings.static_root.is_none() && settings.prepare.iter().any(Words::collects_static);
    if !is_open && settings.collected.is_none() {
        return Ok(None);
    }
    let question = Question { script: STATIC_ROOT, words: "the question for STATIC_ROOT", log: "static.log" };
    Ok(django_query::ask::<Option<StaticsAnswer>>(locked, release, settings, server, &question)?.flatten())
}

/// Sees to it that the site's user may write in STATIC_ROOT, before any command runs that has to: one in the release
/// is given to that user if nothing can be imported from there. The answer may be that user's own, so nothing else is
/// given away.
pub(crate) fn make_writable(
    release: &CompleteRelease,
    settings: &Settings,
    answer: &StaticsAnswer,
) -> Result<(), ReleaseError> {
    let identity = settings.identity.as_ref();
    if answer.writable || !is_of_another(settings) {
        return Ok(());
    }
    let refused = |reason: &str| ReleaseError::Setting {
        key: "static_root",
        reason: format!(
            "collectstatic is to write to {} as `owner`, who may not: {reason}",
            answer.path.display()
        ),
    };
    let Some(below) = below(release.path(), &answer.path) else {
        return Err(refused("make the directory, and give it to `owner`"));
    };
    let directory = release.open()?;
    if let Some(problem) =
        static_root_place::problem(&directory, &below).unwrap_or_else(|error| Some(error.to_string()))
    {
        return Err(refused(&format!(
            "{problem}; name a directory below the code as `static_root` in [release], which is given to \
             `owner`, or call it {}",
            static_root_place::NAMES[..3].join(", ")
        )));
    }
    make_given(release.path(), &directory, &below, identity)
}

/// Refuses a site that looks for its static files elsewhere than the artifact has them, as with another environment than
/// that of the build.
pub(crate) fn refuse_elsewhere(
    release: &CompleteRelease,
    collected: &SafePath,
    answer: &StaticsAnswer,
) -> Result<(), ReleaseError> {
    if inside(release.path(), &answer.path).is_some_and(|found| found == collected.as_str()) {
        return Ok(());
    }
    let reason = format!(
        "STATIC_ROOT is {}, and the artifact has its static files, collected when it was built, in {collected} of the \
         release; remove what changes STATIC_ROOT from the environment, or build without `collectstatic` in [build]",
        answer.path.display()
    );
    Err(ReleaseError::Setting { key: "static_root", reason })
}

/// Whether the site's user is another than who deploys, and so not to be believed.
fn is_of_another(settings: &Settings) -> bool {
    settings.identity.as_ref().is_some_and(|identity| identity.site_user().is_some())
}

/// Whether the settings name this directory for static files, or it may be given away without.
fn is_for_statics(
    release: &CompleteRelease,
    settings: &Settings,
    below: &Path,
) -> Result<bool, ReleaseError> {
    if !is_of_another(settings) {
        return Ok(true);
    }
    if let Some(named) = &settings.static_root
        && Path::new(&release.site()?.project.directory).join(named.as_str()) == below
    {
        return Ok(true);
    }
    Ok(static_root_place::problem(&release.open()?, below).is_ok_and(|problem| problem.is_none()))
}

/// Where `path` would be below the release, by names alone.
fn below(release: &Path, path: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(release).ok()?;
    let below = [release, &real].iter().find_map(|release| path.strip_prefix(release).ok())?;
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && !below.as_os_str().is_empty()).then(|| below.to_path_buf())
}

/// Writes down where the release has its static files, before they are collected: whatever happens then, they are known
/// to be made from the artifact. That is never known of all the code: the site's user may have named its directory.
pub(crate) fn note_root(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    answer: Option<StaticsAnswer>,
) -> Result<(), ReleaseError> {
    let found = match (&settings.collected, &settings.static_root) {
        (Some(collected), _) => Some(release.path().join(collected.as_str())),
        (None, Some(below)) => {
            Some(release.path().join(release.site()?.project.directory).join(below.as_str()))
        }
        (None, None) => answer.map(|answer| answer.path),
    };
    let project = release.site()?.project;
    let has_code = |root: &str| {
        [&project.directory, &project.import_path].iter().any(|code| Path::new(code).starts_with(root))
    };
    let root = found.and_then(|found| inside(release.path(), &found));
    let root = root.filter(|root| !is_own(Path::new(root)) && !has_code(root));
    let Some(root) = root else { return Ok(()) };
    if read(release.path()).is_some_and(|statics| statics.root == root) {
        return Ok(());
    }
    write(
        locked.root,
        release,
        &StaticRecord { format: FORMAT, root, guests: BTreeMap::new(), other: Default::default() },
    )
}

/// Links the static files that another release of the same artifact has collected, for a release whose own commands do
/// not run. The live one comes first, then the newest.
pub(crate) fn inherit(
    locked: &LockedRoot<'_>,
    release: &CompleteRelease,
    settings: &Settings,
) -> Result<(), ReleaseError> {
    if settings.collected.is_some() || read(release.path()).is_some() {
        return Ok(());
    }
    let live = locked.root.live()?;
    let same =
        locked.root.found()?.into_iter().rev().filter(|found| !found.is_bad && found.id != *release.id());
    let mut same: Vec<_> = same.filter_map(|found| found.complete).collect();
    same.retain(|other| other.record.manifest_sha256 == release.record.manifest_sha256);
    order::sort_by_key(&mut same, |other| Some(other.id()) != live.as_ref());
    for other in same {
        let Some(statics) = read(other.path()) else { continue };
        let below = Path::new(&statics.root);
        if !is_for_statics(release, settings, below)? {
            let note = "not linked: no setting names their directory, and Python could import it";
            locked.operator.progress.note(&format!("the static files of {} were {note}", other.id()));
            return Ok(());
        }
        if release.open()?.sub(below).is_err() {
            make_given(release.path(), &release.open()?, below, settings.identity.as_ref())?;
        }
        write(locked.root, release, &statics)?;
        let io = ReleaseError::io("open the static files of", other.path());
        let progress = locked.operator.progress;
        let user = settings.identity.as_ref().and_then(Identity::site_user);
        let carrying = StaticRoots::open((&other, &statics.root), (release, &statics.root), user, progress);
        let Some(mut carrying) = carrying.map_err(io)? else { return Ok(()) };
        let paths = carrying.find(NAMES, |_| true);
        carrying.link(&paths);
        refuse_cancelled(progress)?;
        if let Some(problem) = carrying.problem() {
            progress.note(&format!("not all static files of {} were linked: {problem}", other.id()));
        }
        return Ok(());
    }
    Ok(())
}

/// Links what `live` has and `next` lacks, if both are known to have static files of their own. What goes wrong with
/// the files is a note: pages that were served before lose some of them, and nothing else happens.
pub(crate) fn carry(
    locked: &LockedRoot<'_>,
    live: &CompleteRelease,
    next: &CompleteRelease,
    settings: &Settings,
) -> Result<(), ReleaseError> {
    let note = |problem: &str| {
        let text = format!("not all static files of {} were kept in {}: {problem}", live.id(), next.id());
        locked.operator.progress.note(&text);
    };
    let (from, to) = (read(live.path()), read(next.path()));
    for (release, record) in [(live, &from), (next, &to)] {
        if record.is_none() && release.path().join(STATIC_PATH).exists() {
            note(&format!("the list of static files of {} cannot be read", release.id()));
        }
    }
    let (Some(from), Some(mut to)) = (from, to) else { return Ok(()) };
    let is_collected =
        |release: &CompleteRelease| Ok::<_, ReleaseError>(release.site()?.project.static_root.is_some());
    let writer = match (settings.identity.as_ref().and_then(Identity::site_user), is_collected(next)?) {
        // Root brought both: the site's user may write in neither.
        (Some(_), true) if is_collected(live)? => None,
        (Some(_), true) => {
            note(
                "`owner` may write to the old files, but not to those of the artifact, so pages that name old files lose them",
            );
            return Ok(());
        }
        (user, _) => user,
    };
    // The same version with another environment is no other version.
    let step = u32::from(live.record.manifest_sha256 != next.record.manifest_sha256);
    let mut carrying =
        match StaticRoots::open((live, &from.root), (next, &to.root), writer, locked.operator.progress) {
            Ok(Some(carrying)) => carrying,
            Ok(None) => return Ok(()),
            Err(error) => {
                note(&error.to_string());
                return Ok(());
            }
        };
    let age = |path: &str| from.guests.get(path).copied().unwrap_or(0) + step;
    let taken: usize = to.guests.keys().map(|path| recorded_length(path)).sum();
    let paths = carrying.find(NAMES.saturating_sub(taken), |path| age(path) <= settings.keep_static);
    if !paths.is_empty() {
        to.guests.extend(paths.iter().map(|path| (path.clone(), age(path).max(1))));
        write(locked.root, next, &to)?;
        current::sync(next.path().join(STATIC_PATH).parent().unwrap_or(next.path()))?;
        carrying.link(&paths);
    }
    refuse_cancelled(locked.operator.progress)?;
    if let Some(problem) = carrying.problem() {
        note(&problem);
    }
    Ok(())
}

fn refuse_cancelled(progress: &dyn Progress) -> Result<(), ReleaseError> {
    if progress.is_cancelled() { Err(ReleaseError::Cancelled) } else { Ok(()) }
}

/// Where the release has collected its static files, below it; none where that is not known.
pub(crate) fn root(release: &CompleteRelease) -> Option<String> {
    root_in(release.path())
}

/// The same of the directory of a release.
pub(crate) fn root_in(release: &Path) -> Option<String> {
    read(release).map(|statics| statics.root)
}

/// The files that the release has collected, without guests; none if that is not known, or there are too many.
pub(crate) fn own_files(release: &CompleteRelease) -> Result<Option<BTreeSet<String>>, ReleaseError> {
    let Some(statics) = read(release.path()) else { return Ok(None) };
    let Ok(root) = release.open()?.sub(&statics.root) else { return Ok(None) };
    let mut files = static_files::files(&root);
    if let Some(files) = &mut files {
        files.retain(|path| !statics.guests.contains_key(path));
    }
    Ok(files)
}

/// Where `path` is below the release, if it is not elsewhere and neither a link nor a mount point is on the way:
/// the answer and what is below `shared` are the site's. It need not be there yet.
fn inside(release: &Path, path: &Path) -> Option<String> {
    let below = below(release, path)?;
    match Directory::open_following(release).ok()?.on_one_mount().sub(&below) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
        _ => below.to_str().map(str::to_owned),
    }
}

/// A record that cannot be read tells as much as none: what it is about is not worth a deploy or a rollback.
fn read(release: &Path) -> Option<StaticRecord> {
    StaticRecord::parse(&read_text(release)?).filter(|statics| !is_own(Path::new(&statics.root)))
}

/// The text of `static.json`.
pub(crate) fn read_text(release: &Path) -> Option<Vec<u8>> {
    let file = Directory::open(release).and_then(|release| release.file(STATIC_PATH));
    file.and_then(|file| read_limited(file, LARGEST)).ok()
}

/// What a crash leaves on the way lies in the trash.
fn write(site: &Root, release: &CompleteRelease, statics: &StaticRecord) -> Result<(), ReleaseError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::compatible;

    /// The answer for STATIC_ROOT is what the site's user says.
    #[test]
    fn no_static_files_are_in_the_virtualenv_or_among_our_own() {
        for own in [".wheelbarrow/logs", "venv", "venv/lib/x", "../other", "/etc", "code/../venv"] {
            assert!(is_own(Path::new(own)), "{own}");
        }
        for free in ["code/static", "static", "venv-static", "mysite/.wheelbarrow"] {
            assert!(!is_own(Path::new(free)), "{free}");
        }
        let release = tempfile::tempdir().unwrap();
        fs::create_dir(release.path().join(".wheelbarrow")).unwrap();
        for (root, is_believed) in
            [("venv/lib/python3.11/site-packages/sitecustomize", false), ("code/static", true)]
        {
            let text = format!(r#"{{"format": 1, "root": "{root}", "guests": {{}}}}"#);
            fs::write(release.path().join(STATIC_PATH), text).unwrap();
            assert_eq!(read(release.path()).is_some(), is_believed, "{root}");
        }
    }

    /// The site says what STATIC_ROOT is, and may have put a link there.
    #[test]
    fn static_files_are_not_looked_for_through_links() {
        let place = tempfile::tempdir().unwrap();
        let (release, shared) = (place.path().join("release"), place.path().join("shared"));
        fs::create_dir_all(release.join("code/static")).unwrap();
        fs::create_dir(&shared).unwrap();
        std::os::unix::fs::symlink(&release, shared.join("link")).unwrap();
        std::os::unix::fs::symlink("static", release.join("code/link")).unwrap();
        let found = |path: PathBuf| inside(&release, &path);
        assert_eq!(found(release.join("code/static")).as_deref(), Some("code/static"));
        assert_eq!(found(release.join("code/new/static")).as_deref(), Some("code/new/static"));
        for path in ["code/link", "code/link/x", "../shared", ".", "code/absent/../x"] {
            assert_eq!(found(release.join(path)), None, "{path}");
        }
        assert_eq!(found(shared.join("link/code/static")), None);
    }

    /// Whatever was written there, a rollback goes on.
    #[test]
    fn a_record_that_cannot_be_read_is_as_none() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let release = place.path().join("releases/1-1a2b3c4d");
        fs::create_dir_all(release.join(".wheelbarrow")).unwrap();
        let path = release.join(STATIC_PATH);
        fs::File::create(&path).unwrap().set_len(300 << 20).unwrap();
        assert!(read(&release).is_none(), "it is too large");
        compatible::check(&root).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read(&release).is_none(), "it is a directory");
        compatible::check(&root).unwrap();
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let names = ["\"".repeat(1024), "\\".repeat(1024), "\u{7f}\u{e9}".repeat(300), "a".to_owned()];
        let guests: BTreeMap<String, u32> = names.into_iter().map(|name| (name, u32::MAX)).collect();
        let names: usize = guests.keys().map(|name| recorded_length(name)).sum();
        let record = StaticRecord { format: FORMAT, root: "r".into(), guests, other: Default::default() };
        let length = serde_json::to_vec_pretty(&record).unwrap().len();
        assert!(length < names + 100, "{length} {names}");
    }
}
