//! Which processes serve on a port or a Unix socket: those that have it open, and all that they have started.
//!
//! proc(5): `/proc/net/tcp` and `/proc/net/unix` name the inode of each socket, `/proc/PID/fd` who has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fs_err as fs;

use super::Listener;
use super::kernel::{each_descriptor, numbers};
use super::turns::{Limits, look_at_each};
use crate::ReleaseError;

/// The state of a TCP socket that listens.
const LISTEN: &str = "0A";
/// Of a Unix socket that listens: `__SO_ACCEPTCON`.
const ACCEPTS: u64 = 0x0001_0000;

/// Their numbers. Processes that this user may not look at are not found, nor those for which there was no time.
pub(super) fn service(
    listener: &Listener,
    limits: Limits,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Vec<u32>, ReleaseError> {
    let inodes = match listener {
        Listener::Port(port) => ["tcp", "tcp6"]
            .iter()
            .flat_map(|table| listening_on(&read(&format!("/proc/net/{table}")), *port))
            .collect(),
        Listener::Socket(path) => listening_at(&read("/proc/net/unix"), path),
    };
    if inodes.is_empty() {
        return Ok(Vec::new());
    }
    let pids = numbers(Path::new("/proc")).unwrap_or_default();
    let mut holders = BTreeSet::new();
    look_at_each(pids.clone(), limits, is_cancelled, |pid, until| {
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
    Ok(with_descendants(holders, &parents(&pids)))
}

fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Inodes of the TCP sockets that listen on a port, whatever the address.
fn listening_on(table: &str, port: u16) -> BTreeSet<u64> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&LISTEN);
        fields.get(9)?.parse().ok().filter(|_| is_it)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// Inodes of the Unix sockets that listen at a path.
fn listening_at(table: &str, path: &Path) -> BTreeSet<u64> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let inode = |line: &str| {
        // Num: RefCount Protocol Flags Type State Inode Path
        let fields: Vec<&str> = line.splitn(8, ' ').collect();
        let [flags, inode, at] = [fields.get(3)?, fields.get(6)?, fields.get(7)?];
        // The inode is padded with spaces, which then stand before the path's field.
        let (inode, at) = match inode.is_empty() {
            true => at.trim_start().split_once(' ')?,
            false => (*inode, *at),
        };
        let is_it = u64::from_str_radix(flags, 16).is_ok_and(|flags| flags & ACCEPTS != 0)
            && [path, &real].contains(&Path::new(at.trim_start()));
        inode.parse().ok().filter(|_| is_it)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// The inode of a socket, by what a descriptor of it leads to.
fn socket(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn is_systemd(pid: u32) -> bool {
    pid == 1 || read(&format!("/proc/{pid}/comm")).trim_end() == "systemd"
}

/// The parent of each process.
fn parents(pids: &[u32]) -> BTreeMap<u32, u32> {
    let parent = |pid: &u32| {
        let status = read(&format!("/proc/{pid}/stat"));
        // The name before it may hold anything, parentheses too.
        let (_, rest) = status.rsplit_once(')')?;
        Some((*pid, rest.split_whitespace().nth(1)?.parse().ok()?))
    };
    pids.iter().filter_map(parent).collect()
}

fn with_descendants(mut found: BTreeSet<u32>, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    loop {
        let children = parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid);
        let more: Vec<u32> = children.filter(|pid| !found.contains(pid)).collect();
        if more.is_empty() {
            return found.into_iter().collect();
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn service(listener: &Listener) -> Vec<u32> {
        super::service(listener, Limits::USUAL, &|| false).unwrap()
    }

    #[test]
    fn who_listens_is_found_with_its_children() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a socket");
        let _unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        for listener in [Listener::Socket(path), Listener::Port(tcp.local_addr().unwrap().port())] {
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

    #[test]
    fn tables_are_read_as_the_kernel_writes_them() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100\n   \
                   1: 0100007F:1F40 0100007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100\n";
        assert_eq!(listening_on(tcp, 8000), [77].into());
        assert_eq!(listening_on(tcp, 80), [].into());
        let unix = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a.sock\n\
                    0000000000000000: 00000003 00000000 00000000 0001 03 12346 /run/a.sock\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01     9 /run/b c.sock\n";
        assert_eq!(listening_at(unix, Path::new("/run/a.sock")), [12345].into());
        assert_eq!(listening_at(unix, Path::new("/run/b c.sock")), [9].into());
    }
}
