//! Room for members that are spooled to a file, shared by all threads.

use std::sync::{Condvar, Mutex, PoisonError};

/// Larger ELF files are not looked at. The largest libraries of PyTorch and CUDA have about 1 GB, and code of more than 2 GB
/// cannot address its data in the usual way.
pub(super) const LARGEST_ELF: u64 = 2 << 30;

/// So many bytes may be spooled at once: temporary directories are in memory on many systems.
pub(super) static SPOOLS: Room = Room::new(LARGEST_ELF);

/// Bytes that can be taken and given back.
pub(super) struct Room {
    left: Mutex<u64>,
    given_back: Condvar,
}

/// Bytes that are given back when it is dropped.
pub(super) struct Share<'r> {
    room: &'r Room,
    size: u64,
}

impl Room {
    pub(super) const fn new(size: u64) -> Self {
        Self { left: Mutex::new(size), given_back: Condvar::new() }
    }

    /// Waits until there is room for `size` bytes, which are no more than there are in all. A thread that holds a share must not
    /// take another.
    pub(super) fn take(&self, size: u64) -> Share<'_> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while *left < size {
            left = self.given_back.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= size;
        Share { room: self, size }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.room.left.lock().unwrap_or_else(PoisonError::into_inner) += self.size;
        self.room.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let (room, taken, most) = (Room::new(10), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for size in [4, 4, 4, 10, 4, 4] {
                let (room, taken, most) = (&room, &taken, &most);
                scope.spawn(move || {
                    let _share = room.take(size);
                    most.fetch_max(taken.fetch_add(size, Ordering::SeqCst) + size, Ordering::SeqCst);
                    std::thread::yield_now();
                    taken.fetch_sub(size, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(most.into_inner(), 10);
        assert_eq!(*room.left.lock().unwrap(), 10);
    }
}
