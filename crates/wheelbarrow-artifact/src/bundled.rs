//! The bundled Python: its facts from the build, adjusted to the destination and the machine of the install.
//!
//! An install does not run a Python for them: the facts are a file beside the interpreter, with [`PLACE`] for
//! the destination.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use wheelbarrow_base::{SafePath, json};
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
        json::from_slice(text.replace(PLACE, &quoted[1..quoted.len() - 1]).as_bytes())?;
    for path in [&interpreter.site_packages, &interpreter.headers, &interpreter.cache_tag] {
        SafePath::new(path).map_err(io::Error::other)?;
    }
    if interpreter.cache_tag.contains('/') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    interpreter.libc = libc_in(Path::new("/"), interpreter.libc, &interpreter.machine);
    Ok(interpreter)
}

impl Interpreter {
    /// Whether it is the one that an install at `destination` brings.
    pub fn is_bundled(&self, destination: &Path) -> bool {
        self.executable.starts_with(destination.join(crate::manifest::INTERPRETER))
    }
}

/// The C library of a system: of the kind that a program needs, else the other one, so that a refusal can name it.
fn libc_in(root: &Path, needed: Libc, machine: &str) -> Libc {
    let glibc = || glibc_in(root, machine).map(|minor| Libc::Glibc(2, minor));
    let musl = || musl_in(root, machine);
    let found = match needed {
        Libc::Glibc(..) => glibc().or_else(musl),
        Libc::Musl(..) => musl().or_else(glibc),
    };
    found.unwrap_or(Libc::UNKNOWN)
}

/// The minor version of a system's glibc, by the newest version of its symbols.
fn glibc_in(root: &Path, machine: &str) -> Option<u32> {
    let multiarch = format!("{machine}-linux-gnu");
    let directories = [format!("lib/{multiarch}"), format!("usr/lib/{multiarch}")];
    let directories =
        directories.into_iter().chain(["lib64", "usr/lib64", "lib", "usr/lib"].map(str::to_owned));
    directories
        .filter_map(|directory| {
            wheelbarrow_base::read_regular(&root.join(directory).join("libc.so.6"), LARGEST_LIBC).ok()
        })
        .find_map(|bytes| newest_symbol(&bytes))
}

/// The version of a system's musl. Its loader prints the version when it is run alone (PEP 656).
fn musl_in(root: &Path, machine: &str) -> Option<Libc> {
    let mut loader = Command::new(root.join(format!("lib/ld-musl-{machine}.so.1")));
    let output = loader.stdin(Stdio::null()).output().ok()?;
    let printed = String::from_utf8_lossy(&output.stderr);
    let mut numbers = printed.lines().find_map(|line| line.strip_prefix("Version "))?.split('.');
    Some(Libc::Musl(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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
    use std::os::unix::fs::PermissionsExt;

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
            "machine": "x86_64", "libc": {"name": "musl", "version": [1, 2]}, "site_packages": "lib/python3.12/site-packages",
            "headers": "include/site/python3.12"}"#;
        let destination = Path::new("/srv/a \"b\"");
        let interpreter = placed(facts.as_bytes(), destination).unwrap();
        assert_eq!(interpreter.executable, destination.join("python/bin/python3.12"));
        assert!(interpreter.is_bundled(destination) && !interpreter.is_bundled(Path::new("/srv/other")));
        for (from, to) in [
            ("lib/python3.12/site-packages", "../../root/x"),
            ("lib/python3.12/site-packages", "/root/x"),
            ("include/site/python3.12", "include/../../x"),
            ("cpython-312", "../x"),
        ] {
            placed(facts.replace(from, to).as_bytes(), destination).unwrap_err();
        }
    }

    #[test]
    fn the_c_library_is_that_of_the_system() {
        let system = tempfile::tempdir().unwrap();
        let found = |needed| libc_in(system.path(), needed, "x86_64");
        let (glibc, musl) = (Libc::Glibc(2, 17), Libc::Musl(1, 2));
        assert_eq!((found(glibc), found(musl)), (Libc::UNKNOWN, Libc::UNKNOWN));

        let lib = system.path().join("lib");
        fs_err::create_dir(&lib).unwrap();
        let loader = lib.join("ld-musl-x86_64.so.1");
        let script = "#!/bin/sh\nprintf 'musl libc (x86_64)\\nVersion 1.1.24\\nDynamic Program Loader\\n' >&2; exit 1\n";
        fs_err::write(&loader, script).unwrap();
        fs_err::set_permissions(&loader, std::fs::Permissions::from_mode(0o755)).unwrap();
        let older = Libc::Musl(1, 1);
        assert_eq!((found(glibc), found(musl)), (older, older));

        fs_err::write(lib.join("libc.so.6"), b"\0GLIBC_2.36\0").unwrap();
        assert_eq!((found(glibc), found(musl)), (Libc::Glibc(2, 36), older));
        fs_err::remove_file(&loader).unwrap();
        assert_eq!(found(musl), Libc::Glibc(2, 36));
    }
}
