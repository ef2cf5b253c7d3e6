//! Staged directories and files that a process removes if it ends immediately.
//!
//! Destructors remove them if an operation fails. Destructors do not run if an allocation fails or if a
//! program that does not unwind panics, so each directory and file is also listed here, as a name in an open
//! directory. [`remove_unfinished`] removes them without allocating and without recursion, while other
//! threads may still write.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

/// A name in an open directory; a null pointer means no name.
struct Listed {
    name: AtomicPtr<c_char>,
    directory: AtomicI32,
}

/// A process has two or three at the same time. More are not listed: the next run removes those.
static LISTED: [Listed; 32] =
    [const { Listed { name: AtomicPtr::new(null_mut()), directory: AtomicI32::new(-1) } }; 32];

/// Until dropped, has a file or directory removed if the process ends immediately.
#[derive(Debug)]
pub(crate) struct Unfinished {
    name: ManuallyDrop<CString>,
    directory: ManuallyDrop<OwnedFd>,
    place: Option<usize>,
}

impl Unfinished {
    pub(crate) fn list(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Self> {
        let directory = directory.try_clone_to_owned()?;
        let name = CString::new(name.as_bytes()).map_err(io::Error::other)?;
        let pointer = name.as_ptr().cast_mut();
        let is_free = |listed: &Listed| {
            listed.name.compare_exchange(null_mut(), pointer, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let place = LISTED.iter().position(is_free);
        if let Some(place) = place {
            LISTED[place].directory.store(directory.as_raw_fd(), Ordering::Release);
        }
        Ok(Self { name: ManuallyDrop::new(name), directory: ManuallyDrop::new(directory), place })
    }
}

impl Unfinished {
    /// Removes a file that is listed.
    pub(crate) fn unlink(self) {
        let _ = rustix::fs::unlinkat(&*self.directory, &**self.name, AtFlags::empty());
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            LISTED[place].directory.store(-1, Ordering::Release);
            if LISTED[place].name.swap(null_mut(), Ordering::AcqRel).is_null() {
                return; // this process is ending, and another thread reads the name
            }
        }
        // SAFETY: nobody else has them, and they are not used again.
        unsafe {
            ManuallyDrop::drop(&mut self.name);
            ManuallyDrop::drop(&mut self.directory);
        }
    }
}

/// Removes everything that is listed. For a process that is about to end: listed files in use are unusable
/// afterwards.
pub fn remove_unfinished() {
    for listed in &LISTED {
        let name = listed.name.swap(null_mut(), Ordering::AcqRel);
        let directory = listed.directory.swap(-1, Ordering::AcqRel);
        if name.is_null() || directory < 0 {
            continue;
        }
        // SAFETY: its owner frees neither after the name was taken from the list.
        let (name, directory) = unsafe { (CStr::from_ptr(name), BorrowedFd::borrow_raw(directory)) };
        // Other threads may write into it meanwhile, until they find no directory.
        while !is_removed(directory, name) && remove_some(directory, name).unwrap_or_default() {}
    }
}

/// Removes a file or an empty directory. Returns whether the name does not exist any more.
fn is_removed(directory: BorrowedFd<'_>, name: &CStr) -> bool {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return true,
        Err(_) => {}
    }
    matches!(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR), Ok(()) | Err(Errno::NOENT))
}

/// Descends to a directory without subdirectories, and removes all files on the way. Returns whether anything
/// was removed.
fn remove_some(directory: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let open = |directory: BorrowedFd<'_>, name: &CStr| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(directory, name, flags, Mode::empty())
    };
    let mut reached = open(directory, name)?;
    let mut removed = false;
    loop {
        let mut entries = [MaybeUninit::<u8>::uninit(); 4096];
        let mut entries = RawDir::new(&reached, &mut entries);
        let mut below = None;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let is_directory = entry.file_type() == FileType::Directory;
            let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match rustix::fs::unlinkat(&reached, name, flags) {
                Ok(()) => removed = true,
                Err(_) if is_directory && below.is_none() => below = open(reached.as_fd(), name).ok(),
                Err(_) => {}
            }
        }
        match below {
            Some(below) => reached = below,
            None => return Ok(removed),
        }
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn a_tree_is_removed_without_what_it_links_to() {
        let place = tempfile::tempdir().unwrap();
        let (tree, kept) = (place.path().join("tree"), place.path().join("kept"));
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        for branch in 0..20 {
            let deep = tree.join(format!("{branch}/a/b/c"));
            fs::create_dir_all(&deep).unwrap();
            for file in 0..100 {
                fs::write(deep.join(format!("a longer name of a file {file}")), "").unwrap();
            }
            fs_err::os::unix::fs::symlink(&kept, tree.join(format!("{branch}/link"))).unwrap();
        }
        fs::write(place.path().join("file"), "").unwrap();
        let open = fs::File::open(place.path()).unwrap();
        // Not by the list, which tests beside this one use too.
        for name in [c"tree", c"file", c"missing"] {
            while !is_removed(open.as_fd(), name) && remove_some(open.as_fd(), name).unwrap() {}
        }
        assert!(!tree.exists() && !place.path().join("file").exists() && kept.join("file").exists());
    }

    #[test]
    fn a_name_is_listed_until_it_is_dropped() {
        let open = fs::File::open("/").unwrap();
        let unfinished = Unfinished::list(open.as_fd(), OsStr::new("name")).unwrap();
        let place = unfinished.place.unwrap();
        let pointer = unfinished.name.as_ptr().cast_mut();
        assert_eq!(LISTED[place].name.load(Ordering::Relaxed), pointer);
        drop(unfinished);
        assert_ne!(LISTED[place].name.load(Ordering::Relaxed), pointer);
    }
}
