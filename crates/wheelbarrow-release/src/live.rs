//! Working with what is live: a command in its environment, and its files compared.

use std::process::Command;

use wheelbarrow_artifact::progress::Progress;
use wheelbarrow_artifact::release::Words;
use wheelbarrow_install::Verification;

use crate::command::in_release;
use crate::release::{CompleteRelease, LOGS, RELEASE_PATH};
use crate::remake::BYTECODE;
use crate::settings::Settings;
use crate::statics::STATIC_PATH;
use crate::{ReleaseError, ReleaseId, Root, statics};

/// The release `id`, else the live one.
pub fn release(root: &Root, id: Option<&ReleaseId>) -> Result<CompleteRelease, ReleaseError> {
    match id {
        Some(id) => root.complete(id),
        None => {
            let nothing = || ReleaseError::NothingLive { root: root.path().to_path_buf() };
            root.complete(&root.live()?.ok_or_else(nothing)?)
        }
    }
}

/// A command as `prepare` would run it, ready to be executed: in the release itself, so that a switch does not mix two.
pub fn command(root: &Root, release: &CompleteRelease, words: &Words) -> Result<Command, ReleaseError> {
    let settings = Settings::of(root, release, &Default::default())?;
    in_release(release, &settings, words)
}

/// Compares a release with what was installed. What makes it a release is not of the install, and nothing extra; nor are
/// the static files that it has collected.
pub fn verify(
    root: &Root,
    release: &CompleteRelease,
    progress: &dyn Progress,
) -> Result<Verification, ReleaseError> {
    let mut verification = wheelbarrow_install::verify(release.path(), progress)?;
    let settings = Settings::of(root, release, &Default::default())?;
    let code = release.site()?.project.directory;
    let links: Vec<String> = settings.shared.iter().map(|shared| format!("{code}/{shared}")).collect();
    let statics = statics::root(release)?;
    verification.extra.retain(|path| {
        let mut own = [LOGS, BYTECODE].into_iter().chain(statics.as_deref());
        path != RELEASE_PATH
            && path != STATIC_PATH
            && !links.contains(path)
            && !own.any(|own| path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')))
    });
    Ok(verification)
}
