//! Facts from the ELF files of a standalone Python: the glibc and the libraries that it needs.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use sha2::Digest;
use wheelbarrow_artifact::manifest::{INTERPRETER, Sha256};
use wheelbarrow_audit::elf::{ElfFacts, is_elf};

use super::tree::files;
use crate::project::{FileContent, ProjectFile};
use crate::{Error, Result};

/// What the paths of libpython begin with.
const LIBPYTHON: &str = "lib/libpython";

/// What the bytes of a tree say.
pub(super) struct TreeFacts {
    pub(super) digest: Sha256,
    pub(super) glibc: Option<(u32, u32)>,
    /// All libraries that an ELF file asks for, libpython itself aside.
    needed: BTreeSet<String>,
    /// Those that the tree has not, each with a file that asks for it.
    pub(super) needs: Vec<(String, String)>,
}

pub(super) fn read_facts(files: &[ProjectFile]) -> Result<TreeFacts> {
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

/// libpython, if the program has it in itself and nothing else asks for it.
pub(super) fn leave_out_library(tree: &Path) -> Result<()> {
    let files = files(tree)?;
    let needed = read_facts(&files)?.needed;
    for file in files.iter().filter(|file| file.path.starts_with(LIBPYTHON)) {
        if !needed.contains(file.path.rsplit('/').next().unwrap_or_default()) {
            fs::remove_file(&file.source).map_err(Error::io("remove", &file.source))?;
        }
    }
    Ok(())
}

/// Where a program looks for its libpython, if that is not a directory beside it, by `$ORIGIN`: on a host it would not
/// start, or with the libpython of another Python.
pub(super) fn library_elsewhere(program: &Path) -> Result<Option<String>> {
    let bytes = fs::read(program).map_err(Error::io("read", program))?;
    let Some(facts) = is_elf(&bytes).then(|| ElfFacts::read(&bytes).ok()).flatten() else { return Ok(None) };
    let Some(library) = facts.needed.iter().find(|name| name.starts_with("libpython")) else {
        return Ok(None);
    };
    let bin = program.parent().unwrap_or(program);
    let is_beside = |directory: &String| {
        let below = ["$ORIGIN", "${ORIGIN}"].iter().find_map(|origin| directory.strip_prefix(origin));
        below.is_some_and(|below| bin.join(below.trim_start_matches('/')).join(library).is_file())
    };
    if facts.search.iter().any(is_beside) {
        return Ok(None);
    }
    let searched = match &facts.search[..] {
        [] => "the directories of the system".to_owned(),
        directories => directories.join(", "),
    };
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    Ok(Some(format!("its bin/{name} looks for {library} in {searched}, not in the directory itself")))
}

/// `(2, 28)` of `2.28`.
pub(super) fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("2.28"), Some((2, 28)));
        assert!(numbers("2.9") < numbers("2.28"));
        assert_eq!(numbers("2"), None);
    }
}
