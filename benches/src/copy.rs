//! The floor of a build: read every byte of an artifact's members, hash it, and write it once, and nothing else. One
//! thread writes while the others hash. Nothing is looked up, compared or compressed; with `--sync` the output is synced
//! once, at the end.
//!
//! `copy ARTIFACT OUTPUT [--sync]`

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use fs_err as fs;
use sha2::Digest;
use wheelbarrow_artifact::zip::Archive;

fn main() -> Result<()> {
    const USAGE: &str = "usage: copy ARTIFACT OUTPUT [--sync]";
    let mut arguments = std::env::args_os().skip(1);
    let artifact = arguments.next().context(USAGE)?;
    let output = arguments.next().context(USAGE)?;
    let is_synced = arguments.next().is_some_and(|argument| argument == "--sync");
    let file = fs::File::open(Path::new(&artifact))?;
    // SAFETY: nothing writes to the artifact while the benchmark runs.
    let artifact = Archive::parse(unsafe { memmap2::Mmap::map(file.file()) }?)?;
    let mut members: Vec<&[u8]> = artifact.entries().iter().map(|entry| artifact.raw(entry)).collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.len()));
    let mut output = fs::File::create(Path::new(&output))?;
    let next = AtomicUsize::new(0);
    let hash = || {
        let mut last = None;
        while let Some(member) = members.get(next.fetch_add(1, Ordering::Relaxed)) {
            last = Some(sha2::Sha256::digest(member));
        }
        std::hint::black_box(last);
    };
    std::thread::scope(|scope| {
        for _ in 1..wheelbarrow_artifact::threads() {
            scope.spawn(hash);
        }
        members.iter().try_for_each(|member| output.write_all(member))?;
        hash();
        anyhow::Ok(())
    })?;
    if is_synced {
        output.sync_all()?;
    }
    Ok(())
}
