//! Runs uv: exports its own lock, resolves, and resolves on top of a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_base::variable;
use wheelbarrow_http::redact;

use super::paths::{absolute_parent, rebased};
use super::request::{LockRequest, is_frozen};
use super::{local, with, yanked};
use crate::inputs::requirements::Requirements;
use crate::inputs::{Inputs, workspace};
use crate::python;
use crate::requires_python::RequiresPython;
use crate::target::BuildTarget;
use crate::uv::narrow::Narrowed;
use crate::uv::{self, Uv};
use crate::{Error, Result};

/// What uv's own output is called until it is the lock; never taken for a person's.
const TEMPORARY: &str = "pylock.wheelbarrow-";

/// The text of a lock, and what uv says is yanked.
type Locked = (String, BTreeMap<String, String>);

pub(super) struct LockRun<'a> {
    pub(super) request: &'a LockRequest,
    pub(super) requirements: &'a Requirements,
    /// The pylock.toml that the lock begins with, if there is one.
    pub(super) given: Option<&'a Path>,
    /// Of a kept lock, if there is one: the packages whose local files changed. The other versions stay as they are where
    /// they can.
    pub(super) changed: Option<&'a BTreeSet<String>>,
    pub(super) uv: &'a Uv,
    pub(super) progress: &'a dyn Progress,
}

impl LockRun<'_> {
    /// The text of the new lock.
    pub(super) fn lock(&self) -> Result<Locked> {
        let directory = absolute_parent(&self.request.lock_out)?;
        fs::create_dir_all(&directory).map_err(Error::io("make", &directory))?;
        remove_leftovers(&directory);
        let (base, from) = match (&self.request.inputs, self.given) {
            (_, Some(path)) => {
                (fs::read_to_string(path).map_err(Error::io("read", path))?, absolute_parent(path)?)
            }
            (Inputs::UvLock(file), _) => self.export(file)?,
            _ => return self.compile(&self.requirements.constraints, &directory),
        };
        if self.request.with.is_empty() {
            return Ok((rebased(&base, &from, &directory), BTreeMap::new()));
        }
        let broken = |reason| Error::Lock { path: self.request.inputs.files()[0].clone(), reason };
        let constraints = with::constraints(&base).map_err(broken)?;
        let (added, yanked) = self.compile(&constraints, &directory)?;
        let merged = with::merge(&base, &from, &added, &directory).map_err(broken)?;
        Ok((merged, yanked))
    }

    /// The project's part of a uv.lock, and the directory where its paths start: uv before 0.13 has them start at the lock,
    /// wherever it writes them.
    fn export(&self, file: &Path) -> Result<(String, PathBuf)> {
        let from = absolute_parent(file)?;
        let project = absolute(locked_project(file, &self.request.project))?;
        if !is_frozen(self.request) {
            self.check(file, &project)?;
        }
        let mut command =
            self.uv.with_indexes(&["export", "--frozen", "--no-emit-project"], &self.request.index);
        command.arg("--project").arg(project);
        self.request.wanted.tell_export(&mut command);
        let output = self.run(command.args(FORMAT).current_dir(&from), None)?;
        self.show_warnings(&uv::stderr_of(&output));
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), from))
    }

    /// Whether the lock fits its project, as `uv lock --check` sees it. That needs no index where it fits; where uv's
    /// variables name another index than the lock, it fits nevertheless. uv asks the Python that is packed for, or else
    /// one that the lock allows, which gives the same answer: the one that it would choose may not be on this machine,
    /// or be a shim that does not start.
    fn check(&self, file: &Path, project: &Path) -> Result<()> {
        const INDEXES: [&str; 6] = [
            "UV_DEFAULT_INDEX",
            "UV_INDEX_URL",
            "UV_INDEX",
            "UV_EXTRA_INDEX_URL",
            "UV_FIND_LINKS",
            "UV_NO_INDEX",
        ];
        let rule = RequiresPython::of_lock(file);
        let of_target = self.request.targets.iter().find_map(|target| target.interpreter.clone());
        let interpreter = of_target
            .or_else(|| python::newest_allowed(rule.as_ref()?).and_then(|target| target.interpreter));
        if let Some(rule) = rule.filter(|_| interpreter.is_none()) {
            let (path, wanted) = (file.to_path_buf(), rule.text);
            return Err(Error::LockPython { path, wanted, found: python::found() });
        }
        let mut stderr = String::new();
        for (with_indexes, offline) in [(true, true), (false, true), (true, false)] {
            if self.request.index.offline && !offline {
                continue;
            }
            let mut command = self.uv.command();
            command.args(["lock", "--check", "--project"]).arg(project).args(offline.then_some("--offline"));
            if let Some(interpreter) = &interpreter {
                command.arg("--python").arg(&interpreter.executable);
            }
            if !with_indexes {
                for name in INDEXES {
                    command.env_remove(name);
                }
            }
            uv::clean_python(&mut command);
            let output = uv::run(command.current_dir(project))?;
            if output.status.success() {
                return Ok(());
            }
            uv::hide_logins(&self.request.project, &self.request.index, &self.requirements.credentials);
            stderr = readable(&uv::stderr_of(&output));
        }
        Err(Error::StaleLock { path: file.to_path_buf(), stderr })
    }

    /// Resolves what was read for the Pythons of the targets.
    fn compile(&self, constraints: &str, directory: &Path) -> Result<Locked> {
        let Self { request, requirements, .. } = self;
        let mut command = self.uv.with_indexes(&["pip", "compile", "--universal"], &request.index);
        let target = lowest(&request.targets);
        command.arg("--python-version").arg(target.python.as_str());
        let narrowed = Narrowed::new(&request.project, &request.targets.iter().collect::<Vec<_>>())?;
        narrowed.point(&mut command);
        if requirements.complete {
            command.arg("--no-deps");
        }
        if request.upgrade {
            command.arg("--upgrade");
        }
        if requirements.prereleases {
            command.args(["--prerelease", "allow"]);
        }
        command.args(requirements.formats.arguments());
        let constraints = constraints_file(constraints)?;
        if let Some(file) = &constraints {
            command.arg("--constraints").arg(file.path());
            // The flag hides the variable.
            for file in variable(&["UV_CONSTRAINT"]).unwrap_or_default().split_whitespace() {
                command.args(["--constraints", file]);
            }
        }
        let mut text = Some(requirements.text.as_str());
        if let Inputs::Project(file) = &request.inputs {
            let file = absolute(file)?;
            request.wanted.tell_compile(&mut command, &file, &request.inputs.groups());
            command.arg(file);
            text = text.filter(|text| !text.is_empty());
        }
        command.args(text.map(|_| "-"));
        if let Some(interpreter) = target.own_interpreter() {
            command.arg("--python").arg(&interpreter.executable);
        }
        let (text, stderr) = self.finish(command, text, directory)?;
        // uv reads the project's settings there.
        self.show_warnings(&narrowed.replace_in(&stderr));
        Ok((text, yanked::read(&stderr)))
    }

    fn show_warnings(&self, stderr: &str) {
        uv::warnings(stderr).iter().for_each(|warning| self.progress.note(&format!("uv: {warning}")));
    }

    /// Lets uv write the lock; gives its text, and what uv has written to standard error.
    fn finish(&self, mut command: Command, text: Option<&str>, directory: &Path) -> Result<(String, String)> {
        let lock_out = &self.request.lock_out;
        let temporary = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .suffix(".toml")
            .tempfile_in(directory)
            .map_err(Error::io("write the lock", lock_out))?
            .into_temp_path();
        if let Some(changed) = self.changed.filter(|_| !self.request.upgrade) {
            let text = fs::read_to_string(lock_out).map_err(Error::io("read", lock_out))?;
            let text = if changed.is_empty() { text } else { local::without(&text, changed) };
            fs::write(&temporary, text).map_err(Error::io("write", &temporary))?;
        } else {
            // The file stays, so that nobody puts a link there, which uv would follow.
            fs::write(&temporary, EMPTY).map_err(Error::io("write", &temporary))?;
        }
        command.args(FORMAT).arg("--output-file").arg(&temporary).current_dir(&self.request.project);
        let output = self.run(&mut command, text).map_err(|error| match error {
            Error::Resolve { stderr } => Error::Resolve {
                stderr: stderr.replace(&*temporary.to_string_lossy(), &lock_out.to_string_lossy()),
            },
            error => error,
        })?;
        let text = fs::read_to_string(&temporary).map_err(Error::io("read", &temporary))?;
        Ok((text, uv::stderr_of(&output)))
    }

    fn run(&self, command: &mut Command, text: Option<&str>) -> Result<Output> {
        uv::clean_python(command);
        let output = match text {
            Some(text) => uv::run_with(command, text)?,
            None => uv::run(command)?,
        };
        let has_warning = || String::from_utf8_lossy(&output.stderr).contains("warning: ");
        if !output.status.success() || has_warning() {
            uv::hide_logins(&self.request.project, &self.request.index, &self.requirements.credentials);
        }
        if !output.status.success() {
            return Err(Error::Resolve { stderr: readable(&redact(&uv::stderr_of(&output))) });
        }
        Ok(output)
    }
}

const FORMAT: [&str; 3] = ["--format", "pylock.toml", "--no-header"];

/// A lock from which uv takes no version.
const EMPTY: &str = "lock-version = \"1.0\"\ncreated-by = \"wheelbarrow\"\npackages = []\n";

/// May hold logins, so it is readable by nobody else; removed when dropped.
fn constraints_file(text: &str) -> Result<Option<tempfile::NamedTempFile>> {
    if text.is_empty() {
        return Ok(None);
    }
    let directory = std::env::temp_dir();
    let made = tempfile::Builder::new().prefix("constraints-").suffix(".txt").tempfile();
    let mut file = made.map_err(Error::io("write in", &directory))?;
    file.write_all(text.as_bytes()).map_err(Error::io("write", file.path()))?;
    Ok(Some(file))
}

fn lowest(targets: &[BuildTarget]) -> &BuildTarget {
    targets.iter().min_by_key(|target| target.version()).expect("a request has a target")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("find", path))
}

/// Without uv's chatter.
fn readable(stderr: &str) -> String {
    let chatter = |line: &&str| !(line.starts_with("Using CPython") || line.starts_with("Resolved "));
    let lines = stderr.lines().filter(chatter).map(|line| line.strip_prefix("error: ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
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
