//! For one target, one distribution of each package of the lock: the wheel with the best tag, else a source.
//! <https://packaging.python.org/en/latest/specifications/pylock-toml/#installation>

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::printable_line;
use wheelbarrow_platform::CompatibleTags;
use wheelbarrow_wheel::WheelFilename;
use wheelbarrow_wheel::filename::BuildTag;

use crate::fetch::{Download, Unhashed};
use crate::lock::{Archive, Digest, DistributionFile, Lock, Package, Place, TargetMarkers, Vcs, place};
use crate::own::ProjectTree;
use crate::target::BuildTarget;
use crate::{Error, Result};

/// What is taken of one package.
#[derive(Clone, Debug, PartialEq)]
pub struct ChosenDistribution {
    /// Normalised.
    pub name: String,
    /// As the lock says; sources need not have one.
    pub version: Option<String>,
    pub source: DistributionSource,
    /// What the requirements files ask of the file's hash, beside the lock: one out of each set.
    pub required: Vec<BTreeSet<Digest>>,
    /// PEP 610, where it does not come from an index.
    pub direct_url: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DistributionSource {
    Wheel(Download),
    /// A source distribution, or any other archive of a source tree.
    Archive {
        download: Download,
        subdirectory: Option<String>,
    },
    Git {
        url: String,
        commit: String,
        subdirectory: Option<String>,
    },
    Directory {
        path: PathBuf,
        subdirectory: Option<String>,
    },
    /// The project itself.
    Project(Arc<ProjectTree>),
}

impl ChosenDistribution {
    /// The file to fetch, if it is one.
    pub fn download(&self) -> Option<&Download> {
        match &self.source {
            DistributionSource::Wheel(download) | DistributionSource::Archive { download, .. } => {
                Some(download)
            }
            DistributionSource::Git { .. }
            | DistributionSource::Directory { .. }
            | DistributionSource::Project(_) => None,
        }
    }
}

/// One for each package whose marker holds, in the lock's order.
pub fn select(lock: &Lock, target: &BuildTarget) -> Result<Vec<ChosenDistribution>> {
    let environment = TargetMarkers::new(target, &lock.extras, &lock.groups);
    covers(lock, target, &environment)?;
    let selector = Selector { lock, target, environment, tags: target.tags() };
    let mut taken: BTreeMap<&str, &Package> = BTreeMap::new();
    let mut chosen = Vec::new();
    for package in &lock.pylock.packages {
        if !selector.applies(package)? {
            continue;
        }
        if let Some(other) = taken.insert(&package.name, package) {
            let (name, one, two) = (&package.name, other.version_text(), package.version_text());
            return Err(selector
                .broken(format!("{name} {one} and {name} {two} are both for Python {}", target.python)));
        }
        chosen.push(selector.choose(package)?);
    }
    let files = chosen.iter().map(|one| (one.name.as_str(), one.download().map(|download| &download.place)));
    lock.required.check_all_used(&files, &selector.environment)?;
    Ok(chosen)
}

/// The files that `target` takes and for which the lock has no SHA-256.
pub(crate) fn unhashed(lock: &Lock, target: &BuildTarget) -> Result<Vec<Unhashed>> {
    if lock.pylock.packages.iter().all(Package::is_hashed) {
        return Ok(Vec::new());
    }
    let environment = TargetMarkers::new(target, &lock.extras, &lock.groups);
    let selector = Selector { lock, target, environment, tags: target.tags() };
    let mut found = Vec::new();
    for package in &lock.pylock.packages {
        if package.is_hashed() || !selector.applies(package)? {
            continue;
        }
        if let Some(archive) = &package.archive {
            let file = (archive.path.as_deref(), archive.url.as_deref(), archive.size);
            found.extend(selector.unhashed(package, file, archive.filename(), &archive.hashes));
            continue;
        }
        let allowed = lock.formats.of(&package.name);
        let rank =
            |file: &&DistributionFile| selector.rank(package, &file.filename()?).filter(|_| allowed.wheels);
        let fitting = package.wheels.iter().filter_map(|file| Some((rank(&file)?, file)));
        let best = fitting.min_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, file)| file);
        if let Some(file) = best.or(package.sdist.as_ref()).filter(|file| file.sha256().is_none()) {
            let place = (file.path.as_deref(), file.url.as_deref(), file.size);
            found.extend(selector.unhashed(package, place, file.filename(), &file.hashes));
        }
    }
    Ok(found)
}

/// The lock's own word on what it is for.
fn covers(lock: &Lock, target: &BuildTarget, environment: &TargetMarkers<'_>) -> Result<()> {
    let broken = |reason| Error::Lock { path: lock.path.clone(), reason };
    let lacks =
        |reason| Error::NotCovered { path: lock.path.clone(), python: target.python.to_string(), reason };
    if let Some(wanted) = &lock.pylock.requires_python
        && !environment.python_is_in(wanted).map_err(broken)?
    {
        return Err(lacks(format!("it requires Python {wanted}")));
    }
    let environments = &lock.pylock.environments;
    let mut fits = environments.is_empty();
    for marker in environments {
        fits |= environment.holds(marker).map_err(broken)?;
    }
    if !fits {
        return Err(lacks(format!("it is for {}", environments.join("; "))));
    }
    // A default group need not be among the groups: it may stand for the project's own dependencies.
    let groups = [lock.pylock.dependency_groups.as_slice(), &lock.pylock.default_groups].concat();
    for (given, known, what) in
        [(&lock.extras, &lock.pylock.extras, "extra"), (&lock.groups, &groups, "dependency group")]
    {
        if let Some(unknown) = given.iter().find(|name| !known.contains(name)) {
            return Err(lacks(format!("it has no {what} {unknown}, but {}", known.join(", "))));
        }
    }
    Ok(())
}

struct Selector<'a> {
    lock: &'a Lock,
    target: &'a BuildTarget,
    environment: TargetMarkers<'a>,
    tags: CompatibleTags,
}

/// A file of the package, and the hash that decides about it.
struct Candidate<'a> {
    file: &'a DistributionFile,
    filename: String,
    sha256: Sha256,
}

impl<'a> Candidate<'a> {
    fn new(file: &'a DistributionFile) -> Option<Self> {
        Some(Self { file, filename: file.filename()?, sha256: file.sha256()? })
    }
}

impl Selector<'_> {
    fn broken(&self, reason: String) -> Error {
        Error::Lock { path: self.lock.path.clone(), reason }
    }

    /// `debian-12:3.11 (manylinux_2_36_x86_64)`.
    fn target_text(&self) -> String {
        format!("{} ({})", self.target.describe(), self.target.platform())
    }

    fn unhashed(
        &self,
        package: &Package,
        (path, url, size): (Option<&str>, Option<&str>, Option<u64>),
        filename: Option<String>,
        hashes: &BTreeMap<String, String>,
    ) -> Option<Unhashed> {
        Some(Unhashed {
            key: path.or(url)?.to_owned(),
            filename: filename.unwrap_or_else(|| package.name.clone()),
            place: place(self.lock.directory(), path, url)?,
            size,
            digests: Digest::all(hashes).collect(),
        })
    }

    fn applies(&self, package: &Package) -> Result<bool> {
        let holds = package.marker.as_ref().map_or(Ok(true), |marker| self.environment.holds(marker));
        let name = &package.name;
        if !holds.map_err(|reason| self.broken(format!("the marker of {name}: {reason}")))? {
            return Ok(false);
        }
        if let Some(wanted) = &package.requires_python
            && !self.environment.python_is_in(wanted).map_err(|reason| self.broken(reason))?
        {
            let reason = format!("{name} {} requires Python {wanted}", package.version_text());
            return Err(Error::NotCovered {
                path: self.lock.path.clone(),
                python: self.target.python.to_string(),
                reason,
            });
        }
        Ok(true)
    }

    fn choose(&self, package: &Package) -> Result<ChosenDistribution> {
        let file = package.archive.as_ref().and_then(|archive| {
            place(self.lock.directory(), archive.path.as_deref(), archive.url.as_deref())
        });
        let required = self.lock.required.of(&package.name, file.as_ref(), &self.environment);
        if !required.is_empty() && (package.vcs.is_some() || package.directory.is_some()) {
            return Err(Error::Hash {
                file: package.name.clone(),
                expected: texts(&required),
                got: "a directory or a repository, which has none".to_owned(),
            });
        }
        let (source, direct_url) = if let Some(archive) = &package.archive {
            self.archive(package, archive, &required)?
        } else if let Some(vcs) = &package.vcs {
            self.repository(package, vcs)?
        } else if let Some(directory) = &package.directory {
            let path = self.lock.directory().join(&directory.path);
            (DistributionSource::Directory { path, subdirectory: directory.subdirectory.clone() }, None)
        } else {
            (self.file(package, &required)?, None)
        };
        Ok(ChosenDistribution {
            name: package.name.clone(),
            version: package.version.clone(),
            source,
            required,
            direct_url,
        })
    }

    /// The best wheel whose hash may be, else the source distribution.
    fn file(&self, package: &Package, required: &[BTreeSet<Digest>]) -> Result<DistributionSource> {
        let mut refused = Vec::new();
        let mut fitting = Vec::new();
        let allowed = self.lock.formats.of(&package.name);
        for candidate in package.wheels.iter().filter_map(Candidate::new) {
            match self.rank(package, &candidate.filename) {
                Some(rank) if allowed.wheels => fitting.push((rank, candidate)),
                _ => refused.push(candidate.filename),
            }
        }
        fitting.sort_by(|(one, _), (other, _)| one.cmp(other));
        let sdist = package.sdist.as_ref().and_then(Candidate::new);
        refused.extend(sdist.iter().filter(|_| !allowed.sources).map(|sdist| sdist.filename.clone()));
        let sdist = sdist.filter(|_| allowed.sources);
        let wanted = |candidate: &Candidate<'_>| may_be(candidate.sha256, required);
        if let Some((_, wheel)) = fitting.iter().find(|(_, candidate)| wanted(candidate)) {
            return Ok(DistributionSource::Wheel(self.download(wheel)?));
        }
        match (&sdist, fitting.first()) {
            (Some(sdist), _) if wanted(sdist) => {
                Ok(DistributionSource::Archive { download: self.download(sdist)?, subdirectory: None })
            }
            (_, Some((_, other))) | (Some(other), None) => {
                Err(wrong_hash(&other.filename, other.sha256, required))
            }
            (None, None) => Err(self.nothing_fits(package, refused)),
        }
    }

    /// By tag, then by build tag, the higher first; nothing where the wheel is not for this target.
    fn rank(&self, package: &Package, filename: &str) -> Option<(usize, Reverse<Option<BuildTag>>)> {
        let wheel = WheelFilename::parse(filename).ok().filter(|wheel| wheel.name == package.name)?;
        Some((self.tags.rank(&wheel.tags)?, Reverse(wheel.build)))
    }

    fn nothing_fits(&self, package: &Package, filenames: Vec<String>) -> Error {
        let refused = filenames.into_iter().map(|filename| {
            let why = self.why_unfit(package, &filename);
            (filename, why)
        });
        Error::NothingFits {
            package: format!("{} {}", package.name, package.version_text()),
            target: self.target_text(),
            refused: refused.collect(),
        }
    }

    fn why_unfit(&self, package: &Package, filename: &str) -> String {
        let allowed = self.lock.formats.of(&package.name);
        match WheelFilename::parse(filename) {
            Ok(_) if !allowed.wheels => "no-binary is set for it".to_owned(),
            Err(_) if !allowed.sources => "only-binary (no-build) is set for it".to_owned(),
            Err(error) => error.to_string(),
            Ok(wheel) if wheel.name != package.name => format!("it is a wheel of {}", wheel.name),
            Ok(wheel) => self.tags.explain(&wheel.tags).map_or_else(String::new, |unfit| unfit.to_string()),
        }
    }

    fn download(&self, candidate: &Candidate<'_>) -> Result<Download> {
        let file = candidate.file;
        let place = place(self.lock.directory(), file.path.as_deref(), file.url.as_deref())
            .ok_or_else(|| self.broken(format!("the URL of {} is invalid", candidate.filename)))?;
        Ok(Download {
            filename: candidate.filename.clone(),
            place,
            sha256: candidate.sha256,
            size: file.size,
        })
    }

    fn archive(
        &self,
        package: &Package,
        archive: &Archive,
        required: &[BTreeSet<Digest>],
    ) -> Result<(DistributionSource, Option<Value>)> {
        let unnamed = || self.broken(format!("the archive of {} has no file name", package.name));
        let filename = archive.filename().ok_or_else(unnamed)?;
        let sha256 = archive.sha256().ok_or_else(unnamed)?;
        if !may_be(sha256, required) {
            return Err(wrong_hash(&filename, sha256, required));
        }
        let place = place(self.lock.directory(), archive.path.as_deref(), archive.url.as_deref())
            .ok_or_else(unnamed)?;
        let direct_url = match &place {
            Place::Remote(url) => {
                let hash = sha256.to_string();
                let info = json!({"hash": format!("sha256={hash}"), "hashes": {"sha256": hash}});
                Some(direct_url(url.as_str(), ("archive_info", info), archive.subdirectory.as_deref()))
            }
            Place::Local(_) => None,
        };
        let download = Download { filename, place, sha256, size: archive.size };
        if !download.filename.ends_with(".whl") {
            return Ok((
                DistributionSource::Archive { download, subdirectory: archive.subdirectory.clone() },
                direct_url,
            ));
        }
        match self.rank(package, &download.filename) {
            Some(_) => Ok((DistributionSource::Wheel(download), direct_url)),
            None => Err(self.nothing_fits(package, vec![download.filename])),
        }
    }

    fn repository(&self, package: &Package, vcs: &Vcs) -> Result<(DistributionSource, Option<Value>)> {
        if vcs.kind != "git" {
            return Err(
                self.broken(format!("{} is in a {} repository; only git is known", package.name, vcs.kind))
            );
        }
        // Before the cache is asked: earlier versions built what a tag of that name was.
        if !is_whole_commit(&vcs.commit_id) {
            let (name, commit) = (&package.name, printable_line(&vcs.commit_id));
            return Err(self.broken(format!("`{commit}` of {name} is not the whole ID of a commit")));
        }
        let local = vcs.path.as_ref().map(|path| self.lock.directory().join(path).display().to_string());
        let url = vcs.url.clone().or_else(|| local.clone()).unwrap_or_default();
        let mut info = json!({"vcs": "git", "commit_id": vcs.commit_id});
        if let Some(revision) = &vcs.requested_revision {
            info["requested_revision"] = json!(revision);
        }
        let remote = vcs.url.as_ref().filter(|url| !url.starts_with("file:"));
        let direct = remote.map(|url| direct_url(url, ("vcs_info", info), vcs.subdirectory.as_deref()));
        let source = DistributionSource::Git {
            url,
            commit: vcs.commit_id.clone(),
            subdirectory: vcs.subdirectory.clone(),
        };
        Ok((source, direct))
    }
}

/// Whether `commit` is the ID of one commit: git takes what is shorter for a tag or a branch first, which can move.
fn is_whole_commit(commit: &str) -> bool {
    [40, 64].contains(&commit.len()) && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a file of that hash is allowed. Hashes of other algorithms are compared when the file is there.
fn may_be(sha256: Sha256, required: &[BTreeSet<Digest>]) -> bool {
    required.iter().all(|digests| {
        digests.contains(&Digest::from(sha256)) || digests.iter().any(|digest| digest.sha256().is_none())
    })
}

fn wrong_hash(filename: &str, sha256: Sha256, required: &[BTreeSet<Digest>]) -> Error {
    Error::Hash {
        file: filename.to_owned(),
        expected: texts(required),
        got: Digest::from(sha256).to_string(),
    }
}

fn texts(required: &[BTreeSet<Digest>]) -> Vec<String> {
    required.iter().flatten().map(Digest::to_string).collect()
}

/// <https://packaging.python.org/en/latest/specifications/direct-url/>, without logins: in a query may be a key.
fn direct_url(url: &str, (key, info): (&str, Value), subdirectory: Option<&str>) -> Value {
    let url = wheelbarrow_http::without_logins(url);
    let url = url.split('?').next().unwrap_or_default();
    let mut value = json!({"url": url, key: info});
    if let Some(subdirectory) = subdirectory {
        value["subdirectory"] = json!(subdirectory);
    }
    value
}
