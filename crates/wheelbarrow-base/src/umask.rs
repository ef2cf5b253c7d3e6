//! The umask of the process, set for a while: what several users share does not depend on who made it.

use rustix::fs::Mode;

/// Everybody reads and the owner writes, until dropped. The umask belongs to the process: nothing else may make files meanwhile that
/// are to have another.
#[derive(Debug)]
pub struct SharedUmask {
    before: Mode,
}

impl SharedUmask {
    /// Files get 0644, directories and programs 0755.
    pub fn set() -> Self {
        Self { before: rustix::process::umask(Mode::WGRP | Mode::WOTH) }
    }
}

impl Drop for SharedUmask {
    fn drop(&mut self) {
        rustix::process::umask(self.before);
    }
}
