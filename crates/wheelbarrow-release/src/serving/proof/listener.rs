//! Finds the processes that serve on an address or a Unix socket: those that have the listening socket open,
//! and their children.
//!
//! proc(5): `/proc/PID/fd` shows the processes that have a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::procfs::{each_descriptor, numbers, read};
use super::scope::Listener;
use super::sockets::reached;
use super::time_limited::{ScanLimits, scan_each};
use crate::ReleaseError;

/// Their numbers, and whether there was time for all processes. Processes that this user may not look at are not found.
pub(super) fn service(
    listener: &Listener,
    limits: &ScanLimits,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<(Vec<u32>, bool), ReleaseError> {
    let inodes = reached(listener);
    if inodes.is_empty() {
        return Ok((Vec::new(), true));
    }
    let pids = numbers(Path::new("/proc")).unwrap_or_default();
    let mut holders = BTreeSet::new();
    let is_whole = scan_each(pids.clone(), limits, is_cancelled, |pid, until| {
        // systemd holds the sockets of its socket units too, and everything descends from it.
        if is_systemd(pid) {
            return true;
        }
        each_descriptor(pid, until, |path| {
            let is_it = socket(path).is_some_and(|inode| inodes.contains(&inode));
            holders.extend(is_it.then_some(pid));
            !is_it
        })
    })?;
    Ok((with_descendants(holders, children(&pids)), is_whole))
}

/// The inode of a socket, by what a descriptor of it leads to.
fn socket(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn is_systemd(pid: u32) -> bool {
    pid == 1 || read(&format!("/proc/{pid}/comm")).trim_end() == "systemd"
}

/// The children of each process.
fn children(pids: &[u32]) -> BTreeMap<u32, Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in pids {
        let status = read(&format!("/proc/{pid}/stat"));
        // The name before it may hold anything, parentheses too.
        let parent =
            status.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(*pid);
        }
    }
    children
}

fn with_descendants(mut found: BTreeSet<u32>, mut children: BTreeMap<u32, Vec<u32>>) -> Vec<u32> {
    let mut left: Vec<u32> = found.iter().copied().collect();
    while let Some(pid) = left.pop() {
        let more = children.remove(&pid).unwrap_or_default();
        found.extend(&more);
        left.extend(more);
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn service(listener: &Listener) -> Vec<u32> {
        super::service(listener, &ScanLimits::usual(), &|| false).unwrap().0
    }

    /// As a chain of processes of the site's user.
    #[test]
    fn the_descendants_of_a_long_chain_are_found_in_one_pass() {
        let children = (2..200_000).map(|pid| (pid, vec![pid + 1])).chain([(1, vec![2, 300_000])]).collect();
        let begun = std::time::Instant::now();
        assert_eq!(with_descendants([1].into(), children).len(), 200_001);
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    }

    #[test]
    fn the_listener_is_found_with_its_children() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a socket");
        let _unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        for listener in [Listener::Socket(path), Listener::Address(tcp.local_addr().unwrap().to_string())] {
            let found = service(&listener);
            assert!(
                found.contains(&std::process::id()) && found.contains(&child.id()),
                "{listener}: {found:?}"
            );
        }
        assert_eq!(service(&Listener::Socket(place.path().join("none"))), [] as [u32; 0]);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
