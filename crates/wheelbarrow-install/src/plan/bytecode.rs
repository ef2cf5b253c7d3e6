//! What a bytecode pack becomes: `.pyc` files beside the sources that are installed.

use std::collections::{HashMap, HashSet};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::bytecode::{Pack, pack_path, pyc_path};
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{self, Target};
use wheelbarrow_wheel::order;

use super::{Batch, FramePart, LinkedDirectory, Module, Part, PlannedFile, PlannedFrame, Planner};
use crate::{Compile, InstallError};

/// Larger sources are nobody's modules; the builder leaves them out too.
const LARGEST_MODULE: u64 = 64 << 20;

/// Bytes of source. Large enough that starting a process costs little, small enough to share them between cores.
const BATCH: u64 = 1 << 20;

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
    pub usable: bool,
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

impl<'a> Planner<'_, 'a> {
    /// Whether `path`, with a source of `size` bytes, is to be compiled at the install.
    pub(super) fn compiles(&self, path: &str, size: u64) -> bool {
        !self.packs.usable && self.compile == Compile::Auto && path.ends_with(".py") && size <= LARGEST_MODULE
    }

    /// Plans to compile modules, given by path and size; gives the files that this makes if all of them compile.
    pub(super) fn modules(&self, part: &mut Part<'a>, mut sources: Vec<(String, u64)>) -> Vec<String> {
        let mut own = own_bytecode(&part.files);
        let linked: Vec<String> =
            part.linked.iter().flat_map(LinkedDirectory::paths).map(|(path, _)| path).collect();
        own.extend(linked.iter().map(String::as_str));
        order::sort(&mut sources);
        let mut batches: Vec<Batch> = Vec::new();
        let mut size_of_last = 0;
        let mut made = Vec::with_capacity(sources.len());
        for (source, size) in sources {
            let bytecode = pyc_path(&source, &self.interpreter.cache_tag);
            if own.contains(bytecode.as_str()) {
                continue;
            }
            made.push(bytecode.clone());
            let module = Module { source, bytecode, size };
            size_of_last += size;
            match batches.last_mut().filter(|_| size_of_last <= BATCH) {
                Some(batch) => batch.push(module),
                None => {
                    batches.push(vec![module]);
                    size_of_last = size;
                }
            }
        }
        part.batches = batches;
        made
    }

    /// Plans the frames of a pack; gives the files that they make. `sources` has the path and size of each module.
    pub(super) fn bytecode(
        &self,
        part: &mut Part<'a>,
        pack: Option<&Pack<'a>>,
        mut sources: HashMap<&str, (String, u64)>,
    ) -> Vec<String> {
        let mut made = Vec::new();
        let Some(pack) = pack else { return made };
        let own = own_bytecode(&part.files);
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

/// A wheel may bring a `__pycache__` of its own.
fn own_bytecode<'p>(files: &'p [PlannedFile<'_>]) -> HashSet<&'p str> {
    files.iter().map(|file| file.path.as_str()).filter(|path| path.ends_with(".pyc")).collect()
}
