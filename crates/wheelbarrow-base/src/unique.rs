//! Parts of names that no other process takes.

use std::sync::atomic::{AtomicU32, Ordering};

/// Differs between the runs that may meet in one directory, and nobody can tell it beforehand; who makes a name of it
/// tries again if there is such a name.
pub(crate) fn unique() -> u32 {
    let mut bytes = [0; 4];
    // By the system call: the standard library refers to the C library's function weakly, so a static link leaves it out.
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    if read == Ok(bytes.len()) {
        return u32::from_ne_bytes(bytes);
    }
    // Before Linux 3.17.
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    now.subsec_nanos().rotate_left(2) ^ std::process::id().rotate_left(16) ^ call
}
