//! Signals: the inherited actions, and the signal that asked this process to stop.
//!
//! A parent may ignore or block signals, and children inherit that (signal(7), execve(2)). If SIGCHLD is
//! ignored, the kernel keeps no exit status of a child (wait(2), NOTES); a blocked SIGTERM never arrives.

use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use libc::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM};

/// Signals that callers ignore on purpose: SIGHUP by nohup(1), SIGINT and SIGQUIT by a shell for background
/// jobs. Rust's runtime ignores SIGPIPE itself, and resets it in children.
const KEPT: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGPIPE];

/// The last signal that asked this process to stop; 0 for none.
static STOPPED: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// Gives every ignored signal its default action and unblocks all signals. Must be called first in `main`,
/// before any thread starts.
pub fn reset_signals() {
    #[cfg(target_os = "linux")]
    let last = libc::SIGRTMAX();
    #[cfg(not(target_os = "linux"))]
    let last = libc::SIGUSR2;
    for signal in (1..=last).filter(|signal| !KEPT.contains(signal)) {
        if is_ignored(signal) {
            // SAFETY: the default action runs no code of this process.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    // SAFETY: `none` is made by sigemptyset before it is used, and lives as long as the calls.
    unsafe {
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, null_mut());
    }
}

/// From now on SIGHUP, SIGINT and SIGTERM do not end the process: [`stopped_by`] returns the signal instead.
/// A signal that the caller ignores, as nohup(1) does, stays ignored.
pub fn watch_signals() {
    for signal in [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)) {
        let number = usize::try_from(signal).unwrap_or_default();
        // Without a handler the signal ends the process, and the next command recovers.
        let _ = signal_hook::flag::register_usize(signal, Arc::clone(&STOPPED), number);
    }
}

/// The signal that asked this process to stop since [`watch_signals`].
pub fn stopped_by() -> Option<u8> {
    u8::try_from(STOPPED.load(Ordering::Relaxed)).ok().filter(|signal| *signal > 0)
}

/// Like [`stopped_by`], and forgets the signal: the next one counts as new, even if it has the same number.
pub fn take_stop() -> Option<u8> {
    u8::try_from(STOPPED.swap(0, Ordering::Relaxed)).ok().filter(|signal| *signal > 0)
}

/// The exit code of a process that was asked to stop: 128 and the number of the signal, as in shells. 130
/// without a signal.
pub fn exit_code_of_stop() -> u8 {
    stopped_by().map_or(130, |signal| 128 + signal)
}

/// Whether the process ignores the signal.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: without a new action the call only writes the present one, into a structure of its own type.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        libc::sigaction(signal, null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}
