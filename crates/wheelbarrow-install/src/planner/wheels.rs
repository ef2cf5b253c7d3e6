//! The source of a plan's wheels: the artifact or the store.

use std::collections::{BTreeSet, HashMap};

use wheelbarrow_artifact::manifest::{self, Sha256, Target};
use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_artifact::zip::Entry;
use wheelbarrow_artifact::{VerifiedArtifact, in_parallel};
use wheelbarrow_wheel::order::Inserted;

use crate::InstallError;
use crate::options::Pip;
use crate::receipt::ReceiptStore;
use crate::store::{self, Store, StoredWheel};
use crate::target::wheel_paths;

/// Where the wheels are.
#[derive(Clone, Copy)]
pub(crate) enum Wheels<'a> {
    Artifact(&'a [TargetWheel<'a>]),
    Store(&'a Store, &'a [StoredWheel<'a>], StoredProject<'a>),
}

/// What the store has of an artifact beside wheels.
#[derive(Clone, Copy)]
pub(crate) struct StoredProject<'a> {
    /// The Python that the artifact brings.
    pub python: Option<&'a store::Entry>,
    /// The contents of static files.
    pub statics: &'a BTreeSet<Sha256>,
}

/// A wheel of the target.
pub(crate) struct TargetWheel<'a> {
    pub(super) manifest: &'a manifest::Wheel,
    pub(super) wheel: OpenWheel<'a>,
    /// Whether it is the bundled pip, which gets no bytecode.
    pub(super) is_pip: bool,
}

impl<'a> Wheels<'a> {
    pub(super) fn project(&self) -> Option<StoredProject<'a>> {
        match self {
            Self::Artifact(_) => None,
            Self::Store(_, _, project) => Some(*project),
        }
    }

    /// What the receipt says of them, if they are in the store.
    pub(crate) fn stored(&self) -> Option<ReceiptStore> {
        let Self::Store(_, wheels, StoredProject { python, .. }) = self else { return None };
        let bytecode = wheels.iter().filter_map(|stored| stored.bytecode.as_ref());
        let bytecode: BTreeSet<Sha256> = bytecode.map(|entry| entry.sha256).inserted();
        let wheels = wheels.iter().map(|stored| stored.wheel.sha256);
        let wheels: BTreeSet<Sha256> = wheels.chain(python.map(|python| python.sha256)).inserted();
        Some(ReceiptStore { wheels, bytecode })
    }
}

/// Reads the directories of the wheels that will be installed.
pub(crate) fn open_wheels<'a>(
    artifact: &'a VerifiedArtifact,
    target: &'a Target,
    pip: Pip,
) -> Result<Vec<TargetWheel<'a>>, InstallError> {
    let by_path = artifact.manifest().wheels_by_path();
    let entries: HashMap<&str, &Entry> =
        artifact.archive().entries().iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let open = |path: &&'a str| {
        let filename = path.rsplit('/').next().unwrap_or(path);
        // The reader of the manifest has seen that both are there.
        let wheel = OpenWheel::open(filename, artifact.archive().raw(entries[path]))?;
        Ok(TargetWheel { manifest: by_path[path], wheel, is_pip: *path == target.pip })
    };
    in_parallel(&wheel_paths(artifact.manifest(), target, pip), open).into_iter().collect()
}
