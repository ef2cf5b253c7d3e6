//! A Python that is bundled in the artifact: a standalone build, less what no site needs, compiled by itself.
//!
//! It comes as a directory or an archive, laid out as python-build-standalone does: `bin/python3`, `lib/pythonX.Y`, and
//! nothing that names the place it was built for. What was made of it stays in the cache.

mod compiled;
mod fetched;

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use sha2::Digest;
use walkdir::WalkDir;
use wheelbarrow_artifact::bundled::PLACE;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{BundledInterpreter, INTERPRETER, INTERPRETER_FACTS, Sha256};
use wheelbarrow_audit::Floor;
use wheelbarrow_audit::elf::{ElfFacts, is_elf};
use wheelbarrow_base::progress::Progress;
use wheelbarrow_platform::Libc;

use crate::cache::{Cache, INTERPRETERS, hash_file};
use crate::project::{FileContent, ProjectFile};
use crate::target::BuildTarget;
use crate::{Error, Result};

/// Changes with what is left out, so that another program makes its own tree.
const EDITION: &str = concat!(env!("CARGO_PKG_VERSION"), " 1");
/// Below `lib/pythonX.Y`: tests, programs with windows, what installs and builds packages.
const NOT_IN_LIBRARY: [&str; 7] =
    ["ensurepip", "idlelib", "site-packages", "test", "tests", "tkinter", "turtledemo"];
/// What names of files and directories below `lib` begin with: Tcl and Tk.
const NOT_IN_LIB: [&str; 8] = ["Tix", "itcl", "libtcl", "libtk", "pkgconfig", "tcl", "thread", "tk"];
/// Modules of the standard library that only its own tests and windows use.
const NOT_LOADED: [&str; 4] = ["_test", "_tkinter", "_ctypes_test", "xxlimited"];

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
    /// Takes one from a directory or an archive, or has uv fetch the version that `source` names.
    pub fn take(source: &Path, cache: &Cache, offline: bool, progress: &dyn Progress) -> Result<Self> {
        let fetched = match !source.exists() && fetched::is_version(source) {
            true => Some(fetched::fetch(source, cache, offline, progress)?),
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

/// What the paths of libpython begin with.
const LIBPYTHON: &str = "lib/libpython";
/// What no standalone Python has beside it, and what the directory is then.
const NOT_ALONE: [(&str, &str); 2] = [
    ("sbin", "it is a directory of the system, with more than a Python in it"),
    ("pyvenv.cfg", "it is a virtualenv, whose Python is elsewhere"),
];
const NO_PROGRAM: &str = "it has no bin/python3.X with a lib/python3.X";

fn refuse(source: &Path, reason: String) -> Error {
    Error::NoStandalone { path: source.to_path_buf(), reason }
}

/// Where a Python is in what was given.
fn prefix(given: &Path) -> Option<PathBuf> {
    let places = ["", "python", "install", "python/install"].map(|below| given.join(below));
    places.into_iter().find(|prefix| program(prefix).is_some())
}

/// Refuses what is no standalone Python, as far as names tell, before all of it is read: `/usr` has gigabytes.
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
    Interpreter::probe(python, None).map_err(|error| refuse(source, error.to_string()))
}

/// Where a tree comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A directory of this machine. A file that a link leads to, wherever it is, is a part of that Python.
    Directory,
    /// Whoever made the archive knows nothing of the files of this machine.
    Archive,
}

/// Copies what a site needs.
fn copy(from: &Path, to: &Path, origin: Origin) -> Result<()> {
    let walk = WalkDir::new(from).sort_by_file_name().into_iter();
    let wanted = |entry: &walkdir::DirEntry| {
        entry.path().strip_prefix(from).is_ok_and(|path| path.as_os_str().is_empty() || is_wanted(path))
    };
    for entry in walk.filter_entry(wanted) {
        let entry = entry.map_err(|error| Error::io("read", from)(error.into()))?;
        let path = entry.path();
        let place = to.join(path.strip_prefix(from).unwrap_or(path));
        if entry.file_type().is_dir() {
            fs::create_dir_all(&place).map_err(Error::io("make", &place))?;
        } else if entry.file_type().is_symlink() {
            let target = fs::read_link(path).map_err(Error::io("read", path))?;
            // One that leads out of the tree is not of it.
            let leads_to =
                path.parent().map(|parent| parent.join(&target)).and_then(|to| to.canonicalize().ok());
            let inside =
                from.canonicalize().ok().zip(leads_to).is_some_and(|(from, to)| to.starts_with(from));
            if inside && target.is_relative() {
                fs::os::unix::fs::symlink(target, &place).map_err(Error::io("link", &place))?;
            } else if path.is_file() && (inside || origin == Origin::Directory) {
                copy_file(path, &place)?;
            }
        } else if entry.file_type().is_file() {
            copy_file(path, &place)?;
        }
    }
    Ok(())
}

/// Of the mode, only whether the file is executable.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map_err(Error::io("copy", from))?;
    let mode = fs::metadata(to).map_err(Error::io("read", to))?.permissions().mode();
    let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
    fs::set_permissions(to, Permissions::from_mode(mode)).map_err(Error::io("change the mode of", to))
}

fn is_wanted(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let name = parts.last().map(|name| &**name).unwrap_or_default();
    if name == "__pycache__" || name.ends_with(".a") || name.ends_with(".pyc") {
        return false;
    }
    match parts.iter().map(|part| &**part).collect::<Vec<_>>()[..] {
        ["bin" | "lib"] => true,
        ["bin", name] => name.starts_with("python") && !name.ends_with("-config"),
        ["lib", name] => !NOT_IN_LIB.iter().any(|start| name.starts_with(start)),
        ["lib", _, name] if NOT_IN_LIBRARY.contains(&name) || name.starts_with("config-") => false,
        ["lib", _, "lib-dynload", name] => !NOT_LOADED.iter().any(|start| name.starts_with(start)),
        ["lib", _, .., "test" | "tests"] => false,
        ["lib", ..] => true,
        _ => false,
    }
}

/// libpython, if the program has it in itself and nothing else asks for it.
fn leave_out_library(tree: &Path) -> Result<()> {
    let files = files(tree)?;
    let needed = read_facts(&files)?.needed;
    for file in files.iter().filter(|file| file.path.starts_with(LIBPYTHON)) {
        if !needed.contains(file.path.rsplit('/').next().unwrap_or_default()) {
            fs::remove_file(&file.source).map_err(Error::io("remove", &file.source))?;
        }
    }
    Ok(())
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

/// All files and links of a tree, in the order of their paths.
fn files(tree: &Path) -> Result<Vec<ProjectFile>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(tree) {
        let entry = entry.map_err(|error| Error::io("read", tree)(error.into()))?;
        let source = entry.path().to_path_buf();
        let path = source.strip_prefix(tree).unwrap_or(&source).to_string_lossy().into_owned();
        let content = if entry.file_type().is_symlink() {
            let target = fs::read_link(&source).map_err(Error::io("read", &source))?;
            FileContent::Link { target: target.to_string_lossy().into_owned() }
        } else if entry.file_type().is_file() {
            let metadata = entry.metadata().map_err(|error| Error::io("read", &source)(error.into()))?;
            FileContent::File { size: metadata.len(), executable: metadata.permissions().mode() & 0o111 != 0 }
        } else {
            continue;
        };
        files.push(ProjectFile { path, source, content });
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// What the bytes of a tree say.
struct TreeFacts {
    digest: Sha256,
    glibc: Option<(u32, u32)>,
    /// All libraries that an ELF file asks for, libpython itself aside.
    needed: BTreeSet<String>,
    /// Those that the tree has not, each with a file that asks for it.
    needs: Vec<(String, String)>,
}

fn read_facts(files: &[ProjectFile]) -> Result<TreeFacts> {
    let mut hash = sha2::Sha256::new();
    let (mut glibc, mut needed, mut needs) = (None, BTreeSet::new(), Vec::new());
    let own: BTreeSet<&str> = files.iter().filter_map(|file| file.path.rsplit('/').next()).collect();
    for file in files {
        let (kind, sha256) = match &file.content {
            FileContent::Link { target } => ("link", Sha256::of(target.as_bytes())),
            FileContent::File { executable, .. } => {
                let bytes = fs::read(&file.source).map_err(Error::io("read", &file.source))?;
                if let Some(facts) = is_elf(&bytes).then(|| ElfFacts::read(&bytes).ok()).flatten() {
                    let versions =
                        facts.versions.iter().filter_map(|(_, version)| version.strip_prefix("GLIBC_"));
                    glibc = glibc.max(versions.filter_map(numbers).max());
                    let is_library = file.path.starts_with(LIBPYTHON);
                    for library in facts.needed {
                        if !own.contains(library.as_str()) && !needed.contains(&library) {
                            needs.push((file.path.clone(), library.clone()));
                        }
                        if !is_library {
                            needed.insert(library);
                        }
                    }
                }
                (if *executable { "executable" } else { "file" }, Sha256::of(&bytes))
            }
        };
        hash.update(format!("{INTERPRETER}/{}\0{kind}\0{sha256}\n", file.path));
    }
    Ok(TreeFacts { digest: Sha256(hash.finalize().into()), glibc, needed, needs })
}

/// `(2, 28)` of `2.28`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
