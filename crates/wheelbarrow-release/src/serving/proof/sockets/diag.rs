//! Messages of sock_diag(7) and netlink(7).

use std::io;

/// A file as the kernel itself knows it: the numbers of stat(2) are others on some file systems, Btrfs for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundFile {
    pub(super) inode: u32,
    pub(super) device: u32,
}

const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`, `NLM_F_DUMP`.
const ALL: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const UNIX: u8 = 1;
/// `1 << TCP_LISTEN`.
const LISTENING: u32 = 1 << 10;
const SHOW_FILE: u32 = 2;
/// `UNIX_DIAG_VFS`.
const FILE: u16 = 1;
/// Of `nlmsghdr` and of `unix_diag_msg`.
const HEADER: usize = 16;

/// `nlmsghdr` and `unix_diag_req`.
pub(super) fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(40_u32.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(ALL.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([UNIX, 0, 0, 0]);
    bytes.extend(LISTENING.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(SHOW_FILE.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// Tells `each` the number of each socket and its file; whether there is more to come.
pub(super) fn answer(mut rest: &[u8], mut each: impl FnMut(u32, BoundFile)) -> io::Result<bool> {
    while let Some(length) = number(rest, 0) {
        let length = length as usize;
        let message = rest.get(..length).filter(|message| message.len() >= HEADER).ok_or_else(wrong)?;
        match short(message, 4) {
            Some(BY_FAMILY) => socket(&message[HEADER..], &mut each),
            Some(DONE) => return Ok(false),
            Some(ERROR) => return Err(wrong()),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// `unix_diag_msg` and its attributes.
fn socket(message: &[u8], each: &mut impl FnMut(u32, BoundFile)) {
    let Some(number_of_socket) = number(message, 4) else { return };
    let mut rest = message.get(HEADER..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (short(rest, 0), short(rest, 2)) {
        if kind == FILE
            && let (Some(inode), Some(device)) = (number(rest, 4), number(rest, 8))
        {
            each(number_of_socket, BoundFile { inode, device });
        }
        rest = rest.get(usize::from(length.max(4)).next_multiple_of(4)..).unwrap_or_default();
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn wrong() -> io::Error {
    io::Error::other("sock_diag does not answer")
}
