//! Starts writing to the disk while more is written to memory, so that a sync at the end takes little time.

use std::fs::File;
use std::io;
use std::ops::Range;

/// Makes the kernel start to write these bytes of the file to the disk, without waiting. Nothing is safe
/// before a sync, which also reports errors of this write. If the file system does not support this, nothing
/// happens.
///
/// <https://man7.org/linux/man-pages/man2/sync_file_range.2.html>
#[cfg(target_os = "linux")]
pub fn start_writeback(file: &File, range: Range<u64>) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let start = i64::try_from(range.start).map_err(too_far)?;
    let length = i64::try_from(range.end.saturating_sub(range.start)).map_err(too_far)?;
    // To the call, no bytes are all that follow.
    if length == 0 {
        return Ok(());
    }
    // SAFETY: the descriptor is open as long as the file; the call takes numbers alone.
    let result =
        unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, libc::SYNC_FILE_RANGE_WRITE) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS | libc::ESPIPE | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

/// Other kernels cannot be told.
#[cfg(not(target_os = "linux"))]
pub fn start_writeback(_: &File, _: Range<u64>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn writeback_accepts_files_and_pipes() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10).unwrap();
        for range in [0..10, 3..3, 5..100] {
            start_writeback(&file, range).unwrap();
        }
        let (_reader, writer) = std::io::pipe().unwrap();
        start_writeback(&File::from(OwnedFd::from(writer)), 0..10).unwrap();
        assert!(start_writeback(&file, 0..u64::MAX).is_err());
    }
}
