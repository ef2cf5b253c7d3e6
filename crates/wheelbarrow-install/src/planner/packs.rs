//! The bundled bytecode: a pack for each wheel, and a pack for the project.

use std::collections::{HashMap, HashSet};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{Pack, pack_path};
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Target;

use crate::InstallError;
use crate::target::usable_bytecode;

/// The bytecode of the artifact that the interpreter can use.
#[derive(Default)]
pub(super) struct Packs<'a> {
    /// By the path of the member.
    members: HashMap<&'a str, &'a [u8]>,
    pub cache_tag: String,
    pub magic: [u8; 4],
    pub usable: bool,
}

impl<'a> Packs<'a> {
    pub(super) fn find(artifact: &'a VerifiedArtifact, target: &Target, interpreter: &Interpreter) -> Self {
        let magic = base16ct::lower::decode_vec(&interpreter.magic).ok();
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
        Self { members, cache_tag: bytecode.cache_tag.clone(), magic, usable: true }
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
