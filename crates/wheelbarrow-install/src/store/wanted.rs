//! The entries that an install needs from a store, and those that the store has.

use std::collections::BTreeSet;

use wheelbarrow_artifact::bytecode::pack_path;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{self, NATIVE, Sha256, Target};
use wheelbarrow_artifact::{Artifact, in_parallel};
use wheelbarrow_wheel::order::Inserted;

use super::Store;
use super::index::{Entry, Kind};
use super::paths::{bytecode_entry, wheel_entry};
use crate::InstallError;
use crate::options::Pip;
use crate::target::{usable_bytecode, wheel_paths};

/// A wheel of the target.
pub(crate) struct WantedWheel {
    /// In the artifact.
    pub path: String,
    pub sha256: Sha256,
    /// The member with its bytecode, if the interpreter can use it.
    pub pack: Option<(String, Sha256)>,
    pub manifest: manifest::Wheel,
    /// Whether it is the bundled pip, which gets no bytecode.
    pub is_pip: bool,
}

/// A wheel that is in the store, with all that an install wants of it.
pub(crate) struct StoredWheel<'w> {
    pub wanted: &'w WantedWheel,
    pub wheel: Entry,
    pub bytecode: Option<Entry>,
}

/// As much of a wheel as the store has.
pub(crate) struct StoredPart {
    pub wheel: Option<Entry>,
    pub bytecode: Option<Entry>,
    /// An entry that cannot be used, and why.
    pub broken: Option<(String, String)>,
}

/// The wheels that an install for `target` wants.
pub(crate) fn wanted(
    artifact: &Artifact,
    target: &Target,
    interpreter: &Interpreter,
    pip: Pip,
) -> Vec<WantedWheel> {
    let (members, wheels) = (artifact.manifest().members_by_path(), artifact.manifest().wheels_by_path());
    let bytecode = usable_bytecode(target, interpreter);
    let mut wanted = Vec::new();
    for path in wheel_paths(artifact.manifest(), target, pip) {
        let filename = path.rsplit('/').next().unwrap_or(path);
        let is_pip = path == target.pip;
        let pack = bytecode.filter(|_| !is_pip).map(|bytecode| pack_path(&bytecode.cache_tag, filename));
        let pack = pack.and_then(|pack| members.get(pack.as_str()).map(|member| (pack, member.sha256)));
        // The reader of the manifest has seen that both are there.
        let (Some(member), Some(wheel)) = (members.get(path), wheels.get(path)) else { continue };
        wanted.push(WantedWheel {
            path: path.to_owned(),
            sha256: member.sha256,
            pack,
            manifest: (*wheel).clone(),
            is_pip,
        });
    }
    wanted
}

impl StoredPart {
    pub(super) const NOTHING: Self = Self { wheel: None, bytecode: None, broken: None };

    /// Looks for every wheel, on all cores.
    pub(crate) fn read(store: &Store, wanted: &[WantedWheel]) -> Result<Vec<Self>, InstallError> {
        in_parallel(wanted, |wanted| Self::of(store, wanted)).into_iter().collect()
    }

    fn of(store: &Store, wanted: &WantedWheel) -> Result<Self, InstallError> {
        let mut having = Self::NOTHING;
        let path = wheel_entry(wanted.sha256);
        match store.index(&path)? {
            None => return Ok(having),
            Some(Ok(index)) if matches!(index.header.kind, Kind::Wheel { .. }) => {
                having.wheel = Some(Entry { sha256: wanted.sha256, path, index });
            }
            Some(Ok(_)) => having.broken = Some((path, "its index is not the index of a wheel".to_owned())),
            Some(Err(what)) => having.broken = Some((path, what)),
        }
        let (Some(wheel), Some((_, sha256))) = (&having.wheel, &wanted.pack) else { return Ok(having) };
        let time = wheel.index.header.time;
        let path = bytecode_entry(wanted.sha256, *sha256);
        match store.index(&path)? {
            None => {}
            Some(Ok(index)) if index.header.time != time => {
                having.broken = Some((path, "it is of another unpacking of the wheel".to_owned()));
            }
            Some(Ok(index)) => having.bytecode = Some(Entry { sha256: *sha256, path, index }),
            Some(Err(what)) => having.broken = Some((path, what)),
        }
        Ok(having)
    }

    /// Whether nothing of it has to come out of the artifact.
    pub(super) fn is_whole(&self, wanted: &WantedWheel) -> bool {
        self.wheel.is_some() && (self.bytecode.is_some() || wanted.pack.is_none())
    }
}

/// The members of the artifact that the store makes unnecessary, and the native programs: one of them is at work, and
/// nothing reads them.
pub(crate) fn unread_members(
    artifact: &Artifact,
    having: &[StoredPart],
    wanted: &[WantedWheel],
) -> BTreeSet<String> {
    let members = artifact.manifest().members.iter().map(|member| &member.path);
    let mut known: BTreeSet<_> = members.filter(|path| path.starts_with(NATIVE)).cloned().inserted();
    for (having, wanted) in having.iter().zip(wanted) {
        known.extend(having.wheel.as_ref().map(|_| wanted.path.clone()));
        known.extend(having.bytecode.as_ref().and(wanted.pack.as_ref()).map(|(path, _)| path.clone()));
    }
    known
}
