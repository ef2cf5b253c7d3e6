//! From inputs to a lock: used as it is, used again, or made by uv.
//!
//! uv writes into a file beside the final lock, because it writes paths relative to its output. The kept lock
//! is that text with a comment in front, without logins, and with `[tool.wheelbarrow]` at the end, which
//! records the inputs of the lock.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use pep440_rs::{Version, VersionSpecifiers};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_base::{FsError, variable};
use wheelbarrow_http::{redact, without_logins};

use super::paths::{absolute_parent, relative_files};
use super::request::{LockRequest, ReadRequest, is_frozen};
use super::run::LockRun;
use super::{Lock, Pylock, change, index_order, local, record, yanked};
use crate::above;
use crate::inputs::formats::Formats;
use crate::inputs::requirements::{self, Requirements, Sources};
use crate::inputs::{Inputs, digest_of_files, has_our_table, is_same_file};
use crate::target::BuildTarget;
use crate::uv::Uv;
use crate::uv::uv_settings::{self, UvSettings};
use crate::{Error, Result, UnfitLock};

/// Grows when the same inputs would be resolved in another way.
const SCHEME: &str = "3";

/// What is there before it is known what it is for: inputs, read, and the lock that was made of them before.
pub struct FoundLock {
    /// Where the input is a pylock.toml.
    pylock: Option<Lock>,
    requirements: Requirements,
    kept: Option<Pylock>,
}

impl FoundLock {
    /// All files that were read, also those that a requirements file names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.requirements.files.iter().map(|(path, _)| path.as_path())
    }
}

/// pip's variables that would decide something, and are not read.
const PASSED_OVER: [&str; 6] = [
    "PIP_BUILD_CONSTRAINT",
    "PIP_CONFIG_SETTINGS",
    "PIP_NO_BUILD_ISOLATION",
    "PIP_NO_DEPS",
    "PIP_PREFER_BINARY",
    "PIP_REQUIREMENT",
];

/// Reads the inputs, and what is kept at `lock_out`.
pub fn read(request: &ReadRequest<'_>) -> Result<FoundLock> {
    let (pylock, is_locked) = match request.inputs {
        Inputs::Pylock(path) => (Some(Lock::read(path)?), true),
        inputs => (None, matches!(inputs, Inputs::UvLock(_))),
    };
    let files = match request.inputs {
        Inputs::Requirements(files) => files.as_slice(),
        _ => &[],
    };
    let constraints = pip_constraints();
    let sources = Sources {
        project: request.project,
        files,
        constraints: if is_locked { &[] } else { &constraints },
        with: request.with,
        offline: request.offline,
    };
    let mut requirements = requirements::read(&sources)?;
    if is_locked && !constraints.is_empty() {
        requirements.notes.push("PIP_CONSTRAINT has no effect on a lock".to_owned());
    }
    let is_set = |name: &&&str| variable(&[**name]).is_some();
    requirements
        .notes
        .extend(PASSED_OVER.iter().filter(is_set).map(|name| format!("{name} is set and has no effect")));
    if !matches!(request.inputs, Inputs::Requirements(_)) {
        for file in request.inputs.deciding_files() {
            let bytes = fs::read(&file).map_err(Error::io("read", &file))?;
            if file.ends_with("pyproject.toml") {
                requirements.hashes.add_pyproject(&file, &String::from_utf8_lossy(&bytes))?;
            }
            requirements.files.push((file, Sha256::of(&bytes)));
        }
    }
    let kept = match &pylock {
        Some(lock) if is_whole(lock, request.with) => None,
        Some(lock) if is_same_file(&lock.path, request.lock_out) => {
            return Err(Error::LockIsInput { path: lock.path.clone(), with: request.with.join(", ") });
        }
        _ => {
            above::check_file(request.lock_out, request.project)?;
            kept_lock(request.lock_out, request.upgrade)?
        }
    };
    Ok(FoundLock { pylock, requirements, kept })
}

/// Whether nothing is to be added to a given lock.
fn is_whole(given: &Lock, with: &[String]) -> bool {
    with.is_empty() || given.pylock.has_with(with)
}

/// Files that `PIP_CONSTRAINT` names.
fn pip_constraints() -> Vec<String> {
    let text = variable(&["PIP_CONSTRAINT"]).unwrap_or_default();
    let absolute = |place: &str| match std::path::absolute(place) {
        Ok(path) if !place.contains("://") => path.to_string_lossy().into_owned(),
        _ => place.to_owned(),
    };
    text.split_whitespace().map(absolute).collect()
}

/// The lock for the request's inputs, of which `found` was read.
pub fn resolve(request: &LockRequest, found: FoundLock, progress: &dyn Progress) -> Result<Lock> {
    let FoundLock { pylock: given, requirements, kept } = found;
    requirements.notes.iter().for_each(|note| progress.note(note));
    uv_settings::check(&request.project)?;
    let settings = UvSettings::read(&request.project);
    let mut formats = settings.formats();
    formats.extend(&requirements.formats);
    request.wanted.check(&request.inputs, given.as_ref().map(|lock| &lock.pylock))?;
    let is_given = given.is_some();
    let (lock, path, resolved, ours) = match given {
        Some(lock) if is_whole(&lock, &request.with) => {
            let changed = lock.pylock.changed_file(&request.project).filter(|_| !is_frozen(request));
            if let Some(file) = changed {
                return Err(Error::ChangedInput { path: lock.path, file: file.to_owned() });
            }
            (lock.pylock, lock.path, false, lock.ours)
        }
        given => {
            let digest =
                |find_links: &[String]| input_digest(request, find_links, &requirements, &settings, &formats);
            // Offline, directories only bring the files of the lock.
            let without = request.index.offline.then(|| digest(&[]));
            let inputs: Vec<_> =
                [Some(digest(&request.index.find_links)), without].into_iter().flatten().collect();
            let given = given.as_ref().map(|lock| lock.path.as_path());
            let (pylock, resolved) = pylock(request, &requirements, given, kept, &inputs, progress)?;
            (pylock, request.lock_out.clone(), resolved, true)
        }
    };
    // uv was told of extras and groups, where it wrote the lock: nothing is left to choose.
    let chosen = is_given.then(|| (request.wanted.extras_of(&lock), request.wanted.groups_of(&lock)));
    let (extras, groups) = chosen.unwrap_or_default();
    Ok(Lock {
        ours,
        path,
        pylock: lock,
        required: requirements.hashes,
        formats,
        extras,
        groups,
        credentials: requirements.credentials,
        resolved,
    })
}

/// The kept lock where it is still good, else a new one; and whether it is new. `inputs` are digests of inputs: a kept lock
/// has one of them, a new one gets the first.
fn pylock(
    request: &LockRequest,
    requirements: &Requirements,
    given: Option<&Path>,
    mut kept: Option<Pylock>,
    inputs: &[String],
    progress: &dyn Progress,
) -> Result<(Pylock, bool)> {
    let input = &inputs[0];
    let is_good = |kept: &Pylock| {
        !request.upgrade
            && kept.ours("input").is_some_and(|input| inputs.iter().any(|known| known == input))
            && kept.ours("directories") == Some(&directories_digest(kept, &request.lock_out))
    };
    let changed = kept.as_ref().map(|kept| local::changed(kept, &request.lock_out));
    let as_locked = changed.as_ref().is_none_or(BTreeSet::is_empty);
    if let Some(kept) = kept.take_if(|kept| as_locked && is_good(kept)) {
        return Ok((kept, false));
    }
    if let Some(path) = request.inputs.lone_setup_cfg() {
        return Err(Error::LoneSetupCfg { path: path.to_path_buf() });
    }
    let lock = || {
        let uv = Uv::needed(|| request.inputs.describe())?;
        if let Some(note) = index_order::note(&request.index, &requirements.text) {
            progress.note(&note);
        }
        progress.begin("resolving", 1, Unit::Items);
        let resolved =
            LockRun { request, requirements, given, changed: changed.as_ref(), uv: &uv, progress }.lock();
        progress.end();
        resolved
    };
    let (text, yanked) = lock().map_err(|error| match &kept {
        Some(kept) if !request.upgrade => unfit(request, kept, error),
        _ => error,
    })?;
    let text = relative_files(&without_logins(&text), &absolute_parent(&request.lock_out)?);
    let broken = |reason| Error::Lock { path: request.lock_out.clone(), reason };
    let pylock = Pylock::parse_unhashed(&text).map_err(broken)?;
    let directories = directories_digest(&pylock, &request.lock_out);
    let text = format!(
        "# The dependencies of {}, locked by Wheelbarrow from {}.\n# Used until that changes; `wheelbarrow build --upgrade` \
         takes the newest versions.\n\n{}\n\n[tool.wheelbarrow]\ninput = \"{input}\"\ndirectories = \"{directories}\"\n{}{}",
        request.name,
        relative_names(request),
        text.trim(),
        record::text(&request.project, &request.inputs, requirements, &request.with),
        yanked::table(&yanked)
    );
    let written = wheelbarrow_base::write_atomic(&request.lock_out, text.as_bytes(), 0o666);
    written.map_err(|error| match error {
        FsError::Io { source, path, .. } => Error::io("write the lock", &path)(source),
        error => error.into(),
    })?;
    let pylock = Pylock::parse_unhashed(&text).map_err(broken)?;
    if let Some(note) = kept.and_then(|kept| change::describe(&request.lock_out, &kept, &pylock)) {
        progress.note(&note);
    }
    Ok((pylock, true))
}

/// The same error, with why the kept lock is not used.
fn unfit(request: &LockRequest, kept: &Pylock, error: Error) -> Error {
    if !matches!(
        error,
        Error::NoUv { .. } | Error::NamedUv { .. } | Error::OldUv { .. } | Error::Resolve { .. }
    ) {
        return error;
    }
    let wanted = kept.requires_python.as_deref();
    let other = wanted.and_then(|wanted| {
        let rule: VersionSpecifiers = wanted.parse().ok()?;
        let is_other = |target: &&BuildTarget| {
            target.full_version().parse().is_ok_and(|version: Version| !rule.contains(&version))
        };
        let other = request.targets.iter().find(is_other)?;
        Some(format!("it is for Python {wanted}, this build for {}", other.python))
    });
    let reason = match other {
        Some(other) => other,
        // With a network, requirements that were changed are the usual case, and uv's words are enough.
        None if matches!(error, Error::Resolve { .. }) && !request.index.offline => return error,
        None => "the requirements, the targets or the indexes have changed".to_owned(),
    };
    let unfit = UnfitLock { path: request.lock_out.clone(), reason };
    Error::Relock { error: Box::new(error), unfit }
}

/// For the comment on top: no path of this machine.
fn relative_names(request: &LockRequest) -> String {
    let name = |file: &PathBuf| {
        let name =
            file.strip_prefix(&request.project).unwrap_or(Path::new(file.file_name().unwrap_or_default()));
        name.display().to_string()
    };
    let with = request.with.iter().map(|with| format!("--with {}", redact(with)));
    request.inputs.files().iter().map(name).chain(with).collect::<Vec<_>>().join(", ")
}

/// The lock at `path`, if there is one of ours. One that a person or another tool wrote is never overwritten; a broken
/// one of ours is on request, since its versions are lost.
fn kept_lock(path: &Path, upgrade: bool) -> Result<Option<Pylock>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    if !has_our_table(&text) {
        return Err(Error::ForeignLock { path: path.to_path_buf() });
    }
    match Pylock::parse_unhashed(&text) {
        Err(_) if upgrade => Ok(None),
        kept => Ok(Some(kept.map_err(|reason| Error::Lock { path: path.to_path_buf(), reason })?)),
    }
}

/// What the resolution depends on, as `sha256:HEX`: the inputs' contents, the Pythons, extras and groups, uv's settings, and
/// the indexes that were asked for by name. The environment's indexes are left out: a mirror here and none there shall not
/// change the lock back and forth.
fn input_digest(
    request: &LockRequest,
    find_links: &[String],
    requirements: &Requirements,
    settings: &UvSettings,
    formats: &Formats,
) -> String {
    let mut pythons: Vec<_> = request.targets.iter().map(|target| target.version()).collect();
    pythons.sort();
    pythons.dedup();
    let mut text = format!("{SCHEME}\n{}\n", digest_of_files(&request.project, &requirements.files));
    // A lock of uv is the same for all Pythons, and `--with` is resolved for the targets.
    if !matches!(request.inputs, Inputs::UvLock(_)) || !request.with.is_empty() {
        text.push_str(&format!("{pythons:?}\n"));
    }
    let index = &request.index;
    for value in index.index_url.iter().chain(&index.extra_index_urls).chain(find_links) {
        text.push_str(&without_logins(value));
        text.push('\n');
    }
    text.push_str(&request.wanted.text());
    let flags = [
        (index.no_index, "no index"),
        (is_frozen(request), "frozen"),
        (requirements.prereleases, "prereleases"),
    ];
    flags.iter().filter(|(is_set, _)| *is_set).for_each(|(_, flag)| text.push_str(&format!("{flag}\n")));
    text.push_str(&format!("{:?}\n{:?}\n", request.with, formats.arguments()));
    text.push_str(&settings.resolution());
    format!("sha256:{}", Sha256::of(text.as_bytes()))
}

/// Local directories say in their own files what they need: those files count as inputs.
fn directories_digest(pylock: &Pylock, lock_out: &Path) -> String {
    let base = lock_out.parent().unwrap_or(Path::new("."));
    let mut text = String::new();
    for directory in pylock.packages.iter().filter_map(|package| package.directory.as_ref()) {
        let path = base.join(&directory.path).join(directory.subdirectory.as_deref().unwrap_or_default());
        for file in ["pyproject.toml", "setup.py", "setup.cfg"] {
            if let Ok(bytes) = fs::read(path.join(file)) {
                text.push_str(&format!("{}\0{file}\0{}\n", directory.path, Sha256::of(&bytes)));
            }
        }
    }
    format!("sha256:{}", Sha256::of(text.as_bytes()))
}
