//! Notes on modules of the site that do not compile for a target: the code may be for a newer Python. It is not an
//! error, since projects also contain templates and code for Python 2, which never compile.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;
use wheelbarrow_artifact::bytecode::Pack;
use wheelbarrow_artifact::interpreter::Interpreter;

use super::answers::answers;

const SCRIPT: &str = include_str!("../../python/uncompiled.py");

/// So many modules are named for each Python.
const NAMED: usize = 5;

/// For the modules that are not in `pack`.
pub(super) fn notes(
    interpreter: &Interpreter,
    modules: &[(String, Vec<u8>)],
    pack: &Path,
) -> io::Result<Vec<String>> {
    let bytes = fs::read(pack)?;
    let pack = if bytes.is_empty() { None } else { Some(Pack::open(&bytes).map_err(io::Error::other)?) };
    let frames = pack.iter().flat_map(|pack| &pack.frames);
    let compiled: BTreeSet<&str> =
        frames.flat_map(|frame| &frame.files).map(|(path, _)| path.as_str()).collect();
    let missing: Vec<_> = modules.iter().filter(|(path, _)| !compiled.contains(path.as_str())).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = Command::new(&interpreter.executable);
    command.envs(&interpreter.environment).args(["-I", "-S", "-B", "-c", SCRIPT]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let named = &missing[..missing.len().min(NAMED)];
    let reasons = answers(command, named)?.stdout;
    let reasons = String::from_utf8_lossy(&reasons);
    let python = interpreter.minor_version();
    let mut notes: Vec<String> = named
        .iter()
        .zip(reasons.lines())
        .map(|((path, _), reason)| {
            let path = path.split_once('/').map_or(path.as_str(), |(_, below)| below);
            format!("{path} does not compile for Python {python}: {reason}")
        })
        .collect();
    if missing.len() > NAMED {
        notes.push(format!("{} more modules do not compile for Python {python}", missing.len() - NAMED));
    }
    Ok(notes)
}
