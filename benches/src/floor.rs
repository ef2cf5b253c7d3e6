//! The floor of an install: inflate every member of the wheels of a directory and write it, on all cores, and nothing
//! else. No hash, no check, no virtualenv, no RECORD, no rename, no sync.
//!
//! `floor WHEELS DESTINATION`
#![allow(clippy::print_stdout, reason = "a program, not a library")]

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use fs_err as fs;
use wheelbarrow_artifact::zip::{Archive, Entry, Method};

struct Job<'a> {
    entry: &'a Entry,
    raw: &'a [u8],
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let wheels = arguments.next().context("usage: floor WHEELS DESTINATION")?;
    let destination = arguments.next().context("usage: floor WHEELS DESTINATION")?;
    let mut archives = Vec::new();
    for file in fs::read_dir(Path::new(&wheels))? {
        let file = fs::File::open(file?.path())?;
        // SAFETY: nothing writes to the wheels while the benchmark runs.
        archives.push(Archive::parse(unsafe { memmap2::Mmap::map(file.file()) }?)?);
    }
    let jobs: Vec<Job<'_>> = archives
        .iter()
        .flat_map(|archive| archive.entries().iter().map(|entry| Job { entry, raw: archive.raw(entry) }))
        .filter(|job| !job.entry.is_directory())
        .collect();
    let destination = Path::new(&destination);
    let mut directories = BTreeSet::new();
    for job in &jobs {
        directories.extend(Path::new(&job.entry.name).ancestors().skip(1));
    }
    for directory in directories {
        fs::create_dir_all(destination.join(directory))?;
    }
    let next = AtomicUsize::new(0);
    const TOGETHER: usize = 64;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..wheelbarrow_artifact::threads())
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut inflate = libdeflater::Decompressor::new();
                    let mut buffer = Vec::new();
                    loop {
                        let start = next.fetch_add(TOGETHER, Ordering::Relaxed);
                        let Some(rest) = jobs.get(start..) else { return Ok(()) };
                        for job in rest.iter().take(TOGETHER) {
                            write(job, destination, &mut inflate, &mut buffer)?;
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread of the floor panicked"))
    })
}

fn write(
    job: &Job<'_>,
    destination: &Path,
    inflate: &mut libdeflater::Decompressor,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    let contents = match job.entry.method {
        Method::Stored => job.raw,
        Method::Deflated => {
            buffer.resize(usize::try_from(job.entry.size)?, 0);
            inflate.deflate_decompress(job.raw, buffer)?;
            buffer
        }
    };
    // Some wheels of the site write one path, as `tests/__init__.py`: the last one wins, as with pip.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o666);
    options.open(destination.join(&job.entry.name))?.write_all(contents)?;
    Ok(())
}
