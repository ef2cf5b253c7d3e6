//! The tables of a pylock.toml, as far as an install needs them. Unknown keys are skipped, as the
//! specification allows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use url::Url;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::printable_line;
use wheelbarrow_base::SafePath;
use wheelbarrow_http::redact;
use wheelbarrow_wheel::name;

use super::Digest;
use crate::{Error, Result};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pylock {
    pub lock_version: String,
    /// Markers; where there are some, one must hold.
    #[serde(default)]
    pub environments: Vec<String>,
    pub requires_python: Option<String>,
    #[serde(default)]
    pub default_groups: Vec<String>,
    #[serde(default)]
    pub extras: Vec<String>,
    #[serde(default)]
    pub dependency_groups: Vec<String>,
    #[serde(default)]
    pub packages: Vec<Package>,
    #[serde(default)]
    pub tool: toml::Table,
}

/// One package, at one version, from one place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    /// Normalised when read.
    pub name: String,
    pub version: Option<String>,
    pub marker: Option<String>,
    pub requires_python: Option<String>,
    /// The URL of the index that it was found on, if whoever made the lock wrote it.
    pub index: Option<String>,
    pub vcs: Option<Vcs>,
    pub directory: Option<Directory>,
    pub archive: Option<Archive>,
    pub sdist: Option<DistributionFile>,
    #[serde(default)]
    pub wheels: Vec<DistributionFile>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vcs {
    #[serde(rename = "type")]
    pub kind: String,
    pub url: Option<String>,
    pub path: Option<String>,
    pub requested_revision: Option<String>,
    pub commit_id: String,
    pub subdirectory: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Directory {
    pub path: String,
    pub subdirectory: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Archive {
    pub url: Option<String>,
    pub path: Option<String>,
    pub size: Option<u64>,
    #[serde(default)]
    pub hashes: BTreeMap<String, String>,
    pub subdirectory: Option<String>,
}

/// A wheel or a source distribution.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DistributionFile {
    pub name: Option<String>,
    pub url: Option<String>,
    pub path: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    #[serde(default)]
    pub hashes: BTreeMap<String, String>,
}

impl Pylock {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(&text).map_err(|reason| Error::Lock { path: path.to_path_buf(), reason })
    }

    /// Checks what the specification asks of a reader: the version, and each package's sources.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let lock = Self::parse_unhashed(text)?;
        lock.packages.iter().try_for_each(Package::check_hashes)?;
        Ok(lock)
    }

    /// The same of a lock whose files may have no hash that counts, as those of an index that has only MD5.
    pub(crate) fn parse_unhashed(text: &str) -> std::result::Result<Self, String> {
        let mut lock: Self = toml::from_str(text).map_err(|error| unreadable(text, &error))?;
        check_version(&lock.lock_version)?;
        for names in [&mut lock.extras, &mut lock.dependency_groups, &mut lock.default_groups] {
            names.iter_mut().for_each(|name| *name = name::normalise(name));
        }
        for package in &mut lock.packages {
            if !name::is_valid(&package.name) {
                return Err(format!("`{}` is not the name of a package", printable_line(&package.name)));
            }
            package.name = name::normalise(&package.name);
            package.check()?;
            package.name_subdirectory()?;
        }
        Ok(lock)
    }

    /// The value of `[tool.wheelbarrow]`'s `key`, where we wrote the lock.
    pub(super) fn ours(&self, key: &str) -> Option<&str> {
        self.tool.get("wheelbarrow")?.get(key)?.as_str()
    }
}

fn check_version(version: &str) -> std::result::Result<(), String> {
    if version.split('.').next() == Some("1") {
        return Ok(());
    }
    Err(format!("it has lock-version {version}, known is 1.0"))
}

/// A lock of the future is told as such and not by its first new shape.
fn unreadable(text: &str, error: &toml::de::Error) -> String {
    let version = toml::from_str::<LockVersion>(text).map_err(|error| describe(text, &error));
    let checked = version.and_then(|version| check_version(&version.lock_version));
    checked.err().unwrap_or_else(|| describe(text, error))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LockVersion {
    lock_version: String,
}

/// The first line of what is wrong, and where.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let message = redact(error.message().lines().next().unwrap_or("it is no TOML"));
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

impl Package {
    /// One kind of source, as the specification's "mutually-exclusive with" says, and whatever a check needs.
    fn check(&self) -> std::result::Result<(), String> {
        let kinds = [
            self.vcs.is_some(),
            self.directory.is_some(),
            self.archive.is_some(),
            self.sdist.is_some() || !self.wheels.is_empty(),
        ];
        let name = &self.name;
        match kinds.iter().filter(|kind| **kind).count() {
            0 => return Err(format!("{name} has no file and no other source")),
            1 => {}
            _ => return Err(format!("{name} has more than one kind of source")),
        }
        let files = self.sdist.iter().chain(&self.wheels).filter_map(DistributionFile::filename);
        let archive = self.archive.iter().filter_map(Archive::filename);
        for text in self.version.iter().cloned().chain(files).chain(archive) {
            if let Cow::Owned(escaped) = printable_line(&text) {
                return Err(format!("{name} has a control character in `{escaped}`"));
            }
        }
        let located = |url: &Option<String>, path: &Option<String>| url.is_some() || path.is_some();
        for file in self.sdist.iter().chain(&self.wheels) {
            if !located(&file.url, &file.path) {
                return Err(format!("a file of {name} has neither url nor path"));
            }
        }
        if self.archive.as_ref().is_some_and(|archive| !located(&archive.url, &archive.path)) {
            return Err(format!("the archive of {name} has neither url nor path"));
        }
        if self.vcs.as_ref().is_some_and(|vcs| !located(&vcs.url, &vcs.path)) {
            return Err(format!("the repository of {name} has neither url nor path"));
        }
        Ok(())
    }

    /// A subdirectory must be below what the lock names by its hash: `SafePath`, but that one slash may end it.
    fn name_subdirectory(&mut self) -> std::result::Result<(), String> {
        let subdirectories = [
            self.vcs.as_mut().map(|vcs| &mut vcs.subdirectory),
            self.directory.as_mut().map(|directory| &mut directory.subdirectory),
            self.archive.as_mut().map(|archive| &mut archive.subdirectory),
        ];
        for subdirectory in subdirectories.into_iter().flatten().filter_map(Option::as_mut) {
            let path = subdirectory.strip_suffix('/').unwrap_or(subdirectory);
            let path =
                SafePath::new(path).map_err(|error| format!("the subdirectory of {}: {error}", self.name))?;
            *subdirectory = path.to_string();
        }
        Ok(())
    }

    /// Whether every file has a SHA-256.
    pub(crate) fn is_hashed(&self) -> bool {
        let files = self.sdist.iter().chain(&self.wheels);
        files
            .map(DistributionFile::sha256)
            .chain(self.archive.iter().map(Archive::sha256))
            .all(|it| it.is_some())
    }

    /// Every file has a hash that counts.
    fn check_hashes(&self) -> std::result::Result<(), String> {
        let files = self.sdist.iter().chain(&self.wheels).map(|file| (file.filename(), &file.hashes));
        let archive = self.archive.iter().map(|archive| (archive.filename(), &archive.hashes));
        for (filename, hashes) in files.chain(archive) {
            if Digest::all(hashes).next().is_none() {
                let what = filename.unwrap_or_else(|| format!("a file of {}", self.name));
                return Err(format!("{what} has no sha256, sha384 or sha512, so it cannot be checked"));
            }
        }
        Ok(())
    }

    /// For messages; packages from directories and repositories may have no version.
    pub fn version_text(&self) -> &str {
        self.version.as_deref().unwrap_or("(no version)")
    }
}

/// The SHA-256 among `hashes`, whatever other algorithms there are.
fn sha256(hashes: &BTreeMap<String, String>) -> Option<Sha256> {
    let (_, hex) = hashes.iter().find(|(algorithm, _)| algorithm.eq_ignore_ascii_case("sha256"))?;
    Sha256::from_hex(hex)
}

impl DistributionFile {
    /// `name`, or the last part of the URL or path.
    pub fn filename(&self) -> Option<String> {
        self.name.clone().or_else(|| last_part(self.url.as_deref(), self.path.as_deref()))
    }

    /// See `complete` for files without one.
    pub fn sha256(&self) -> Option<Sha256> {
        sha256(&self.hashes)
    }
}

impl Archive {
    pub fn filename(&self) -> Option<String> {
        last_part(self.url.as_deref(), self.path.as_deref())
    }

    /// See `complete` for archives without one.
    pub fn sha256(&self) -> Option<Sha256> {
        sha256(&self.hashes)
    }
}

fn last_part(url: Option<&str>, path: Option<&str>) -> Option<String> {
    if let Some(path) = path {
        return path.rsplit(['/', '\\']).next().map(str::to_owned);
    }
    // A lock has thousands of them, few of which are fetched: parsing each in full would be felt.
    let (_, rest) = url?.split(['?', '#']).next()?.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    Some(wheelbarrow_http::unescape(path.rsplit('/').find(|part| !part.is_empty())?))
}

/// Where a file of the lock is: `path`, relative to `directory`, else `url`.
pub(crate) fn place(directory: &Path, path: Option<&str>, url: Option<&str>) -> Option<Place> {
    match (path, url) {
        (Some(path), _) => Some(Place::Local(directory.join(path))),
        (None, Some(url)) => {
            let parsed = Url::parse(url).ok()?;
            match parsed.scheme() {
                "file" => parsed.to_file_path().ok().map(Place::Local),
                _ => Some(Place::Remote(parsed)),
            }
        }
        (None, None) => None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Local(PathBuf),
    Remote(Url),
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256 = \"1111111111111111111111111111111111111111111111111111111111111111\"";

    fn parse(packages: &str) -> std::result::Result<Pylock, String> {
        Pylock::parse(&format!(
            "lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"A_b\"\n{packages}"
        ))
    }

    #[test]
    fn locks_of_uv_and_other_tools_are_read() {
        let lock = parse(&format!(
            "version = \"1\"\nindex = \"https://h/simple\"\ndependencies = [{{name = \"c\"}}]\n\
             wheels = [{{ url = \"https://h/x/a_b-1%2Bl-py3-none-any.whl?x#y\", upload-time = 2025-01-01T00:00:00Z, size = 3, hashes = {{ blake9 = \"00\", {HASH} }} }}]"
        ))
        .unwrap();
        assert_eq!(lock.packages[0].name, "a-b");
        let wheel = &lock.packages[0].wheels[0];
        assert_eq!((wheel.filename().as_deref(), wheel.size), (Some("a_b-1+l-py3-none-any.whl"), Some(3)));
        parse("vcs = { type = \"git\", url = \"https://h/x\", commit-id = \"abc\" }").unwrap();
        parse("directory = { path = \"x\", editable = true }").unwrap();
    }

    #[test]
    fn a_subdirectory_is_below_its_source() {
        let lock = |kind: &str, subdirectory: &str| {
            let source = match kind {
                "vcs" => "type = \"git\", url = \"https://h/x\", commit-id = \"abc\"".to_owned(),
                "directory" => "path = \"x\"".to_owned(),
                _ => format!("path = \"x-1.tar.gz\", hashes = {{ {HASH} }}"),
            };
            parse(&format!("{kind} = {{ {source}, subdirectory = \"{subdirectory}\" }}"))
        };
        for kind in ["vcs", "directory", "archive"] {
            for outside in ["../x", "/x", "a/../../x", "..", "", "a//"] {
                let reason = lock(kind, outside).unwrap_err();
                assert!(reason.contains("the subdirectory of a-b"), "{kind} {outside}: {reason}");
            }
            lock(kind, "python/sub").unwrap();
        }
        let lock = lock("vcs", "python/").unwrap();
        assert_eq!(lock.packages[0].vcs.as_ref().unwrap().subdirectory.as_deref(), Some("python"));
    }

    #[test]
    fn untrusted_locks_are_refused() {
        for (packages, words) in [
            ("", "no file and no other source"),
            (
                "wheels = [{ url = \"https://h/a-1-py3-none-any.whl\", hashes = { md5 = \"00\" } }]",
                "no sha256, sha384 or sha512",
            ),
            ("archive = { url = \"https://h/a.zip\" }", "no sha256"),
            ("archive = { size = 3 }", "neither url nor path"),
            (
                "directory = { path = \"x\" }\nvcs = { type = \"git\", url = \"u\", commit-id = \"c\" }",
                "more than one kind",
            ),
            ("directory = 7", "invalid type"),
            (
                "version = \"1\\nnote: x\"\ndirectory = { path = \"x\" }",
                "a-b has a control character in `1\\x0anote: x`",
            ),
            ("wheels = [{ name = \"a\\r.whl\", path = \"a.whl\" }]", "control character in `a\\x0d.whl`"),
            ("sdist = { url = \"https://h/a%0a.zip\" }", "control character in `a\\x0a.zip`"),
        ] {
            let error = parse(packages).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(Pylock::parse("lock-version = \"2.0\"\npackages = 7").unwrap_err().contains("known is 1.0"));
        assert!(Pylock::parse("").unwrap_err().contains("lock-version"));
        let named = "lock-version = \"1.0\"\n[[packages]]\nname = \"a\\nerror: b\"";
        assert_eq!(Pylock::parse(named).unwrap_err(), "`a\\x0aerror: b` is not the name of a package");
    }
}
