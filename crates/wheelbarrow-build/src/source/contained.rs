//! Builds in a container: unpack, ask the backend for its requirements, build; each step is a run of its own.
//!
//! The container has no network. The build requirements are resolved and fetched outside of it, with the same
//! uv, indexes and logins as all other files, and compared with their hashes; the container gets the wheels
//! as files.
//!
//! What runs in there may write to one directory, and can put a link in the place of any file in it. So this
//! process writes nothing there after the first run: what it gives is in another directory, which the container
//! can only read. Of the directory that the container may write, it reads regular files without leaving it.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::printable_line;

use super::builder::{Builder, only_directory, package, subdirectory_in};
use super::repository;
use crate::bootstrap;
use crate::cache::CacheEntry;
use crate::container::{BuildRoom, GIVEN, WORK};
use crate::select::{ChosenDistribution, DistributionSource};
use crate::target::{BuildTarget, ContainerRequest};
use crate::{Error, Result, untrusted};

/// Bytes of a pyproject.toml, and of the answer of `backend.py`.
const LARGEST: u64 = 16 << 20;

/// `[build-system]` of pyproject.toml (PEP 518), or what stands for it where there is none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BuildSystem {
    #[serde(default)]
    requires: Vec<String>,
    build_backend: Option<String>,
    #[serde(default)]
    backend_path: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pyproject {
    build_system: Option<BuildSystem>,
}

/// As `backend.py` reads it.
#[derive(Serialize)]
struct BackendRequest {
    source: String,
    virtualenv: String,
    out: String,
    pip: String,
    wheels: Vec<String>,
    backend: String,
    backend_path: Vec<String>,
    platform: Option<String>,
    settled: bool,
    answer: String,
}

#[derive(Deserialize)]
struct BackendAnswer {
    #[serde(default)]
    requires: Vec<String>,
}

/// One build in its directory.
struct ContainedBuild<'b> {
    builder: &'b Builder<'b>,
    chosen: &'b ChosenDistribution,
    target: &'b BuildTarget,
    room: &'b BuildRoom,
    /// No container sees it.
    workspace: &'b Path,
    /// In the workspace, at [`WORK`] in the container.
    work: PathBuf,
    /// In the workspace, at [`GIVEN`] in the container.
    given: PathBuf,
    /// The git repository of the source, if it is elsewhere.
    repository: Option<PathBuf>,
    within: &'b [&'b str],
}

impl Builder<'_> {
    /// The directory with the wheel that it gave.
    pub(super) fn build_contained(
        &self,
        chosen: &ChosenDistribution,
        archive: Option<&CacheEntry>,
        target: &BuildTarget,
        room: &BuildRoom,
        workspace: &Path,
        within: &[&str],
    ) -> Result<PathBuf> {
        let (work, given) = (workspace.join("work"), workspace.join("given"));
        let repository = None;
        let mut build = ContainedBuild {
            builder: self,
            chosen,
            target,
            room,
            workspace,
            work,
            given,
            repository,
            within,
        };
        build.run(archive)
    }
}

impl ContainedBuild<'_> {
    fn run(&mut self, archive: Option<&CacheEntry>) -> Result<PathBuf> {
        for directory in [self.work.join("home"), self.given.join("wheels")] {
            fs::create_dir_all(&directory).map_err(Error::io("make", &directory))?;
        }
        self.write("backend.py", wheelbarrow_artifact::python::BACKEND.as_bytes())?;
        let source = subdirectory_in(self.source(archive)?, self.chosen)?;
        let system = self.build_system(&source)?;
        let mut requires = system.requires.clone();
        // Some need more than pyproject.toml says, which only the backend knows; it is asked once.
        for settled in [false, true] {
            let request = self.request(&source, &system, &requires, settled)?;
            self.write("request.json", &serde_json::to_vec(&request).unwrap_or_default())?;
            self.python(&["build", &given("request.json")])?;
            let answer = self.work.join("answer.json");
            let text = untrusted::read(&self.work, &answer, LARGEST).map_err(Error::io("read", &answer))?;
            let answer: BackendAnswer =
                serde_json::from_slice(&text).map_err(|error| self.bad(&error.to_string()))?;
            if answer.requires.is_empty() {
                break;
            }
            requires.extend(answer.requires);
        }
        Ok(self.work.join("out"))
    }

    /// The source as a directory below the work directory.
    fn source(&mut self, archive: Option<&CacheEntry>) -> Result<PathBuf> {
        let (DistributionSource::Archive { download, .. }, Some(entry)) = (&self.chosen.source, archive)
        else {
            let directory = self.builder.directory(self.chosen, &self.work)?;
            // Later, the container could have put another link there.
            self.repository = repository::needed(&self.work.join("source"));
            return Ok(directory);
        };
        let name = download.filename.replace('/', "_");
        let file = self.given.join(&name);
        fs::copy(&entry.path, &file).map_err(Error::io("copy", &entry.path))?;
        self.python(&["unpack", &given(&name), &there("source")])?;
        only_directory(&self.work.join("source"))
    }

    /// <https://packaging.python.org/en/latest/specifications/pyproject-toml/#declaring-build-system-dependencies-the-build-system-table>
    fn build_system(&self, source: &Path) -> Result<BuildSystem> {
        let path = source.join("pyproject.toml");
        let pyproject: Pyproject = match untrusted::read(&self.work, &path, LARGEST) {
            Ok(text) => toml::from_slice(&text).map_err(|error| {
                self.bad(&format!("its pyproject.toml: {}", wheelbarrow_http::redact(error.message())))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Pyproject::default(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let legacy = || "setuptools.build_meta:__legacy__".to_owned();
        let mut system = pyproject.build_system.unwrap_or_else(|| BuildSystem {
            requires: vec!["setuptools".to_owned()],
            build_backend: None,
            backend_path: Vec::new(),
        });
        system.build_backend.get_or_insert_with(legacy);
        Ok(system)
    }

    fn request(
        &self,
        source: &Path,
        system: &BuildSystem,
        requires: &[String],
        settled: bool,
    ) -> Result<BackendRequest> {
        let nothing = ContainerRequest { image: String::new(), packages: Vec::new() };
        let container = self.target.container.as_ref().unwrap_or(&nothing);
        let host = self.room.system(container);
        let wheels = self.builder.build_requirements(requires, &host, self.workspace, &self.inside())?;
        let pip =
            bootstrap::pip_in_cache(&host, self.builder.project, self.builder.cache, self.builder.index)?;
        let mut names = Vec::new();
        for (name, entry) in wheels.iter().map(|(name, entry)| (name.as_str(), entry)) {
            names.push(self.bring(name, entry)?);
        }
        let platform = host.platform().to_string();
        let has_tag = host.tags().iter().any(|tag| tag.platform == platform);
        let below = source.strip_prefix(&self.work).unwrap_or(source);
        Ok(BackendRequest {
            source: there(&below.to_string_lossy()),
            virtualenv: there("virtualenv"),
            out: there("out"),
            pip: self.bring(&pip.0, &pip.1)?,
            wheels: names,
            backend: system.build_backend.clone().unwrap_or_default(),
            backend_path: system.backend_path.clone(),
            platform: has_tag.then_some(platform),
            settled,
            answer: there("answer.json"),
        })
    }

    /// The packages that are being built, this one the last.
    fn inside(&self) -> Vec<&str> {
        self.within.iter().copied().chain([self.chosen.name.as_str()]).collect()
    }

    /// A wheel of the cache where the container sees it; gives its path there.
    fn bring(&self, name: &str, entry: &CacheEntry) -> Result<String> {
        let below = format!("wheels/{name}");
        let file = self.given.join(&below);
        if !file.exists() {
            fs::copy(&entry.path, &file).map_err(Error::io("copy", &entry.path))?;
        }
        Ok(given(&below))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.given.join(name);
        fs::write(&path, content).map_err(Error::io("write", &path))
    }

    /// Runs `backend.py`; a failure is one of the build.
    fn python(&self, arguments: &[&str]) -> Result<()> {
        let script = given("backend.py");
        let arguments: Vec<&str> = ["-I", script.as_str()].iter().chain(arguments).copied().collect();
        let output = self.room.python(&self.work, &self.given, self.repository.as_deref(), &arguments)?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.builder.failed(self.chosen, self.target, &[output.stdout, output.stderr].concat()))
    }

    fn bad(&self, reason: &str) -> Error {
        Error::BadBuild {
            name: package(self.chosen),
            version: String::new(),
            result: format!("what cannot be read: {}", printable_line(reason)),
        }
    }
}

/// A path of the work directory, as the container has it.
fn there(name: &str) -> String {
    format!("{WORK}/{name}")
}

/// A path of the directory that the container can only read.
fn given(name: &str) -> String {
    format!("{GIVEN}/{name}")
}

#[cfg(test)]
mod tests;
