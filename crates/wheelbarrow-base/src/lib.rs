//! Utilities for every crate: atomic writes, staged directories, file locks, safe paths, work below a
//! descriptor, signals, limits of memory, hashes, JSON, progress, exit codes, and the trait by which an error gives
//! its exit code and hint.
//!
//! Modules that only servers need are compiled on Linux alone.

mod absolute;
#[cfg(target_os = "linux")]
mod as_user;
mod atomic;
#[cfg(target_os = "linux")]
pub mod beneath;
mod beside;
mod debug;
mod exit;
pub mod json;
mod lock;
mod mapped;
mod memory;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod priority;
pub mod progress;
mod regular;
mod safe_path;
#[cfg(target_os = "linux")]
mod scratch;
mod sha256;
mod shell;
mod signals;
#[cfg(target_os = "linux")]
mod staged;
#[cfg(target_os = "linux")]
mod umask;
#[cfg_attr(not(target_os = "linux"), path = "nothing_unfinished.rs")]
mod unfinished;
mod unique;
mod variable;
mod writeback;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use absolute::absolute;
#[cfg(target_os = "linux")]
pub use as_user::as_user;
pub use atomic::{write_atomic, write_atomic_with};
pub use beside::{Beside, is_unfinished};
pub use debug::write_chain;
pub use exit::{Exit, Explain, SITE, explained_at};
pub use lock::{Lock, open_lock};
pub use mapped::{MappedFile, is_kept_by_root, is_out_of_reach};
pub use memory::{Memory, end_silently_with, end_without_memory, is_limited, is_out_of_memory, watch_panics};
#[cfg(target_os = "linux")]
pub use mounts::{check_links, file_system_of, mounts_in};
#[cfg(target_os = "linux")]
pub use priority::give_way;
pub use regular::{
    LARGEST_ENVIRONMENT, LARGEST_TEXT, open_no_link, open_regular, read_limited, read_regular,
};
pub use safe_path::{SafePath, UnsafePath};
#[cfg(target_os = "linux")]
pub use scratch::Scratch;
pub use sha256::Sha256;
pub use shell::shell_word;
pub use signals::{exit_code_of_stop, reset_signals, stopped_by, take_stop, watch_signals};
#[cfg(target_os = "linux")]
pub use staged::{Commit, Staged, is_settled, put_right};
#[cfg(target_os = "linux")]
pub use umask::SharedUmask;
pub use unfinished::remove_unfinished;
pub use variable::variable;
pub use writeback::start_writeback;

#[derive(thiserror::Error)]
pub enum FsError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not empty", path.display())]
    Occupied { path: PathBuf },
    #[error("{} is {what}, not a directory", path.display())]
    NotDirectory { path: PathBuf, what: &'static str },
    #[error("no symbolic links can be made in {} ({file_system})", path.display())]
    NoLinks { path: PathBuf, file_system: String, source: io::Error },
    #[error("{} is locked by another process, for more than {seconds} s", path.display())]
    Busy { path: PathBuf, seconds: u64 },
    #[error("{} has no parent directory", path.display())]
    NoParent { path: PathBuf },
    #[error("{} was not removed completely within {} s", path.display(), limit.as_secs())]
    Unfinished { path: PathBuf, limit: Duration },
    #[error("the directory {} does not exist", path.display())]
    MissingParent { path: PathBuf },
    #[error("the working directory was removed, and {} is relative to it", if path.as_os_str().is_empty() { Path::new(".") } else { path }.display())]
    NoWorkingDirectory { path: PathBuf },
    #[error("{} was exchanged for something else while it was written", path.display())]
    Exchanged { path: PathBuf },
    #[error("{} is complete, but a power cut may undo it", path.display())]
    Unsynced { path: PathBuf, source: io::Error },
}

crate::debug_error!(FsError);

impl FsError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    fn errno(action: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self + use<> {
        let path = path.to_path_buf();
        move |errno| Self::Io { action, path, source: errno.into() }
    }
}
