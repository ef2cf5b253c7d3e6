//! Files that a site has written into a release. Nothing removes them without an explicit request.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::json;
use wheelbarrow_install::{
    ForeignData, InstallError, KnownFiles, changed_databases, data, data_files, made_files,
};
use wheelbarrow_wheel::order::Inserted;

use crate::root::history::journaled_operations;
use crate::stage::rebuilt_artifact::is_module;
use crate::stage::statics;
use crate::{ReleaseError, ReleaseId, Root};

/// Names may be secrets, as those of sessions are.
const PRIVATE: u32 = 0o600;
/// Files that commands of `prepare` have made in the release.
pub(crate) const PREPARED_PATH: &str = ".wheelbarrow/prepared.json";

/// Whether files go that a site has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SiteData {
    #[default]
    Kept,
    Discarded,
}

/// What is in a release that is not known to be made from its artifact. Known are what was installed, bytecode, what
/// Wheelbarrow writes, environment.json, collected static files, files that `prepare` made, and links into `ROOT/shared`.
pub(crate) fn written(root: &Root, id: &ReleaseId) -> Result<ForeignData, ReleaseError> {
    match data(&root.release(id), &made(root, id)) {
        // It never was installed: people made the directory.
        Err(InstallError::NoInstall { .. }) => Ok(ForeignData::default()),
        found => Ok(found?),
    }
}

/// The paths of all such files, below the release.
pub(crate) fn written_files(root: &Root, id: &ReleaseId) -> Result<Vec<PathBuf>, ReleaseError> {
    match data_files(&root.release(id), &made(root, id)) {
        Err(InstallError::NoInstall { .. }) => Ok(Vec::new()),
        found => Ok(found?),
    }
}

/// The databases of SQLite among these files that were changed after the release was live for the first time: paths below it.
pub(crate) fn databases(root: &Root, id: &ReleaseId, files: &[PathBuf]) -> Result<Vec<String>, ReleaseError> {
    let operations = journaled_operations(&root.journal().read()?);
    let first =
        operations.iter().find(|operation| operation.id == *id && operation.switched && operation.is_done());
    // A command of `prepare` makes some anew for each release.
    let since = first.map_or(0, |first| first.at + first.milliseconds().unwrap_or_default() / 1000 + 1);
    Ok(changed_databases(&root.release(id), files, since.try_into().unwrap_or(i64::MAX))?)
}

fn made(root: &Root, id: &ReleaseId) -> KnownFiles {
    let release = root.release(id);
    let statics = statics::root_in(&release);
    KnownFiles {
        directories: statics.map(Into::into).into_iter().inserted(),
        shared: Some(root.shared()),
        files: prepared(&release).unwrap_or_default(),
    }
}

/// The record of the release. None if it is missing, or of a newer program: its files count as data.
fn prepared(release: &Path) -> Option<Map<String, Value>> {
    let mut record: Map<String, Value> =
        json::from_slice(&Directory::open(release).ok()?.read(PREPARED_PATH).ok()?).ok()?;
    match record.remove("files")? {
        Value::Object(files) if record.get("format") == Some(&Value::from(1)) => Some(files),
        _ => None,
    }
}

/// Removes the paths, below the release, of files that commands of `prepare` have made and nobody has changed since. Modules
/// stay: the site's user may have made those.
pub(crate) fn leave_out_prepared(
    root: &Root,
    id: &ReleaseId,
    paths: &mut Vec<String>,
) -> Result<(), ReleaseError> {
    let files = prepared(&root.release(id)).unwrap_or_default();
    if files.is_empty() {
        return Ok(());
    }
    let changed = written_files(root, id)?;
    paths.retain(|path| {
        let is_made = files.contains_key(path) && !is_module(Path::new(path));
        !is_made || changed.iter().any(|changed| changed == Path::new(path))
    });
    Ok(())
}

/// Records what commands have made in the release since `begun`, in seconds and nanoseconds: it counts as made from the
/// artifact until it is changed.
pub(crate) fn record_prepared(root: &Root, id: &ReleaseId, begun: (i64, i64)) -> Result<(), ReleaseError> {
    let release = root.release(id);
    let (known, path) = (made(root, id), release.join(PREPARED_PATH));
    let files = made_files(&release, &known, begun)?;
    if files == known.files {
        return Ok(());
    }
    let text = serde_json::json!({"format": 1, "files": files}).to_string();
    let written = Directory::open(&release).and_then(|release| {
        let own = Path::new(PREPARED_PATH);
        let directory = release.sub(own.parent().unwrap_or(own))?;
        directory.replace(own.file_name().unwrap_or_default(), text.as_bytes(), PRIVATE, |_| Ok(()))
    });
    written.map_err(ReleaseError::io("write", &path))
}

/// The same, where nothing goes that is needed.
pub(crate) fn refuse(root: &Root, id: &ReleaseId) -> Result<(), ReleaseError> {
    let data = written(root, id)?;
    match data.is_empty() {
        true => Ok(()),
        false => Err(ReleaseError::HoldsData { id: id.clone(), data }),
    }
}
