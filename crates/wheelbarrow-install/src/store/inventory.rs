//! The contents of a store.

use std::path::PathBuf;

use wheelbarrow_artifact::inventory::{self, HostBytecode, HostWheel};
use wheelbarrow_artifact::manifest::Sha256;

use super::paths::{bytecode_entry, wheel_entry};
use super::{Index, Kind, Store};
use crate::InstallError;

/// Everything in a store, ordered by SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Inventory {
    pub store: PathBuf,
    pub wheels: Vec<Stored>,
}

/// A wheel in a store.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stored {
    pub sha256: Sha256,
    /// The file name of the wheel that it was unpacked from.
    pub wheel: String,
    pub files: usize,
    /// Of its own files, unpacked.
    pub bytes: u64,
    pub bytecode: Vec<StoredBytecode>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StoredBytecode {
    /// Of the pack.
    pub sha256: Sha256,
    pub cache_tag: String,
    pub magic: String,
    pub files: usize,
    pub bytes: u64,
}

/// Reads the indexes. Entries that cannot be used are left out; [`super::verify`] names them.
pub fn inventory(store: &Store) -> Result<Inventory, InstallError> {
    let mut wheels = Vec::new();
    for sha256 in store.wheels()? {
        let Some(Ok(index)) = store.index(&wheel_entry(sha256))? else { continue };
        let Kind::Wheel { wheel, .. } = &index.header.kind else { continue };
        let (files, bytes) = (index.count(), index.size());
        wheels.push(Stored {
            sha256,
            wheel: wheel.clone(),
            files,
            bytes,
            bytecode: bytecode(store, sha256)?,
        });
    }
    Ok(Inventory { store: store.path().to_path_buf(), wheels })
}

/// Adds what is in a store to what its host has.
pub fn add_to_inventory(store: &Store, host: &mut inventory::Inventory) -> Result<(), InstallError> {
    host.programs.extend(super::programs(store)?);
    for Stored { sha256, wheel, bytecode, .. } in inventory(store)?.wheels {
        let bytecode = bytecode.into_iter().map(|bytecode| {
            let StoredBytecode { sha256, cache_tag, magic, .. } = bytecode;
            HostBytecode { sha256, cache_tag, magic }
        });
        host.wheels.push(HostWheel { sha256, wheel, bytecode: bytecode.collect() });
    }
    Ok(())
}

fn bytecode(store: &Store, wheel: Sha256) -> Result<Vec<StoredBytecode>, InstallError> {
    let mut found = Vec::new();
    for sha256 in store.packs(wheel)? {
        let Some(Ok(index)) = store.index(&bytecode_entry(wheel, sha256))? else { continue };
        let Index { header, .. } = &index;
        let Kind::Bytecode { cache_tag, magic } = header.kind.clone() else { continue };
        found.push(StoredBytecode { sha256, cache_tag, magic, files: index.count(), bytes: index.size() });
    }
    Ok(found)
}
