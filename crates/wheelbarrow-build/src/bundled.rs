//! A Python that is bundled in the artifact: a standalone build, reduced to what a site needs, compiled by
//! itself.
//!
//! It is a directory or an archive with the layout of python-build-standalone: `bin/python3`,
//! `lib/pythonX.Y`, and no path of the place where it was built. The result is cached.

mod compiled;
mod fetched;
mod tree;
mod tree_facts;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use sha2::Digest;
use walkdir::WalkDir;
use wheelbarrow_artifact::bundled::PLACE;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{BundledInterpreter, INTERPRETER, INTERPRETER_FACTS, Sha256};
use wheelbarrow_audit::Floor;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_platform::{Libc, PythonVersion};

use crate::cache::{Cache, INTERPRETERS, hash_file};
use crate::project::ProjectFile;
use crate::target::BuildTarget;
use crate::{Error, Result};
use tree::{Origin, copy, files};
use tree_facts::{leave_out_library, library_elsewhere, numbers, read_facts};

/// Changes with what is left out, so that another program makes its own tree.
const EDITION: &str = concat!(env!("CARGO_PKG_VERSION"), " 2");

/// An interpreter, ready to be packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundled {
    /// As it runs here, in the cache.
    pub interpreter: Interpreter,
    pub described: BundledInterpreter,
    /// In the order of their paths, which begin below `python/`.
    pub files: Vec<ProjectFile>,
    /// What its ELF files need that it does not have: the file and the library, in order.
    needs: Vec<(String, String)>,
}

impl Bundled {
    /// Takes one from a directory or an archive, or has uv fetch the version that `source` names, by its settings for `project`.
    pub fn take(
        source: &Path,
        project: &Path,
        cache: &Cache,
        offline: bool,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let fetched = match !source.exists() && fetched::is_version(source) {
            true => Some(fetched::fetch(source, project, cache, offline, progress)?),
            false => None,
        };
        let source = fetched.as_deref().unwrap_or(source);
        if source.is_dir() {
            check_directory(source)?;
        }
        let key = key(source)?;
        let place = cache.root().join(INTERPRETERS).join(key.to_string());
        if !place.join(INTERPRETER_FACTS).is_file() {
            progress.note(&format!("preparing the Python of {}", source.display()));
            make(source, &place, cache)?;
        }
        let place = place.canonicalize().map_err(Error::io("find", &place))?;
        let refuse = |reason: String| refuse(source, reason);
        let tree = place.join(INTERPRETER);
        let interpreter = probe(&program(&tree).ok_or_else(|| refuse(NO_PROGRAM.to_owned()))?, source)?;
        let files = files(&tree)?;
        let facts = read_facts(&files)?;
        let glibc = match (interpreter.libc, facts.glibc) {
            (Libc::Glibc(..), Some((major, minor))) => Some(format!("{major}.{minor}")),
            _ => None,
        };
        let described = BundledInterpreter {
            version: interpreter.version.map(|part| part.to_string()).join("."),
            machine: interpreter.machine.clone(),
            glibc,
            built: compiled::on(&interpreter.executable),
            digest: facts.digest,
        };
        Ok(Self { interpreter, described, files, needs: facts.needs })
    }

    /// Its version, as a target names it.
    pub fn python(&self) -> PythonVersion {
        PythonVersion {
            minor: self.interpreter.version[1],
            free_threaded: self.interpreter.abi.ends_with('t'),
        }
    }

    /// Whether it is what a target runs on.
    pub fn fits(&self, target: &BuildTarget) -> bool {
        let same_libc =
            std::mem::discriminant(&self.interpreter.libc) == std::mem::discriminant(&target.libc);
        self.interpreter.abi == target.abi && self.interpreter.machine == target.machine && same_libc
    }

    /// Refuses a target on which it would not start.
    pub fn check(&self, source: &Path, floor: &Floor) -> Result<()> {
        let reason = if let (Some(glibc), Some(Libc::Glibc(major, minor))) =
            (&self.described.glibc, floor.platform.as_ref().map(wheelbarrow_platform::Platform::libc))
            && numbers(glibc) > Some((major, minor))
        {
            format!("it needs glibc {glibc}, and {} has glibc {major}.{minor}", floor.name)
        } else if let Some((file, library)) = self
            .needs
            .iter()
            .find(|(_, library)| !floor.libraries.contains(library) && !floor.here.contains(library))
        {
            format!("its {file} needs {library}, which {} does not have", floor.name)
        } else {
            return Ok(());
        };
        Err(refuse(source, reason))
    }

    /// What it is for others: the narrowest platform.
    pub fn platform(&self) -> String {
        match (&self.described.glibc, self.interpreter.libc) {
            (Some(glibc), _) => format!("manylinux_{}_{}", glibc.replace('.', "_"), self.described.machine),
            (None, Libc::Glibc(..)) => format!("manylinux_2_17_{}", self.described.machine),
            (None, Libc::Musl(major, minor)) => {
                format!("musllinux_{major}_{minor}_{}", self.described.machine)
            }
        }
    }
}

/// What no standalone Python has beside it, and what the directory is then.
const NOT_ALONE: [(&str, &str); 2] = [
    ("sbin", "it is a directory of the system, with more than a Python in it"),
    ("pyvenv.cfg", "it is a virtualenv, whose Python is elsewhere"),
];
const NO_PROGRAM: &str = "it has no bin/python3.X with a lib/python3.X";
/// It has no dynamic loader, and its C library is not glibc, which names itself.
const STATIC: &str = "it is linked statically, so it loads no extension modules";

fn refuse(source: &Path, reason: String) -> Error {
    Error::NoStandalone { path: source.to_path_buf(), reason }
}

/// Where a Python is in what was given.
fn prefix(given: &Path) -> Option<PathBuf> {
    let places = ["", "python", "install", "python/install"].map(|below| given.join(below));
    places.into_iter().find(|prefix| program(prefix).is_some())
}

/// Refuses a directory that is no standalone Python by the names in it, before its files are read: `/usr` has gigabytes.
fn check_directory(source: &Path) -> Result<()> {
    let prefix = prefix(source).ok_or_else(|| refuse(source, NO_PROGRAM.to_owned()))?;
    for (name, reason) in NOT_ALONE {
        if prefix.join(name).exists() {
            return Err(refuse(source, format!("{reason} (it has {name})")));
        }
    }
    Ok(())
}

/// What the tree is made of: the bytes of an archive; of a directory the paths, sizes and times.
fn key(source: &Path) -> Result<Sha256> {
    let mut hash = sha2::Sha256::new();
    hash.update(EDITION);
    if source.is_dir() {
        for entry in WalkDir::new(source).sort_by_file_name() {
            let entry = entry.map_err(|error| Error::io("read", source)(error.into()))?;
            let metadata = entry.metadata().map_err(|error| Error::io("read", entry.path())(error.into()))?;
            let changed =
                metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            let nanos = changed.unwrap_or_default().as_nanos();
            hash.update(format!("{}\0{}\0{nanos}\n", entry.path().display(), metadata.len()));
        }
    } else {
        hash.update(hash_file(source)?.0.to_string());
    }
    Ok(Sha256(hash.finalize().into()))
}

/// Makes the tree beside its place, and renames it there.
fn make(source: &Path, place: &Path, cache: &Cache) -> Result<()> {
    let work = cache.workspace()?;
    let unpacked = work.path().join("unpacked");
    let (from, origin) = if source.is_dir() {
        (source.to_path_buf(), Origin::Directory)
    } else {
        fs::create_dir(&unpacked).map_err(Error::io("make", &unpacked))?;
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(source).arg("-C").arg(&unpacked).arg("--no-same-owner").stdin(Stdio::null());
        let output = tar.output().map_err(Error::io("run tar for", source))?;
        if !output.status.success() {
            return Err(refuse(source, String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        (unpacked, Origin::Archive)
    };
    let from = prefix(&from).ok_or_else(|| refuse(source, NO_PROGRAM.to_owned()))?;
    let made = work.path().join("made");
    let tree = made.join(INTERPRETER);
    copy(&from, &tree, origin)?;
    let python = program(&tree).ok_or_else(|| refuse(source, NO_PROGRAM.to_owned()))?;
    if let Some(reason) = library_elsewhere(&python)? {
        return Err(refuse(source, reason));
    }
    let interpreter = probe(&python, source)?;
    leave_out_library(&tree)?;
    compile(&interpreter, &tree, source)?;
    let parent = place.parent().unwrap_or(place);
    fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
    match fs::rename(&made, place) {
        // Somebody else was faster.
        Err(_) if place.is_dir() => {}
        renamed => renamed.map_err(Error::io("make", place))?,
    }
    write_facts(place, source)
}

/// The facts name the place in the cache, and for that [`PLACE`] is written.
fn write_facts(place: &Path, source: &Path) -> Result<()> {
    let place = place.canonicalize().map_err(Error::io("find", place))?;
    let tree = place.join(INTERPRETER);
    let python = program(&tree).ok_or_else(|| refuse(source, NO_PROGRAM.to_owned()))?;
    let virtualenv = Path::new(PLACE).join("venv");
    let mut interpreter =
        Interpreter::probe(&python, Some(&virtualenv)).map_err(|error| refuse(source, error.to_string()))?;
    for (link, target) in interpreter.virtualenv.iter_mut().flat_map(|virtualenv| &mut virtualenv.links) {
        // Where the install is moved, it stays right.
        if let Ok(below) = Path::new(&*target).strip_prefix(&place) {
            *target = format!("{}{}", "../".repeat(link.matches('/').count() + 1), below.display());
        }
    }
    let text = serde_json::to_string(&interpreter).map_err(|error| refuse(source, error.to_string()))?;
    let own = place.to_string_lossy();
    let text = text.replace(&*own, PLACE);
    let path = place.join(INTERPRETER_FACTS);
    fs::write(&path, text).map_err(Error::io("write", &path))
}

/// `bin/python3.X` where the standard library of that version is.
fn program(prefix: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(prefix.join("bin")).ok()?.flatten();
    let mut found: Vec<PathBuf> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let minor = name.strip_prefix("python3.")?.trim_end_matches('t');
            let is_one = minor.bytes().all(|byte| byte.is_ascii_digit()) && !minor.is_empty();
            (is_one && prefix.join("lib").join(&name).is_dir()).then(|| entry.path())
        })
        .collect();
    found.sort();
    found.pop()
}

fn probe(python: &Path, source: &Path) -> Result<Interpreter> {
    let interpreter = Interpreter::probe(python, None).map_err(|error| refuse(source, error.to_string()))?;
    match interpreter.libc {
        Libc::UNKNOWN => Err(refuse(source, STATIC.to_owned())),
        _ => Ok(interpreter),
    }
}

/// Some files are for other versions, or for tests of errors: what does not compile is read as it is.
const COMPILE: &str = "
import compileall, sys
library, tree = sys.argv[1:]
options = {}
if sys.version_info >= (3, 7):
    from py_compile import PycInvalidationMode
    options['invalidation_mode'] = PycInvalidationMode.UNCHECKED_HASH
if sys.version_info >= (3, 9):
    options['stripdir'] = tree
try:
    import concurrent.futures.process
    options['workers'] = 0
except ImportError:
    pass
compileall.compile_dir(library, 99, force=True, quiet=2, **options)
";

/// The standard library, by hash and unchecked: an install gives the sources other times.
fn compile(interpreter: &Interpreter, tree: &Path, source: &Path) -> Result<()> {
    let library = tree.join("lib").join(format!("python{}", interpreter.minor_version()));
    let mut command = Command::new(&interpreter.executable);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PYTHON")) {
        command.env_remove(name);
    }
    // Sets in constants have the order of their hashes. `-I` would ignore the variable.
    command.args(["-s", "-c", COMPILE]).arg(&library).arg(tree).env("PYTHONHASHSEED", "0");
    let output = command.current_dir(tree).stdin(Stdio::null()).output();
    let output = output.map_err(Error::io("run", &interpreter.executable))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(refuse(source, said.lines().last().unwrap_or("it does not compile its library").to_owned()))
}

#[cfg(test)]
mod tests;
