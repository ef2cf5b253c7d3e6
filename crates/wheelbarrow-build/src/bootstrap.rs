//! The pip in an artifact: for each minor version of Python the last pip that supports it, pinned by hash
//! here.
//!
//! No index is named: uv gets the file from the user's index, and the hash verifies it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_http::Credentials;

use crate::cache::{Cache, CacheEntry, hash_file};
use crate::fetch::Download;
use crate::lock::{Place, Pylock, place};
use crate::target::BuildTarget;
use crate::uv::{self, IndexOptions, Uv};
use crate::{Error, Result};

/// A release of pip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pip {
    pub version: &'static str,
    sha256: &'static str,
    /// The last Python 3 minor version that takes this one, where a later pip serves the next.
    until: Option<u32>,
}

/// In the order of the Pythons that they serve.
const PIPS: [Pip; 5] = [
    Pip {
        version: "21.3.1",
        sha256: "deaf32dcd9ab821e359cd8330786bcd077604b5c5730c0b096eda46f95c24a2d",
        until: Some(6),
    },
    Pip {
        version: "24.0",
        sha256: "ba0d021a166865d2265246961bec0152ff124de910c5cc39f1156ce3fa7c69dc",
        until: Some(7),
    },
    Pip {
        version: "25.0.1",
        sha256: "c46efd13b6aa8279f33f2864459c8ce587ea6a1a59ee20de055868d8f7688f7f",
        until: Some(8),
    },
    Pip {
        version: "26.0.1",
        sha256: "bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b",
        until: Some(9),
    },
    Pip {
        version: "26.3",
        sha256: "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13",
        until: None,
    },
];

/// pip for a Python.
pub fn pip_for((_, minor): (u32, u32)) -> Pip {
    PIPS.into_iter().find(|pip| pip.until.is_none_or(|until| minor <= until)).unwrap_or(PIPS[PIPS.len() - 1])
}

impl Pip {
    pub fn filename(&self) -> String {
        format!("pip-{}-py3-none-any.whl", self.version)
    }

    pub(crate) fn sha256(&self) -> Sha256 {
        Sha256::from_hex(self.sha256).expect("the table holds hashes")
    }
}

/// One for each target, in their order.
pub(crate) fn downloads(
    targets: &[BuildTarget],
    project: &Path,
    cache: &Cache,
    index: &IndexOptions,
) -> Result<Vec<Download>> {
    let mut known: BTreeMap<&str, Download> = BTreeMap::new();
    let mut downloads = Vec::new();
    for target in targets {
        let pip = pip_for(target.version());
        if !known.contains_key(pip.version) {
            known.insert(pip.version, download(pip, target, project, cache, index)?);
        }
        downloads.extend(known.get(pip.version).cloned());
    }
    Ok(downloads)
}

/// The file name of a target's pip, and the file, which [`downloads`] brought into the cache.
pub(crate) fn pip_in_cache(
    target: &BuildTarget,
    project: &Path,
    cache: &Cache,
    index: &IndexOptions,
) -> Result<(String, CacheEntry)> {
    let pip = pip_for(target.version());
    let download = download(pip, target, project, cache, index)?;
    let lacks = || Error::Offline { missing: vec![pip.filename()] };
    Ok((pip.filename(), cache.get(download.sha256)?.ok_or_else(lacks)?))
}

/// Where the file is: nowhere that matters if the cache has it, else in a directory of wheels, else where uv finds it.
fn download(
    pip: Pip,
    target: &BuildTarget,
    project: &Path,
    cache: &Cache,
    index: &IndexOptions,
) -> Result<Download> {
    let local = match cache.get(pip.sha256())? {
        Some(entry) => Some(entry.path),
        None => in_a_directory(pip, index),
    };
    let (place, size) = match local {
        Some(path) => (Place::Local(path), None),
        None => locate(pip, target, project, cache, index)?,
    };
    Ok(Download { filename: pip.filename(), place, sha256: pip.sha256(), size })
}

fn in_a_directory(pip: Pip, index: &IndexOptions) -> Option<PathBuf> {
    let directories = index.indexes().directories();
    let mut files = directories.iter().map(|directory| directory.join(pip.filename()));
    files.find(|file| hash_file(file).is_ok_and(|(sha256, _)| sha256 == pip.sha256()))
}

fn locate(
    pip: Pip,
    target: &BuildTarget,
    project: &Path,
    cache: &Cache,
    index: &IndexOptions,
) -> Result<(Place, Option<u64>)> {
    let offline = || Error::Offline { missing: vec![pip.filename()] };
    let uv = match Uv::needed(|| format!("pip {}, which the artifact needs,", pip.version)) {
        Err(_) if index.offline => return Err(offline()),
        uv => uv?,
    };
    let workspace = cache.workspace()?;
    let requirement = workspace.path().join("pip.txt");
    let text = format!("pip=={} --hash=sha256:{}\n", pip.version, pip.sha256);
    fs::write(&requirement, text).map_err(Error::io("write", &requirement))?;
    let out = workspace.path().join("pylock.pip.toml");
    let mut command = uv.with_indexes(&["pip", "compile", "--no-deps", "--no-header", "--universal"], index);
    command
        .args(["--format", "pylock.toml", "--python-version", target.python.as_str(), "--output-file"])
        .arg(&out);
    if let Some(interpreter) = target.own_interpreter() {
        command.arg("--python").arg(&interpreter.executable);
    }
    uv::clean_python(&mut command);
    let output = uv::run(command.arg(&requirement).current_dir(project))?;
    if !output.status.success() {
        if index.offline {
            return Err(offline());
        }
        uv::hide_logins(project, index, &Credentials::default());
        return Err(Error::NoPip { file: pip.filename(), stderr: uv::stderr_of(&output) });
    }
    let text = fs::read_to_string(&out).map_err(Error::io("read", &out))?;
    let broken = |reason| Error::Lock { path: out.clone(), reason };
    let pylock = Pylock::parse_unhashed(&text).map_err(broken)?;
    let wheels = pylock.packages.iter().flat_map(|package| &package.wheels);
    let wheel = wheels.into_iter().find(|wheel| {
        // An index may have another hash only; uv has compared this one.
        wheel.sha256().is_none_or(|sha256| sha256 == pip.sha256()) && wheel.filename() == Some(pip.filename())
    });
    let place = wheel.and_then(|wheel| {
        // uv's relative paths start at its output, which is about to go.
        Some((place(workspace.path(), wheel.path.as_deref(), wheel.url.as_deref())?, wheel.size))
    });
    let lacks = || Error::NoPip {
        file: pip.filename(),
        stderr: format!("no index has it with sha256 {}", pip.sha256),
    };
    let (place, size) = place.ok_or_else(lacks)?;
    if let Place::Local(path) = &place {
        return Ok((Place::Local(path.canonicalize().map_err(Error::io("find", path))?), size));
    }
    Ok((place, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_python_has_its_pip() {
        for (minor, version) in [(6, "21.3.1"), (7, "24.0"), (8, "25.0.1")] {
            assert_eq!(pip_for((3, minor)).version, version);
        }
        assert_eq!(pip_for((3, 99)), PIPS[PIPS.len() - 1]);
        assert!(PIPS.iter().all(|pip| Sha256::from_hex(pip.sha256).is_some()));
    }
}
