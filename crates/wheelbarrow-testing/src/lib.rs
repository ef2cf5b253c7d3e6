//! Helpers that the tests of several crates share. No program contains them.

#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

pub mod generated;
pub mod mounts;
pub mod site;

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether a program that only tests need is on PATH. Prints that a test was skipped if it is missing, and fails in CI.
pub fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    // Each of these programs only prints its usage for this.
    command.arg("-?").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok();
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "CI must have {program}");
        println!("skipped: {program} was not found");
    }
    is_there
}

/// A directory in memory for what syncs a lot; another one if programs cannot run there or it is small, as in containers.
pub fn in_memory() -> tempfile::TempDir {
    const ROOM: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let is_fit = rustix::fs::statvfs(memory).is_ok_and(|memory| {
        let is_noexec = memory.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC);
        !is_noexec && memory.f_bavail.saturating_mul(memory.f_frsize) >= ROOM
    });
    if is_fit { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Sends a signal to a process.
pub fn kill(process: u32, signal: rustix::process::Signal) {
    let process = rustix::process::Pid::from_raw(process.cast_signed()).unwrap();
    rustix::process::kill_process(process, signal).unwrap();
}
