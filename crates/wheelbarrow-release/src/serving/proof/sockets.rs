//! Finds the listening sockets that a connection to a server reaches, by their numbers.
//!
//! * TCP: proc(5), `/proc/net/tcp` and `tcp6`. Of several sockets at one port the kernel uses the one at the
//!   requested address, else the one at all addresses. Another user may have one at another address.
//! * Unix sockets: sock_diag(7) gives the inode and the device of the file that a socket is bound to. The
//!   path in `/proc/net/unix` is only the path that the server bound: in a mount namespace of its own a
//!   process can bind any path.

mod diag;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use wheelbarrow_base::beneath;
use wheelbarrow_wheel::order::Inserted;

use self::diag::BoundFile;
use super::procfs::read;
use super::scope::Listener;
use crate::serving::addresses::addresses;

/// How long the name of a host may be looked up.
const LOOKUP: Duration = Duration::from_secs(5);
/// The state of a TCP socket that listens.
const LISTEN: &str = "0A";
/// Of a Unix socket that listens: `__SO_ACCEPTCON`.
const ACCEPTS: u64 = 0x0001_0000;

/// None where nothing listens, or what does cannot be told from what others have.
pub(super) fn reached(listener: &Listener) -> BTreeSet<u64> {
    match listener {
        Listener::Address(address) => tcp(address),
        Listener::Socket(path) => match BoundFile::at(path).and_then(|file| bound_to(&file)) {
            Ok(found) => found,
            // There is none, or a link that somebody else made.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                BTreeSet::new()
            }
            Err(_) => only(listening_at(&read("/proc/net/unix"), path)),
        },
    }
}

/// Those at the first address of a host that anything listens at, as a client tries one after the other.
fn tcp(authority: &str) -> BTreeSet<u64> {
    let sockets: Vec<_> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|table| listening(&read(table))).collect();
    let addresses = addresses(authority, LOOKUP).into_iter().flatten().map(real).filter(is_of_this_machine);
    addresses.map(|address| reached_at(&sockets, address)).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Where a connection to an address goes.
fn real(mut address: SocketAddr) -> SocketAddr {
    address.set_ip(match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    });
    address
}

fn is_of_this_machine(address: &SocketAddr) -> bool {
    let mut any_port = *address;
    any_port.set_port(0);
    address.ip().is_loopback() || UdpSocket::bind(any_port).is_ok()
}

fn reached_at(sockets: &[(SocketAddr, u64)], asked: SocketAddr) -> BTreeSet<u64> {
    let ranked: Vec<_> = sockets
        .iter()
        .filter(|(bound, _)| bound.port() == asked.port())
        .filter_map(|(bound, inode)| Some((rank(bound.ip(), asked.ip())?, *inode)))
        .collect();
    let first = ranked.iter().map(|(rank, _)| *rank).min();
    ranked.into_iter().filter(|(rank, _)| Some(*rank) == first).map(|(_, inode)| inode).inserted()
}

/// The lowest is reached; none is not. A socket at all addresses of IPv6 has those of IPv4 too where nothing else has them.
fn rank(bound: IpAddr, asked: IpAddr) -> Option<u8> {
    match (bound, bound.to_canonical()) {
        (_, real) if real == asked => Some(0),
        (IpAddr::V4(ip), _) if ip.is_unspecified() && asked.is_ipv4() => Some(1),
        (IpAddr::V6(ip), _) if ip.is_unspecified() => Some(2),
        (IpAddr::V6(_), IpAddr::V4(ip)) if ip.is_unspecified() && asked.is_ipv4() => Some(2),
        _ => None,
    }
}

/// Addresses and inodes of the TCP sockets that listen.
fn listening(table: &str) -> Vec<(SocketAddr, u64)> {
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields.get(1)?.rsplit_once(':')?;
        let address = SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?);
        let inode = fields.get(9)?.parse().ok()?;
        (fields.get(3) == Some(&LISTEN)).then_some((address, inode))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// Words of 32 bits, each as a number of this machine.
fn ip(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for word in text.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

impl BoundFile {
    fn at(path: &Path) -> io::Result<Self> {
        let open = beneath::socket(path)?;
        let missing = || io::Error::other("the kernel does not show where the file is");
        let info = read(&format!("/proc/self/fdinfo/{}", open.as_raw_fd()));
        let field = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mount = field("mnt_id:").ok_or_else(missing)?;
        // Linux before 5.14 has no such line.
        let inode = match field("ino:").and_then(|inode| inode.parse().ok()) {
            Some(inode) => inode,
            None => rustix::fs::fstat(&open)?.st_ino,
        };
        let device = device(&read("/proc/self/mountinfo"), mount).ok_or_else(missing)?;
        #[expect(clippy::cast_possible_truncation, reason = "as the kernel does")]
        Ok(Self { inode: inode as u32, device })
    }
}

/// The device of a mount: `36 35 98:0 ...`, in the kernel's own form.
fn device(mounts: &str, id: &str) -> Option<u32> {
    let mut lines = mounts.lines().map(|line| line.split(' '));
    let (major, minor) =
        lines.find_map(|mut fields| (fields.next()? == id).then(|| fields.nth(1))?)?.split_once(':')?;
    Some(major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?)
}

/// The Unix sockets that listen and are bound to this very file.
fn bound_to(file: &BoundFile) -> io::Result<BTreeSet<u64>> {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
    rustix::net::send(&socket, &diag::request(), SendFlags::empty())?;
    let mut found = BTreeSet::new();
    while diag::answer(&receive(&socket)?, |inode, bound| {
        found.extend((bound == *file).then_some(u64::from(inode)));
    })? {}
    Ok(found)
}

fn receive(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    // No message of a dump is longer.
    let mut buffer = vec![0; 1 << 16];
    let (_, length) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?;
    buffer.truncate(length);
    Ok(buffer)
}

/// The Unix sockets that listen at a path, as they once named it: where a kernel has no sock_diag.
fn listening_at(table: &str, path: &Path) -> BTreeSet<u64> {
    let real = beneath::real(path);
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
        inode.parse::<u64>().ok().filter(|_| is_it)
    };
    table.lines().skip(1).filter_map(inode).inserted()
}

/// Of several nobody knows which is reached.
fn only(sockets: BTreeSet<u64>) -> BTreeSet<u64> {
    if sockets.len() == 1 { sockets } else { BTreeSet::new() }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;
    use std::process::Stdio;

    use fs_err as fs;

    use super::*;

    fn inode(socket: impl AsFd) -> u64 {
        rustix::fs::fstat(socket).unwrap().st_ino
    }

    fn at(address: &str) -> BTreeSet<u64> {
        reached(&Listener::Address(address.to_owned()))
    }

    #[test]
    fn a_port_at_another_address_is_another_server() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let other = TcpListener::bind(("127.0.0.2", port)).unwrap();
        assert_eq!(at(&format!("127.0.0.1:{port}")), [inode(&server)].into());
        assert_eq!(at(&format!("[::ffff:127.0.0.1]:{port}")), [inode(&server)].into());
        assert_eq!(at(&format!("0.0.0.0:{port}")), [inode(&server)].into());
        assert_eq!(at(&format!("127.0.0.2:{port}")), [inode(&other)].into());
        assert_eq!(at(&format!("127.0.0.3:{port}")), [].into());
        // An address of no machine.
        assert_eq!(at(&format!("192.0.2.1:{port}")), [].into());
    }

    #[test]
    fn a_server_at_all_addresses_is_reached_at_each() {
        let server = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = server.local_addr().unwrap().port();
        for address in ["127.0.0.1", "127.0.0.9", "localhost"] {
            assert_eq!(at(&format!("{address}:{port}")), [inode(&server)].into(), "{address}");
        }
        let Ok(dual) = TcpListener::bind("[::]:0") else { return println!("skipped: there is no IPv6") };
        let port = dual.local_addr().unwrap().port();
        for address in ["127.0.0.1", "[::1]"] {
            assert_eq!(at(&format!("{address}:{port}")), [inode(&dual)].into(), "{address}");
        }
    }

    #[test]
    fn a_server_of_the_other_kind_of_addresses_is_another() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        rustix::net::sockopt::set_ipv6_v6only(&socket, true).unwrap();
        let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        if rustix::net::bind(&socket, &address).is_err() {
            return println!("skipped: there is no IPv6");
        }
        rustix::net::listen(&socket, 1).unwrap();
        assert_eq!(at(&format!("127.0.0.1:{port}")), [inode(&server)].into());
        assert_eq!(at(&format!("[::1]:{port}")), [inode(&socket)].into());
    }

    #[test]
    fn another_socket_of_the_same_path_is_another_server() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a socket");
        let lost = UnixListener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let server = UnixListener::bind(&path).unwrap();
        let link = place.path().join("link");
        fs::os::unix::fs::symlink(&path, &link).unwrap();
        for path in [&path, &link] {
            assert_eq!(reached(&Listener::Socket(path.clone())), [inode(&server)].into());
        }
        let named = listening_at(&read("/proc/net/unix"), &path);
        assert_eq!(named, [inode(&lost), inode(&server)].into());
        assert_eq!(only(named), [].into());
        // It is found whatever it is called now.
        let moved = place.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        assert_eq!(reached(&Listener::Socket(moved)), [inode(&server)].into());
        assert_eq!(reached(&Listener::Socket(path)), [].into());
    }

    #[test]
    fn sockets_in_other_mount_namespaces_belong_to_other_servers() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let server = UnixListener::bind(&path).unwrap();
        let bind = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); \
                    print('bound', flush=True); sys.stdin.read()";
        let script = "mount -t tmpfs x \"$1\" && exec python3 -c \"$2\" \"$3\"";
        let mut command = std::process::Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, "sh"]).arg(place.path()).arg(bind).arg(&path);
        let mut other = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let is_there = other.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).is_ok();
        let (named, found) = (listening_at(&read("/proc/net/unix"), &path), reached(&Listener::Socket(path)));
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(found, [inode(&server)].into());
        match is_there {
            true => assert_eq!(named.len(), 2),
            false => println!("skipped: no mount namespace can be made here"),
        }
    }

    #[test]
    fn tables_are_read_as_the_kernel_writes_them() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let (local, none) = (word([127, 0, 0, 1]), word([0; 4]));
        let tcp = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: {local}:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100\n   \
             1: {local}:1F40 0100007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100\n   \
             2: {none}{none}{}{local}:0050 {none}{none}{none}{none}:0000 0A 00000000:00000000 00:00000000 00000000     0        0 79 1 0 100\n",
            word([0, 0, 0xff, 0xff])
        );
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(
            listening(&tcp),
            [(address("127.0.0.1:8000"), 77), (address("[::ffff:127.0.0.1]:80"), 79)]
        );
        assert_eq!(reached_at(&listening(&tcp), address("127.0.0.1:80")), [79].into());
        let unix = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a.sock\n\
                    0000000000000000: 00000003 00000000 00000000 0001 03 12346 /run/a.sock\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01     9 /run/b c.sock\n";
        assert_eq!(listening_at(unix, Path::new("/run/a.sock")), [12345].into());
        assert_eq!(listening_at(unix, Path::new("/run/b c.sock")), [9].into());
        let mounts = "36 35 98:0 /mnt1 /mnt rw - ext3 /dev/root rw\n37 35 0:21 / /run rw - tmpfs x rw\n";
        assert_eq!((device(mounts, "37"), device(mounts, "3")), (Some(21), None));
    }
}
