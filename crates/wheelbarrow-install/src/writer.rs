//! Writes files: the work of one thread of the engine.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};
use sha2::Digest;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::bytecode::{FRAME, FrameInflater, pyc_header};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::zip::Inflater;
use wheelbarrow_base::progress::Progress;

use crate::InstallError;
use crate::plan::{Contents, PlannedFile, PlannedFrame, WriteBatch, parent};
use crate::store::StaticLinks;

/// How many frames are inflated at once, however many threads there are: each takes [`FRAME`] bytes.
const BUFFERS: usize = 8;

/// Takes a path, a size in bytes, and a SHA-256.
pub(crate) type OnWritten<'n> = dyn Fn(&str, u64, Sha256) + Sync + 'n;

/// How files are written.
pub(crate) struct WriteOptions<'m> {
    /// Of a file, and of an executable one; less the umask.
    pub modes: [u32; 2],
    /// Told of each `.pyc` file: its path, its size in bytes, and its SHA-256.
    pub compiled: Option<&'m OnWritten<'m>>,
    /// Where [`Contents::Stored`] is.
    pub statics: Option<&'m StaticLinks<'m>>,
    /// For the progress bar.
    pub task: &'static str,
}

impl<'m> WriteOptions<'m> {
    /// As an install wants it.
    pub(crate) const INSTALL: Self =
        Self { modes: [0o666, 0o777], compiled: None, statics: None, task: "installing" };

    /// For files that installs share.
    pub(crate) fn of_store(compiled: Option<&'m OnWritten<'m>>) -> Self {
        Self { modes: [0o444, 0o555], compiled, statics: None, task: "filling the store" }
    }
}

/// What frames are inflated into.
#[derive(Default)]
pub(crate) struct Buffers {
    buffers: [Mutex<Vec<u8>>; BUFFERS],
    next: AtomicUsize,
    /// For a frame with more than [`FRAME`] bytes, which holds a single module: one at a time.
    large: Mutex<()>,
}

/// What every thread needs.
#[derive(Clone, Copy)]
pub(crate) struct WriteJob<'j> {
    pub root: BorrowedFd<'j>,
    pub destination: &'j Path,
    pub artifact: &'j Artifact,
    /// [`crate::plan::Plan::time`].
    pub time: u32,
    pub options: &'j WriteOptions<'j>,
    pub buffers: &'j Buffers,
    pub progress: &'j dyn Progress,
}

/// One thread with its buffers.
pub(crate) struct Writer<'j> {
    job: WriteJob<'j>,
    inflater: Inflater,
    frames: FrameInflater,
    /// Shared with other threads if there are many.
    frame: &'j Mutex<Vec<u8>>,
}

impl<'j> Writer<'j> {
    pub(crate) fn new(job: WriteJob<'j>) -> Self {
        let number = job.buffers.next.fetch_add(1, Ordering::Relaxed);
        let frame = &job.buffers.buffers[number % BUFFERS];
        Self { job, inflater: Inflater::new(), frames: FrameInflater::default(), frame }
    }

    pub(crate) fn write(&mut self, batch: &WriteBatch<'_, '_>) -> Result<(), InstallError> {
        if self.job.progress.is_cancelled() {
            return Err(InstallError::Cancelled);
        }
        match batch {
            WriteBatch::Files(files) => self.write_files(files),
            WriteBatch::Frame(frame) => self.write_frame(frame),
        }
    }

    fn write_files(&mut self, files: &[&PlannedFile<'_>]) -> Result<(), InstallError> {
        let Some(first) = files.first() else { return Ok(()) };
        let directory = self.open_directory(parent(&first.path))?;
        for file in files {
            self.write_file(file, directory.as_fd())?;
            self.job.progress.advance(file.contents.size());
        }
        let raw = files.iter().map(|file| file.contents.raw_size()).sum();
        self.job.artifact.was_read(raw);
        Ok(())
    }

    fn write_file(&mut self, file: &PlannedFile<'_>, directory: BorrowedFd<'_>) -> Result<(), InstallError> {
        if let (Contents::Stored, Some(statics)) = (&file.contents, self.job.options.statics) {
            let name = file.path.rsplit('/').next().unwrap_or(&file.path);
            let path = self.job.destination.join(&file.path);
            let WriteJob { time, progress, .. } = self.job;
            return statics.link(file.sha256, (directory, name), (&path, time), progress);
        }
        let mode = self.job.options.modes[usize::from(file.executable)];
        let open = self.create(directory, &file.path, mode)?;
        let mut written = Ok(());
        let artifact = self.job.artifact;
        match &file.contents {
            Contents::Bytes(bytes) => written = write_all(open.as_fd(), bytes),
            Contents::Stored => written = Err(io::Error::other("no store is open")),
            Contents::Member { entry, raw } => {
                let mut hash = sha2::Sha256::new();
                let mut take = |bytes: &[u8]| {
                    hash.update(bytes);
                    if written.is_ok() {
                        written = write_all(open.as_fd(), bytes);
                    }
                };
                let path = || self.job.destination.join(&file.path);
                self.inflater
                    .read_releasing(entry, raw, &mut take, &|done| artifact.was_read(done.len()))
                    .map_err(|source| InstallError::Unpack { path: path(), source })?;
                if Sha256(hash.finalize().into()) != file.sha256 {
                    return Err(InstallError::Changed { path: path() });
                }
            }
        }
        if file.timed && written.is_ok() {
            written = self.set_time(open.as_fd());
        }
        written.map_err(|error| self.write_error(&file.path, error))
    }

    fn set_time(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let time = Timespec { tv_sec: i64::from(self.job.time), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(file, &times).map_err(io::Error::from)
    }

    fn write_frame(&mut self, frame: &PlannedFrame<'_>) -> Result<(), InstallError> {
        let result = if frame.size > FRAME {
            let _held = self.job.buffers.large.lock().unwrap_or_else(PoisonError::into_inner);
            self.write_parts(frame, &mut vec![0; frame.size])
        } else {
            let mut plain = self.frame.lock().unwrap_or_else(PoisonError::into_inner);
            if plain.is_empty() {
                // Its final size at once: pages count when they are written to, and those of smaller buffers would stay for a while.
                *plain = vec![0; FRAME];
            }
            self.write_parts(frame, &mut plain[..frame.size])
        };
        self.job.artifact.was_read(frame.raw.len());
        self.job.progress.advance(frame.size as u64);
        result
    }

    fn write_parts(&mut self, frame: &PlannedFrame<'_>, plain: &mut [u8]) -> Result<(), InstallError> {
        let artifact = self.job.artifact;
        let damaged = |source: Box<dyn std::error::Error + Send + Sync>| InstallError::Bytecode {
            path: artifact.path().to_path_buf(),
            source,
        };
        let size = self.frames.inflate(frame.raw, plain).map_err(|error| damaged(error.into()))?;
        if size != frame.size {
            return Err(damaged("a frame does not have the size in its index".into()));
        }
        let mut rest: &[u8] = plain;
        let mut directory: Option<(&str, OwnedFd)> = None;
        for part in &frame.parts {
            let (code, behind) = rest.split_at(part.length);
            rest = behind;
            let Some((path, source_size)) = &part.place else { continue };
            if directory.as_ref().is_none_or(|(open, _)| *open != parent(path)) {
                directory = Some((parent(path), self.open_directory(parent(path))?));
            }
            let Some((_, descriptor)) = &directory else { continue };
            let open = self.create(descriptor.as_fd(), path, self.job.options.modes[0])?;
            let header = pyc_header(frame.magic, self.job.time, *source_size);
            write_both(open.as_fd(), &header, code).map_err(|error| self.write_error(path, error))?;
            if let Some(compiled) = self.job.options.compiled {
                self.set_time(open.as_fd()).map_err(|error| self.write_error(path, error))?;
                let hash = sha2::Sha256::new().chain_update(&header).chain_update(code);
                compiled(path, (header.len() + code.len()) as u64, Sha256(hash.finalize().into()));
            }
        }
        Ok(())
    }

    fn open_directory(&self, path: &str) -> Result<OwnedFd, InstallError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match path {
            "" => self.job.root.try_clone_to_owned(),
            path => rustix::fs::openat(self.job.root, path, flags, Mode::empty()).map_err(io::Error::from),
        };
        opened.map_err(InstallError::io("open the directory", &self.job.destination.join(path)))
    }

    /// The umask makes of `mode` what the file gets.
    fn create(&self, directory: BorrowedFd<'_>, path: &str, mode: u32) -> Result<OwnedFd, InstallError> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(mode))
            .map_err(|errno| self.write_error(path, errno.into()))
    }

    fn write_error(&self, path: &str, error: io::Error) -> InstallError {
        InstallError::io("write", &self.job.destination.join(path))(error)
    }
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// In one system call, as long as the kernel takes all of it.
fn write_both(file: BorrowedFd<'_>, first: &[u8], second: &[u8]) -> io::Result<()> {
    match rustix::io::writev(file, &[IoSlice::new(first), IoSlice::new(second)]) {
        Ok(written) if written >= first.len() => write_all(file, &second[written - first.len()..]),
        Ok(written) => {
            write_all(file, &first[written..])?;
            write_all(file, second)
        }
        Err(rustix::io::Errno::INTR) => write_both(file, first, second),
        Err(errno) => Err(errno.into()),
    }
}
