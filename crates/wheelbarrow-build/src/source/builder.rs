//! Chooses where a source is built, checks the result, and caches it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fs_err as fs;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::printable_line;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_http::Credentials;
use wheelbarrow_wheel::WheelFilename;

use super::cache_keys::{cache_keys, compile_variables};
use super::git::{Checkout, Checkouts};
use super::unpacked_tree;
use crate::cache::{Cache, CacheEntry, CachedBuild};
use crate::container::{BuildRoom, BuildRooms};
use crate::fetch::FetchOptions;
use crate::select::{ChosenDistribution, DistributionSource};
use crate::target::{BuildTarget, HAS_TARGETS};
use crate::uv::IndexOptions;
use crate::uv::uv_settings::UvSettings;
use crate::{Error, Result, own, untrusted, uv};

/// Lines of a failed build's log that are shown.
const LAST_LINES: usize = 25;

/// Grows when the same source would be built in another way.
const SCHEME: &str = "2";

/// Builds, and remembers in the cache.
pub struct Builder<'a> {
    pub cache: &'a Cache,
    /// Whose uv settings count, for the index of the build's requirements.
    pub project: &'a Path,
    pub index: &'a IndexOptions,
    pub fetch: &'a FetchOptions,
    pub credentials: &'a Credentials,
    /// podman or docker, where the person named one.
    pub engine: Option<&'a str>,
    pub(crate) rooms: BuildRooms,
    /// Set when something failed: then what is running is stopped.
    pub(crate) stop: AtomicBool,
    /// By URL and commit.
    pub(crate) checkouts: Checkouts,
    pub progress: &'a dyn Progress,
}

/// A wheel made here, in the cache.
#[derive(Clone, Debug)]
pub struct BuiltWheel {
    pub filename: WheelFilename,
    pub entry: CacheEntry,
}

/// Where a source is built.
pub(super) enum BuildPlace<'t> {
    /// With an interpreter of this machine.
    Here(&'t Interpreter),
    /// The same, though this machine is not the target: good for what turns out to be pure Python.
    Elsewhere(&'t Interpreter),
    Container(Arc<BuildRoom>),
}

impl BuildPlace<'_> {
    /// For the cache: what is built in one place must not serve another.
    fn key(&self) -> String {
        match self {
            Self::Container(room) => room.key.clone(),
            Self::Here(interpreter) | Self::Elsewhere(interpreter) => {
                let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
                let lines =
                    release.lines().filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID="));
                let system = lines.collect::<Vec<_>>().join(" ");
                format!("here {} {system}", interpreter.libc)
            }
        }
    }
}

impl Builder<'_> {
    /// The wheel of `chosen` for `target`: remembered, or built now. `archive` is the fetched file, where the source is one.
    pub fn wheel(
        &self,
        chosen: &ChosenDistribution,
        archive: Option<&CacheEntry>,
        target: &BuildTarget,
    ) -> Result<BuiltWheel> {
        self.wheel_within(chosen, archive, target, &[])
    }

    /// `within` are the packages whose building this one is needed for.
    pub(super) fn wheel_within(
        &self,
        chosen: &ChosenDistribution,
        archive: Option<&CacheEntry>,
        target: &BuildTarget,
        within: &[&str],
    ) -> Result<BuiltWheel> {
        if within.contains(&chosen.name.as_str()) {
            let chain = within.iter().copied().chain([chosen.name.as_str()]).map(str::to_owned).collect();
            return Err(Error::BuildCycle { package: chosen.name.clone(), chain });
        }
        let source = self.source_key(chosen, archive, target)?;
        let pure = pure_key(&source);
        if let Some(wheel) = self.remembered(pure, target)? {
            return Ok(wheel);
        }
        let place = self.place(chosen, target)?;
        let own = own_key(&source, target, &place);
        if let Some(wheel) = self.remembered(own, target)? {
            return Ok(wheel);
        }
        let only_pure = match &place {
            BuildPlace::Elsewhere(_) => {
                ", on another system: if it compiles anything, the wheel cannot be used (`--container IMAGE` builds it)"
            }
            _ => "",
        };
        let what = format!("building {} from source for {}", package(chosen), target.describe());
        self.progress.note(&format!("{what}{only_pure}"));
        let workspace = self.cache.workspace()?;
        let out = match &place {
            BuildPlace::Here(interpreter) | BuildPlace::Elsewhere(interpreter) => {
                self.build_here(chosen, archive, target, interpreter, workspace.path())?
            }
            BuildPlace::Container(room) => {
                self.build_contained(chosen, archive, target, room, workspace.path(), within)?
            }
        };
        let wheel = self.judge(chosen, target, &out, &place)?;
        let built = CachedBuild { filename: wheel.filename.to_string(), sha256: wheel.entry.sha256 };
        self.cache.set_built(if is_pure(&wheel.filename) { pure } else { own }, &built)?;
        Ok(wheel)
    }

    fn remembered(&self, key: Sha256, target: &BuildTarget) -> Result<Option<BuiltWheel>> {
        let Some((built, entry)) = self.cache.built(key)? else { return Ok(None) };
        let filename = WheelFilename::parse(&built.filename).ok();
        let filename = filename.filter(|filename| target.tags().rank(&filename.tags).is_some());
        Ok(filename.map(|filename| BuiltWheel { filename, entry }))
    }

    /// In the container that is asked for; else here, if there is such a Python.
    fn place<'t>(&self, chosen: &ChosenDistribution, target: &'t BuildTarget) -> Result<BuildPlace<'t>> {
        if let Some(container) = &target.container {
            let room = self.rooms.room(container, target, self.engine, self.index.offline, self.progress)?;
            return Ok(BuildPlace::Container(room));
        }
        match &target.interpreter {
            Some(interpreter) if target.takes_builds_of(interpreter) => Ok(BuildPlace::Here(interpreter)),
            // A `setup.py` that asks for the system would hear of another one than the target's.
            _ if !HAS_TARGETS => Err(Error::NotHere {
                package: package(chosen),
                target: target.describe(),
                reason: "its source is built on Linux, which this machine does not run".to_owned(),
                python: target.python.to_string(),
                foreign: true,
            }),
            Some(interpreter) if interpreter.abi == target.abi => Ok(BuildPlace::Elsewhere(interpreter)),
            _ => Err(Error::NotHere {
                package: package(chosen),
                target: target.describe(),
                reason: format!("there is no Python {} here to build it with", target.python),
                python: target.python.to_string(),
                foreign: target.spec.is_some(),
            }),
        }
    }

    /// What the source is, and what its build reads: no container gets the variables of this machine.
    fn source_key(
        &self,
        chosen: &ChosenDistribution,
        archive: Option<&CacheEntry>,
        target: &BuildTarget,
    ) -> Result<String> {
        let source = match &chosen.source {
            DistributionSource::Wheel(download) => format!("wheel {}", download.sha256),
            DistributionSource::Archive { download, subdirectory } => {
                let sha256 = archive.map_or(download.sha256, |entry| entry.sha256);
                format!("archive {sha256} {}", subdirectory.as_deref().unwrap_or_default())
            }
            DistributionSource::Git { commit, subdirectory, .. } => {
                format!("git {commit} {} {}", chosen.name, subdirectory.as_deref().unwrap_or_default())
            }
            DistributionSource::Directory { path, subdirectory } => {
                let subdirectory = subdirectory.as_deref().unwrap_or_default();
                let root = path.join(subdirectory);
                let depends = own::revision(&root) + &cache_keys(&root);
                format!("directory {} {subdirectory} {depends}", unpacked_tree::digest(path)?)
            }
            DistributionSource::Project(project) => {
                let depends = project.revision.clone() + &cache_keys(&project.root);
                format!("project {} {depends}", unpacked_tree::digest_of(project)?)
            }
        };
        let variables = if target.container.is_none() { compile_variables() } else { String::new() };
        Ok(source + &UvSettings::read(self.project).building() + &variables)
    }

    pub(super) fn checkout<'c>(&'c self, name: &'c str, url: &'c str, commit: &'c str) -> Checkout<'c> {
        Checkout { name, url, commit, credentials: self.credentials, stop: &self.stop }
    }

    /// Whether a wheel of `chosen` for `target` still has to be built, as far as that shows without its source.
    pub(super) fn is_remembered(&self, chosen: &ChosenDistribution, target: &BuildTarget) -> Result<bool> {
        let source = self.source_key(chosen, None, target)?;
        if self.remembered(pure_key(&source), target)?.is_some() {
            return Ok(true);
        }
        if target.container.is_some() {
            return Ok(false);
        }
        let place = self.place(chosen, target)?;
        Ok(self.remembered(own_key(&source, target, &place), target)?.is_some())
    }

    /// A checkout or a copy of what is no archive, in `workspace`.
    pub(super) fn directory(&self, chosen: &ChosenDistribution, workspace: &Path) -> Result<PathBuf> {
        let directory = workspace.join("source");
        match &chosen.source {
            DistributionSource::Git { url, commit, .. } => {
                if self.index.offline && !url.starts_with("file:") {
                    return Err(Error::Offline {
                        missing: vec![format!("{} at commit {commit}", chosen.name)],
                    });
                }
                let fetched = self.checkouts.take_checkout(url, commit);
                if let Some(fetched) = fetched {
                    let path = fetched.path().join("source");
                    fs::rename(&path, &directory).map_err(Error::io("move", &path))?;
                } else {
                    self.checkout(&chosen.name, url, commit).run(&directory)?;
                }
            }
            // Built from a copy: backends leave build/ and *.egg-info behind, and take up what they find there.
            DistributionSource::Directory { path, .. } => return unpacked_tree::copy(path, &directory),
            DistributionSource::Project(project) => return unpacked_tree::copy_of(project, &directory),
            DistributionSource::Archive { download, .. } | DistributionSource::Wheel(download) => {
                return Err(Error::Offline { missing: vec![download.filename.clone()] });
            }
        }
        Ok(directory)
    }

    pub(super) fn failed(&self, chosen: &ChosenDistribution, target: &BuildTarget, log: &[u8]) -> Error {
        let version = chosen.version.clone().unwrap_or_default();
        let name = format!("{}-{version}-{}", chosen.name, target.abi);
        uv::hide_logins(self.project, self.index, self.credentials);
        let log = uv::shown(&String::from_utf8_lossy(log));
        let path = match self.cache.keep_log(&name, log.as_bytes()) {
            Ok(path) => path,
            Err(error) => return error,
        };
        let lines: Vec<&str> = log.trim_end().lines().collect();
        let last_lines = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        let own = matches!(chosen.source, DistributionSource::Project(_));
        Error::Build { package: package(chosen), target: target.describe(), last_lines, log: path, own }
    }

    /// Exactly one wheel, of that package and version, that fits the target and was built where it may be.
    fn judge(
        &self,
        chosen: &ChosenDistribution,
        target: &BuildTarget,
        out: &Path,
        place: &BuildPlace<'_>,
    ) -> Result<BuiltWheel> {
        let version = chosen.version.clone().unwrap_or_default();
        let bad = |result: String| Error::BadBuild {
            name: chosen.name.clone(),
            version: version.clone(),
            result: printable_line(&result).into_owned(),
        };
        // In a container, `out` was made by the build.
        let work = out.parent().unwrap_or(out);
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
        if let BuildPlace::Elsewhere(interpreter) = place
            && !is_pure(&filename)
        {
            let here = BuildTarget::of((*interpreter).clone()).platform();
            return Err(Error::NotHere {
                package: package(chosen),
                target: target.describe(),
                reason: format!("this machine ({here}) is no such system to build it on"),
                python: target.python.to_string(),
                foreign: true,
            });
        }
        if let Some(unfit) = target.tags().explain(&filename.tags) {
            return Err(bad(format!("{name}, which does not fit: {unfit}")));
        }
        let wheel = untrusted::open(work, path).map_err(Error::io("copy", path))?;
        let size = wheel.metadata().map_err(Error::io("copy", path))?.len();
        if size > self.fetch.longest {
            return Err(bad(format!("{name}, which has {size} bytes")));
        }
        Ok(BuiltWheel { entry: self.cache.put_open(wheel, path)?, filename })
    }
}

/// What the cache remembers a wheel for every Python and platform by.
fn pure_key(source: &str) -> Sha256 {
    Sha256::of(format!("{source}\nany").as_bytes())
}

/// The same of a wheel for one system.
fn own_key(source: &str, target: &BuildTarget, place: &BuildPlace<'_>) -> Sha256 {
    let key = format!("{SCHEME}\n{source}\n{}\n{}\n{}", target.abi, target.platform(), place.key());
    Sha256::of(key.as_bytes())
}

/// Whether it is for every ABI and platform.
fn is_pure(filename: &WheelFilename) -> bool {
    filename.tags.iter().all(|tag| tag.abi == "none" && tag.platform == "any")
}

/// Name, and version where it is known.
pub(super) fn package(chosen: &ChosenDistribution) -> String {
    format!("{} {}", chosen.name, chosen.version.as_deref().unwrap_or_default()).trim_end().to_owned()
}

/// The part of a source that is built.
/// What is built of a source: the source, or what its subdirectory is. A link in it may lead to another place of the source, and not out
/// of it: a hash vouches for nothing there.
pub(super) fn subdirectory_in(source: PathBuf, chosen: &ChosenDistribution) -> Result<PathBuf> {
    let Some(subdirectory) = subdirectory(chosen) else { return Ok(source) };
    let path = source.join(subdirectory);
    let real = |path: &Path| fs::canonicalize(path).map_err(Error::io("enter", path));
    if real(&path)?.starts_with(real(&source)?) {
        return Ok(path);
    }
    let leads_out =
        std::io::Error::other(format!("`{subdirectory}` leads out of the source of {}", chosen.name));
    Err(Error::io("enter", &path)(leads_out))
}

fn subdirectory(chosen: &ChosenDistribution) -> Option<&str> {
    match &chosen.source {
        DistributionSource::Archive { subdirectory, .. }
        | DistributionSource::Git { subdirectory, .. }
        | DistributionSource::Directory { subdirectory, .. } => subdirectory.as_deref(),
        DistributionSource::Wheel(_) | DistributionSource::Project(_) => None,
    }
}

/// The one directory in `directory`, as source distributions have it, or itself. A link is not followed.
pub(super) fn only_directory(directory: &Path) -> Result<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(directory)
        .map_err(Error::io("read", directory))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    Ok(match entries.as_slice() {
        [only] if only.is_dir() && !only.is_symlink() => only.clone(),
        _ => directory.to_path_buf(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_out_of_a_source() {
        let place = tempfile::tempdir().unwrap();
        let source = place.path().join("source");
        fs::create_dir_all(source.join("python/package")).unwrap();
        fs::create_dir(place.path().join("other")).unwrap();
        std::os::unix::fs::symlink("python/package", source.join("within")).unwrap();
        std::os::unix::fs::symlink("../other", source.join("out")).unwrap();
        let built_of = |subdirectory: Option<&str>| {
            let path = source.clone();
            let chosen = ChosenDistribution {
                name: "a".to_owned(),
                version: None,
                source: DistributionSource::Directory { path, subdirectory: subdirectory.map(str::to_owned) },
                required: Vec::new(),
                direct_url: None,
            };
            subdirectory_in(source.clone(), &chosen)
        };
        assert_eq!(built_of(None).unwrap(), source);
        for good in ["python", "python/package", "within"] {
            assert_eq!(built_of(Some(good)).unwrap(), source.join(good));
        }
        assert!(built_of(Some("out")).unwrap_err().to_string().contains("cannot enter"));
        assert!(built_of(Some("missing")).is_err());
    }
}
