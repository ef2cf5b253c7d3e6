//! Which file systems are mounted at or below a path, as the kernel says: proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

/// The mount points at `path` and below it, ordered; none if the kernel does not say. Bind mounts are among them, of
/// files too.
pub fn mounts_in(path: &Path) -> Vec<PathBuf> {
    let Ok(real) = fs::canonicalize(path) else { return Vec::new() };
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = points(&text).filter(|point| point.starts_with(&real)).collect();
    found.sort();
    found.dedup();
    found
}

/// The fifth field of each line.
fn points(text: &[u8]) -> impl Iterator<Item = PathBuf> {
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
}

/// `\040` is a space, and so on.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let code = (*first == b'\\').then(|| behind.get(..3)).flatten();
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &behind[3..];
            }
            None => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read() {
        let text = b"36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw\nbroken\n";
        let found: Vec<PathBuf> = points(text).collect();
        assert_eq!(found, [Path::new("/mnt/a b")]);
        assert_eq!(unescape(b"a\\134b\\0"), b"a\\b\\0");
        assert!(mounts_in(Path::new("/proc")).contains(&PathBuf::from("/proc")));
        assert!(mounts_in(Path::new("/nowhere")).is_empty());
    }
}
