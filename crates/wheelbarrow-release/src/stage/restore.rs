//! Completes a thin artifact with files of releases. The wheels are in the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{Member, MemberKind, NATIVE, Sha256};
use wheelbarrow_artifact::thin::THIN_PATH;
use wheelbarrow_artifact::zip::{DosTime, Entry, ZipWriter};
use wheelbarrow_artifact::{Artifact, ArtifactError};
use wheelbarrow_install::store::{lacking_files, lacking_wheels};
use wheelbarrow_install::{InstallError, Pip, choose_target};
use wheelbarrow_wheel::order::Inserted;

use crate::root::release_files::{self, ReleaseFile, WantedFiles};
use crate::stage::rebuilt_artifact::{create, in_trash, zip_error};
use crate::{ReleaseError, Root};

/// Members of a thin artifact, each with a file that holds the same.
type FoundMembers<'a> = Vec<(&'a Member, ReleaseFile)>;

/// What the artifact leaves out and an install under this root would want, and is not there: paths of members. Nothing for
/// an artifact that is not thin.
pub(crate) fn lacking(
    root: &Root,
    artifact: &Artifact,
    interpreter: &Interpreter,
    pip: Pip,
) -> Result<Vec<String>, ReleaseError> {
    if artifact.left_out().is_empty() {
        return Ok(Vec::new());
    }
    let target = choose_target(artifact.manifest(), interpreter)
        .map_err(|source| InstallError::Target { path: artifact.path().to_path_buf(), source })?;
    let (_, mut lacking) = find(root, artifact, interpreter)?;
    lacking.extend(lacking_wheels(artifact, target, interpreter, pip, Some(&root.store()))?);
    Ok(lacking)
}

/// The artifact itself, or, where files of it are in releases, another that has them. They are compared with the manifest
/// here, and once more by whoever installs it.
pub(crate) fn restore(
    root: &Root,
    artifact: Artifact,
    interpreter: &Interpreter,
) -> Result<Artifact, ReleaseError> {
    if artifact.left_out().is_empty() {
        return Ok(artifact);
    }
    let (found, lacking) = find(root, &artifact, interpreter)?;
    if !lacking.is_empty() {
        return Err(InstallError::Lacking { path: artifact.path().to_path_buf(), members: lacking }.into());
    }
    if found.is_empty() {
        drop(found);
        return Ok(artifact);
    }
    let restored = in_trash(root, |path| write(path, &artifact, &found))?;
    // It is the manifest that was judged; the file may be another by now.
    if restored.manifest_bytes() != artifact.manifest_bytes() {
        let what = "its manifest was changed while it was read".to_owned();
        return Err(ArtifactError::Altered { path: artifact.path().to_path_buf(), what }.into());
    }
    Ok(restored)
}

/// What releases have of the files that are left out, and what they have not.
fn find<'a>(
    root: &Root,
    artifact: &'a Artifact,
    interpreter: &Interpreter,
) -> Result<(FoundMembers<'a>, Vec<String>), ReleaseError> {
    let members: BTreeMap<_, _> = artifact.manifest().members_by_path();
    let wanted = lacking_files(artifact, interpreter);
    let wanted: Vec<&Member> = wanted.iter().filter_map(|path| members.get(path.as_str()).copied()).collect();
    let contents: BTreeSet<Sha256> = wanted.iter().map(|member| member.sha256).inserted();
    let files: HashMap<Sha256, ReleaseFile> = match root.releases().is_dir() {
        true if !contents.is_empty() => release_files::find(root, &WantedFiles::These(contents))?,
        _ => HashMap::new(),
    };
    let (mut found, mut lacking) = (Vec::new(), Vec::new());
    for member in wanted {
        match files.get(&member.sha256) {
            Some(file) => found.push((member, file.clone())),
            None => lacking.push(member.path.clone()),
        }
    }
    Ok((found, lacking))
}

fn write(path: &Path, artifact: &Artifact, found: &FoundMembers<'_>) -> Result<(), ReleaseError> {
    let file = create(path)?;
    let zip_error = |error| zip_error(path, error);
    let mut writer = ZipWriter::new(file, artifact.shebang(), DosTime::FIRST).map_err(zip_error)?;
    let archive = artifact.archive();
    // What a script in front runs stays first.
    let is_program = |entry: &&Entry| entry.name.starts_with(NATIVE);
    let (first, others) = archive.entries().split_at(archive.entries().iter().take_while(is_program).count());
    let copy = |writer: &mut ZipWriter, entries: &[Entry]| {
        let entries = entries.iter().filter(|entry| entry.name != THIN_PATH);
        entries
            .map(|entry| writer.copy(entry, archive.raw(entry)))
            .try_for_each(|copied| copied.map_err(zip_error))
    };
    copy(&mut writer, first)?;
    for (member, from) in found {
        let read = ReleaseError::io("read", &from.path());
        if from.is_link {
            let target = from.target().map_err(read)?;
            writer.add(&member.path, member.kind, &target).map_err(zip_error)?;
        } else if member.kind == MemberKind::Link {
            let mut contents = Vec::new();
            let open = from.open();
            open.and_then(|file| file.take(member.size).read_to_end(&mut contents)).map_err(read)?;
            writer.add(&member.path, member.kind, &contents).map_err(zip_error)?;
        } else {
            let contents = fs_err::File::from_parts(from.open().map_err(read)?, from.path());
            writer.add_limited(&member.path, member.kind, member.size, contents).map_err(zip_error)?;
        }
    }
    copy(&mut writer, others)?;
    writer.finish().map(drop).map_err(zip_error)
}
