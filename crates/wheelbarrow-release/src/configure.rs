//! What makes an install a release: its environment, its links to what is shared, and its record.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use rustix::process::getuid;
use wheelbarrow_artifact::manifest::{Manifest, Sha256};
use wheelbarrow_fs::{SafePath, write_atomic};

use crate::identity::Identity;
use crate::release::{CompleteRelease, RELEASE_PATH, ReleaseRecord};
use crate::settings::Settings;
use crate::{ReleaseError, Root, environment};

pub(crate) const ENVIRONMENT: &str = "environment.json";
/// Of an environment.json whose owner has not said otherwise.
pub(crate) const PRIVATE: u32 = 0o640;

/// What a release is given beside what was installed.
pub(crate) struct Extras<'e> {
    pub(crate) environment: &'e Environment,
    /// The bytecode of the code, by its path: what the same is made from with another environment.
    pub(crate) pack: Option<&'e (String, Vec<u8>)>,
}

/// Which environment a release gets.
pub(crate) enum Environment {
    /// What stands in `shared/environment.json`.
    Shared,
    /// This text of a new one, with the mode and the owner of that file.
    New(Vec<u8>),
}

/// Refuses shared paths at which the artifact has something, and an environment that the site would refuse.
pub(crate) fn look_at(root: &Root, manifest: &Manifest, settings: &Settings) -> Result<(), ReleaseError> {
    let code = &manifest.project.directory;
    for shared in &settings.shared {
        let path = format!("{code}/{shared}");
        let is_there = |member: &str| {
            member.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || path.strip_prefix(member).is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(member) = manifest.members.iter().find(|member| is_there(&member.path)) {
            let reason = format!(
                "the artifact has {} where `{shared}` should be a link; `exclude` leaves it out of the build",
                member.path
            );
            return Err(ReleaseError::Setting { key: "shared", reason });
        }
    }
    let path = root.shared().join(ENVIRONMENT);
    let (data, mode) = match read(&path)? {
        Some((data, metadata)) => (data, metadata.mode()),
        None => (b"{}".to_vec(), 0),
    };
    environment::check(&data, mode, &manifest.environment, |key| std::env::var_os(key).is_some())
        .map(drop)
        .map_err(|source| ReleaseError::Environment { path, source })
}

/// Makes the install at `path` complete.
pub(crate) fn configure(
    root: &Root,
    code: &str,
    settings: &Settings,
    extras: &Extras<'_>,
    record: ReleaseRecord,
) -> Result<CompleteRelease, ReleaseError> {
    let path = root.release(&record.id);
    if let Some((name, pack)) = extras.pack {
        write(&path.join(name), pack)?;
    }
    let environment_sha256 = give_environment(root, &path, settings.identity.as_ref(), extras.environment)?;
    for shared in &settings.shared {
        link(root, &path.join(code), code, shared, settings.identity.as_ref())?;
    }
    if let Some(below) = &settings.static_root {
        let directory = path.join(code).join(below.as_str());
        fs::create_dir_all(&directory).map_err(ReleaseError::io("make the directory", &directory))?;
        if let Some(identity) = &settings.identity {
            // Who runs collectstatic writes there, and only there in a release.
            give(&directory, identity.user, identity.group)?;
        }
    }
    let record = ReleaseRecord { environment_sha256, ..record };
    // What the record vouches for is on disk before it.
    sync(&path)?;
    let text = serde_json::to_vec_pretty(&record).map_err(io::Error::other);
    let file = path.join(RELEASE_PATH);
    let mut text = text.map_err(ReleaseError::io("write", &file))?;
    text.push(b'\n');
    write_atomic(&file, &text, 0o644)?;
    Ok(CompleteRelease { path, record })
}

/// Gives the release an environment of its own, so that a rollback brings it back; its hash.
fn give_environment(
    root: &Root,
    release: &Path,
    identity: Option<&Identity>,
    environment: &Environment,
) -> Result<Option<Sha256>, ReleaseError> {
    let (data, metadata) = match (environment, read(&root.shared().join(ENVIRONMENT))?) {
        (Environment::New(text), shared) => (text.clone(), shared.map(|(_, metadata)| metadata)),
        (Environment::Shared, Some((data, metadata))) => (data, Some(metadata)),
        (Environment::Shared, None) => return Ok(None),
    };
    let to = release.join(ENVIRONMENT);
    write_atomic(&to, &data, 0o600)?;
    // The owner is given first: until then nobody else may read it.
    let (user, group) = match (identity, &metadata) {
        // Root keeps it, the site's group reads it.
        (Some(identity), _) => (None, identity.group),
        // Only root may give files away; who else deploys owns what they make.
        (None, Some(metadata)) => (getuid().is_root().then(|| metadata.uid()), Some(metadata.gid())),
        (None, None) => (None, None),
    };
    give(&to, user, group)?;
    let mode = metadata.filter(|_| identity.is_none()).map_or(PRIVATE, |metadata| metadata.mode() & 0o777);
    fs::set_permissions(&to, PermissionsExt::from_mode(mode))
        .map_err(ReleaseError::io("set the mode of", &to))?;
    Ok(Some(Sha256::of(&data)))
}

/// Makes `releases/ID/CODE/PATH` a link to `shared/PATH`, and that a directory if it is not there.
fn link(
    root: &Root,
    code_path: &Path,
    code: &str,
    shared: &SafePath,
    identity: Option<&Identity>,
) -> Result<(), ReleaseError> {
    let target = root.shared().join(shared.as_str());
    if fs::symlink_metadata(&target).is_err() {
        fs::create_dir_all(&target).map_err(ReleaseError::io("make the directory", &target))?;
        if let Some(identity) = identity {
            give(&target, identity.user, identity.group)?;
        }
    }
    let link = code_path.join(shared.as_str());
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent).map_err(ReleaseError::io("make the directory", parent))?;
    }
    // Up out of the path's own directories, the code, the release and `releases`.
    let depth = shared.as_str().matches('/').count() + code.split('/').count() + 2;
    let target = format!("{}shared/{shared}", "../".repeat(depth));
    fs_err::os::unix::fs::symlink(target, &link).map_err(ReleaseError::io("make the link", &link))
}

/// Changes owner and group where they are others.
fn give(path: &Path, user: Option<u32>, group: Option<u32>) -> Result<(), ReleaseError> {
    let now = fs::symlink_metadata(path).map_err(ReleaseError::io("look at", path))?;
    let user = user.filter(|user| *user != now.uid());
    let group = group.filter(|group| *group != now.gid());
    if user.is_none() && group.is_none() {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, user, group).map_err(ReleaseError::io("change the owner of", path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ReleaseError> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).map_err(ReleaseError::io("make the directory", directory))?;
    fs::write(path, bytes).map_err(ReleaseError::io("write", path))
}

pub(crate) fn read(path: &Path) -> Result<Option<(Vec<u8>, std::fs::Metadata)>, ReleaseError> {
    match fs::read(path) {
        Ok(data) => {
            let metadata = fs::metadata(path).map_err(ReleaseError::io("look at", path))?;
            Ok(Some((data, metadata)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReleaseError::io("read", path)(error)),
    }
}

pub(crate) fn sync(path: &Path) -> Result<(), ReleaseError> {
    let directory = fs::File::open(path).map_err(ReleaseError::io("open", path))?;
    rustix::fs::syncfs(&directory).map_err(ReleaseError::errno("sync", path))
}
