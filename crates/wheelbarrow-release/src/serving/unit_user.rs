//! Whether the user of a systemd unit can read the environment of a release, before the release is live.
//!
//! The site reads `environment.json` when it starts, as the user of its unit. Without `owner`, the file belongs to the user who
//! deploys, and the server would not start: `loadenv: ...: cannot be read: Permission denied`. A deploy is not refused if
//! the rights cannot be known: `id` does not know the user, or the file has an access control list.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use fs_err as fs;
use rustix::process::{getgid, getuid};
use wheelbarrow_artifact::release::{Manager, Server, ServiceProcess};

use crate::command::as_deployer;
use crate::command::identity::group_number;
use crate::environment::ENVIRONMENT;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::root::trusted;
use crate::serving::systemd::{self, UnitProblem};
use crate::stage::configure::EnvironmentRights;
use crate::{ReleaseError, Root};

/// systemd.exec(5).
const PROPERTIES: &str = "--property=User,Group,SupplementaryGroups";

/// Owner, group and mode of a file.
struct FileRights {
    user: u32,
    group: u32,
    mode: u32,
}

/// Refuses a unit whose user could not read the environment of a release that is to be made. `is_new` is whether it is made
/// even if there is none in `shared`.
pub(crate) fn inspect(root: &Root, settings: &Settings, is_new: bool) -> Result<(), ReleaseError> {
    let shared = trusted::read(root, ENVIRONMENT)?.map(|(_, metadata)| metadata);
    if shared.is_none() && !is_new {
        return Ok(());
    }
    // A new file inherits it.
    if [root.releases(), root.path().to_path_buf()].iter().any(|path| has_list(path, "default")) {
        return Ok(());
    }
    let rights = EnvironmentRights::of(settings.identity.as_ref(), shared.as_ref());
    let user = rights.user.unwrap_or_else(|| getuid().as_raw());
    let group = rights.group.unwrap_or_else(|| getgid().as_raw());
    judge(settings, &FileRights { user, group, mode: rights.mode })
}

/// The same for a release that is there.
pub(crate) fn inspect_release(release: &CompleteRelease, settings: &Settings) -> Result<(), ReleaseError> {
    let path = release.path().join(ENVIRONMENT);
    let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(()) };
    if has_list(&path, "access") {
        return Ok(());
    }
    judge(settings, &FileRights { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() })
}

fn judge(settings: &Settings, file: &FileRights) -> Result<(), ReleaseError> {
    let of_services = settings.services.iter().filter_map(|service| match &service.process {
        ServiceProcess::Told(server) => Some(server),
        // Units of Wheelbarrow's own run as `owner`.
        ServiceProcess::Own(_) => None,
    });
    for server in std::iter::once(&settings.server).chain(of_services) {
        let Server::Systemd { unit, manager: Manager::System, .. } = server else { continue };
        if let Some(user) = user_without_right(unit, file) {
            let problem = UnitProblem::Environment(user);
            return Err(ReleaseError::Unit { unit: unit.clone(), problem });
        }
    }
    Ok(())
}

/// The user of the unit, if that user certainly cannot read the file.
fn user_without_right(unit: &str, file: &FileRights) -> Option<String> {
    if file.mode & 0o004 != 0 {
        return None;
    }
    let shown = systemd::show(Manager::System, unit, PROPERTIES).ok()?;
    let value = |key: &str| shown.get(key).map(String::as_str).unwrap_or_default();
    let user = value("User");
    if user.is_empty() {
        return None;
    }
    let number = *numbers("-u", user)?.first()?;
    if number == 0 || (number == file.user && file.mode & 0o400 != 0) {
        return None;
    }
    let mut groups = numbers("-G", user)?;
    for name in value("Group").split_whitespace().chain(value("SupplementaryGroups").split_whitespace()) {
        groups.push(group_number(name)?);
    }
    let is_of_group = groups.contains(&file.group) && file.mode & 0o040 != 0;
    (!is_of_group).then(|| user.to_owned())
}

/// What id(1) prints of a user: users and groups need not be in `/etc`.
fn numbers(flag: &str, user: &str) -> Option<Vec<u32>> {
    let output = as_deployer("id").args([flag, "--", user]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    text.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// Whether a path has an access control list of this kind (acl(5)), which may allow more than modes do.
fn has_list(path: &Path, kind: &str) -> bool {
    rustix::fs::getxattr_query(path, format!("system.posix_acl_{kind}")).is_ok()
}
