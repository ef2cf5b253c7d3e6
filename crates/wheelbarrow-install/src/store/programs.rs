//! Standalone binaries in the store: `STORE/programs/SHA256`. A thin artifact leaves its own out, and
//! `__main__.py` runs the one in the store after it has compared the SHA-256 with the manifest.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::manifest::{Member, NATIVE, Sha256};
use wheelbarrow_base::{Exit, Explain, LARGEST_TEXT, SharedUmask, read_regular};

use super::paths::{PROGRAMS, program_entry};
use super::{Store, names};
use crate::InstallError;

/// No program is larger, in bytes.
const LARGEST: u64 = 256 << 20;

impl Store {
    fn program(&self, sha256: Sha256) -> PathBuf {
        self.path.join(program_entry(sha256))
    }

    /// The SHA-256 of every program, ordered. What they hold was not looked at.
    pub(super) fn programs(&self) -> Result<Vec<Sha256>, InstallError> {
        names(&self.path.join(PROGRAMS))
    }

    /// Whether a program is what its name says.
    pub(super) fn is_whole_program(&self, sha256: Sha256) -> Result<bool, InstallError> {
        let path = self.program(sha256);
        match read_regular(&path, LARGEST_TEXT) {
            Ok(program) => Ok(Sha256::of(&program) == sha256),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(InstallError::io("read", &path)(error)),
        }
    }

    /// Takes the program of this artifact for `machine`, where it carries one and the store has it not.
    pub(crate) fn keep_program(&self, artifact: &Artifact, machine: &str) -> Result<(), InstallError> {
        let _umask = SharedUmask::set();
        let path = format!("{NATIVE}linux-{machine}");
        let Some(member) = artifact.manifest().members.iter().find(|member| member.path == path) else {
            return Ok(());
        };
        let there = fs::symlink_metadata(self.program(member.sha256));
        if there.is_ok_and(|metadata| metadata.len() == member.size) {
            return Ok(());
        }
        match self.take_program(artifact, member) {
            // It is somebody else's store; only thin artifacts miss the program.
            Err(error) if error.exit() == Exit::Refused => Ok(()),
            taken => taken.map(drop),
        }
    }

    /// Takes a program out of the artifact; false where the artifact has it not.
    pub(super) fn take_program(&self, artifact: &Artifact, member: &Member) -> Result<bool, InstallError> {
        let Some(entry) = artifact.archive().find(&member.path) else { return Ok(false) };
        let program = artifact.read_member(entry, LARGEST)?;
        self.write_program(&self.program(member.sha256), &program)?;
        Ok(true)
    }

    fn write_program(&self, path: &Path, program: &[u8]) -> Result<(), InstallError> {
        let directory = self.path.join(PROGRAMS);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(InstallError::io("make the directory", &directory)(error));
            }
            _ => {}
        }
        let scratch = self.scratch()?;
        let draft = scratch.path().join("program");
        let written = (|| {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o555).open(&draft)?;
            file.write_all(program)?;
            file.sync_all()?;
            fs::rename(&draft, path)
        })();
        written.map_err(InstallError::io("write", path))
    }
}

/// The programs of a store that are as they were, ordered.
pub fn programs(store: &Store) -> Result<BTreeSet<Sha256>, InstallError> {
    let mut found = BTreeSet::new();
    for sha256 in store.programs()? {
        if store.is_whole_program(sha256)? {
            found.insert(sha256);
        }
    }
    Ok(found)
}
