//! The umask of the process, set temporarily, so that modes of shared files do not depend on the user who
//! makes them.

use rustix::fs::Mode;

/// Until dropped, new files are readable for all users and writable for their owner. The umask is a property
/// of the whole process: no other thread may make files with other modes meanwhile.
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
