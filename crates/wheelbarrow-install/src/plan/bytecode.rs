//! What a bytecode pack becomes: `.pyc` files beside the sources that are installed.

use std::collections::{HashMap, HashSet};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{Pack, pack_path, pyc_path};
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{self, Target};

use super::{FramePart, Part, PlannedFrame, Planner};
use crate::InstallError;

/// What bytecode of a target the interpreter can use.
pub(crate) fn usable_bytecode<'m>(
    target: &'m Target,
    interpreter: &Interpreter,
) -> Option<&'m manifest::Bytecode> {
    target
        .bytecode
        .as_ref()
        .filter(|bytecode| bytecode.magic == interpreter.magic && bytecode.cache_tag == interpreter.cache_tag)
}

/// The bytecode of the artifact that the interpreter can use.
#[derive(Default)]
pub(super) struct Packs<'a> {
    /// By the path of the member.
    members: HashMap<&'a str, &'a [u8]>,
    cache_tag: String,
    magic: [u8; 4],
}

impl<'a> Packs<'a> {
    pub(super) fn find(artifact: &'a VerifiedArtifact, target: &Target, interpreter: &Interpreter) -> Self {
        let magic = data_encoding::HEXLOWER.decode(interpreter.magic.as_bytes()).ok();
        let magic = magic.and_then(|magic| <[u8; 4]>::try_from(magic).ok());
        let (Some(bytecode), Some(magic)) = (usable_bytecode(target, interpreter), magic) else {
            return Self::default();
        };
        let prefix = pack_path(&bytecode.cache_tag, "").trim_end_matches(".pack").to_owned();
        let entries = artifact.archive().entries().iter();
        let members = entries
            .filter(|entry| entry.name.starts_with(&prefix))
            .map(|entry| (entry.name.as_str(), artifact.archive().raw(entry)))
            .collect();
        Self { members, cache_tag: bytecode.cache_tag.clone(), magic }
    }

    /// The pack of a wheel, by its file name, or of the project.
    pub(super) fn of(&self, name: &str) -> Result<Option<Pack<'a>>, InstallError> {
        let path = pack_path(&self.cache_tag, name);
        let Some(bytes) = self.members.get(path.as_str()) else { return Ok(None) };
        let pack = Pack::open(bytes);
        pack.map(Some)
            .map_err(|source| InstallError::Bytecode { path: path.into(), source: Box::new(source) })
    }
}

/// The modules in a pack.
pub(super) fn modules<'p>(pack: &'p Option<Pack<'_>>) -> HashSet<&'p str> {
    let frames = pack.iter().flat_map(|pack| &pack.frames);
    frames.flat_map(|frame| frame.files.iter().map(|(path, _)| path.as_str())).collect()
}

impl<'a> Planner<'_, 'a> {
    /// Plans the frames of a pack; gives the files that they make. `sources` has the path and size of each module.
    pub(super) fn bytecode(
        &self,
        part: &mut Part<'a>,
        pack: Option<&Pack<'a>>,
        mut sources: HashMap<&str, (String, u64)>,
    ) -> Vec<String> {
        let mut made = Vec::new();
        let Some(pack) = pack else { return made };
        // A wheel may bring a __pycache__ of its own.
        let own = part.files.iter().map(|file| file.path.as_str()).filter(|path| path.ends_with(".pyc"));
        let own: HashSet<&str> = own.collect();
        for frame in &pack.frames {
            let mut parts = Vec::with_capacity(frame.files.len());
            for (module, length) in &frame.files {
                let source = sources.remove(module.as_str());
                let place = source.map(|(path, size)| (pyc_path(&path, &self.packs.cache_tag), size));
                let place = place.filter(|(path, _)| !own.contains(path.as_str()));
                made.extend(place.iter().map(|(path, _)| path.clone()));
                parts.push(FramePart { place, length: *length });
            }
            let (raw, magic) = (pack.raw(frame), self.packs.magic);
            part.frames.push(PlannedFrame { raw, size: frame.size, magic, parts });
        }
        made
    }
}
