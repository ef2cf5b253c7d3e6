//! Compiles modules at build, so that no server has to.
//!
//! A wheel is compiled once for each Python and kept in the cache,
//! `bytecode/MAGIC/WHEEL-VERSION-COMPILER.pack`: the magic number, the wheel's hash, the Python's version,
//! and a hash of the programs that compile and pack. One fresh process compiles one wheel, with a fixed hash
//! seed: the same wheel gives the same bytes on every machine.

mod answers;
mod uncompiled;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use fs_err as fs;
use memmap2::Mmap;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{Bytecode, Sha256};
use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_artifact::{bytecode, python};
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_wheel::layout::Destination;

use self::answers::answers;
use crate::cache::Cache;
use crate::gather::GatheredWheel;
use crate::{Error, Result};

/// In the cache.
pub(crate) const DIRECTORY: &str = "bytecode";

/// Whether bytecode travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BytecodeMode {
    /// For each target whose Python minor version is on this machine.
    #[default]
    Auto,
    /// For every target, or the build fails.
    Always,
    Never,
}

/// What one target is compiled from.
pub struct CompileRequest<'a> {
    /// `3.12`.
    pub python: &'a str,
    pub interpreter: Option<&'a Interpreter>,
    pub wheels: Vec<&'a GatheredWheel>,
}

/// The bytecode of an artifact.
#[derive(Clone, Debug, Default)]
pub struct CompiledBytecode {
    /// For each target, in their order.
    pub targets: Vec<Option<Bytecode>>,
    /// The packs in the cache with their sizes in bytes, by the path of the member.
    pub packs: BTreeMap<String, (PathBuf, u64)>,
    /// What the door of the artifact runs at each start, as `.pyc` files for one of the Pythons: their paths in the artifact, and
    /// what is in them. Another Python passes over them.
    pub programs: Vec<(String, Vec<u8>)>,
}

/// Larger sources than this are nobody's modules.
const LARGEST_MODULE: u64 = 64 << 20;

/// Compiles the wheels of every target, and `project`, the modules that are no wheel's: their paths in the artifact and
/// their sources. What the cache has is not compiled again.
pub fn compile_all(
    mode: BytecodeMode,
    cache: &Cache,
    targets: &[CompileRequest<'_>],
    project: &[(String, Vec<u8>)],
    progress: &dyn Progress,
) -> Result<CompiledBytecode> {
    let mut compiled = CompiledBytecode::default();
    let mut magics: BTreeMap<&str, &str> = BTreeMap::new();
    for target in targets {
        let interpreter = match (mode, target.interpreter) {
            (BytecodeMode::Never, _) => None,
            (BytecodeMode::Auto, None) => {
                progress.note(&format!("no Python {0} on this machine: no bytecode for {0}", target.python));
                None
            }
            (BytecodeMode::Always, None) => {
                return Err(Error::NoCompiler { python: target.python.to_owned() });
            }
            (_, Some(interpreter)) => Some(interpreter),
        };
        // Two releases of one minor version may differ before it is final; file names cannot tell them apart.
        let interpreter = interpreter.filter(|interpreter| {
            *magics.entry(&interpreter.cache_tag).or_insert(&interpreter.magic) == interpreter.magic
        });
        let Some(interpreter) = interpreter else {
            compiled.targets.push(None);
            continue;
        };
        compile_target(cache, interpreter, target, project, &mut compiled.packs, progress)?;
        if compiled.programs.is_empty() {
            compiled.programs = compile_programs(cache, interpreter)?;
        }
        let Interpreter { cache_tag, magic, .. } = interpreter;
        compiled.targets.push(Some(Bytecode { cache_tag: cache_tag.clone(), magic: magic.clone() }));
    }
    Ok(compiled)
}

fn compile_target(
    cache: &Cache,
    interpreter: &Interpreter,
    target: &CompileRequest<'_>,
    project: &[(String, Vec<u8>)],
    packs: &mut BTreeMap<String, (PathBuf, u64)>,
    progress: &dyn Progress,
) -> Result<()> {
    let mut missing = Vec::new();
    let mut places = Vec::with_capacity(target.wheels.len() + 1);
    for wheel in &target.wheels {
        let path = place(cache, interpreter, wheel.sha256);
        if !path.exists() {
            missing.push((*wheel, path.clone()));
        }
        places.push((wheel.filename.as_str(), path));
    }
    missing.sort_by_key(|(wheel, _)| std::cmp::Reverse(wheel.size));
    compile_missing(interpreter, &missing, progress)?;
    let path = place(cache, interpreter, digest(project));
    if !path.exists() {
        keep(&path, "the project", &compile(interpreter, "the project", project)?)?;
    }
    let notes = uncompiled::notes(interpreter, project, &path);
    let failed = |source| Error::Compile { of: "the project".to_owned(), source };
    notes.map_err(failed)?.iter().for_each(|note| progress.note(note));
    places.push((bytecode::PROJECT_PACK, path));
    for (name, path) in places {
        let failed = |source| Error::Compile { of: name.to_owned(), source };
        let size = fs::metadata(&path).map_err(failed)?.len();
        // A wheel without modules has an empty file, so that it is not looked at again.
        if size > 0 {
            packs.insert(bytecode::pack_path(&interpreter.cache_tag, name), (path, size));
        }
    }
    Ok(())
}

/// `__main__.py` and what it always imports: to compile them costs a start 10 ms. Before 3.7 zipimport compares a `.pyc` with the time
/// of its source, which it reads in the time zone of the server.
fn compile_programs(cache: &Cache, interpreter: &Interpreter) -> Result<Vec<(String, Vec<u8>)>> {
    if interpreter.version < [3, 7, 0] {
        return Ok(Vec::new());
    }
    let failed = |source| Error::Compile { of: "__main__.py".to_owned(), source };
    let mut programs = Vec::new();
    for (path, source) in python::STARTED {
        let sources = [(path.to_owned(), source.as_bytes().to_vec())];
        let kept = place(cache, interpreter, digest(&sources)).with_extension("pyc");
        if !kept.exists() {
            let code = run(interpreter, &sources).map_err(failed)?.pop().unwrap_or_default().1;
            keep(&kept, path, &bytecode::unchecked_pyc(&interpreter.magic, &code).map_err(failed)?)?;
        }
        programs.push((format!("{path}c"), fs::read(&kept).map_err(failed)?));
    }
    Ok(programs)
}

/// Of paths and sources.
fn digest(modules: &[(String, Vec<u8>)]) -> Sha256 {
    let mut text = String::new();
    for (path, source) in modules {
        text.push_str(&format!("{path}\0{}\n", Sha256::of(source)));
    }
    Sha256::of(text.as_bytes())
}

fn keep(path: &Path, of: &str, pack: &[u8]) -> Result<()> {
    let failed = |source| Error::Compile { of: of.to_owned(), source };
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    wheelbarrow_base::write_atomic(path, pack, 0o666).map_err(|error| failed(io::Error::other(error)))
}

/// A pack of modules that are in memory.
fn compile(interpreter: &Interpreter, of: &str, sources: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let failed = |source| Error::Compile { of: of.to_owned(), source };
    let compiled = run(interpreter, sources).map_err(failed)?;
    if compiled.is_empty() {
        return Ok(Vec::new());
    }
    bytecode::pack(&interpreter.magic, &compiled).map_err(failed)
}

fn compile_missing(
    interpreter: &Interpreter,
    missing: &[(&GatheredWheel, PathBuf)],
    progress: &dyn Progress,
) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    progress.begin("compiling", missing.iter().map(|(wheel, _)| wheel.size).sum(), Unit::Bytes);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..wheelbarrow_artifact::threads() {
            scope.spawn(|| {
                while let Some((wheel, path)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = compile_wheel(interpreter, wheel, path) {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        next.store(missing.len(), Ordering::Relaxed);
                    }
                    progress.advance(wheel.size);
                }
            });
        }
    });
    progress.end();
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn compile_wheel(interpreter: &Interpreter, wheel: &GatheredWheel, path: &Path) -> Result<()> {
    let failed = |source| Error::Compile { of: wheel.filename.clone(), source };
    let file = fs::File::open(&wheel.path).map_err(failed)?;
    // SAFETY: files of the cache are never written again once they are there.
    let map = unsafe { Mmap::map(file.file()) }.map_err(failed)?;
    let open = OpenWheel::open(&wheel.filename, &map).map_err(|error| failed(io::Error::other(error)))?;
    let mut sources = Vec::new();
    for file in open.files() {
        let entry = open.entry(file);
        let module = matches!(&file.destination, Destination::SitePackages(path) if path.ends_with(".py"));
        if module && entry.size <= LARGEST_MODULE {
            let contents = open.archive().read(entry, LARGEST_MODULE);
            let contents = contents.map_err(|error| failed(io::Error::other(error)))?;
            sources.push((entry.name.clone(), contents));
        }
    }
    sources.sort();
    keep(path, &wheel.filename, &compile(interpreter, &wheel.filename, &sources)?)
}

fn place(cache: &Cache, interpreter: &Interpreter, wheel: Sha256) -> PathBuf {
    // Patch releases with one magic number may compile to other code: what is built must not depend on which came first.
    let version = interpreter.version.map(|part| part.to_string()).join(".");
    let name = format!("{wheel}-{version}-{}.pack", *COMPILER);
    cache.root().join(DIRECTORY).join(&interpreter.magic).join(name)
}

/// What of this program shapes a pack.
static COMPILER: LazyLock<String> = LazyLock::new(|| {
    let parts = format!("{} {}", wheelbarrow_artifact::python::COMPILE, bytecode::VERSION);
    Sha256::of(parts.as_bytes()).to_string()[..16].to_owned()
});

/// Which wheel a pack of the cache is of; nothing where another version of this program made it.
pub(crate) fn wheel_of_pack(path: &Path) -> Option<Sha256> {
    let (wheel, rest) = path.file_name()?.to_str()?.split_once('-')?;
    rest.ends_with(&format!("-{}.pack", *COMPILER)).then(|| Sha256::from_hex(wheel))?
}

/// Runs `compile.py` over the modules; gives those that compile.
fn run(interpreter: &Interpreter, sources: &[(String, Vec<u8>)]) -> io::Result<Vec<(String, Vec<u8>)>> {
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let output = answers(interpreter.compiler(), &sources.iter().collect::<Vec<_>>())?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.trim().lines().last().unwrap_or("no output").to_owned();
        return Err(io::Error::other(format!("{}: {last}", interpreter.executable.display())));
    }
    let mut rest = output.stdout.as_slice();
    let mut compiled = Vec::with_capacity(sources.len());
    for (name, _) in sources {
        let code =
            split_block(&mut rest).ok_or_else(|| io::Error::other("the compiler's answer is cut off"))?;
        if !code.is_empty() {
            compiled.push((name.clone(), code.to_vec()));
        }
    }
    Ok(compiled)
}

fn split_block<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let (part, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = behind;
    Some(part)
}
