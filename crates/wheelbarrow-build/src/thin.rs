//! Thin artifacts: what of an artifact a host has already is left out. `docs/format.md`, "Thin artifacts".

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{BYTECODE, PROJECT_PACK, pack_path};
use wheelbarrow_artifact::inventory::{self, HeldBytecode, HeldWheel, Inventory};
use wheelbarrow_artifact::manifest::{
    MANIFEST_PATH, Manifest, Member, MemberKind, NATIVE, Sha256, Target, Wheel,
};
use wheelbarrow_artifact::thin::{THIN_PATH, is_of_project, text};
use wheelbarrow_artifact::zip::{DosTime, WriteError, ZipWriter};

use crate::pack::{PackError, write_beside};

/// A thin artifact that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thinned {
    pub path: PathBuf,
    /// Of the file, in bytes.
    pub size: u64,
    /// How many members it leaves out.
    pub left_out: usize,
}

/// What a host has on which the artifact of this manifest was deployed.
pub fn inventory_of(manifest: &Manifest) -> Inventory {
    let sha256: HashMap<&str, Sha256> =
        manifest.members.iter().map(|member| (member.path.as_str(), member.sha256)).collect();
    let held = |chosen: fn(&str) -> bool| {
        manifest.members.iter().filter(move |member| chosen(&member.path)).map(|member| member.sha256)
    };
    let wheel = |wheel: &Wheel| {
        let filename = filename(&wheel.path);
        let bytecode = manifest.targets.iter().filter_map(|target| target.bytecode.as_ref());
        let bytecode = bytecode.filter_map(|bytecode| {
            let sha256 = *sha256.get(pack_path(&bytecode.cache_tag, filename).as_str())?;
            let (cache_tag, magic) = (bytecode.cache_tag.clone(), bytecode.magic.clone());
            Some(HeldBytecode { sha256, cache_tag, magic })
        });
        let sha256 = *sha256.get(wheel.path.as_str())?;
        Some(HeldWheel { sha256, wheel: filename.to_owned(), bytecode: bytecode.collect() })
    };
    Inventory {
        format: inventory::FORMAT,
        machine: None,
        targets: BTreeSet::new(),
        wheels: manifest.wheels.iter().filter_map(wheel).collect(),
        programs: held(|path| path.starts_with(NATIVE)).collect(),
        files: held(|path| is_of_project(path) || is_project_pack(path)).collect(),
    }
}

/// The members that a host with this inventory has, or has no use for: what is only for other Pythons or other machines.
pub fn left_out(manifest: &Manifest, inventory: &Inventory) -> BTreeSet<String> {
    let carried = Carried::new(manifest, inventory);
    let left_out = manifest.members.iter().filter(|member| carried.leaves_out(member));
    left_out.map(|member| member.path.clone()).collect()
}

/// What of wheels and bytecode a host needs and has not.
struct Carried<'i> {
    inventory: &'i Inventory,
    files: HashSet<Sha256>,
    wheels_and_packs: HashSet<String>,
    /// Of the project's bytecode, for the Pythons of the host; whether it has them was not looked at.
    project_packs: HashSet<String>,
}

impl<'i> Carried<'i> {
    fn new(manifest: &Manifest, inventory: &'i Inventory) -> Self {
        let mut carried = Self {
            inventory,
            files: inventory.files.iter().copied().collect(),
            wheels_and_packs: HashSet::new(),
            project_packs: HashSet::new(),
        };
        let members = manifest.members_by_path();
        let held: HashMap<Sha256, &HeldWheel> =
            inventory.wheels.iter().map(|wheel| (wheel.sha256, wheel)).collect();
        for (target, takes_bytecode) in needed_targets(manifest, inventory) {
            let cache_tag = target.bytecode.as_ref().map(|bytecode| &bytecode.cache_tag);
            // A release keeps it, whether its Python takes it or not.
            carried.project_packs.extend(cache_tag.map(|tag| pack_path(tag, PROJECT_PACK)));
            let cache_tag = cache_tag.filter(|_| takes_bytecode);
            for path in target.wheels.iter().chain([&target.pip]) {
                let pack = cache_tag.map(|tag| pack_path(tag, filename(path)));
                let pack = pack.and_then(|pack| members.get(pack.as_str()));
                let wheel = members.get(path.as_str()).and_then(|wheel| held.get(&wheel.sha256));
                let has_pack = |wheel: &&&HeldWheel| {
                    pack.is_none_or(|pack| wheel.bytecode.iter().any(|held| held.sha256 == pack.sha256))
                };
                // The names in a pack are those of the members of its wheel: without one of them, both are needed.
                if wheel.filter(has_pack).is_none() {
                    carried.wheels_and_packs.insert(path.clone());
                    carried.wheels_and_packs.extend(pack.map(|pack| pack.path.clone()));
                }
            }
        }
        carried
    }

    fn leaves_out(&self, member: &Member) -> bool {
        let Member { path, sha256, .. } = member;
        if path.starts_with(NATIVE) {
            let of_host = self.inventory.machine.as_ref().is_none_or(|machine| {
                path.strip_prefix(NATIVE).and_then(|name| name.strip_prefix("linux-")) == Some(machine)
            });
            return !of_host || self.inventory.programs.contains(sha256);
        }
        if is_project_pack(path) {
            return !self.project_packs.contains(path) || self.files.contains(sha256);
        }
        if is_of_project(path) {
            return self.files.contains(sha256);
        }
        let is_of_wheel = ["wheels/", "bootstrap_wheels/", BYTECODE].iter().any(|top| path.starts_with(top));
        is_of_wheel && !self.wheels_and_packs.contains(path)
    }
}

/// The targets that the host may choose, each with whether it takes their bytecode.
fn needed_targets<'m>(
    manifest: &'m Manifest,
    inventory: &Inventory,
) -> impl Iterator<Item = (&'m Target, bool)> {
    manifest.targets.iter().filter_map(|target| {
        let is_of_host = |machine: &String| target.platform == "any" || target.platform.ends_with(machine);
        if !inventory.machine.as_ref().is_none_or(is_of_host) {
            return None;
        }
        if inventory.targets.is_empty() {
            return Some((target, true));
        }
        let mut held = inventory
            .targets
            .iter()
            .filter(|held| (&held.python, &held.abi) == (&target.python, &target.abi))
            .peekable();
        held.peek()?;
        Some((target, held.any(|held| held.bytecode)))
    })
}

fn is_project_pack(path: &str) -> bool {
    path.starts_with(BYTECODE) && filename(path).strip_suffix(".pack") == Some(PROJECT_PACK)
}

fn filename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Writes `artifact` without the members in `left_out` beside `output`, syncs, and renames it there. All else is as it
/// was, to the order of the members and the signature. Where nothing is left out, the artifact is not thin.
pub fn write(
    artifact: &VerifiedArtifact,
    left_out: &BTreeSet<String>,
    output: &Path,
) -> Result<Thinned, PackError> {
    let size = write_beside(output, |file| write_zip(artifact, left_out, file, output))?;
    Ok(Thinned { path: output.to_path_buf(), size, left_out: left_out.len() })
}

fn write_zip(
    artifact: &VerifiedArtifact,
    left_out: &BTreeSet<String>,
    file: std::fs::File,
    output: &Path,
) -> Result<(std::fs::File, u64), PackError> {
    let write_error = |source| PackError::Write { path: output.to_path_buf(), source };
    let archive = artifact.archive();
    let members = artifact.manifest().members_by_path();
    let time = archive.entries().first().map_or(DosTime::FIRST, |entry| entry.time);
    let mut zip = ZipWriter::new(file, &artifact.shebang(), time).map_err(write_error)?;
    for entry in archive.entries().iter().filter(|entry| !left_out.contains(&entry.name)) {
        let raw = archive.raw(entry);
        if entry.name == MANIFEST_PATH && !left_out.is_empty() {
            let text = text(left_out).map_err(|error| write_error(WriteError::Write(error.into())))?;
            zip.add(THIN_PATH, MemberKind::File, &text).map_err(write_error)?;
        }
        match members.get(entry.name.as_str()) {
            Some(member) => zip.copy(entry, raw, member).map_err(write_error)?,
            None => {
                // The manifest and its signature, which it does not name.
                let (path, size, kind) = (entry.name.clone(), entry.size, MemberKind::File);
                let member = Member { path, size, sha256: Sha256([0; 32]), kind };
                zip.copy(entry, raw, &member).map_err(write_error)?;
            }
        }
    }
    zip.finish().map_err(write_error)
}
