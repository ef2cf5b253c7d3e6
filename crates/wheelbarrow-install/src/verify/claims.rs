//! The recorded facts of an install, as far as its receipt, its sums and its manifest agree.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use wheelbarrow_artifact::manifest::{INTERPRETER, MANIFEST_PATH, Manifest, MemberKind, Sha256};
use wheelbarrow_base::beneath::{Directory, real};
use wheelbarrow_base::{LARGEST_TEXT, SafePath, json};

use crate::InstallError;
use crate::layout::{RECEIPT_PATH, SUMS_PATH};
use crate::receipt::Receipt;
use crate::sums::read_sums;

/// The one link that every virtualenv has.
pub(super) const PYTHON: &str = "venv/bin/python";

/// What should be there.
pub(super) struct Claims {
    /// Every file that is in the sums.
    pub files: BTreeMap<String, Sha256>,
    /// The project's links, and the SHA-256 of their targets.
    pub links: Vec<(String, Sha256)>,
    /// Bytes of the project's files.
    pub sizes: HashMap<String, u64>,
    /// The directory for collected static files that the settings name, below the destination.
    pub static_root: Option<PathBuf>,
    /// The interpreter of the virtualenv.
    executable: PathBuf,
    /// Whether the manifest is the one that was installed: if not, nobody knows the project's links.
    knows_links: bool,
    /// Whether the artifact brings its interpreter.
    brings_python: bool,
}

/// What a link is that neither the sums nor the manifest name.
pub(super) enum LinkJudgement {
    Known,
    Changed,
    Unknown,
}

/// Errors that mean that there is no install: the path is missing, or is a file, a link or a mount of another user.
const NOTHING_THERE: [io::ErrorKind; 4] = [
    io::ErrorKind::NotFound,
    io::ErrorKind::NotADirectory,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::InvalidData,
];

impl Claims {
    /// `root` is the destination.
    pub(super) fn read(destination: &Path, root: &Directory) -> Result<Self, InstallError> {
        let broken = |path: &str, what: &str| InstallError::BrokenReceipt {
            path: destination.join(path),
            what: what.to_owned(),
        };
        let own = Path::new(RECEIPT_PATH).parent().unwrap_or(Path::new(""));
        match root.stat_at(own) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Err(error) if !NOTHING_THERE.contains(&error.kind()) => {
                return Err(InstallError::io("look at", &destination.join(own))(error));
            }
            _ => return Err(InstallError::NoInstall { path: destination.to_path_buf() }),
        }
        let receipt = read_own(destination, root, RECEIPT_PATH)?;
        let receipt = Receipt::parse(&destination.join(RECEIPT_PATH), &receipt)?;
        let sums = read_own(destination, root, SUMS_PATH)?;
        if Sha256::of(&sums) != receipt.sums_sha256 {
            return Err(broken(SUMS_PATH, "its SHA-256 is not the one in the receipt"));
        }
        let files = read_sums(&sums).ok_or_else(|| broken(SUMS_PATH, "it is no list of sums"))?;
        if files.keys().any(|path| SafePath::new(path).is_err()) {
            return Err(broken(SUMS_PATH, "it names a path that leads out"));
        }
        if files.get(MANIFEST_PATH) != Some(&receipt.manifest_sha256) {
            return Err(broken(RECEIPT_PATH, "its manifest is not the one in the sums"));
        }
        let mut claims = Self {
            files,
            links: Vec::new(),
            sizes: HashMap::new(),
            static_root: None,
            executable: receipt.interpreter.executable.clone(),
            knows_links: false,
            brings_python: false,
        };
        // A manifest that was changed is told as the file that it is.
        let manifest = read_own(destination, root, MANIFEST_PATH).unwrap_or_default();
        if Sha256::of(&manifest) == receipt.manifest_sha256 {
            let manifest: Manifest = json::from_slice(&manifest)
                .map_err(|error| broken(MANIFEST_PATH, &format!("it is no manifest: {error}")))?;
            if !receipt.is_of(&manifest) {
                return Err(broken(RECEIPT_PATH, "it says something else than the manifest"));
            }
            claims.links = project_links(&manifest);
            claims.sizes = manifest.members.iter().map(|member| (member.path.clone(), member.size)).collect();
            claims.static_root = static_root(&manifest);
            claims.knows_links = true;
            claims.brings_python = manifest.interpreter.is_some();
        }
        Ok(claims)
    }

    /// Of an install that has these files and no more.
    #[cfg(test)]
    pub(super) fn of(files: &[&str]) -> Self {
        Self {
            files: files.iter().map(|path| ((*path).to_owned(), Sha256::of(b""))).collect(),
            links: Vec::new(),
            sizes: HashMap::new(),
            static_root: None,
            executable: "/usr/bin/python3".into(),
            knows_links: true,
            brings_python: false,
        }
    }

    /// Whether this is a file or a link that should be there.
    pub(super) fn lists(&self, path: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(path) else { return false };
        self.files.contains_key(text)
            || self.is_python(path)
            || self.links.iter().any(|(link, _)| link == text)
    }

    /// The links of the virtualenv, and those of a project whose manifest was changed.
    pub(super) fn judge_link(&self, path: &[u8], target: &[u8]) -> LinkJudgement {
        if path == b"venv/lib64" {
            return if target == b"lib" { LinkJudgement::Known } else { LinkJudgement::Changed };
        }
        if self.is_python(path) {
            let beside = !target.contains(&b'/') && self.is_python(&[b"venv/bin/", target].concat());
            let known =
                beside || target == self.executable.as_os_str().as_bytes() || self.is_bundled_python(target);
            return if known { LinkJudgement::Known } else { LinkJudgement::Changed };
        }
        if !self.knows_links && !path.starts_with(b"venv/") {
            LinkJudgement::Known
        } else {
            LinkJudgement::Unknown
        }
    }

    /// Whether the target of a link in `venv/bin` is the interpreter that the artifact has brought.
    fn is_bundled_python(&self, target: &[u8]) -> bool {
        let own = format!("../../{INTERPRETER}/bin/");
        let name = self.executable.file_name().map(OsStrExt::as_bytes);
        self.brings_python && target.strip_prefix(own.as_bytes()) == name
    }

    /// Whether `venv` makes such a link to the interpreter: `python`, `python3`, and as the interpreter itself is called.
    pub(super) fn is_python(&self, path: &[u8]) -> bool {
        let Some(name) = path.strip_prefix(b"venv/bin/") else { return false };
        // 3.14 has a name of its own.
        let rest = name.strip_prefix(b"python").or_else(|| name.strip_prefix("𝜋thon".as_bytes()));
        let flags = |byte: &u8| byte.is_ascii_digit() || b".tdm".contains(byte);
        rest.is_some_and(|rest| rest.iter().all(flags))
            || self.executable.file_name().is_some_and(|executable| executable.as_bytes() == name)
    }
}

fn static_root(manifest: &Manifest) -> Option<PathBuf> {
    let below = manifest.release.as_ref()?.static_root.as_deref()?.trim_end_matches('/');
    let below = SafePath::new(below).ok()?;
    Some(Path::new(&manifest.project.directory).join(below.as_str()))
}

fn project_links(manifest: &Manifest) -> Vec<(String, Sha256)> {
    let links = manifest.members.iter().filter(|member| member.kind == MemberKind::Link);
    links.map(|member| (member.path.clone(), member.sha256)).collect()
}

/// The destination, as a directory.
pub(super) fn open(destination: &Path) -> Result<Directory, InstallError> {
    let absolute = std::path::absolute(destination).map_err(InstallError::io("open", destination))?;
    Directory::open(&real(&absolute)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            InstallError::NoInstall { path: destination.to_path_buf() }
        }
        _ => InstallError::io("open", destination)(error),
    })
}

/// A file that must be one, and no link.
fn read_own(destination: &Path, root: &Directory, name: &str) -> Result<Vec<u8>, InstallError> {
    let path = destination.join(name);
    let broken = |what: &str| InstallError::BrokenReceipt { path: path.clone(), what: what.to_owned() };
    root.read(name).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => broken(&format!("it has more than {LARGEST_TEXT} bytes")),
        io::ErrorKind::NotFound => broken("it is missing"),
        io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory => broken("it is not a regular file"),
        _ => InstallError::io("read", &path)(error),
    })
}
