//! Plans a pack of bytecode: `.pyc` files beside the installed sources.

use std::collections::{HashMap, HashSet};

use wheelbarrow_artifact::bytecode::{Pack, pyc_path};
use wheelbarrow_wheel::order;

use super::context::Planner;
use super::part::PlanPart;
use crate::options::Compile;
use crate::plan::{CompileBatch, FramePart, LinkedDirectory, Module, PlannedFile, PlannedFrame};

/// Larger sources are nobody's modules; the builder leaves them out too.
const LARGEST_MODULE: u64 = 64 << 20;

/// Bytes of source. Large enough that starting a process costs little, small enough to share them between cores.
const BATCH: u64 = 1 << 20;

impl<'a> Planner<'_, 'a> {
    /// Whether `path`, with a source of `size` bytes, is to be compiled at the install.
    pub(super) fn compiles(&self, path: &str, size: u64) -> bool {
        !self.packs.usable && self.compile == Compile::Auto && path.ends_with(".py") && size <= LARGEST_MODULE
    }

    /// Plans to compile modules, given by path and size; gives the files that this makes if all of them compile.
    pub(super) fn modules(&self, part: &mut PlanPart<'a>, mut sources: Vec<(String, u64)>) -> Vec<String> {
        let mut own = own_bytecode(&part.files);
        let linked: Vec<String> =
            part.linked.iter().flat_map(LinkedDirectory::paths).map(|(path, _)| path).collect();
        own.extend(linked.iter().map(String::as_str));
        order::sort(&mut sources);
        let mut batches: Vec<CompileBatch> = Vec::new();
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
        part: &mut PlanPart<'a>,
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
