//! A mapped file that no other user can change: the verified bytes are the bytes that are used.
//!
//! A file that other users may write or replace is first copied into a file without a name. The owner can
//! still truncate an uncopied file while it is read. Its pages then read as zeros, which match no hash,
//! instead of raising SIGBUS.

use std::fs::File;
use std::io;
use std::ops::Deref;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use memmap2::Mmap;
use rustix::fs::{Mode, OFlags};
#[cfg(target_os = "linux")]
use rustix::io::Errno;

use crate::open_regular;

/// Bytes. The limit of a copied file: zip files without zip64 records.
const LARGEST: u64 = u32::MAX as u64;

/// A regular file, mapped.
pub struct MappedFile {
    map: Mmap,
    watched: Option<&'static Watched>,
}

impl MappedFile {
    /// Opens the regular file at `path`, following links. Anything else is refused, a FIFO without waiting
    /// for a writer.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        if is_out_of_reach(&file) { Self::map(&file) } else { Self::map(&private_copy(file)?) }
    }

    fn map(file: &File) -> io::Result<Self> {
        // SAFETY: the map is read-only, and of a file that only this user and root can write. What they write meanwhile can change
        // what is read, which hashes then show; pages that they cut off are replaced by `Watched`.
        let map = unsafe { Mmap::map(file) }?;
        let watched = Watched::begin(&map);
        Ok(Self { map, watched })
    }

    /// Whether the file was truncated after it was opened, and missing bytes were read.
    pub fn was_cut(&self) -> bool {
        self.watched.is_some_and(|watched| watched.cut.load(Ordering::Relaxed))
    }
}

impl Deref for MappedFile {
    type Target = Mmap;

    fn deref(&self) -> &Mmap {
        &self.map
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // Before the map goes.
        if let Some(watched) = self.watched {
            watched.end();
        }
    }
}

/// Whether only root and this user can write the file or replace it.
pub fn is_out_of_reach(file: &File) -> bool {
    is_held(file) && nobody_writes(file)
}

/// The same of a file of root's, of which no other user may ask whether somebody has it open for writing.
pub fn is_kept_by_root(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.uid() == 0)
        && !rustix::process::geteuid().is_root()
        && is_held(file)
}

/// Whether owners and modes keep others from it.
fn is_held(file: &File) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let me = rustix::process::geteuid().as_raw();
    let is_trusted = |owner: u32| owner == 0 || owner == me;
    let by_owner_only =
        |metadata: &std::fs::Metadata| is_trusted(metadata.uid()) && metadata.mode() & OTHERS_WRITE == 0;
    // Where others may write into a sticky directory, they cannot rename what is not theirs.
    let holds_still = |directory: &Path| {
        fs_err::symlink_metadata(directory).is_ok_and(|metadata| {
            by_owner_only(&metadata) || (is_trusted(metadata.uid()) && metadata.mode() & STICKY != 0)
        })
    };
    let path = path_of(file);
    file.metadata().is_ok_and(|metadata| by_owner_only(&metadata))
        && !is_on_fuse(file)
        && path.is_ok_and(|path| path.ancestors().skip(1).all(holds_still))
}

/// On a file system in user space, which shows the owners that its server likes. The kernel itself says this.
#[cfg(target_os = "linux")]
fn is_on_fuse(file: &File) -> bool {
    const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;
    rustix::fs::fstatfs(file).is_ok_and(|about| about.f_type as u64 == FUSE_SUPER_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn is_on_fuse(_file: &File) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn path_of(file: &File) -> io::Result<PathBuf> {
    fs_err::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn path_of(file: &File) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;

    let path = rustix::fs::getpath(file)?;
    Ok(std::ffi::OsString::from_vec(path.into_bytes()).into())
}

/// Whether no descriptor and no map exists by which the file can be changed: another user may have opened the
/// file while owning it. The kernel grants a lease only in that case (fcntl(2)); on a file system without
/// leases the answer is no.
#[cfg(target_os = "linux")]
fn nobody_writes(file: &File) -> bool {
    let number = file.as_raw_fd();
    // SAFETY: system calls on a descriptor that is open.
    unsafe {
        let leased = libc::fcntl(number, libc::F_SETLEASE, libc::F_RDLCK) == 0;
        leased && libc::fcntl(number, libc::F_SETLEASE, libc::F_UNLCK) == 0
    }
}

/// Other kernels have no leases. Nothing is installed there.
#[cfg(not(target_os = "linux"))]
fn nobody_writes(_: &File) -> bool {
    true
}

/// A copy without a name, in the first temporary directory with enough space.
fn private_copy(mut file: File) -> io::Result<File> {
    let named = std::env::var_os("TMPDIR").map(PathBuf::from);
    let places = named.into_iter().chain(["/var/tmp".into(), "/tmp".into()]);
    let size = file.metadata()?.len();
    if size > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "no artifact and no wheel has 4 GB"));
    }
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for place in places {
        let copied = nameless(&place).and_then(|mut copy| {
            io::Seek::rewind(&mut file)?;
            // The kernel shares the blocks where the file system can. It may grow meanwhile.
            io::copy(&mut io::Read::take(&mut file, size), &mut copy)?;
            Ok(copy)
        });
        match copied {
            Ok(copy) => return Ok(copy),
            Err(error) => failed = error,
        }
    }
    let why = format!(
        "others may change it while it is read, and there is no room for a copy ($TMPDIR, /var/tmp): {failed}"
    );
    Err(io::Error::new(failed.kind(), why))
}

fn nameless(directory: &Path) -> io::Result<File> {
    let (flags, mode) = (OFlags::RDWR | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
    #[cfg(target_os = "linux")]
    match rustix::fs::open(directory, flags | OFlags::TMPFILE, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        opened => return Ok(opened?.into()),
    }
    let path = directory.join(format!(".wheelbarrow-{:08x}", crate::unique::unique()));
    let file = rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW, mode)?;
    fs_err::remove_file(&path)?;
    Ok(file.into())
}

/// The map whose missing pages are replaced by zeros; zeros in all fields mean no map.
struct Watched {
    start: AtomicUsize,
    end: AtomicUsize,
    cut: AtomicBool,
}

/// More maps are not watched: truncating such a file ends the process.
static WATCHED: [Watched; 64] = [const { Watched::NONE }; 64];

impl Watched {
    #[allow(clippy::declare_interior_mutable_const, reason = "it is what each of an array begins with")]
    const NONE: Self =
        Self { start: AtomicUsize::new(0), end: AtomicUsize::new(0), cut: AtomicBool::new(false) };

    fn begin(map: &Mmap) -> Option<&'static Self> {
        static HANDLED: Once = Once::new();
        HANDLED.call_once(handle_bus_errors);
        let start = map.as_ptr() as usize;
        let free = |watched: &&Self| {
            watched.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let watched = WATCHED.iter().find(free)?;
        watched.cut.store(false, Ordering::Relaxed);
        watched.end.store(start + map.len(), Ordering::Release);
        Some(watched)
    }

    fn end(&self) {
        self.end.store(0, Ordering::Release);
        self.start.store(0, Ordering::Release);
    }

    /// Replaces everything from the page of `address` on by zeros, if the address is in this map.
    fn replace(&self, address: usize) -> bool {
        // SAFETY: it only asks for a number. There is one, and it is a power of two.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let (start, end) = (self.start.load(Ordering::Acquire), self.end.load(Ordering::Acquire));
        if !(start..end).contains(&address) {
            return false;
        }
        let from = address & !(page - 1);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the pages are those of a map that is read-only and lives; readers see bytes before and after.
        let made = unsafe {
            libc::mmap(
                from as *mut libc::c_void,
                end.next_multiple_of(page) - from,
                libc::PROT_READ,
                flags,
                -1,
                0,
            )
        };
        self.cut.store(true, Ordering::Relaxed);
        made != libc::MAP_FAILED
    }
}

fn handle_bus_errors() {
    extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel gives the handler of a fault the address of it. Nothing here allocates or takes a lock.
        let address = unsafe { (*info).si_addr() } as usize;
        if !WATCHED.iter().any(|watched| watched.replace(address)) {
            // SAFETY: as if there were no handler; what has faulted does so again.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    // SAFETY: all of the structure is set, and the handler is of the kind that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, PermissionsExt};

    use super::*;

    fn file_of(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        fs_err::write(&path, vec![7; 100_000]).unwrap();
        fs_err::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (place, path)
    }

    #[test]
    fn a_file_that_others_may_write_is_copied() {
        let (_place, path) = file_of(0o666);
        let mapped = MappedFile::open(&path).unwrap();
        fs_err::write(&path, vec![8; 100_000]).unwrap();
        assert!(mapped.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_file_in_a_directory_that_others_may_write_is_copied() {
        let (place, path) = file_of(0o644);
        fs_err::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        fs_err::write(&path, vec![8; 100_000]).unwrap();
        assert!(mapped.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_file_that_only_its_user_may_write_is_read_where_it_is() {
        let (_place, path) = file_of(0o644);
        let file = fs_err::File::open(&path).unwrap().into_parts().0;
        assert!(is_out_of_reach(&file));
    }

    #[test]
    fn a_file_that_is_open_for_writing_is_copied() {
        let (_place, path) = file_of(0o644);
        let open = || fs_err::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let is_out_of_reach = || is_out_of_reach(&open_regular(&path).unwrap());
        let writer = open();
        assert!(!is_out_of_reach());
        let mapped = MappedFile::open(&path).unwrap();
        writer.file().write_all_at(&[8; 100_000], 0).unwrap();
        assert!(mapped.iter().all(|byte| *byte == 7));
        drop(writer);
        assert!(is_out_of_reach());
        // A map stays when its descriptor is closed.
        let (writer, _) = open().into_parts();
        // SAFETY: nobody else uses the file.
        let map = unsafe { memmap2::MmapMut::map_mut(&writer) }.unwrap();
        drop(writer);
        assert!(!is_out_of_reach());
        drop(map);
        assert!(is_out_of_reach());
    }

    #[test]
    fn truncated_files_read_as_zeros() {
        let (_place, path) = file_of(0o644);
        let mapped = MappedFile::open(&path).unwrap();
        assert!(!mapped.was_cut());
        fs_err::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
        assert_eq!((mapped[9], mapped[10], mapped[99_999]), (7, 0, 0));
        assert!(mapped.was_cut());
    }

    #[test]
    fn only_regular_files_are_opened() {
        let place = tempfile::tempdir().unwrap();
        let fifo = place.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for path in [&fifo, place.path(), Path::new("/dev/null")] {
            assert!(MappedFile::open(path).is_err(), "{}", path.display());
        }
    }
}
