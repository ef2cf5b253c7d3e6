//! Rebuilds the artifact of a release from the release: code, static files and small members; the wheels are
//! in the store. A release with another environment is installed from it. It has the same bytes and is
//! compared with the same manifest, so altered files are found, and not installed again. Files that `collectstatic` has
//! altered are left out.

use std::ffi::OsStr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::bytecode::{PROJECT_PACK, pack_path};
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Manifest, Member, MemberKind, Sha256};
use wheelbarrow_artifact::release::Words;
use wheelbarrow_artifact::zip::{DosTime, WriteError, ZipWriter};
use wheelbarrow_artifact::{Artifact, DOORS};
use wheelbarrow_base::beneath::{Directory, Patience, remove_tree};
use wheelbarrow_base::{json, read_limited};

use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::root::trash;
use crate::stage::statics;
use crate::{ReleaseError, Root};

/// Where packs of bytecode stand, in an artifact and in a release.
pub(crate) const BYTECODE: &str = ".wheelbarrow/bytecode";
/// Where an artifact is made, in the trash.
const REMADE: &str = "remade";
/// No code of a site compiles to more, in bytes.
const LARGEST_PACK: u64 = 1 << 30;

/// The bytecode of the code, which an install unpacks and does not keep: its path in the artifact, and its bytes.
pub(crate) fn project_pack(
    artifact: &Artifact,
    interpreter: &Interpreter,
) -> Result<Option<(String, Vec<u8>)>, ReleaseError> {
    let path = pack_path(&interpreter.cache_tag, PROJECT_PACK);
    let Some(entry) = artifact.archive().find(&path) else { return Ok(None) };
    Ok(Some((path, artifact.read_member(entry, LARGEST_PACK)?)))
}

/// Writes what the release has of its artifact, and opens it.
pub(crate) fn remake(
    root: &Root,
    release: &CompleteRelease,
    interpreter: &Interpreter,
) -> Result<Artifact, ReleaseError> {
    let collected = overwritten(root, release);
    in_trash(root, |path| write(path, release, interpreter, collected.as_ref()))
}

/// The directory in which a `collectstatic` of `prepare` may have replaced files of the artifact, below the release.
pub(crate) struct Overwritten(String);

impl Overwritten {
    /// Whether that may have replaced a file, by its path below the release. The site itself says where its static files are,
    /// so modules are never among them.
    pub(crate) fn has(&self, path: &Path) -> bool {
        path.starts_with(&self.0) && !is_module(path)
    }
}

/// Whether Python can import a file.
pub(crate) fn is_module(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["py", "pyc", "so"].iter().any(|module| end == *module))
}

pub(crate) fn overwritten(root: &Root, release: &CompleteRelease) -> Option<Overwritten> {
    let settings = Settings::of(root, release, &Default::default()).ok()?;
    let collects = settings.prepare.iter().any(Words::collects_static);
    statics::root(release).filter(|_| collects && settings.collected.is_none()).map(Overwritten)
}

/// Has an artifact written into the trash, from where the next command takes it if this one is killed, and opens it. The
/// file is gone again when this returns; its bytes stay for as long as it is open.
pub(crate) fn in_trash(
    root: &Root,
    write: impl FnOnce(&Path) -> Result<(), ReleaseError>,
) -> Result<Artifact, ReleaseError> {
    let trash = Directory::open(&root.trash()).map_err(ReleaseError::io("open", &root.trash()))?;
    let directory = root.trash().join(REMADE);
    let remove = || remove_tree(&trash, OsStr::new(REMADE), &directory, &Patience::of(trash::REMOVAL));
    remove()?;
    trash.make(OsStr::new(REMADE), 0o700).map_err(ReleaseError::io("make the directory", &directory))?;
    let path = directory.join("artifact.zip");
    let remade = write(&path).and_then(|()| Ok(Artifact::open_part(&path)?));
    remove()?;
    remade
}

/// A file that nobody else reads before it was compared with the manifest.
pub(crate) fn create(path: &Path) -> Result<std::fs::File, ReleaseError> {
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    options.map_err(ReleaseError::io("write", path))
}

fn write(
    path: &Path,
    release: &CompleteRelease,
    interpreter: &Interpreter,
    collected: Option<&Overwritten>,
) -> Result<(), ReleaseError> {
    let own = release.path().join(MANIFEST_PATH);
    let text = release.read(MANIFEST_PATH)?;
    if Sha256::of(&text) != release.record.manifest_sha256 {
        return Err(altered(release, MANIFEST_PATH));
    }
    let manifest: Manifest = json::from_slice(&text)
        .map_err(|error| ReleaseError::io("understand", &own)(std::io::Error::other(error)))?;
    let zip_error = |error| zip_error(path, error);
    let mut writer =
        ZipWriter::new(create(path)?, "#!/usr/bin/env python3", DosTime::FIRST).map_err(zip_error)?;
    // Some of a release is its site's to write: no link is followed, and nothing but regular files is read.
    let directory = release.open()?;
    for member in &manifest.members {
        let Some(from) = place_of(release, member, interpreter) else { continue };
        let is_gone =
            |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound && is_optional(member);
        if member.kind == MemberKind::Link {
            match directory.read_link(&from) {
                Ok(target) => {
                    let target = target.into_encoded_bytes();
                    writer.add(&member.path, member.kind, &target).map_err(zip_error)?;
                }
                Err(error) if is_gone(&error) => {}
                Err(_) => return Err(altered(release, &member.path)),
            }
            continue;
        }
        if collected.is_some_and(|collected| collected.has(&from)) {
            // Left out if it is another: it is collected again.
            let read = directory.file(&from).and_then(|file| read_limited(file, member.size));
            if let Some(read) = read.ok().filter(|read| Sha256::of(read) == member.sha256) {
                writer.add(&member.path, member.kind, &read).map_err(zip_error)?;
            }
            continue;
        }
        match directory.file(&from) {
            Ok(contents) => {
                let is_same_size = contents.metadata().is_ok_and(|metadata| metadata.len() == member.size);
                if !is_same_size {
                    return Err(altered(release, &member.path));
                }
                let contents = fs_err::File::from_parts(contents, release.path().join(&from));
                writer.add_limited(&member.path, member.kind, member.size, contents).map_err(zip_error)?;
            }
            // Of those of `.wheelbarrow` an install keeps only some.
            Err(error) if is_gone(&error) => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(ReleaseError::io("read", &release.path().join(&from))(error));
            }
            Err(_) => return Err(altered(release, &member.path)),
        }
    }
    writer.add(MANIFEST_PATH, MemberKind::File, &text).map_err(zip_error)?;
    writer.finish().map(drop).map_err(zip_error)
}

pub(crate) fn zip_error(path: &Path, error: WriteError) -> ReleaseError {
    ReleaseError::io("write", path)(error.into())
}

fn is_optional(member: &Member) -> bool {
    member.path.starts_with(".wheelbarrow/")
}

/// Where a member stands, below the release; none for what no install leaves there.
fn place_of(release: &CompleteRelease, member: &Member, interpreter: &Interpreter) -> Option<PathBuf> {
    let path = member.path.as_str();
    match path.split_once('/') {
        None if DOORS.contains(&path) => None,
        None => {
            let packages = release.virtualenv().join(&interpreter.site_packages);
            Some(packages.strip_prefix(release.path()).ok()?.join(path))
        }
        Some(("wheels" | "bootstrap_wheels", _)) => None,
        Some((".wheelbarrow", _)) => path.starts_with(BYTECODE).then(|| path.into()),
        Some(_) => Some(path.into()),
    }
}

fn altered(release: &CompleteRelease, what: &str) -> ReleaseError {
    ReleaseError::Altered { id: release.id().clone(), what: format!("{what} is another, or missing") }
}
