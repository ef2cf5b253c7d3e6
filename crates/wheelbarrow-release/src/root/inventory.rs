//! The inventory of a site root, for thin artifacts.

use std::collections::BTreeSet;

use serde::Deserialize;
use wheelbarrow_artifact::inventory::{FORMAT, HostTarget, Inventory};
use wheelbarrow_base::json;
use wheelbarrow_install::InstallError;
use wheelbarrow_install::store::{Access, Store, add_to_inventory};
use wheelbarrow_platform::{AbiTag, MinorVersion, RequiredPlatform};
use wheelbarrow_wheel::order::Inserted;

use crate::root::receipt::RECEIPT_PATH;
use crate::root::release::CompleteRelease;
use crate::root::release_files::{self, WantedFiles};
use crate::{ReleaseError, Root};

/// What of a receipt says what an install was made for.
#[derive(Deserialize)]
struct InventoryReceipt {
    bytecode: String,
    target: InventoryTarget,
}

#[derive(Deserialize)]
struct InventoryTarget {
    python: MinorVersion,
    abi: AbiTag,
    platform: RequiredPlatform,
}

/// The store's wheels and programs, and the files of complete releases.
pub fn inventory(root: &Root) -> Result<Inventory, ReleaseError> {
    let mut inventory = Inventory {
        format: FORMAT,
        machine: Some(std::env::consts::ARCH.to_owned()),
        targets: targets(root)?,
        files: release_files::find(root, &WantedFiles::All)?.into_keys().inserted(),
        ..Inventory::default()
    };
    match Store::open(&root.store(), Access::Shared) {
        Ok(store) => add_to_inventory(&store, &mut inventory)?,
        // Nothing was ever unpacked into it.
        Err(InstallError::NoStore { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(inventory)
}

fn targets(root: &Root) -> Result<BTreeSet<HostTarget>, ReleaseError> {
    let mut targets = BTreeSet::new();
    for release in root.found()?.into_iter().filter_map(|found| found.complete) {
        targets.extend(target(&release));
    }
    Ok(targets)
}

/// None where the receipt cannot be read: the inventory then says less than the root has.
fn target(release: &CompleteRelease) -> Option<HostTarget> {
    let text = release.read(RECEIPT_PATH).ok()?;
    let InventoryReceipt { bytecode, target } = json::from_slice(&text).ok()?;
    let InventoryTarget { python, abi, platform } = target;
    Some(HostTarget { python, abi, platform, bytecode: bytecode == "carried" })
}
