//! Names beside a destination that no other process uses.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// A number that differs between runs in one directory and cannot be predicted. If a name made from it
/// exists, the caller tries again.
pub(crate) fn unique() -> u32 {
    let mut bytes = [0; 4];
    if fill(&mut bytes) {
        return u32::from_ne_bytes(bytes);
    }
    // Before Linux 3.17.
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    now.subsec_nanos().rotate_left(2) ^ std::process::id().rotate_left(16) ^ call
}

/// Whether the kernel returned random bytes.
#[cfg(target_os = "linux")]
fn fill(bytes: &mut [u8]) -> bool {
    // By the system call: the standard library refers to the C library's function weakly, so a static link leaves it out.
    rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty()) == Ok(bytes.len())
}

#[cfg(not(target_os = "linux"))]
fn fill(bytes: &mut [u8]) -> bool {
    // SAFETY: the kernel writes as many bytes as there are.
    unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) == 0 }
}

/// The suffix of a directory that waits while another one replaces it in two steps.
pub(crate) const OLD: &str = "old";

/// `.BASENAME.wheelbarrow-`, truncated so that a name with the suffix has at most 255 bytes.
pub(crate) fn prefix(basename: &OsStr) -> OsString {
    let bytes = &basename.as_bytes()[..basename.len().min(220)];
    let mut prefix = OsString::from(".");
    prefix.push(OsStr::from_bytes(bytes));
    prefix.push(".wheelbarrow-");
    prefix
}

/// Whether a name ends like those of [`crate::Staged::begin`] or in [`OLD`]: other files are never removed.
pub(crate) fn is_made_here(suffix: &[u8]) -> bool {
    suffix == OLD.as_bytes() || (suffix.len() == 8 && suffix.iter().all(u8::is_ascii_alphanumeric))
}
