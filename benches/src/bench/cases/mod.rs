//! One file a kind of work: who does it, and by which commands.

pub(crate) mod build;
pub(crate) mod fetch;
pub(crate) mod install;
pub(crate) mod sizes;
pub(crate) mod start;
pub(crate) mod store;
pub(crate) mod verify;

use std::io;
use std::path::Path;

use fs_err as fs;

/// Makes `place` an empty directory.
fn empty(place: &Path) -> io::Result<()> {
    let _ = fs::remove_dir_all(place);
    fs::create_dir_all(place)
}
