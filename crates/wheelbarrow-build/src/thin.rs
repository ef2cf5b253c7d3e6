//! Makes thin artifacts: leaves out members that a host has already. `docs/reference/format.md`, "Thin
//! artifacts".

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{BYTECODE, PROJECT_PACK, pack_path};
use wheelbarrow_artifact::inventory::{self, HostBytecode, HostWheel, Inventory};
use wheelbarrow_artifact::manifest::{
    MANIFEST_PATH, Manifest, Member, MemberKind, NATIVE, Sha256, Target, Wheel,
};
use wheelbarrow_artifact::thin::{THIN_PATH, is_of_project, may_be_left_out, text};
use wheelbarrow_artifact::zip::{DosTime, WriteError, ZipWriter};

use crate::pack::{PackError, write_beside};

/// A thin artifact that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinArtifact {
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
    let on_host = |chosen: fn(&str) -> bool| {
        manifest.members.iter().filter(move |member| chosen(&member.path)).map(|member| member.sha256)
    };
    let wheel = |wheel: &Wheel| {
        let filename = filename(&wheel.path);
        let bytecode = manifest.targets.iter().filter_map(|target| target.bytecode.as_ref());
        let bytecode = bytecode.filter_map(|bytecode| {
            let sha256 = *sha256.get(pack_path(&bytecode.cache_tag, filename).as_str())?;
            let (cache_tag, magic) = (bytecode.cache_tag.clone(), bytecode.magic.clone());
            Some(HostBytecode { sha256, cache_tag, magic })
        });
        let sha256 = *sha256.get(wheel.path.as_str())?;
        Some(HostWheel { sha256, wheel: filename.to_owned(), bytecode: bytecode.collect() })
    };
    Inventory {
        format: inventory::FORMAT,
        machine: None,
        targets: BTreeSet::new(),
        wheels: manifest.wheels.iter().filter_map(wheel).collect(),
        programs: on_host(|path| path.starts_with(NATIVE)).collect(),
        files: on_host(|path| is_of_project(path) || is_project_pack(path)).collect(),
    }
}

/// The members that a host with this inventory has, or has no use for: what is only for other Pythons or other machines.
pub fn left_out(manifest: &Manifest, inventory: &Inventory) -> BTreeSet<String> {
    let carried = LeftOutParts::new(manifest, inventory);
    let left_out = manifest.members.iter().filter(|member| carried.leaves_out(member));
    left_out.map(|member| member.path.clone()).collect()
}

/// What of wheels and bytecode a host needs and has not.
struct LeftOutParts<'i> {
    inventory: &'i Inventory,
    /// Whether it starts without Python, and so needs its program.
    starts_alone: bool,
    files: HashSet<Sha256>,
    wheels_and_packs: HashSet<String>,
    /// Of the project's bytecode, for the Pythons of the host; whether it has them was not looked at.
    project_packs: HashSet<String>,
}

impl<'i> LeftOutParts<'i> {
    fn new(manifest: &Manifest, inventory: &'i Inventory) -> Self {
        let mut carried = Self {
            inventory,
            starts_alone: manifest.interpreter.is_some(),
            files: inventory.files.iter().copied().collect(),
            wheels_and_packs: HashSet::new(),
            project_packs: HashSet::new(),
        };
        let members = manifest.members_by_path();
        let on_host: HashMap<Sha256, &HostWheel> =
            inventory.wheels.iter().map(|wheel| (wheel.sha256, wheel)).collect();
        for (target, takes_bytecode) in needed_targets(manifest, inventory) {
            let cache_tag = target.bytecode.as_ref().map(|bytecode| &bytecode.cache_tag);
            // A release keeps it, whether its Python takes it or not.
            carried.project_packs.extend(cache_tag.map(|tag| pack_path(tag, PROJECT_PACK)));
            let cache_tag = cache_tag.filter(|_| takes_bytecode);
            for path in target.wheels.iter().chain([&target.pip]) {
                let pack = cache_tag.map(|tag| pack_path(tag, filename(path)));
                let pack = pack.and_then(|pack| members.get(pack.as_str()));
                let wheel = members.get(path.as_str()).and_then(|wheel| on_host.get(&wheel.sha256));
                let has_pack = |wheel: &&&HostWheel| {
                    pack.is_none_or(|pack| wheel.bytecode.iter().any(|on_host| on_host.sha256 == pack.sha256))
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
        if !may_be_left_out(path) {
            return false;
        }
        if path.starts_with(NATIVE) && self.starts_alone {
            return false;
        }
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
        // One that brings its Python is for no Python of the host.
        if inventory.targets.is_empty() || manifest.interpreter.is_some() {
            return Some((target, true));
        }
        let mut on_host = inventory
            .targets
            .iter()
            .filter(|on_host| (&on_host.python, &on_host.abi) == (&target.python, &target.abi))
            .peekable();
        on_host.peek()?;
        Some((target, on_host.any(|on_host| on_host.bytecode)))
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
) -> Result<ThinArtifact, PackError> {
    let size = write_beside(output, |file| write_zip(artifact, left_out, file, output))?;
    Ok(ThinArtifact { path: output.to_path_buf(), size, left_out: left_out.len() })
}

fn write_zip(
    artifact: &VerifiedArtifact,
    left_out: &BTreeSet<String>,
    file: std::fs::File,
    output: &Path,
) -> Result<(std::fs::File, u64), PackError> {
    let write_error = |source| PackError::Write { path: output.to_path_buf(), source };
    let archive = artifact.archive();
    let time = archive.entries().first().map_or(DosTime::FIRST, |entry| entry.time);
    let mut zip = ZipWriter::new(file, artifact.shebang(), time).map_err(write_error)?;
    for entry in archive.entries().iter().filter(|entry| !left_out.contains(&entry.name)) {
        if entry.name == MANIFEST_PATH && !left_out.is_empty() {
            let text = text(left_out).map_err(|error| write_error(WriteError::Write(error.into())))?;
            zip.add(THIN_PATH, MemberKind::File, &text).map_err(write_error)?;
        }
        zip.copy(entry, archive.raw(entry)).map_err(write_error)?;
    }
    zip.finish().map_err(write_error)
}

#[cfg(test)]
mod tests {
    use wheelbarrow_artifact::inventory::HostTarget;
    use wheelbarrow_artifact::manifest::{Bytecode, Project, Unpacked};

    use super::*;

    /// For two Pythons on x86_64 and one on aarch64, with a wheel for all, one for each, and bytecode.
    fn manifest() -> Manifest {
        let targets = [("3.11", "x86_64"), ("3.12", "x86_64"), ("3.12", "aarch64")];
        let targets = targets.map(|(python, machine)| {
            let tag = python.replace('.', "");
            Target {
                python: python.parse().unwrap(),
                abi: format!("cp{tag}").parse().unwrap(),
                platform: format!("manylinux_2_28_{machine}").parse().unwrap(),
                wheels: vec!["wheels/all.whl".to_owned(), format!("wheels/own-{tag}-{machine}.whl")],
                pip: "bootstrap_wheels/pip.whl".to_owned(),
                bytecode: Some(Bytecode { cache_tag: format!("cpython-{}", tag), magic: "00".to_owned() }),
                unpacked: Unpacked::default(),
                needs: Default::default(),
                collisions: Vec::new(),
            }
        });
        let wheels: BTreeSet<&String> = targets.iter().flat_map(|target| &target.wheels).collect();
        let pip = targets[0].pip.clone();
        let wheels: Vec<String> = wheels.into_iter().cloned().chain([pip]).collect();
        let packs = targets.iter().flat_map(|target| {
            let tag = &target.bytecode.as_ref().unwrap().cache_tag;
            let wheels = target.wheels.iter().chain([&target.pip]).map(|path| filename(path));
            wheels.chain([PROJECT_PACK]).map(|name| pack_path(tag, name)).collect::<Vec<_>>()
        });
        let mut paths: BTreeSet<String> = packs.chain(wheels.iter().cloned()).collect();
        for path in [
            "__main__.py",
            ".wheelbarrow/python/thin.py",
            ".wheelbarrow/native/linux-aarch64",
            ".wheelbarrow/native/linux-x86_64",
            ".wheelbarrow/sbom.cdx.json",
            "loadenv.py",
            "python/wheelbarrow.json",
            "site/app.py",
            "static.in/0/site.css",
        ] {
            paths.insert(path.to_owned());
        }
        let member = |path: &String| Member {
            path: path.clone(),
            size: 0,
            sha256: Sha256::of(path.as_bytes()),
            kind: MemberKind::File,
        };
        let wheel = |path: &String| Wheel {
            path: path.clone(),
            name: filename(path).to_owned(),
            version: "1".to_owned(),
            direct_url: None,
            built: false,
            needs: Default::default(),
        };
        Manifest {
            wheels: wheels.iter().map(wheel).collect(),
            targets: targets.into(),
            members: paths.iter().map(member).collect(),
            ..Manifest::of_project(
                "site",
                "a test",
                Project {
                    directory: "site".to_owned(),
                    import_path: "site".to_owned(),
                    static_root: None,
                    digest: Sha256::of(b""),
                },
            )
        }
    }

    /// A host with Python 3.12 on x86_64 that has this.
    fn host(on_host: &[&str], bytecode: bool) -> Inventory {
        let sha256 = |path: &str| Sha256::of(path.as_bytes());
        let wheels = on_host.iter().filter(|path| path.ends_with(".whl")).map(|path| HostWheel {
            sha256: sha256(path),
            wheel: filename(path).to_owned(),
            bytecode: on_host
                .iter()
                .filter(|pack| filename(pack).strip_suffix(".pack") == Some(filename(path)))
                .map(|pack| HostBytecode {
                    sha256: sha256(pack),
                    cache_tag: "cpython-312".to_owned(),
                    magic: "00".to_owned(),
                })
                .collect(),
        });
        Inventory {
            format: inventory::FORMAT,
            machine: Some("x86_64".to_owned()),
            targets: BTreeSet::from([HostTarget {
                python: "3.12".parse().unwrap(),
                abi: "cp312".parse().unwrap(),
                platform: "manylinux_2_17_x86_64".parse().unwrap(),
                bytecode,
            }]),
            wheels: wheels.collect(),
            programs: on_host
                .iter()
                .filter(|path| path.starts_with(NATIVE))
                .map(|path| sha256(path))
                .collect(),
            files: on_host.iter().map(|path| sha256(path)).collect(),
        }
    }

    /// What of that the host is sent.
    fn carried(inventory: &Inventory) -> Vec<String> {
        let manifest = manifest();
        let left_out = left_out(&manifest, inventory);
        assert!(left_out.iter().all(|path| wheelbarrow_artifact::thin::may_be_left_out(path)));
        let paths = manifest.members.into_iter().map(|member| member.path);
        paths.filter(|path| !left_out.contains(path)).collect()
    }

    const ALWAYS: [&str; 5] = [
        ".wheelbarrow/python/thin.py",
        ".wheelbarrow/sbom.cdx.json",
        "__main__.py",
        "loadenv.py",
        "python/wheelbarrow.json",
    ];

    #[test]
    fn what_a_host_never_uses_is_left_out_even_where_it_has_nothing() {
        let expected = [
            ".wheelbarrow/bytecode/cpython-312/all.whl.pack",
            ".wheelbarrow/bytecode/cpython-312/own-312-x86_64.whl.pack",
            ".wheelbarrow/bytecode/cpython-312/pip.whl.pack",
            ".wheelbarrow/bytecode/cpython-312/project.pack",
            ".wheelbarrow/native/linux-x86_64",
            ".wheelbarrow/python/thin.py",
            ".wheelbarrow/sbom.cdx.json",
            "__main__.py",
            "bootstrap_wheels/pip.whl",
            "loadenv.py",
            "python/wheelbarrow.json",
            "site/app.py",
            "static.in/0/site.css",
            "wheels/all.whl",
            "wheels/own-312-x86_64.whl",
        ];
        assert_eq!(carried(&host(&[], true)), expected);
        // Its Python does not take the bytecode of wheels. That of the code a release keeps all the same.
        let expected: Vec<_> = expected.into_iter().filter(|path| !path.ends_with(".whl.pack")).collect();
        assert_eq!(carried(&host(&[], false)), expected);
    }

    #[test]
    fn what_a_host_has_is_left_out() {
        let manifest = manifest();
        let all: Vec<&str> = manifest.members.iter().map(|member| member.path.as_str()).collect();
        assert_eq!(carried(&host(&all, true)), ALWAYS);
        assert_eq!(carried(&inventory_of(&manifest)), ALWAYS);
        let without_pack: Vec<_> =
            all.iter().copied().filter(|path| !path.ends_with("/all.whl.pack")).collect();
        let found = carried(&host(&without_pack, true));
        assert_eq!(found.iter().filter(|path| path.contains("all.whl")).count(), 2, "{found:?}");
    }

    #[test]
    fn without_targets_and_machine_everything_may_be_needed() {
        let nothing = Inventory { format: inventory::FORMAT, ..Inventory::default() };
        assert_eq!(left_out(&manifest(), &nothing), BTreeSet::new());
        let bare = Inventory { machine: Some("aarch64".to_owned()), ..nothing };
        let found = carried(&bare);
        assert!(found.contains(&"wheels/own-312-aarch64.whl".to_owned()), "{found:?}");
        assert!(
            !found.iter().any(|path| path.contains("x86_64") || path.contains("cpython-311")),
            "{found:?}"
        );
    }
}
