//! Verification after the reload: which release every process of a service runs.
//!
//! The kernel reports it, whatever configuration files claim. loadenv keeps files of releases open in every
//! Python of a release, so for a process under a site root the kernel reports
//!
//! * where its interpreter was started,
//! * from where this process itself, not the process that it was forked from, first imported a dependency and
//!   the code of the site: a worker that imported nothing itself has the imports of its master,
//! * from which releases it has mapped compiled modules,
//! * which directory it works in.
//!
//! That distinguishes the results of a reload in place: all old, new code with old dependencies, all new.

mod kernel;
mod listener;
mod process;
mod procfs;
mod scope;
mod service;
mod sockets;
mod time_limited;

use std::collections::BTreeSet;

pub use process::{Process, Verdict, judge};
pub use scope::{Listener, ProcessScope};
pub use service::{OtherEnvironment, Service, by_unit, of_live};
pub(crate) use service::{TrustedUsers, by_unit_of, of, other_root, runs};
use wheelbarrow_wheel::order::Inserted;

use crate::{ReleaseError, ReleaseId, Root};
use time_limited::ScanLimits;
pub(crate) use time_limited::saw_all;

/// The processes in `scope` that have to do with releases of `root`, by number. Processes that end meanwhile, and those
/// that this user may not look at or has no time for, are left out.
pub fn processes(root: &Root, scope: &ProcessScope) -> Result<Vec<Process>, ReleaseError> {
    Ok(kernel::scan(root, scope, &ScanLimits::usual(), &|| false)?.processes)
}

/// The unit of the machine's own systemd that a process is in.
pub(crate) fn system_unit(process: &Process) -> Option<String> {
    kernel::system_unit(process.pid)
}

/// Whether there are processes in `scope` that this user may not look at.
pub fn hides_some(scope: &ProcessScope) -> Result<bool, ReleaseError> {
    kernel::hides_some(scope)
}

/// The releases that some process uses in any way, which must not be removed.
pub(crate) fn in_use(root: &Root, is_cancelled: &dyn Fn() -> bool) -> Result<ReleasesInUse, ReleaseError> {
    in_use_within(root, &ScanLimits::usual(), is_cancelled)
}

/// Releases that processes use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReleasesInUse {
    These(BTreeSet<ReleaseId>),
    /// There was no time to look at all processes, so that it may be any.
    Any,
}

fn in_use_within(
    root: &Root,
    limits: &ScanLimits,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<ReleasesInUse, ReleaseError> {
    let seen = kernel::scan(root, &ProcessScope::All, limits, is_cancelled)?;
    Ok(match seen.is_whole {
        true => ReleasesInUse::These(seen.processes.iter().flat_map(Process::uses).cloned().inserted()),
        false => ReleasesInUse::Any,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use fs_err as fs;

    use super::*;

    struct EndedAtDrop(Child);

    impl Drop for EndedAtDrop {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn id(number: u64) -> ReleaseId {
        format!("{number}-1a2b3c4d").parse().unwrap()
    }

    /// A root with two releases, and a process that works in the first, has the record of the second open, and has
    /// mapped a file of `mapped`.
    fn run(
        root: &Root,
        directory: &ReleaseId,
        record: &ReleaseId,
        mapped: Option<&ReleaseId>,
    ) -> EndedAtDrop {
        for id in [directory, record].into_iter().chain(mapped) {
            fs::create_dir_all(root.release(id).join(".wheelbarrow")).unwrap();
            fs::write(root.release(id).join(crate::root::release::RELEASE_PATH), "{}").unwrap();
            fs::write(root.release(id).join("module.so"), [0; 4096]).unwrap();
        }
        let script = "import mmap, sys\n\
                      record = open(sys.argv[1])\n\
                      modules = [open(path, 'rb') for path in sys.argv[2:]]\n\
                      maps = [mmap.mmap(module.fileno(), 0, access=mmap.ACCESS_READ) for module in modules]\n\
                      print('ready', flush=True)\n\
                      sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script]).current_dir(root.release(directory));
        command.arg(root.release(record).join(crate::root::release::RELEASE_PATH));
        command.args(mapped.map(|id| root.release(id).join("module.so")));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        EndedAtDrop(child)
    }

    #[test]
    fn the_running_release_is_read_from_the_kernel() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        assert_eq!(judge(&processes(&root, &ProcessScope::All).unwrap()), Verdict::Nothing);

        let first = run(&root, &id(1), &id(1), None);
        let found = processes(&root, &ProcessScope::All).unwrap();
        let [process] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(process.pid, first.0.id());
        assert!(process.name.starts_with("python"), "{}", process.name);
        assert_eq!(judge(&found), Verdict::One { id: id(1) });

        let _second = run(&root, &id(2), &id(2), Some(&id(2)));
        let found = processes(&root, &ProcessScope::All).unwrap();
        assert_eq!(judge(&found), Verdict::Several { ids: [id(1), id(2)].into() });
        let used = || in_use(&root, &|| false).unwrap();
        assert_eq!(used(), ReleasesInUse::These([id(1), id(2)].into()));

        drop(first);
        assert_eq!(judge(&processes(&root, &ProcessScope::All).unwrap()), Verdict::One { id: id(2) });
        // Removed under its feet, it is still told.
        fs::rename(root.release(&id(2)), root.release(&id(3))).unwrap();
        assert_eq!(used(), ReleasesInUse::These([id(3)].into()));
        fs::remove_dir_all(root.release(&id(3))).unwrap();
        assert_eq!(used(), ReleasesInUse::These([id(3)].into()));
    }

    /// A process that another user made to take long.
    #[test]
    fn unscanned_processes_count_as_in_use() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let none = std::time::Duration::ZERO;
        let limits = ScanLimits { quick: none, all: none, ..ScanLimits::usual() };
        assert_eq!(in_use_within(&root, &limits, &|| false).unwrap(), ReleasesInUse::Any);
        assert!(matches!(in_use(&root, &|| true), Err(ReleaseError::Cancelled)));

        let many = "import os, resource, sys\n\
                    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
                    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n\
                    while len(os.getcwd()) < 3600: os.mkdir('d' * 200); os.chdir('d' * 200)\n\
                    file = os.open('file', os.O_CREAT | os.O_RDWR)\n\
                    for number in range(100, min(limit, 20000)): os.dup2(file, number)\n\
                    print('ready', flush=True)\n\
                    sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", many]).current_dir(place.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = EndedAtDrop(command.spawn().unwrap());
        let mut ready = [0; 6];
        std::io::Read::read_exact(process.0.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let milliseconds = std::time::Duration::from_millis;
        let limits = ScanLimits { quick: milliseconds(1), all: milliseconds(2), ..ScanLimits::usual() };
        let begun = std::time::Instant::now();
        assert_eq!(in_use_within(&root, &limits, &|| false).unwrap(), ReleasesInUse::Any);
        assert!(begun.elapsed() < milliseconds(2000), "{:?}", begun.elapsed());
    }

    #[test]
    fn mixed_code_and_dependencies_are_reported() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let torn = run(&root, &id(2), &id(1), Some(&id(1)));
        let verdict = judge(&processes(&root, &ProcessScope::All).unwrap());
        let expected = Verdict::Torn { pid: torn.0.id(), code: id(2), dependencies: [id(1)].into() };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn a_process_that_was_forked_from_an_old_master_and_imports_anew_is_new() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let _worker = run(&root, &id(2), &id(1), Some(&id(2)));
        assert_eq!(judge(&processes(&root, &ProcessScope::All).unwrap()), Verdict::One { id: id(2) });
    }

    /// One that was started in a release, with what loadenv saw of it.
    fn seen(pid: u32, started: u64, code: Option<u64>, dependencies: u64, mapped: &[u64]) -> Process {
        Process {
            pid,
            started_in: Some(id(started)),
            code: code.map(id),
            dependencies: Some(id(dependencies)),
            mapped: mapped.iter().copied().map(id).collect(),
            ..Process::default()
        }
    }

    #[test]
    fn leftovers_of_a_reload_in_place_are_distinguished() {
        // The master was started in release 1 and has never imported the site; it works in 2 by now.
        let master = Process { directory: Some(id(2)), ..seen(1, 1, None, 1, &[1]) };
        let of = |worker: Process| judge(&[master.clone(), worker]);
        assert_eq!(of(seen(2, 1, Some(1), 1, &[1])), Verdict::One { id: id(1) });
        assert_eq!(of(seen(2, 1, Some(2), 2, &[1, 2])), Verdict::One { id: id(2) });
        let torn = |code, dependencies: &[u64]| {
            let dependencies = dependencies.iter().copied().map(id).collect();
            Verdict::Torn { pid: 2, code: id(code), dependencies }
        };
        assert_eq!(of(seen(2, 1, Some(2), 1, &[1])), torn(2, &[1]));
        // A site that imports nothing but itself.
        for mapped in [&[][..], &[1]] {
            let worker = Process { dependencies: None, ..seen(2, 1, Some(2), 2, mapped) };
            assert_eq!(of(worker), Verdict::One { id: id(2) });
        }
        // The site was imported before the fork, and something more after it.
        assert_eq!(of(seen(2, 1, Some(1), 2, &[1])), torn(1, &[2]));
        assert_eq!(of(seen(2, 1, Some(1), 1, &[1, 2])), torn(1, &[1, 2]));
        let both = [seen(2, 1, Some(1), 1, &[]), seen(3, 1, Some(2), 2, &[])];
        assert_eq!(judge(&both), Verdict::Several { ids: [id(1), id(2)].into() });
    }
}
