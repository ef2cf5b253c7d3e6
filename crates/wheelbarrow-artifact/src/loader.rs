//! The shared libraries that the dynamic loader would find for an interpreter: ld.so(8), and musl's own
//! rules.
//!
//! The standalone binary is a static program, often with another C library, so it cannot call the loader; it
//! searches the same places.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::interpreter::Interpreter;
use fs_err as fs;
use wheelbarrow_platform::Libc;
use wheelbarrow_wheel::order::Inserted;

/// What ldconfig(8) writes.
const CACHE: &str = "/etc/ld.so.cache";

/// Where the part of the cache begins that every glibc since 2.2 reads.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";

/// Bytes: of its header, and of each entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// What a dynamic loader would look into.
pub struct Loader {
    /// As ELF headers have it (`e_machine`), where it is a machine that we know.
    machine: Option<u16>,
    directories: Vec<PathBuf>,
    /// How many of `directories` are in no cache.
    uncached: usize,
    cache: HashMap<String, Vec<Cached>>,
}

/// A library in the cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cached {
    path: PathBuf,
    /// What kind of library it is: the machine in the second byte.
    flags: usize,
}

impl Loader {
    /// That of the C library that `interpreter` runs on.
    pub fn of(interpreter: &Interpreter) -> Self {
        let machine = interpreter.machine.as_str();
        let variable = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let mut directories: Vec<_> =
            std::env::split_paths(&variable).filter(|path| path.is_absolute()).collect();
        // Where an interpreter that brings its own libraries has them, by its RPATH.
        if let Some(prefix) = interpreter.executable.parent().and_then(Path::parent) {
            directories.push(prefix.join("lib"));
        }
        if matches!(interpreter.libc, Libc::Musl(..)) {
            directories.extend(musl_directories(machine));
            let uncached = directories.len();
            return Self { machine: machine_number(machine), directories, uncached, cache: HashMap::new() };
        }
        let uncached = directories.len();
        let triplet = format!("{machine}-linux-gnu");
        for top in ["/lib", "/usr/lib"] {
            directories.extend([Path::new(top).join(&triplet), format!("{top}64").into(), top.into()]);
        }
        let cache = fs::read(CACHE).map(|bytes| read_cache(&bytes)).unwrap_or_default();
        Self { machine: machine_number(machine), directories, uncached, cache }
    }

    /// Names of all libraries that it finds, as far as that shows without opening them.
    pub fn names(&self) -> BTreeSet<String> {
        let wanted = self.machine.and_then(cache_flag);
        let fits = |library: &Cached| wanted.is_none_or(|wanted| library.flags & 0xff00 == wanted);
        let cached = self.cache.iter().filter(|(_, libraries)| libraries.iter().any(fits));
        let mut names: BTreeSet<String> = cached.map(|(name, _)| name.clone()).inserted();
        for directory in &self.directories[..self.uncached] {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let found = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names.extend(found.filter(|name| name.contains(".so")));
        }
        names
    }

    /// Whether it finds a library of this name.
    pub fn finds(&self, library: &str) -> bool {
        let cached = self.cache.get(library).into_iter().flatten().map(|library| library.path.clone());
        let default = self.directories.iter().map(|directory| directory.join(library));
        cached.chain(default).any(|path| self.loads(&path))
    }

    /// Whether it is an ELF file of this machine.
    fn loads(&self, path: &Path) -> bool {
        let mut start = [0; 20];
        let read = fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start));
        // e_machine stands at 18, in the byte order that the sixth byte says.
        let number = [start[18], start[19]];
        let found = if start[5] == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
        read.is_ok() && start.starts_with(b"\x7fELF") && self.machine.is_none_or(|machine| machine == found)
    }
}

/// `EM_...` of the System V ABI.
fn machine_number(machine: &str) -> Option<u16> {
    Some(match machine {
        "x86_64" => 62,
        "i686" => 3,
        "aarch64" => 183,
        "armv7l" | "armv8l" => 40,
        "ppc64le" | "ppc64" => 21,
        "s390x" => 22,
        "riscv64" => 243,
        "loongarch64" => 258,
        _ => return None,
    })
}

/// What marks a machine's libraries in the cache (glibc, `sysdeps/generic/ldconfig.h`).
fn cache_flag(machine: u16) -> Option<usize> {
    Some(match machine {
        62 => 0x0300,
        183 => 0x0a00,
        _ => return None,
    })
}

fn musl_directories(machine: &str) -> Vec<PathBuf> {
    let own = fs::read_to_string(format!("/etc/ld-musl-{machine}.path"));
    let text = own.unwrap_or_else(|_| "/lib:/usr/local/lib:/usr/lib".to_owned());
    text.split([':', '\n']).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// Names and paths of the cache: after the header, entries of flags, offset of the name, offset of the path (four bytes
/// each, in the machine's order) and twelve more bytes. Offsets count from the magic. A damaged cache has less in it.
fn read_cache(bytes: &[u8]) -> HashMap<String, Vec<Cached>> {
    let mut found: HashMap<String, Vec<Cached>> = HashMap::new();
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else { return found };
    let bytes = &bytes[start..];
    let number = |at: usize| -> Option<usize> {
        Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    let text = |at: usize| -> Option<&str> {
        let rest = bytes.get(at..)?;
        std::str::from_utf8(&rest[..rest.iter().position(|&byte| byte == 0)?]).ok()
    };
    for index in 0..number(MAGIC.len()).unwrap_or(0) {
        let entry = HEADER + index * ENTRY;
        let Some((name, path)) = number(entry + 4).zip(number(entry + 8)) else { break };
        if let Some((name, path)) = text(name).zip(text(path)) {
            let library = Cached { path: path.into(), flags: number(entry).unwrap_or(0) };
            found.entry(name.to_owned()).or_default().push(library);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ldconfig says of its own file.
    #[test]
    fn the_cache_is_read_as_ldconfig_reads_it() {
        let printed = ["/sbin/ldconfig", "ldconfig"]
            .iter()
            .find_map(|program| std::process::Command::new(program).arg("-p").output().ok());
        let (Some(printed), Ok(bytes)) = (printed, fs::read(CACHE)) else {
            println!("skipped: this machine has no ldconfig");
            return;
        };
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        let lines = printed.lines().filter_map(|line| line.split_once(" => "));
        let mut theirs: Vec<_> = lines
            .map(|(name, path)| {
                (name.trim().split(' ').next().unwrap_or_default().to_owned(), PathBuf::from(path))
            })
            .collect();
        let mut ours: Vec<_> = read_cache(&bytes)
            .into_iter()
            .flat_map(|(name, found)| found.into_iter().map(move |library| (name.clone(), library.path)))
            .collect();
        theirs.sort();
        ours.sort();
        assert!(!ours.is_empty());
        assert_eq!(ours, theirs);
    }

    #[test]
    fn a_damaged_cache_is_ignored() {
        assert!(read_cache(b"").is_empty());
        assert!(read_cache(MAGIC).is_empty());
        assert!(read_cache(&[MAGIC, &[0xff; 100]].concat()).is_empty());
    }
}
