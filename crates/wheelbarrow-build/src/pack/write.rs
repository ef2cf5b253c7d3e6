//! Writes the members of a plan.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use sha2::Digest;
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Member, MemberKind, Sha256};
use wheelbarrow_artifact::zip::{Method, StoredFile, WriteError, ZipWriter};
use wheelbarrow_base::Beside;
use wheelbarrow_base::progress::{Progress, Unit};

use super::{MemberSource, PackError, Packed, Plan, PlannedMember};
use crate::project::artifact;

/// Whatever the umask: an artifact is a program.
const MODE: u32 = 0o755;

/// Writes the artifact beside `output`, syncs, and renames it there.
pub fn write(plan: &Plan, output: &Path, progress: &dyn Progress) -> Result<Packed, PackError> {
    let mut members = 0;
    let written = write_beside(output, |file| {
        let size = plan.members.iter().map(|member| member.source.size()).sum();
        progress.begin("packing", size, Unit::Bytes);
        let written = write_zip(plan, file, output, progress);
        progress.end();
        let (file, size, count) = written?;
        members = count;
        Ok((file, size))
    });
    Ok(Packed { path: output.to_path_buf(), size: written?, members })
}

/// Has a file written beside `output`, syncs it, and renames it there; gives its size in bytes, as `write` does.
/// Refuses an output that would replace something other than an artifact or another zip, as after `-o requirements.txt` for `-r`.
pub fn check_output(output: &Path) -> Result<(), PackError> {
    let metadata = match fs::metadata(output) {
        Ok(metadata) => metadata,
        // What keeps it from being written is said when that is tried.
        Err(_) => return Ok(()),
    };
    if !metadata.is_file() {
        return Err(PackError::NoFile { path: output.to_path_buf() });
    }
    match metadata.len() == 0 || artifact::is_zip(output) {
        true => Ok(()),
        false => Err(PackError::NoArtifact { path: output.to_path_buf() }),
    }
}

pub(crate) fn write_beside(
    output: &Path,
    write: impl FnOnce(std::fs::File) -> Result<(std::fs::File, u64), PackError>,
) -> Result<u64, PackError> {
    check_output(output)?;
    let io_error = |action| move |source| PackError::Io { action, path: output.to_path_buf(), source };
    let beside = Beside::begin(output).map_err(io_error("make a file beside"))?;
    let (file, size) = write(beside.file().map_err(io_error("write"))?)?;
    file.set_permissions(PermissionsExt::from_mode(MODE)).map_err(io_error("set the mode of"))?;
    beside.commit().map_err(io_error("write"))?;
    Ok(size)
}

fn write_zip(
    plan: &Plan,
    file: std::fs::File,
    output: &Path,
    progress: &dyn Progress,
) -> Result<(std::fs::File, u64, usize), PackError> {
    let write_error = |source| PackError::Write { path: output.to_path_buf(), source };
    let mut zip = ZipWriter::new(file, &plan.shebang, plan.time).map_err(write_error)?;
    for members in plan.members.chunk_by(|one, other| one.source.is_stored() && other.source.is_stored()) {
        match members {
            [member] if !member.source.is_stored() => add(&mut zip, member, output)?,
            stored => add_stored(&mut zip, stored, output)?,
        }
        progress.advance(members.iter().map(|member| member.source.size()).sum());
    }
    let mut manifest = plan.manifest.clone();
    manifest.project.digest = digest(plan, zip.members());
    manifest.members = zip.members().to_vec();
    manifest.members.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    let text = serde_json::to_vec(&manifest).map_err(|error| write_error(WriteError::Write(error.into())))?;
    zip.add(MANIFEST_PATH, MemberKind::File, &text).map_err(write_error)?;
    let members = zip.members().len();
    let (file, size) = zip.finish().map_err(write_error)?;
    Ok((file, size, members))
}

fn add(zip: &mut ZipWriter, member: &PlannedMember, output: &Path) -> Result<(), PackError> {
    let write_error = |source| PackError::Write { path: output.to_path_buf(), source };
    let open = |path: &Path| {
        let read_error = |source| PackError::Io { action: "read", path: path.to_path_buf(), source };
        fs::File::open(path).map_err(read_error)
    };
    match &member.source {
        MemberSource::Stored(bytes) => {
            let added = zip.add_limited(&member.path, member.kind, bytes.len() as u64, bytes.as_slice());
            added.map(drop).map_err(write_error)
        }
        MemberSource::Bytes(bytes) => zip.add(&member.path, member.kind, bytes).map_err(write_error),
        MemberSource::Deflated(contents) => {
            zip.add_deflated(&member.path, member.kind, contents).map_err(write_error)
        }
        MemberSource::File(path, _) => {
            let added = zip.add_file(&member.path, member.kind, Method::Deflated, &mut open(path)?);
            added.map(|_| ()).map_err(write_error)
        }
        MemberSource::Pack(..) | MemberSource::Wheel { .. } => {
            add_stored(zip, std::slice::from_ref(member), output)
        }
    }
}

/// Wheels and packs, together. Wheels are compared with their hashes once more, as they are written.
fn add_stored(zip: &mut ZipWriter, members: &[PlannedMember], output: &Path) -> Result<(), PackError> {
    let file = |member: &PlannedMember| match &member.source {
        MemberSource::Pack(path, _) | MemberSource::Wheel { path, .. } | MemberSource::File(path, _) => {
            path.clone()
        }
        MemberSource::Bytes(_) | MemberSource::Stored(_) | MemberSource::Deflated(_) => PathBuf::new(),
    };
    let paths: Vec<PathBuf> = members.iter().map(file).collect();
    let stored = members.iter().zip(&paths).map(|(member, file)| StoredFile {
        path: &member.path,
        kind: member.kind,
        file,
    });
    let write_error = |source| PackError::Write { path: output.to_path_buf(), source };
    let hashes = zip.add_stored(&stored.collect::<Vec<_>>()).map_err(write_error)?;
    for (member, found) in members.iter().zip(hashes) {
        match &member.source {
            MemberSource::Wheel { path, sha256, .. } if *sha256 != found => {
                return Err(PackError::Changed { path: path.clone(), expected: *sha256, found });
            }
            _ => {}
        }
    }
    Ok(())
}

/// `path NUL kind NUL sha256 LF` of each member of the site's own, in the order of the paths' bytes.
fn digest(plan: &Plan, written: &[Member]) -> Sha256 {
    let planned = plan.members.iter().zip(written);
    let mut own: Vec<_> = planned.filter(|(planned, _)| planned.is_code).map(|(_, member)| member).collect();
    own.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    let mut hash = sha2::Sha256::new();
    for member in own {
        let kind = match member.kind {
            MemberKind::File => "file",
            MemberKind::Executable => "executable",
            MemberKind::Link => "link",
        };
        hash.update(format!("{}\0{kind}\0{}\n", member.path, member.sha256));
    }
    Sha256(hash.finalize().into())
}

impl Packed {
    /// Of the whole file. It is read for this, which takes as long as writing it did.
    pub fn sha256(&self) -> Result<Sha256, PackError> {
        let read_error = |source| PackError::Io { action: "read back", path: self.path.clone(), source };
        let mut file = fs::File::open(&self.path).map_err(read_error)?;
        let mut hash = sha2::Sha256::new();
        let mut chunk = vec![0; 1 << 20];
        loop {
            match file.read(&mut chunk).map_err(read_error)? {
                0 => return Ok(Sha256(hash.finalize().into())),
                length => hash.update(&chunk[..length]),
            }
        }
    }
}
