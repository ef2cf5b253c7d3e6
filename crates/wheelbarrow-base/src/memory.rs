//! Limited memory: a limit of the address space (`ulimit -v`) or of the data of a process.
//!
//! A failed allocation would abort the process and leave its staged directories. [`Memory`] removes these
//! directories and ends the process with an exit code instead. If a limit is set, it allocates with the C
//! library, which reserves no more address space than it uses; the other allocator may reserve a gigabyte.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::unfinished::remove_unfinished;

/// Bytes. Above this limit, saving address space is unnecessary.
const AMPLE: libc::rlim_t = 16 << 30;

/// The default message.
const MESSAGE: &str = "error: not enough memory; unfinished files were removed\n\
    hint: raise the limit (`ulimit -v`, or the limit of the container or service), then run the command again\n";

/// An allocator that ends the process if it cannot allocate.
pub struct Memory<A>(pub A);

// SAFETY: each call goes to one of two allocators, always the same one while this process lives.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Memory<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what this call promises, that one does.
        had(unsafe { if is_limited() { System.alloc(layout) } else { self.0.alloc(layout) } })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the same.
        unsafe {
            if is_limited() { System.dealloc(pointer, layout) } else { self.0.dealloc(pointer, layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the same.
        had(unsafe { if is_limited() { System.alloc_zeroed(layout) } else { self.0.alloc_zeroed(layout) } })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the same.
        had(unsafe {
            if is_limited() {
                System.realloc(pointer, layout, size)
            } else {
                self.0.realloc(pointer, layout, size)
            }
        })
    }
}

fn had(pointer: *mut u8) -> *mut u8 {
    if pointer.is_null() {
        end_without_memory();
    }
    pointer
}

/// Whether this process has a limit of its address space or its data that is low enough to matter.
pub fn is_limited() -> bool {
    const UNKNOWN: u8 = 2;
    static LIMITED: AtomicU8 = AtomicU8::new(UNKNOWN);
    match LIMITED.load(Ordering::Relaxed) {
        UNKNOWN => {
            let limited = [libc::RLIMIT_AS, libc::RLIMIT_DATA].into_iter().any(|resource| {
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                // SAFETY: the structure is the one that the call fills.
                unsafe { libc::getrlimit(resource, &mut limit) == 0 && limit.rlim_cur < AMPLE }
            });
            #[cfg(target_env = "gnu")]
            if limited {
                // Else the C library reserves 64 MB for each thread, and what remains may be too little for the others.
                // SAFETY: this is the first allocation: no other thread runs, and no function of the C library is interrupted.
                unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
            }
            // By the first to ask, before there is another thread; a later answer would belong to another allocator.
            let limited =
                LIMITED.compare_exchange(UNKNOWN, u8::from(limited), Ordering::Relaxed, Ordering::Relaxed);
            limited.map_or_else(|found| found == 1, |_| LIMITED.load(Ordering::Relaxed) == 1)
        }
        limited => limited == 1,
    }
}

/// The exit code of the process: 1 with a message, unless [`end_silently_with`] was called.
static SILENT_CODE: AtomicU8 = AtomicU8::new(0);

/// Makes a process that runs out of memory end with this exit code and without a message: its parent prints
/// one.
pub fn end_silently_with(code: u8) {
    SILENT_CODE.store(code, Ordering::Relaxed);
}

/// Ends the process for lack of memory: removes unfinished files and directories without allocating.
pub fn end_without_memory() -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    while ENDING.swap(true, Ordering::Relaxed) {
        // SAFETY: it waits for a signal, or for the thread that came first to end the process.
        unsafe { libc::pause() };
    }
    remove_unfinished();
    let mut code = SILENT_CODE.load(Ordering::Relaxed);
    if code == 0 {
        code = 1;
        // SAFETY: the bytes are those of the text.
        unsafe { libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
    }
    // SAFETY: it does not return, and runs nothing of this process.
    unsafe { libc::_exit(code.into()) }
}

/// Whether an error, or one of its causes, is a lack of memory or of a thread.
pub fn is_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    let is_memory = |error: &io::Error| {
        error.kind() == io::ErrorKind::OutOfMemory || error.raw_os_error() == Some(libc::ENOMEM)
    };
    std::iter::successors(Some(error), |&error| error.source())
        .any(|error| error.downcast_ref().is_some_and(is_memory))
}

/// Makes panics for lack of memory, as in the standard library and zstd, end the process like a failed
/// allocation. A program that does not unwind removes unfinished files and directories at every panic, and
/// ends with exit code 1.
pub fn watch_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        // ENOMEM and EAGAIN as errors of the standard library end, and what zstd says of a context.
        if ["(os error 12)", "(os error 11)", "null pointer"].iter().any(|part| text.contains(part))
            && is_limited()
        {
            end_without_memory();
        }
        tell(panic);
        if cfg!(panic = "abort") {
            remove_unfinished();
            std::process::exit(1);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_memory_is_found_among_the_causes() {
        let error = |code| crate::FsError::Io {
            action: "open",
            path: "/a".into(),
            source: io::Error::from_raw_os_error(code),
        };
        assert!(is_out_of_memory(&error(libc::ENOMEM)));
        assert!(is_out_of_memory(&io::Error::from(io::ErrorKind::OutOfMemory)));
        assert!(!is_out_of_memory(&error(libc::ENOENT)));
    }
}
