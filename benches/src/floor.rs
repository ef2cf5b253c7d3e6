//! The floor of an install: inflate every member of the wheels and every pack of bytecode in an artifact and write what
//! comes out, on all cores, and nothing else. No hash, no check, no virtualenv, no RECORD, no times, no rename, no sync.
//!
//! `floor ARTIFACT DESTINATION`

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use fs_err as fs;
use wheelbarrow_artifact::bytecode::{Frame, FrameInflater, Pack, pyc_path};
use wheelbarrow_artifact::zip::{Archive, Entry, Method};

enum Job<'a> {
    Member { entry: &'a Entry, raw: &'a [u8] },
    Frame { frame: &'a Frame, raw: &'a [u8] },
}

/// How many jobs a thread takes at once.
const TOGETHER: usize = 64;

fn main() -> Result<()> {
    const USAGE: &str = "usage: floor ARTIFACT DESTINATION";
    let mut arguments = std::env::args_os().skip(1);
    let artifact = arguments.next().context(USAGE)?;
    let destination = arguments.next().context(USAGE)?;
    let destination = Path::new(&destination);
    let file = fs::File::open(Path::new(&artifact))?;
    // SAFETY: nothing writes to the artifact while the benchmark runs.
    let artifact = Archive::parse(unsafe { memmap2::Mmap::map(file.file()) }?)?;
    let named = |end: &'static str| artifact.entries().iter().filter(move |entry| entry.name.ends_with(end));
    let wheels: Vec<Archive<&[u8]>> =
        named(".whl").map(|entry| Archive::parse(artifact.raw(entry))).collect::<Result<_, _>>()?;
    let packs: Vec<Pack<'_>> =
        named(".pack").map(|entry| Pack::open(artifact.raw(entry))).collect::<Result<_, _>>()?;
    let frames = packs
        .iter()
        .flat_map(|pack| pack.frames.iter().map(|frame| Job::Frame { frame, raw: pack.raw(frame) }));
    let members = wheels.iter().flat_map(|wheel| {
        let files = wheel.entries().iter().filter(|entry| !entry.is_directory());
        files.map(|entry| Job::Member { entry, raw: wheel.raw(entry) })
    });
    let jobs: Vec<Job<'_>> = frames.chain(members).collect();
    make_directories(&jobs, destination)?;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..wheelbarrow_artifact::threads())
            .map(|_| scope.spawn(|| work(&jobs, &next, destination)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread of the floor panicked"))
    })
}

fn make_directories(jobs: &[Job<'_>], destination: &Path) -> Result<()> {
    let mut directories = BTreeSet::new();
    for job in jobs {
        match job {
            Job::Member { entry, .. } => {
                directories.extend(Path::new(&entry.name).ancestors().skip(1).map(Path::to_path_buf));
            }
            Job::Frame { frame, .. } => {
                let files = frame.files.iter().filter_map(|(path, _)| Path::new(path).parent());
                directories.extend(files.map(|directory| directory.join("__pycache__")));
            }
        }
    }
    for directory in directories {
        fs::create_dir_all(destination.join(directory))?;
    }
    Ok(())
}

fn work(jobs: &[Job<'_>], next: &AtomicUsize, destination: &Path) -> Result<()> {
    let mut inflate = libdeflater::Decompressor::new();
    let mut frames = FrameInflater::default();
    let mut buffer = Vec::new();
    loop {
        let start = next.fetch_add(TOGETHER, Ordering::Relaxed);
        let Some(rest) = jobs.get(start..) else { return Ok(()) };
        for job in rest.iter().take(TOGETHER) {
            match job {
                Job::Member { entry, raw } => {
                    let contents = match entry.method {
                        Method::Stored => raw,
                        Method::Deflated => {
                            buffer.resize(usize::try_from(entry.size)?, 0);
                            inflate.deflate_decompress(raw, &mut buffer)?;
                            buffer.as_slice()
                        }
                    };
                    write(&destination.join(&entry.name), contents)?;
                }
                Job::Frame { frame, raw } => {
                    buffer.resize(frame.size, 0);
                    frames.inflate(raw, &mut buffer)?;
                    let mut rest = buffer.as_slice();
                    for (path, length) in &frame.files {
                        let (code, behind) = rest.split_at(*length);
                        rest = behind;
                        write(&destination.join(pyc_path(path, "cpython-311")), code)?;
                    }
                }
            }
        }
    }
}

fn write(path: &Path, contents: &[u8]) -> Result<()> {
    // Some wheels write one path, as `tests/__init__.py`: the last one wins, as with pip.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o666);
    Ok(options.open(path)?.write_all(contents)?)
}
