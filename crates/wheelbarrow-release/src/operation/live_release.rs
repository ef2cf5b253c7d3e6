//! `exec` and `verify`: runs a command in the environment of a release, and compares its files with the
//! install.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::release::Words;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_install::{Verification, verify_but};
use wheelbarrow_wheel::order::Inserted;

use crate::check::startable;
use crate::command::identity::other_user;
use crate::command::in_release;
use crate::command::terminal;
use crate::root::data::{PREPARED_PATH, leave_out_prepared};
use crate::root::moved_root;
use crate::root::release::{CompleteRelease, ENVIRONMENT_SHA256, LOGS, RELEASE_PATH};
use crate::root::settings::Settings;
use crate::stage::rebuilt_artifact::{BYTECODE, overwritten};
use crate::stage::statics;
use crate::stage::statics::STATIC_PATH;
use crate::{ReleaseError, Root};

/// Runs a command as `prepare` would, in the release itself, so that a switch does not mix two. Returns its exit code if it
/// runs as another user; else this process becomes the command.
pub fn execute(
    root: &Root,
    release: &CompleteRelease,
    words: &Words,
    progress: &dyn Progress,
) -> Result<u8, ReleaseError> {
    moved_root::check(release)?;
    let settings = Settings::of(root, release, &Default::default())?;
    let mut command = in_release(release, &settings, words)?;
    let ended = match other_user(settings.identity.as_ref()) {
        Some(_) => terminal::run(&mut command, progress),
        None => Err(command.exec()),
    };
    ended.map(terminal::exit_code).map_err(|source| ReleaseError::NoProgram {
        command: words.to_string(),
        program: words.program().to_owned(),
        source,
    })
}

/// Compares a release with what was installed. What makes it a release is not of the install, and nothing extra; nor are
/// the static files that it has collected, even over files of the artifact.
pub fn verify(
    root: &Root,
    release: &CompleteRelease,
    progress: &dyn Progress,
) -> Result<Verification, ReleaseError> {
    // The site writes in them what it likes.
    let own =
        [LOGS, BYTECODE].map(PathBuf::from).into_iter().chain(statics::root(release).map(PathBuf::from));
    let mut verification = verify_but(release.path(), &own.inserted(), progress)?;
    let settings = Settings::of(root, release, &Default::default())?;
    if let Some(collected) = overwritten(root, release) {
        for paths in [&mut verification.changed, &mut verification.missing] {
            paths.retain(|path| !collected.has(Path::new(path)));
        }
    }
    verification.find_python();
    if verification.missing.is_empty() && verification.changed.is_empty() {
        // What is as it was installed may stand on a Python that is gone.
        startable::check(release, &settings, progress)?;
    }
    let code = release.site()?.project.directory;
    let links: Vec<String> = settings.shared.iter().map(|shared| format!("{code}/{}", shared.path)).collect();
    let own = [RELEASE_PATH, STATIC_PATH, PREPARED_PATH, ENVIRONMENT_SHA256];
    verification.extra.retain(|path| !own.contains(&path.as_str()) && !links.contains(path));
    leave_out_prepared(root, release.id(), &mut verification.extra)?;
    Ok(verification)
}
