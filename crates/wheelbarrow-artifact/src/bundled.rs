//! The bundled Python: its facts from the build, adjusted to the destination and the machine of the install.
//!
//! An install does not run a Python for them: the facts are a file beside the interpreter, with [`PLACE`] for
//! the destination.

use std::io;
use std::path::Path;

use wheelbarrow_platform::Libc;

use crate::artifact::Artifact;
use crate::error::ArtifactError;
use crate::interpreter::Interpreter;
use crate::manifest::INTERPRETER_FACTS;

/// The destination, in the facts.
pub const PLACE: &str = "/wheelbarrow.destination";

/// No facts are larger, in bytes.
const LARGEST_FACTS: u64 = 1 << 20;

/// No C library is larger, in bytes.
const LARGEST_LIBC: u64 = 64 << 20;

impl Artifact {
    /// The interpreter that it brings for this machine, as it will be below `destination`, which is absolute.
    pub fn bundled(&self, destination: &Path) -> Result<Option<Interpreter>, ArtifactError> {
        let is_here = |machine: &str| machine == std::env::consts::ARCH;
        if !self.manifest().interpreter.as_ref().is_some_and(|own| is_here(&own.machine)) {
            return Ok(None);
        }
        let Some(entry) = self.archive().find(INTERPRETER_FACTS) else { return Ok(None) };
        let text = self.read_member(entry, LARGEST_FACTS)?;
        placed(&text, destination).map(Some).map_err(|error| ArtifactError::Altered {
            path: self.path().to_path_buf(),
            what: format!("{INTERPRETER_FACTS} cannot be understood: {error}"),
        })
    }
}

/// The facts of an interpreter, for `destination`.
pub fn placed(text: &[u8], destination: &Path) -> io::Result<Interpreter> {
    let text = std::str::from_utf8(text).map_err(io::Error::other)?;
    let destination = destination.to_str().ok_or_else(|| io::Error::other("the destination is not UTF-8"))?;
    let quoted = serde_json::to_string(destination)?;
    let mut interpreter: Interpreter =
        serde_json::from_slice(text.replace(PLACE, &quoted[1..quoted.len() - 1]).as_bytes())?;
    if let Libc::Glibc(..) = interpreter.libc {
        interpreter.libc = Libc::Glibc(2, glibc_here(&interpreter.machine).unwrap_or(0));
    }
    Ok(interpreter)
}

impl Interpreter {
    /// Whether it is the one that an install at `destination` brings.
    pub fn is_bundled(&self, destination: &Path) -> bool {
        self.executable.starts_with(destination.join(crate::manifest::INTERPRETER))
    }
}

/// The minor version of this machine's glibc, by the newest version of its symbols.
fn glibc_here(machine: &str) -> Option<u32> {
    let multiarch = format!("{machine}-linux-gnu");
    let directories = [format!("/lib/{multiarch}"), format!("/usr/lib/{multiarch}")];
    let directories =
        directories.into_iter().chain(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned));
    directories
        .filter_map(|directory| {
            wheelbarrow_base::read_regular(&Path::new(&directory).join("libc.so.6"), LARGEST_LIBC).ok()
        })
        .find_map(|bytes| newest_symbol(&bytes))
}

fn newest_symbol(bytes: &[u8]) -> Option<u32> {
    const SYMBOL: &[u8] = b"GLIBC_2.";
    let mut newest = None;
    let mut rest = bytes;
    while let Some(place) = rest.iter().position(|byte| *byte == SYMBOL[0]) {
        rest = &rest[place..];
        if let Some(number) = rest.strip_prefix(SYMBOL) {
            let digits: String = number
                .iter()
                .take(4)
                .take_while(|byte| byte.is_ascii_digit())
                .map(|byte| char::from(*byte))
                .collect();
            newest = newest.max(digits.parse().ok());
        }
        rest = &rest[1..];
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_is_the_version() {
        assert_eq!(newest_symbol(b"\0GLIBC_2.2.5\0GLIBC_2.36\0GLIBC_2.4\0GLIBC_PRIVATE\0"), Some(36));
        assert_eq!(newest_symbol(b"GGLIBC"), None);
    }

    #[test]
    fn facts_are_for_the_destination() {
        let facts = r#"{"executable": "/wheelbarrow.destination/python/bin/python3.12", "version": [3, 12, 1],
            "implementation": "cpython", "cache_tag": "cpython-312", "magic": "", "abi": "cp312",
            "machine": "x86_64", "libc": {"name": "musl", "version": [1, 2]}, "site_packages": "", "headers": ""}"#;
        let destination = Path::new("/srv/a \"b\"");
        let interpreter = placed(facts.as_bytes(), destination).unwrap();
        assert_eq!(interpreter.executable, destination.join("python/bin/python3.12"));
        assert!(interpreter.is_bundled(destination) && !interpreter.is_bundled(Path::new("/srv/other")));
        assert_eq!(interpreter.libc, Libc::Musl(1, 2));
    }
}
