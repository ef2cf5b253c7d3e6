//! The standalone binaries that this program puts into artifacts.

use wheelbarrow_artifact::manifest::Sha256;

/// A native installer, deflated as artifacts have it, and what they say of it.
pub(crate) struct Installer {
    pub(crate) machine: &'static str,
    pub(crate) deflated: &'static [u8],
    /// Bytes, inflated.
    pub(crate) size: u64,
    pub(crate) crc32: u32,
    pub(crate) sha256: Sha256,
}

/// As the build script made them.
pub(crate) const INSTALLERS: &[Installer] = include!(concat!(env!("OUT_DIR"), "/installers.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_installers_match_their_checksums() {
        for installer in INSTALLERS {
            let mut program = vec![0; usize::try_from(installer.size).unwrap()];
            let inflated =
                libdeflater::Decompressor::new().deflate_decompress(installer.deflated, &mut program);
            assert_eq!(inflated, Ok(program.len()), "{}", installer.machine);
            assert_eq!(installer.crc32, libdeflater::crc32(&program));
            assert_eq!(installer.sha256, Sha256::of(&program));
            assert!(program.starts_with(b"\x7fELF"));
        }
    }
}
