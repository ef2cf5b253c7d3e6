//! CRC-32 as zips have it (APPNOTE 4.4.7), by the library that inflates streams: libdeflate's has tables of its own, 8 kB more in
//! the standalone binary that nothing makes smaller.

/// Of all bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}
