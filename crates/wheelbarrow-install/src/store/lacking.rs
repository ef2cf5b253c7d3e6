//! The members that a thin artifact leaves out and this host does not have.

use std::path::Path;

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::bytecode::{BYTECODE, PROJECT_PACK, pack_path};
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Target;
use wheelbarrow_artifact::thin::is_of_project;
use wheelbarrow_wheel::order;

use super::wanted::StoredPart;
use super::{Access, Store, WantedWheel, wanted};
use crate::InstallError;
use crate::options::Pip;

/// The files that an install of the target writes itself and the artifact leaves out, by their members' paths: code, static
/// files, and the bytecode of the code, which a release keeps whether the interpreter can use it or not.
pub fn lacking_files(artifact: &Artifact, interpreter: &Interpreter) -> Vec<String> {
    let pack = pack_path(&interpreter.cache_tag, PROJECT_PACK);
    let is_wanted = |path: &&String| is_of_project(path) || **path == pack;
    artifact.left_out().iter().filter(is_wanted).cloned().collect()
}

/// The wheels and packs that an install of the target wants, and neither the artifact nor the store at `store` has.
pub fn lacking_wheels(
    artifact: &Artifact,
    target: &Target,
    interpreter: &Interpreter,
    pip: Pip,
    store: Option<&Path>,
) -> Result<Vec<String>, InstallError> {
    let wanted = wanted(artifact, target, interpreter, pip);
    let store = match store.map(|path| Store::open(path, Access::Shared)).transpose() {
        Err(InstallError::NoStore { .. }) => None,
        store => store?,
    };
    match store {
        Some(store) => Ok(lacking(artifact, StoredPart::read(&store, &wanted)?.iter().zip(&wanted))),
        None => Ok(lacking(artifact, wanted.iter().map(|wanted| (&StoredPart::NOTHING, wanted)))),
    }
}

/// The same, where the store was looked at.
pub(crate) fn lacking<'h>(
    artifact: &Artifact,
    pairs: impl Iterator<Item = (&'h StoredPart, &'h WantedWheel)>,
) -> Vec<String> {
    let unpacked = pairs.filter(|(having, wanted)| !having.is_whole(wanted)).flat_map(|(_, wanted)| {
        // The names in a pack are those of the members of its wheel.
        [Some(&wanted.path), wanted.pack.as_ref().map(|(path, _)| path)].into_iter().flatten()
    });
    let mut lacking: Vec<_> =
        unpacked.filter(|path| artifact.archive().find(path).is_none()).cloned().collect();
    // Packs, whose names are those of wheels, come last.
    order::sort_by(&mut lacking, |one, other| {
        (one.starts_with(BYTECODE), one).cmp(&(other.starts_with(BYTECODE), other))
    });
    lacking
}
