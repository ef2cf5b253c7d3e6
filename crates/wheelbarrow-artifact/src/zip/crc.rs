//! CRC-32 of zips (APPNOTE 4.4.7), from the library that inflates streams: libdeflate has tables of its own,
//! which would add 8 kB to the standalone binary.

/// Of all bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}
