//! Turns an install into a release: its environment, its links to shared paths, and its record.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use rustix::process::getuid;
use wheelbarrow_artifact::manifest::{Manifest, Sha256};
use wheelbarrow_base::beneath::{self, Directory};
use wheelbarrow_base::{SafePath, write_atomic};

use crate::command::identity::Identity;
use crate::environment::shared_environment::of_release;
use crate::environment::{self, ENVIRONMENT, PRIVATE};
use crate::root::release::{CompleteRelease, ENVIRONMENT_SHA256, RELEASE_PATH, ReleaseRecord};
use crate::root::settings::Settings;
use crate::root::shared::SharedPath;
use crate::root::{shared, trusted};
use crate::{ReleaseError, Root};

/// What a release is given beside what was installed.
pub(crate) struct ReleaseExtras<'e> {
    pub(crate) environment: &'e ReleaseEnvironment,
    /// The bytecode of the code, by its path: what the same is made from with another environment.
    pub(crate) pack: Option<&'e (String, Vec<u8>)>,
}

/// Which environment a release gets.
pub(crate) enum ReleaseEnvironment {
    /// What stands in `shared/environment.json`.
    Shared,
    /// This text of a new one, with the mode and the owner of that file.
    New(Vec<u8>),
}

/// Refuses shared paths at which the artifact has something, and an environment that the site would refuse.
pub(crate) fn inspect(root: &Root, manifest: &Manifest, settings: &Settings) -> Result<(), ReleaseError> {
    let code = &manifest.project.directory;
    for SharedPath { path: shared, .. } in &settings.shared {
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
    let is_made = |shared: &SharedPath| {
        !root.shared().is_dir() || shared::is_missing(root, Path::new(shared.path.as_str()))
    };
    if let Some(identity) = &settings.identity
        && let (Some(user), own) = (identity.user, rustix::process::geteuid())
        && !own.is_root()
        && own.as_raw() != user
        && shared_paths(settings).iter().any(is_made)
    {
        let reason = format!(
            "only root can give files to the user {}: deploy as root, or name the user who deploys with `--owner`",
            identity.name
        );
        return Err(ReleaseError::Setting { key: "owner", reason });
    }
    for shared in shared_paths(settings) {
        shared::inspect(root, &shared, settings.identity.as_ref())?;
    }
    let path = root.shared().join(ENVIRONMENT);
    let (data, mode) = match trusted::read(root, ENVIRONMENT)? {
        Some((data, metadata)) => (data, metadata.mode()),
        None => {
            refuse_lost_environment(root, &path, "does not exist", |live| {
                live.record.environment_sha256.is_some()
            })?;
            (b"{}".to_vec(), 0)
        }
    };
    let is_there = mode != 0;
    match environment::check(&data, mode, &manifest.environment, |key| std::env::var_os(key).is_some()) {
        Ok(names) if names.is_empty() => refuse_lost_environment(root, &path, "has no variables", |live| {
            of_release(live).is_ok_and(|had| !had.names().is_empty())
        }),
        checked => checked.map(drop).map_err(|mut source| {
            if !is_there {
                source.reason = source.reason.replace("not in the file", "the file does not exist");
            }
            ReleaseError::Environment { path, source }
        }),
    }
}

/// A site that had an environment and has none would start with its defaults: another database, say, which is migrated.
fn refuse_lost_environment(
    root: &Root,
    path: &Path,
    what: &'static str,
    has_one: impl Fn(&CompleteRelease) -> bool,
) -> Result<(), ReleaseError> {
    let Some(live) = root.live()? else { return Ok(()) };
    match root.complete_or_none(&live)? {
        Some(live) if has_one(&live) => {
            let (path, live) = (path.to_path_buf(), live.path.join(ENVIRONMENT));
            Err(ReleaseError::NoEnvironment { path, what, live })
        }
        _ => Ok(()),
    }
}

/// What a release needs below `ROOT/shared`: what is shared, and a STATIC_ROOT in there.
fn shared_paths(settings: &Settings) -> Vec<SharedPath> {
    let statics = settings.static_root.iter().filter(|path| is_shared(settings, path));
    settings.shared.iter().cloned().chain(statics.cloned().map(SharedPath::directory)).collect()
}

/// Whether a path below the code is a link to what is shared, or leads through one.
fn is_shared(settings: &Settings, path: &SafePath) -> bool {
    settings.shared.iter().any(|shared| Path::new(path.as_str()).starts_with(shared.path.as_str()))
}

/// Makes the install at `path` complete.
pub(crate) fn configure(
    root: &Root,
    code: &str,
    settings: &Settings,
    extras: &ReleaseExtras<'_>,
    record: ReleaseRecord,
) -> Result<CompleteRelease, ReleaseError> {
    let path = root.release(&record.id);
    let release = Directory::open(&path).map_err(ReleaseError::io("open", &path))?;
    if let Some((name, pack)) = extras.pack {
        write(&path, &release, name, pack)?;
    }
    let environment_sha256 =
        give_environment(root, (&path, &release), settings.identity.as_ref(), extras.environment)?;
    for shared in shared_paths(settings) {
        shared::make(root, &shared, settings.identity.as_ref())?;
    }
    for SharedPath { path: shared, .. } in &settings.shared {
        link(&path, &release, code, shared)?;
    }
    // Collected static files are as little the site's to change as its code.
    if settings.collected.is_none()
        && let Some(below) = settings.static_root.as_ref().filter(|below| !is_shared(settings, below))
    {
        let directory = Path::new(code).join(below.as_str());
        make_given(&path, &release, &directory, settings.identity.as_ref())?;
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

/// Makes a directory of a release and gives it to the site's user. Who runs collectstatic writes there, and only there
/// in a release.
pub(crate) fn make_given(
    path: &Path,
    release: &Directory,
    directory: &Path,
    identity: Option<&Identity>,
) -> Result<(), ReleaseError> {
    let full = path.join(directory);
    let made = release.make_all(directory, 0o777).map_err(ReleaseError::io("make the directory", &full))?;
    match identity {
        Some(identity) => {
            made.give(identity.user, identity.group).map_err(ReleaseError::io("change the owner of", &full))
        }
        None => Ok(()),
    }
}

/// Who may read the environment of a release.
pub(crate) struct EnvironmentRights {
    /// None for the user who deploys.
    pub(crate) user: Option<u32>,
    /// None for the group of that user.
    pub(crate) group: Option<u32>,
    pub(crate) mode: u32,
}

impl EnvironmentRights {
    /// `shared` is of `shared/environment.json`, if that is there.
    pub(crate) fn of(identity: Option<&Identity>, shared: Option<&Metadata>) -> Self {
        let (user, group) = match (identity, shared) {
            // Root keeps it, the site's group reads it.
            (Some(identity), _) => (None, identity.group),
            // Only root may give files away; who else deploys owns what they make.
            (None, Some(shared)) => (getuid().is_root().then(|| shared.uid()), Some(shared.gid())),
            (None, None) => (None, None),
        };
        let mode = shared.filter(|_| identity.is_none()).map_or(PRIVATE, |shared| shared.mode() & 0o777);
        Self { user, group, mode }
    }
}

/// Gives the release an environment of its own, so that a rollback brings it back; its hash.
fn give_environment(
    root: &Root,
    (path, release): (&Path, &Directory),
    identity: Option<&Identity>,
    environment: &ReleaseEnvironment,
) -> Result<Option<Sha256>, ReleaseError> {
    let (data, metadata) = match (environment, trusted::read(root, ENVIRONMENT)?) {
        (ReleaseEnvironment::New(text), shared) => (text.clone(), shared.map(|(_, metadata)| metadata)),
        (ReleaseEnvironment::Shared, Some((data, metadata))) => (data, Some(metadata)),
        (ReleaseEnvironment::Shared, None) => return Ok(None),
    };
    let EnvironmentRights { user, group, mode } = EnvironmentRights::of(identity, metadata.as_ref());
    let give = |file: &std::fs::File| {
        // The owner is given first: until then nobody else may read it.
        beneath::give(file.as_fd(), user, group)?;
        file.set_permissions(PermissionsExt::from_mode(mode))
    };
    let digest = Sha256::of(&data);
    let digest_text = format!("{digest}\n");
    for (name, text) in [(ENVIRONMENT, data.as_slice()), (ENVIRONMENT_SHA256, digest_text.as_bytes())] {
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        release
            .sub(above)
            .and_then(|above| above.replace(OsStr::new(last), text, 0o600, give))
            .map_err(ReleaseError::io("write", &path.join(name)))?;
    }
    Ok(Some(digest))
}

/// Makes `releases/ID/CODE/PATH` a link to `shared/PATH`.
fn link(path: &Path, release: &Directory, code: &str, shared: &SafePath) -> Result<(), ReleaseError> {
    let link = Path::new(code).join(shared.as_str());
    let full = path.join(&link);
    let above = link.parent().unwrap_or(Path::new(""));
    let above = release.make_all(above, 0o777).map_err(ReleaseError::io("make the directory", &full))?;
    // Up out of the path's own directories, the code, the release and `releases`.
    let depth = shared.as_str().matches('/').count() + code.split('/').count() + 2;
    let target = format!("{}shared/{shared}", "../".repeat(depth));
    above.symlink(target, OsStr::new(shared.name())).map_err(ReleaseError::io("make the link", &full))
}

fn write(path: &Path, release: &Directory, name: &str, bytes: &[u8]) -> Result<(), ReleaseError> {
    let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
    let written = release
        .make_all(above, 0o777)
        .and_then(|above| above.create(OsStr::new(last), 0o666)?.write_all(bytes));
    written.map_err(ReleaseError::io("write", &path.join(name)))
}

pub(crate) fn sync(path: &Path) -> Result<(), ReleaseError> {
    let directory = fs::File::open(path).map_err(ReleaseError::io("open", path))?;
    rustix::fs::syncfs(&directory).map_err(ReleaseError::errno("sync", path))
}
