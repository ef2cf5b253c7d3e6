//! Running the build, judging what it gave, remembering it.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::progress::Progress;
use wheelbarrow_wheel::WheelFilename;

use super::git::Checkout;
use super::tree;
use crate::cache::{Built, Cache, Entry};
use crate::credentials::Credentials;
use crate::python::BuildTarget;
use crate::select::{Chosen, Source};
use crate::uv::{self, IndexOptions, Uv};
use crate::{Error, Result};

/// 1980-01-01, the first moment that a zip can tell, in seconds since 1970.
const SOURCE_DATE_EPOCH: &str = "315532800";

/// Lines of a failed build's log that are shown.
const LAST_LINES: usize = 25;

/// Builds, and remembers in the cache.
pub struct Builder<'a> {
    pub cache: &'a Cache,
    /// Whose uv settings count, for the index of the build's requirements.
    pub project: &'a Path,
    pub index: &'a IndexOptions,
    pub credentials: &'a Credentials,
    pub progress: &'a dyn Progress,
}

/// A wheel made here, in the cache.
#[derive(Clone, Debug)]
pub struct BuiltWheel {
    pub filename: WheelFilename,
    pub entry: Entry,
}

impl Builder<'_> {
    /// The wheel of `chosen` for `target`: remembered, or built now. `archive` is the fetched file, where the source is one.
    pub fn wheel(
        &self,
        chosen: &Chosen,
        archive: Option<&Entry>,
        target: &BuildTarget,
    ) -> Result<BuiltWheel> {
        let source = self.source_key(chosen, archive)?;
        let own = Sha256::of(format!("{source}\n{}\n{}", target.abi, target.platform()).as_bytes());
        let pure = Sha256::of(format!("{source}\nany").as_bytes());
        for key in [own, pure] {
            if let Some((built, entry)) = self.cache.built(key)?
                && let Ok(filename) = WheelFilename::parse(&built.filename)
                && target.tags().rank(&filename).is_some()
            {
                return Ok(BuiltWheel { filename, entry });
            }
        }
        let wheel = self.build(chosen, archive, target)?;
        let built = Built { filename: wheel.filename.to_string(), sha256: wheel.entry.sha256 };
        self.cache.set_built(own, &built)?;
        if wheel.filename.tags.iter().all(|tag| tag.abi == "none" && tag.platform == "any") {
            self.cache.set_built(pure, &built)?;
        }
        Ok(wheel)
    }

    /// What the source is, whatever it is built for.
    fn source_key(&self, chosen: &Chosen, archive: Option<&Entry>) -> Result<String> {
        Ok(match &chosen.source {
            Source::Wheel(download) => format!("wheel {}", download.sha256),
            Source::Archive { download, subdirectory } => {
                let sha256 = archive.map_or(download.sha256, |entry| entry.sha256);
                format!("archive {sha256} {}", subdirectory.as_deref().unwrap_or_default())
            }
            Source::Git { commit, subdirectory, .. } => {
                format!("git {commit} {} {}", chosen.name, subdirectory.as_deref().unwrap_or_default())
            }
            Source::Directory { path, subdirectory } => {
                format!("directory {} {}", tree::digest(path)?, subdirectory.as_deref().unwrap_or_default())
            }
        })
    }

    fn build(&self, chosen: &Chosen, archive: Option<&Entry>, target: &BuildTarget) -> Result<BuiltWheel> {
        let version = chosen.version.clone().unwrap_or_default();
        let interpreter = target.interpreter.as_ref().ok_or_else(|| Error::NoInterpreter {
            name: chosen.name.clone(),
            version: version.clone(),
            python: target.python.clone(),
        })?;
        let uv = Uv::find().ok_or_else(|| Error::NoUv { what: format!("the source of {}", chosen.name) })?;
        let separator = if version.is_empty() { "" } else { " " };
        self.progress.note(&format!(
            "building {}{separator}{version} from source for Python {}",
            chosen.name, target.python
        ));
        let workspace = self.cache.workspace()?;
        let source = self.prepare(chosen, archive, &interpreter.executable, workspace.path())?;
        let out = workspace.path().join("out");
        let mut command = uv.with_indexes(&["build", "--wheel"], self.index);
        command.arg("--python").arg(&interpreter.executable).arg("--out-dir").arg(&out).arg(&source);
        command
            .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
            .env("PYTHONHASHSEED", "0")
            .current_dir(self.project);
        uv::clean_python(&mut command);
        let output = uv::run(&mut command)?;
        if !output.status.success() {
            return Err(self.failed(chosen, target, &[output.stdout, output.stderr].concat()));
        }
        self.judge(chosen, target, &out)
    }

    /// Where uv is to build: the archive itself, or a directory.
    fn prepare(
        &self,
        chosen: &Chosen,
        archive: Option<&Entry>,
        python: &Path,
        workspace: &Path,
    ) -> Result<PathBuf> {
        let below = |directory: PathBuf, subdirectory: &Option<String>| match subdirectory {
            Some(subdirectory) => directory.join(subdirectory),
            None => directory,
        };
        match (&chosen.source, archive) {
            (Source::Git { url, commit, subdirectory }, _) => {
                if self.index.offline && !url.starts_with("file:") {
                    return Err(Error::Offline {
                        missing: vec![format!("{} at commit {commit}", chosen.name)],
                    });
                }
                let checkout = Checkout { name: &chosen.name, url, commit, credentials: self.credentials };
                let directory = workspace.join("source");
                checkout.run(&directory)?;
                Ok(below(directory, subdirectory))
            }
            // Built from a copy: backends leave build/ and *.egg-info behind, and take up what they find there.
            (Source::Directory { path, subdirectory }, _) => {
                let directory = workspace.join("source");
                tree::copy(path, &directory)?;
                Ok(below(directory, subdirectory))
            }
            (Source::Archive { download, subdirectory }, Some(entry)) => {
                let file = workspace.join(download.filename.replace('/', "_"));
                fs::copy(&entry.path, &file).map_err(Error::io("copy", &entry.path))?;
                match subdirectory {
                    None => Ok(file),
                    Some(subdirectory) => Ok(unpack(python, &file, workspace)?.join(subdirectory)),
                }
            }
            (Source::Archive { download, .. } | Source::Wheel(download), _) => {
                Err(Error::Offline { missing: vec![download.filename.clone()] })
            }
        }
    }

    fn failed(&self, chosen: &Chosen, target: &BuildTarget, log: &[u8]) -> Error {
        let version = chosen.version.clone().unwrap_or_default();
        let name = format!("{}-{version}-{}", chosen.name, target.abi);
        let log = crate::credentials::redact(&String::from_utf8_lossy(log));
        let path = match self.cache.keep_log(&name, log.as_bytes()) {
            Ok(path) => path,
            Err(error) => return error,
        };
        let lines: Vec<&str> = log.trim_end().lines().collect();
        let last_lines = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        let package = format!("{} {version}", chosen.name).trim_end().to_owned();
        Error::Build { package, python: target.python.clone(), last_lines, log: path }
    }

    /// Exactly one wheel, of that package and version, that fits the target.
    fn judge(&self, chosen: &Chosen, target: &BuildTarget, out: &Path) -> Result<BuiltWheel> {
        let version = chosen.version.clone().unwrap_or_default();
        let bad =
            |said: String| Error::BadBuild { name: chosen.name.clone(), version: version.clone(), said };
        let wheels: Vec<PathBuf> = fs::read_dir(out)
            .map_err(Error::io("read", out))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .collect();
        let [path] = wheels.as_slice() else {
            return Err(bad(format!("{} wheels instead of one", wheels.len())));
        };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let filename = WheelFilename::parse(name).map_err(|error| bad(error.to_string()))?;
        if filename.name != chosen.name {
            return Err(bad(format!("{name}, which is another package")));
        }
        let wanted = chosen.version.as_deref().and_then(|version| version.parse().ok());
        if wanted.is_some_and(|wanted: pep440_rs::Version| wanted != filename.version) {
            return Err(bad(format!("{name}, which is another version")));
        }
        if let Some(unfit) = target.tags().explain(&filename) {
            return Err(bad(format!("{name}, which does not fit: {unfit}")));
        }
        Ok(BuiltWheel { entry: self.cache.put(path)?, filename })
    }
}

/// Unpacks any archive that Python can, and gives the one directory in it, or where it was unpacked.
fn unpack(python: &Path, file: &Path, workspace: &Path) -> Result<PathBuf> {
    let directory = workspace.join("source");
    let mut command = Command::new(python);
    command
        .args(["-I", "-c", "import shutil, sys; shutil.unpack_archive(*sys.argv[1:])"])
        .arg(file)
        .arg(&directory);
    let output = uv::run(&mut command)?;
    if !output.status.success() {
        let said = uv::said(&output).lines().last().unwrap_or_default().to_owned();
        let error = std::io::Error::other(said);
        return Err(Error::io("unpack", file)(error));
    }
    let entries: Vec<PathBuf> = fs::read_dir(&directory)
        .map_err(Error::io("read", &directory))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    Ok(match entries.as_slice() {
        [only] if only.is_dir() => only.clone(),
        _ => directory,
    })
}
