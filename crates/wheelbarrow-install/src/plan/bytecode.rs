//! What a bytecode pack becomes: `.pyc` files beside the sources that are installed.

use std::collections::{HashMap, HashSet};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{Pack, pack_path, pyc_path};
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{self, Target};

use super::{FramePart, PlannedFrame, Planner};
use crate::InstallError;

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
        let usable = |bytecode: &&manifest::Bytecode| {
            bytecode.magic == interpreter.magic && bytecode.cache_tag == interpreter.cache_tag
        };
        let magic = data_encoding::HEXLOWER.decode(interpreter.magic.as_bytes()).ok();
        let magic = magic.and_then(|magic| <[u8; 4]>::try_from(magic).ok());
        let (Some(bytecode), Some(magic)) = (target.bytecode.as_ref().filter(usable), magic) else {
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
        &mut self,
        pack: Option<&Pack<'a>>,
        sources: &HashMap<&str, (String, u64)>,
    ) -> Result<Vec<String>, InstallError> {
        let mut made = Vec::new();
        let Some(pack) = pack else { return Ok(made) };
        for frame in &pack.frames {
            let mut parts = Vec::with_capacity(frame.files.len());
            for (module, length) in &frame.files {
                let place = sources
                    .get(module.as_str())
                    .map(|(path, size)| (pyc_path(path, &self.packs.cache_tag), *size));
                // A wheel may bring a __pycache__ of its own.
                let place = place.filter(|(path, _)| !self.owners.contains_key(path));
                if let Some((path, _)) = &place {
                    self.claim("its bytecode", path, None)?;
                    made.push(path.clone());
                }
                parts.push(FramePart { place, length: *length });
            }
            let (raw, magic) = (pack.raw(frame), self.packs.magic);
            self.plan.frames.push(PlannedFrame { raw, size: frame.size, magic, parts });
        }
        Ok(made)
    }
}
