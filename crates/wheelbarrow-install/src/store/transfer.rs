//! Links, clones or copies one file from the store.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use wheelbarrow_base::progress::Progress;

use crate::options::LinkMode;

/// What is done with every file, until the file system says that it cannot.
pub(crate) struct Transfer {
    mode: LinkMode,
    /// Whether everything is copied from now on.
    copying: AtomicBool,
    reported: AtomicBool,
}

/// A file in the store, and where it goes: paths that begin at open directories.
#[derive(Clone, Copy)]
pub(super) struct LinkEnds<'e> {
    pub from: BorrowedFd<'e>,
    pub source: &'e str,
    pub to: BorrowedFd<'e>,
    pub target: &'e str,
}

/// Why files are copied instead.
pub(super) struct Impossible {
    pub what: &'static str,
    pub why: io::Error,
}

impl Impossible {
    pub(super) fn note(&self, progress: &dyn Progress) {
        progress.note(&format!("files are copied from the store: {}: {}", self.what, self.why));
    }
}

impl Transfer {
    pub(crate) fn new(mode: LinkMode) -> Self {
        Self { mode, copying: AtomicBool::new(mode == LinkMode::Copy), reported: AtomicBool::new(false) }
    }

    /// Brings a file to its place; says once why it had to be copied. Copies get `time`, and modes as without a store.
    pub(super) fn file(
        &self,
        ends: &LinkEnds<'_>,
        executable: bool,
        time: u32,
    ) -> io::Result<Option<Impossible>> {
        let mut reason = None;
        if !self.copying.load(Ordering::Relaxed) {
            let errno = match self.mode {
                LinkMode::Hardlink => match link(ends) {
                    Ok(()) => return Ok(None),
                    Err(errno) => errno,
                },
                _ => match clone(ends, executable, time)? {
                    None => return Ok(None),
                    Some(errno) => errno,
                },
            };
            match errno {
                // As many links as a file can have: the next file may have fewer.
                Errno::MLINK if self.mode == LinkMode::Hardlink => {}
                // PERM: a file of another user, under fs.protected_hardlinks, or a file system without links.
                Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NOTTY => {
                    self.copying.store(true, Ordering::Relaxed);
                }
                errno => return Err(errno.into()),
            }
            let what = match self.mode {
                LinkMode::Hardlink => "hard links to it cannot be made",
                _ => "its files cannot be cloned",
            };
            reason = Some(Impossible { what, why: errno.into() });
        }
        copy(ends, executable, time)?;
        Ok(reason.filter(|_| !self.reported.swap(true, Ordering::Relaxed)))
    }
}

fn link(ends: &LinkEnds<'_>) -> Result<(), Errno> {
    rustix::fs::linkat(ends.from, ends.source, ends.to, ends.target, AtFlags::empty())
}

/// Shares the blocks; gives the error of a file system that cannot, and then no file is left.
fn clone(ends: &LinkEnds<'_>, executable: bool, time: u32) -> io::Result<Option<Errno>> {
    let (source, target) = open_both(ends, executable)?;
    if let Err(errno) = rustix::fs::ioctl_ficlone(&target, &source) {
        rustix::fs::unlinkat(ends.to, ends.target, AtFlags::empty())?;
        return Ok(Some(errno));
    }
    set_time(target.as_fd(), time)?;
    Ok(None)
}

fn copy(ends: &LinkEnds<'_>, executable: bool, time: u32) -> io::Result<()> {
    let (source, target) = open_both(ends, executable)?;
    let (mut source, mut target) = (std::fs::File::from(source), std::fs::File::from(target));
    io::copy(&mut source, &mut target)?;
    set_time(target.as_fd(), time)
}

fn open_both(ends: &LinkEnds<'_>, executable: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(ends.from, ends.source, flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
    Ok((source, rustix::fs::openat(ends.to, ends.target, flags, mode)?))
}

fn set_time(file: BorrowedFd<'_>, time: u32) -> io::Result<()> {
    let time = Timespec { tv_sec: i64::from(time), tv_nsec: 0 };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}
