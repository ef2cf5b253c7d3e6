//! From inputs to a lock: used as it is, used again, or made by uv.
//!
//! uv writes into a file beside the final lock, because it writes paths relative to its output. The kept lock
//! is that text with a comment in front, without logins, and with `[tool.wheelbarrow]` at the end, which
//! records the inputs of the lock.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_base::variable;
use wheelbarrow_http::{redact, without_logins};

use super::paths::{absolute_parent, relative_files};
use super::request::{LockRequest, ReadRequest, is_frozen};
use super::run::LockRun;
use super::{Lock, Pylock, change, local, yanked};
use crate::inputs::formats::Formats;
use crate::inputs::requirements::{self, Requirements, Sources};
use crate::inputs::{Inputs, digest_of_files};
use crate::uv::Uv;
use crate::uv::uv_settings::UvSettings;
use crate::{Error, Result};

/// Grows when the same inputs would be resolved in another way.
const SCHEME: &str = "2";

/// What is there before it is known what it is for: inputs, read, and the lock that was made of them before.
pub struct FoundLock {
    /// Where the input is a pylock.toml.
    pylock: Option<Lock>,
    requirements: Requirements,
    kept: Option<Pylock>,
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
    let needs_none = pylock.is_some() && request.with.is_empty();
    let kept = if needs_none { None } else { kept_lock(request.lock_out)? };
    Ok(FoundLock { pylock, requirements, kept })
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
    let settings = UvSettings::read(&request.project);
    let mut formats = settings.formats();
    formats.extend(&requirements.formats);
    request.wanted.check(&request.inputs, given.as_ref().map(|lock| &lock.pylock))?;
    let is_given = given.is_some();
    let (lock, path, resolved, ours) = match given {
        Some(lock) if request.with.is_empty() => (lock.pylock, lock.path, false, lock.ours),
        given => {
            let input = input_digest(request, &requirements, &settings, &formats);
            let given = given.as_ref().map(|lock| lock.path.as_path());
            let (pylock, resolved) = pylock(request, &requirements, given, kept, &input, progress)?;
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

/// The kept lock where it is still good, else a new one; and whether it is new.
fn pylock(
    request: &LockRequest,
    requirements: &Requirements,
    given: Option<&Path>,
    mut kept: Option<Pylock>,
    input: &str,
    progress: &dyn Progress,
) -> Result<(Pylock, bool)> {
    let is_good = |kept: &Pylock| {
        !request.upgrade
            && kept.ours("input") == Some(input)
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
    let uv = Uv::find().ok_or_else(|| Error::NoUv { what: request.inputs.describe() })?;
    progress.begin("resolving", 1, Unit::Items);
    let resolved = LockRun { request, requirements, given, changed: changed.as_ref(), uv: &uv }.lock();
    progress.end();
    let (text, yanked) = resolved?;
    let text = relative_files(&without_logins(&text), &absolute_parent(&request.lock_out)?);
    let broken = |reason| Error::Lock { path: request.lock_out.clone(), reason };
    let pylock = Pylock::parse_unhashed(&text).map_err(broken)?;
    let directories = directories_digest(&pylock, &request.lock_out);
    let text = format!(
        "# The dependencies of {}, locked by Wheelbarrow from {}.\n# Used until that changes; `wheelbarrow build --upgrade` \
         takes the newest versions.\n\n{}\n\n[tool.wheelbarrow]\ninput = \"{input}\"\ndirectories = \"{directories}\"\n{}",
        request.name,
        relative_names(request),
        text.trim(),
        yanked::table(&yanked)
    );
    wheelbarrow_base::write_atomic(&request.lock_out, text.as_bytes(), 0o666)?;
    let pylock = Pylock::parse_unhashed(&text).map_err(broken)?;
    if let Some(note) = kept.and_then(|kept| change::describe(&request.lock_out, &kept, &pylock)) {
        progress.note(&note);
    }
    Ok((pylock, true))
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
/// one of ours is.
fn kept_lock(path: &Path) -> Result<Option<Pylock>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    if !text.contains("[tool.wheelbarrow]") {
        return Err(Error::ForeignLock { path: path.to_path_buf() });
    }
    Ok(Pylock::parse_unhashed(&text).ok())
}

/// What the resolution depends on, as `sha256:HEX`: the inputs' contents, the Pythons, extras and groups, uv's settings, and
/// the indexes that were asked for by name. The environment's indexes are left out: a mirror here and none there shall not
/// change the lock back and forth.
fn input_digest(
    request: &LockRequest,
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
    for value in index.index_url.iter().chain(&index.extra_index_urls).chain(&index.find_links) {
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
