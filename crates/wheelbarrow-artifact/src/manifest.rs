//! The manifest: the members of the artifact, its targets, and the hashes that verify it.
//!
//! It is the member `.wheelbarrow/manifest.json`, UTF-8 JSON, written last. It lists every other member of
//! the zip with size, mode and SHA-256; a reader refuses an artifact whose members and manifest differ. The
//! page `docs/reference/format.md` is the specification.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
pub use wheelbarrow_base::Sha256;
use wheelbarrow_platform::{AbiTag, Cpu, MinorVersion, RequiredPlatform};
use wheelbarrow_wheel::order::{self, Inserted};

use crate::release::{HOOK_KEYS, ReleaseSettings};

/// The format version that this code writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// Where the manifest stands in the zip.
pub const MANIFEST_PATH: &str = ".wheelbarrow/manifest.json";

/// What the path of every native program begins with; its system and machine follow.
pub const NATIVE: &str = ".wheelbarrow/native/";

/// The top directory of the interpreter, in the zip and in DEST.
pub const INTERPRETER: &str = "python";

/// What the interpreter says of itself, as [`crate::interpreter::Interpreter`].
pub const INTERPRETER_FACTS: &str = "python/wheelbarrow.json";

/// The whole manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The site's name, normalised as a distribution name (PEP 503) and used in file names.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The program that wrote the artifact, such as `wheelbarrow 0.1.0`.
    pub built_by: String,
    pub project: Project,
    /// At least one; the installer takes the best that the running interpreter fits.
    pub targets: Vec<Target>,
    pub environment: EnvironmentRules,
    /// How it becomes a release, where the site's settings say something about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseSettings>,
    /// Every wheel of `wheels/` and `bootstrap_wheels/`, ordered by path.
    pub wheels: Vec<Wheel>,
    /// The Python that the site brings, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<BundledInterpreter>,
    /// What the audit found and somebody let pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Allowed>,
    /// Every member of the zip but the manifest and its signature, ordered by path.
    pub members: Vec<Member>,
}

/// A Python for one machine, whose files are the members below [`INTERPRETER`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledInterpreter {
    /// The whole version: `3.12.11`.
    pub version: String,
    /// `x86_64`, `aarch64`.
    pub machine: String,
    /// The lowest glibc that it runs on: `2.17`; missing if it is made for musl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc: Option<String>,
    /// The day on which it was compiled, as it says itself: `2025-07-08`. Missing if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<String>,
    /// As that of the project, of the members below [`INTERPRETER`].
    pub digest: Sha256,
}

/// The site's own code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The top directory of the code, in the zip and in DEST.
    pub directory: String,
    /// The directory that the `.pth` puts on `sys.path`, below DEST: `directory` itself or, for a src/ layout, one
    /// inside it.
    pub import_path: String,
    /// The directory in [`Project::directory`] with the static files that were collected when the artifact was built: a
    /// release does not collect them again. Missing if none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub static_root: Option<String>,
    /// What code and static files amount to: the SHA-256 over `path NUL kind NUL sha256 LF` of each of
    /// their members, in the order of the paths' bytes; kind is `file`, `executable` or `link`.
    pub digest: Sha256,
}

/// A system that the artifact can be installed on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// CPython's minor version, as `3.12`.
    pub python: MinorVersion,
    /// The ABI tag of that interpreter, as `cp312`; the installer wants the same.
    pub abi: AbiTag,
    /// The narrowest platform tag that the wheels need: `any`, `manylinux_2_28_x86_64`, `musllinux_1_2_aarch64`, ...
    pub platform: RequiredPlatform,
    /// Paths of the wheels of this target, each in [`Manifest::wheels`], ordered.
    pub wheels: Vec<String>,
    /// Path of the pip that goes into the virtualenv.
    pub pip: String,
    /// The bytecode that travels for this target, if it does: the members
    /// `.wheelbarrow/bytecode/CACHE_TAG/*.pack`, see [`crate::bytecode`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytecode: Option<Bytecode>,
    /// What an install of this target writes, virtualenv aside.
    pub unpacked: Unpacked,
    /// What the ELF files of its wheels need of the system; missing where there are none.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// Paths that several of its wheels write, not the same, and that somebody let pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collisions: Vec<Collision>,
}

/// A path that several wheels write: one of them writes it, the others leave it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collision {
    /// As RECORD writes it: relative to site-packages, `tests/__init__.py` or `../../../bin/x`.
    pub path: String,
    /// The wheel that writes it, one of [`Target::wheels`].
    pub wheel: String,
}

/// What the artifact needs and does not bring: of the CPU what its system has, of the system what ELF files need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// The level that the packages of a target's system need, missing for the lowest: what is compiled for the system may
    /// need it too. Wheels have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// The lowest glibc that has every symbol: `2.28`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc: Option<String>,
    /// Names of shared libraries, ordered; those of the C library itself are not among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<String>,
}

impl Needs {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What both need.
    pub fn add(&mut self, other: &Self) {
        self.cpu = self.cpu.max(other.cpu);
        if other.glibc_version() > self.glibc_version() {
            self.glibc.clone_from(&other.glibc);
        }
        self.libraries.extend(other.libraries.iter().cloned());
        order::sort(&mut self.libraries);
        self.libraries.dedup();
    }

    /// Its numbers; an unreadable one has none.
    pub fn glibc_version(&self) -> Option<Vec<u32>> {
        self.glibc.as_ref()?.split('.').map(|number| number.parse().ok()).collect()
    }
}

/// A finding of the audit that was let pass when the artifact was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// As in `docs/reference/audit.md`: `elf-glibc`.
    pub rule: String,
    /// A distribution, or a library.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which bytecode a target has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bytecode {
    /// As in file names: `cpython-312`.
    pub cache_tag: String,
    /// Eight hexadecimal digits: an interpreter with another magic number cannot use it.
    pub magic: String,
}

/// Sizes for the preflight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpacked {
    pub bytes: u64,
    /// Files, links and directories: what needs an inode each.
    pub inodes: u64,
}

/// How `loadenv` treats `environment.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRules {
    #[serde(default)]
    pub precedence: Precedence,
    /// Keys that the file or, failing that, the inherited environment must have.
    #[serde(default)]
    pub required: Vec<String>,
    /// Refuse a file that others may read (mode & 0o004).
    #[serde(default)]
    pub private: bool,
}

/// Which wins where both name a variable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precedence {
    #[default]
    File,
    Process,
}

/// One wheel, shared by the targets that name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// `wheels/NAME.whl` or `bootstrap_wheels/NAME.whl`.
    pub path: String,
    /// Normalised distribution name (PEP 503).
    pub name: String,
    pub version: String,
    /// Where it came from, when not from an index: written to `direct_url.json` (PEP 610), credentials left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "direct_url")]
    pub direct_url: Option<serde_json::Value>,
    /// Made on the building machine from a source distribution, so its bytes are in no lock.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub built: bool,
    /// What its ELF files need of the system, its part of [`Target::needs`].
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
}

/// One member of the zip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub path: String,
    /// Bytes, uncompressed. For a link, the length of its target.
    pub size: u64,
    /// Of the uncompressed bytes. For a link, of its target.
    pub sha256: Sha256,
    pub kind: MemberKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberKind {
    /// Mode 0644, less the umask at install.
    File,
    /// Mode 0755, less the umask at install.
    Executable,
    /// A symbolic link; the member's content is the target, relative, and stays inside the project.
    Link,
}

impl Project {
    /// Whether a member is one of the static files that were collected when the artifact was built.
    pub fn is_collected(&self, path: &str) -> bool {
        let root = self.static_root.as_deref();
        root.and_then(|root| path.strip_prefix(root)).is_some_and(|below| below.starts_with('/'))
    }
}

impl Target {
    /// A collision that no wheel of the target settles.
    pub fn unsettled(&self) -> Option<&Collision> {
        let wheels: BTreeSet<&str> = self.wheels.iter().map(String::as_str).inserted();
        self.collisions.iter().find(|collision| !wheels.contains(collision.wheel.as_str()))
    }
}

/// What PEP 610 knows, and nothing else: any value could take much more memory than its text.
fn direct_url<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<serde_json::Value>, D::Error> {
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct DirectUrl {
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        archive_info: Option<ArchiveInfo>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dir_info: Option<DirInfo>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subdirectory: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        vcs_info: Option<VcsInfo>,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ArchiveInfo {
        #[serde(skip_serializing_if = "Option::is_none")]
        hash: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hashes: Option<BTreeMap<String, String>>,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct DirInfo {
        #[serde(skip_serializing_if = "Option::is_none")]
        editable: Option<bool>,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct VcsInfo {
        vcs: String,
        commit_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        requested_revision: Option<String>,
    }
    let typed = Option::<DirectUrl>::deserialize(deserializer)?;
    typed.map(serde_json::to_value).transpose().map_err(serde::de::Error::custom)
}

/// Refuses JSON of so many values that they would take much more memory than the text. 65,535 members have two thirds of them.
pub(crate) fn check_values(text: &[u8]) -> serde_json::Result<()> {
    const MOST: usize = 500_000;
    let values = text.iter().filter(|byte| b",[{".contains(byte)).take(MOST + 1).count();
    match values > MOST {
        true => Err(serde::de::Error::custom(format!("it has more than {MOST} values"))),
        false => Ok(()),
    }
}

/// Refuses null, a key that stands twice, and an array in place of an object.
pub(crate) fn check_form(text: &[u8]) -> serde_json::Result<()> {
    const ARRAYS: [&str; 17] = [
        "allow",
        "allowed",
        "collisions",
        "command",
        "expected",
        "libraries",
        "loosen",
        "members",
        "pass-environment",
        "pass_environment",
        "prepare",
        "required",
        "run",
        "service",
        "shared",
        "targets",
        "wheels",
    ];
    let nested = [&["prepare"], &HOOK_KEYS[..]].concat();
    crate::strict::check(text, &[&ARRAYS[..], &nested].concat(), &nested)
}

impl Manifest {
    /// With no targets, wheels and members.
    pub fn of_project(name: &str, built_by: &str, project: Project) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            version: None,
            built_by: built_by.to_owned(),
            project,
            targets: Vec::new(),
            environment: EnvironmentRules::default(),
            release: None,
            interpreter: None,
            wheels: Vec::new(),
            allowed: Vec::new(),
            members: Vec::new(),
        }
    }

    /// The wheels by their path.
    pub fn wheels_by_path(&self) -> BTreeMap<&str, &Wheel> {
        self.wheels.iter().map(|wheel| (wheel.path.as_str(), wheel)).inserted()
    }

    /// The members that are the bundled Python's, ordered by path.
    pub fn interpreter_members(&self) -> impl Iterator<Item = &Member> {
        let is_own = |member: &&Member| {
            self.interpreter.is_some()
                && member.path.split_once('/').is_some_and(|(top, _)| top == INTERPRETER)
        };
        let mut members: Vec<&Member> = self.members.iter().filter(is_own).collect();
        order::sort_by(&mut members, |one, other| one.path.cmp(&other.path));
        members.into_iter()
    }

    /// [`BundledInterpreter::digest`], of what the members are.
    pub fn interpreter_digest(&self) -> Sha256 {
        let mut lines = String::new();
        for Member { path, kind, sha256, .. } in self.interpreter_members() {
            let kind = match kind {
                MemberKind::File => "file",
                MemberKind::Executable => "executable",
                MemberKind::Link => "link",
            };
            lines.push_str(&format!("{path}\0{kind}\0{sha256}\n"));
        }
        Sha256::of(lines.as_bytes())
    }

    /// The members by their path.
    pub fn members_by_path(&self) -> BTreeMap<&str, &Member> {
        self.members.iter().map(|member| (member.path.as_str(), member)).inserted()
    }

    /// The targets, each with the paths of its wheels and of its pip.
    pub fn wheels_of_targets(&self) -> Vec<(&Target, BTreeSet<&str>)> {
        let wheels = self.targets.iter().map(|target| {
            let paths = target.wheels.iter().chain([&target.pip]);
            (target, paths.map(String::as_str).inserted())
        });
        wheels.collect()
    }

    /// The targets of each wheel and of each pip, by its path.
    pub fn targets_of_wheels(&self) -> BTreeMap<&str, Vec<&Target>> {
        let mut targets: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
        for (target, wheels) in self.wheels_of_targets() {
            wheels.into_iter().for_each(|wheel| targets.entry(wheel).or_default().push(target));
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collision_is_settled_by_a_wheel_of_its_target() {
        let target = |settled_by: &str| -> Target {
            let text = serde_json::json!({
                "python": "3.12", "abi": "cp312", "platform": "any", "pip": "bootstrap_wheels/pip.whl",
                "wheels": ["wheels/b.whl", "wheels/a.whl"], "unpacked": { "bytes": 0, "inodes": 0 },
                "collisions": [{ "path": "x", "wheel": "wheels/a.whl" }, { "path": "y", "wheel": settled_by }],
            });
            serde_json::from_value(text).unwrap()
        };
        assert_eq!(target("wheels/b.whl").unsettled(), None);
        assert_eq!(target("wheels/c.whl").unsettled().unwrap().path, "y");
    }

    #[test]
    fn json_that_needs_much_memory_is_refused() {
        let many = format!("[{}]", vec!["[]"; 300_000].join(","));
        assert!(check_values(many.as_bytes()).is_err());
        let wheel = |direct_url: &str| {
            serde_json::from_str::<Wheel>(&format!(
                r#"{{"path": "wheels/a.whl", "name": "a", "version": "1", "direct_url": {direct_url}}}"#
            ))
        };
        assert!(wheel("[[], []]").is_err() && wheel(r#"{"url": "x", "other": [[]]}"#).is_err());
        let archive = r#"{"archive_info":{"hash":"sha256=a","hashes":{"sha256":"a"}},"url":"https://a"}"#;
        assert_eq!(wheel(archive).unwrap().direct_url.unwrap().to_string(), archive);
    }
}
