//! From inputs to a lock: used as it is, used again, or made by uv.
//!
//! uv writes into a file beside the final lock, because it writes paths relative to its output; what is kept is that
//! text with a comment in front, without logins, and with `[tool.wheelbarrow]` at the end, which says what the lock was
//! made from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use url::Url;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::progress::{Progress, Unit};

use super::{Lock, Pylock, Wanted, local, yanked};
use crate::credentials::{redact, without_logins};
use crate::inputs::requirements::{self, Requirements};
use crate::inputs::{Inputs, digest_of_files, workspace};
use crate::target::BuildTarget;
use crate::uv::{self, IndexOptions, Uv};
use crate::{Error, Result};

/// Grows when the same inputs would be resolved in another way.
const SCHEME: &str = "1";

/// What uv's own output is called until it is the lock; never taken for a person's.
const TEMPORARY: &str = "pylock.wheelbarrow-";

/// What [`resolve`] needs.
#[derive(Clone, Debug)]
pub struct LockRequest {
    /// The project's directory; relative entries of requirements files start here, as with pip run in it.
    pub project: PathBuf,
    pub inputs: Inputs,
    /// Of the site, for people.
    pub name: String,
    /// At least one. The lowest version is resolved for, and every later one with it.
    pub targets: Vec<BuildTarget>,
    pub index: IndexOptions,
    /// Extras and groups to take; for uv.lock, pyproject.toml and pylock.toml.
    pub wanted: Wanted,
    /// Resolve anew, to the newest versions.
    pub upgrade: bool,
    /// Where the lock goes: `pylock.NAME.toml` beside the artifact.
    pub lock_out: PathBuf,
}

/// What is there before it is known what it is for: inputs, read, and the lock that was made of them before.
pub struct Found(What);

enum What {
    Pylock(Lock),
    Inputs { requirements: Requirements, kept: Option<Pylock> },
}

/// Reads the inputs, and what is kept at `lock_out`.
pub fn read(inputs: &Inputs, lock_out: &Path) -> Result<Found> {
    let requirements = match inputs {
        Inputs::Pylock(path) => return Lock::read(path).map(|lock| Found(What::Pylock(lock))),
        Inputs::Requirements(files) => requirements::read(files)?,
        _ => Requirements { files: inputs.files(), ..Requirements::default() },
    };
    Ok(Found(What::Inputs { requirements, kept: kept_lock(lock_out)? }))
}

/// The lock for the request's inputs, of which `found` was read.
pub fn resolve(request: &LockRequest, found: Found, progress: &dyn Progress) -> Result<Lock> {
    match found.0 {
        What::Pylock(lock) => Ok(Lock {
            extras: request.wanted.extras_of(&lock.pylock),
            groups: request.wanted.groups_of(&lock.pylock),
            ..lock
        }),
        What::Inputs { .. }
            if matches!(request.inputs, Inputs::Requirements(_)) && !request.wanted.is_nothing() =>
        {
            Err(Error::NoExtras { inputs: request.inputs.describe() })
        }
        What::Inputs { requirements, kept } => {
            let (pylock, resolved) = pylock(request, &requirements, kept, progress)?;
            // uv was told of extras and groups: nothing is left to choose.
            Ok(Lock {
                path: request.lock_out.clone(),
                pylock,
                required: requirements.hashes,
                extras: Vec::new(),
                groups: Vec::new(),
                credentials: requirements.credentials,
                resolved,
                ours: true,
            })
        }
    }
}

/// The kept lock where it is still good, else a new one; and whether it is new.
fn pylock(
    request: &LockRequest,
    requirements: &Requirements,
    kept: Option<Pylock>,
    progress: &dyn Progress,
) -> Result<(Pylock, bool)> {
    let input = input_digest(request, &requirements.files)?;
    let is_good = |kept: &Pylock| {
        !request.upgrade
            && kept.ours("input") == Some(&input)
            && kept.ours("directories") == Some(&directories_digest(kept, &request.lock_out))
    };
    let changed = kept.as_ref().map(|kept| local::changed(kept, &request.lock_out));
    let as_locked = changed.as_ref().is_none_or(BTreeSet::is_empty);
    if let Some(kept) = kept.filter(|kept| as_locked && is_good(kept)) {
        return Ok((kept, false));
    }
    let uv = Uv::find().ok_or_else(|| Error::NoUv { what: request.inputs.describe() })?;
    progress.begin("resolving", 1, Unit::Items);
    let resolved = run_uv(request, requirements, &uv, changed.as_ref());
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
    wheelbarrow_fs::write_atomic(&request.lock_out, text.as_bytes(), 0o666)?;
    Ok((Pylock::parse_unhashed(&text).map_err(broken)?, true))
}

/// For the comment on top: no path of this machine.
fn relative_names(request: &LockRequest) -> String {
    let name = |file: &PathBuf| {
        let name =
            file.strip_prefix(&request.project).unwrap_or(Path::new(file.file_name().unwrap_or_default()));
        name.display().to_string()
    };
    request.inputs.files().iter().map(name).collect::<Vec<_>>().join(", ")
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

/// What the resolution depends on, as `sha256:HEX`: the inputs' contents, the lowest Python, extras and groups, and the
/// indexes that were asked for by name. The environment's indexes are left out: a mirror here and none there shall not
/// change the lock back and forth.
fn input_digest(request: &LockRequest, files: &[PathBuf]) -> Result<String> {
    let mut text = format!(
        "{SCHEME}\n{}\n{}\n",
        digest_of_files(&request.project, files)?,
        lowest(&request.targets).python
    );
    let index = &request.index;
    for value in index.index_url.iter().chain(&index.extra_index_urls).chain(&index.find_links) {
        text.push_str(&without_logins(value));
        text.push('\n');
    }
    text.push_str(&request.wanted.text());
    if index.no_index {
        text.push_str("no index\n");
    }
    Ok(format!("sha256:{}", Sha256::of(text.as_bytes())))
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

fn lowest(targets: &[BuildTarget]) -> &BuildTarget {
    targets.iter().min_by_key(|target| target.version()).expect("a request has a target")
}

/// Lets uv write the lock, and gives its text and what uv says is yanked. If there is a kept lock, versions stay as they
/// are where they can, but for the packages of `changed`.
fn run_uv(
    request: &LockRequest,
    requirements: &Requirements,
    uv: &Uv,
    changed: Option<&BTreeSet<String>>,
) -> Result<(String, BTreeMap<String, String>)> {
    let directory = absolute_parent(&request.lock_out)?;
    fs::create_dir_all(&directory).map_err(Error::io("make", &directory))?;
    remove_leftovers(&directory);
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .suffix(".toml")
        .tempfile_in(&directory)
        .map_err(Error::io("write in", &directory))?
        .into_temp_path();
    if let Some(changed) = changed.filter(|_| !request.upgrade) {
        let text = fs::read_to_string(&request.lock_out).map_err(Error::io("read", &request.lock_out))?;
        let text = if changed.is_empty() { text } else { local::without(&text, changed) };
        fs::write(&temporary, text).map_err(Error::io("write", &temporary))?;
    } else {
        fs::remove_file(&temporary).map_err(Error::io("remove", &temporary))?;
    }
    let mut command = uv_command(request, requirements, uv)?;
    command.arg("--output-file").arg(&temporary);
    let output = uv::run(&mut command)?;
    if !output.status.success() {
        return Err(Error::Resolve { said: readable(&uv::said(&output), &temporary, &request.lock_out) });
    }
    let text = fs::read_to_string(&temporary).map_err(Error::io("read", &temporary))?;
    Ok((text, yanked::read(&uv::said(&output))))
}

fn absolute_parent(lock_out: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(lock_out).map_err(Error::io("find", lock_out))?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_path_buf())
}

/// Files of `--find-links` directories, which uv names by absolute URLs, by `path` below `directory`, so that the lock
/// holds in another checkout too.
fn relative_files(text: &str, directory: &Path) -> String {
    const START: &str = "{ url = \"file://";
    let mut relative = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let after = &rest[at + START.len()..];
        let end = after.find('"').unwrap_or(after.len());
        let file =
            Url::parse(&format!("file://{}", &after[..end])).ok().and_then(|url| url.to_file_path().ok());
        relative.push_str(&rest[..at]);
        match file {
            Some(file) => {
                let path = toml::Value::String(path_between(directory, &file).to_string_lossy().into_owned());
                relative.push_str(&format!("{{ path = {path}"));
                rest = after.get(end + 1..).unwrap_or_default();
            }
            None => {
                relative.push_str(START);
                rest = after;
            }
        }
    }
    relative + rest
}

/// From one absolute directory to an absolute file.
fn path_between(directory: &Path, file: &Path) -> PathBuf {
    let shared =
        directory.components().zip(file.components()).take_while(|(one, other)| one == other).count();
    let up = directory.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).collect()
}

/// Without uv's chatter, and with the lock's own name.
fn readable(said: &str, temporary: &Path, lock_out: &Path) -> String {
    let said = redact(said).replace(&*temporary.to_string_lossy(), &lock_out.to_string_lossy());
    let chatter = |line: &&str| !(line.starts_with("Using CPython") || line.starts_with("Resolved "));
    let lines = said.lines().filter(chatter).map(|line| line.strip_prefix("error: ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn uv_command(request: &LockRequest, requirements: &Requirements, uv: &Uv) -> Result<Command> {
    let target = lowest(&request.targets);
    let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io("find", path));
    let mut command;
    match &request.inputs {
        Inputs::UvLock(file) => {
            command = uv.with_indexes(&["export", "--frozen", "--no-emit-project"], &request.index);
            command.arg("--project").arg(absolute(locked_project(file, &request.project))?);
            request.wanted.tell_export(&mut command);
        }
        inputs => {
            command = uv.with_indexes(&["pip", "compile", "--universal"], &request.index);
            command.arg("--python-version").arg(&target.python);
            if requirements.complete {
                command.arg("--no-deps");
            }
            if request.upgrade {
                command.arg("--upgrade");
            }
            request.wanted.tell_compile(&mut command, &inputs.groups());
            for file in inputs.files() {
                command.arg(absolute(&file)?);
            }
        }
    }
    command.args(["--format", "pylock.toml", "--no-header"]).current_dir(&request.project);
    if let Some(interpreter) = target.own_interpreter() {
        command.arg("--python").arg(&interpreter.executable);
    }
    uv::clean_python(&mut command);
    Ok(command)
}

/// Whose part of the lock is meant: the project's, where it is a member of the lock's workspace, else the lock's own.
fn locked_project<'p>(lock: &'p Path, project: &'p Path) -> &'p Path {
    let own = lock.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    if workspace::is_member(lock, project) { project } else { own }
}

/// What a killed run left: older than an hour, so that no running uv loses its file.
fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY))
    {
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
        if age.is_some_and(|age| age > Duration::from_secs(3600)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_files_are_named_from_the_lock() {
        let text =
            "wheels = [{ url = \"file:///work/links/a%20b.whl\", size = 3 }, { url = \"https://h/c.whl\" }]";
        let expected = "wheels = [{ path = \"../links/a b.whl\", size = 3 }, { url = \"https://h/c.whl\" }]";
        assert_eq!(relative_files(text, Path::new("/work/out")), expected);
        let elsewhere = "{ url = \"file://host/share/a.whl\" }";
        assert_eq!(relative_files(elsewhere, Path::new("/work")), elsewhere);
        assert_eq!(path_between(Path::new("/a/b"), Path::new("/a/b/c/d")), Path::new("c/d"));
    }
}
