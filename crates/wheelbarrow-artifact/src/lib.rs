//! The artifact: one executable zip with a site's code, its wheels and what installs them.
//!
//! `docs/format.md` is the specification; this crate is its only implementation in Rust, for writer and reader alike.

mod artifact;
pub mod bytecode;
mod error;
pub mod format;
pub mod interpreter;
pub mod inventory;
pub mod loader;
pub mod manifest;
mod printable;
pub mod progress;
pub mod python;
pub mod release;
pub mod rules;
mod strict;
pub mod thin;
pub mod wheel;
pub mod zip;

use std::sync::atomic::{AtomicUsize, Ordering};

use wheelbarrow_wheel::order;

pub use artifact::{Anybody, Artifact, SHEBANG, SHEBANG_PATH, SIGNATURE_PATH, Trust, VerifiedArtifact};
pub use error::{ArtifactError, Distrust};
pub use printable::{printable, printable_json};
pub use rules::DOORS;

/// How many threads to work with: as many as there are cores for this process.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Does `work` for every item, on all cores; the results stand in the order of the items.
pub fn in_parallel<'t, T: Sync, R: Send>(items: &'t [T], work: impl Fn(&'t T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads().min(items.len())).map(|_| scope.spawn(take)).collect();
        let mut results = take();
        for other in others {
            match other.join() {
                Ok(done) => results.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    order::sort_by_key(&mut results, |(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
