//! Libraries that a platform tag promises besides the C library.

use super::system::CompilerSymbols;
use crate::platform::Libc;

/// The libraries that every manylinux promises besides the C library, from PEP 513 on.
pub(super) const LIBRARIES: [&str; 15] = [
    "libatomic.so.1",
    "libexpat.so.1",
    "libgcc_s.so.1",
    "libGL.so.1",
    "libglib-2.0.so.0",
    "libgobject-2.0.so.0",
    "libgthread-2.0.so.0",
    "libICE.so.6",
    "libnsl.so.1",
    "libSM.so.6",
    "libstdc++.so.6",
    "libX11.so.6",
    "libXext.so.6",
    "libXrender.so.1",
    "libz.so.1",
];

/// The highest symbol versions of libstdc++ and libgcc: those of the compilers in the oldest distributions
/// with this glibc or a later one (PEP 600).
const COMPILERS: [(u32, CompilerSymbols); 9] = [
    (5, gcc(&[3, 4, 8], &[1, 3, 1], &[4, 2, 0])),
    (12, gcc(&[3, 4, 13], &[1, 3, 3], &[4, 3, 0])),
    (17, gcc(&[3, 4, 19], &[1, 3, 7], &[4, 8, 0])),
    (24, gcc(&[3, 4, 22], &[1, 3, 10], &[4, 8, 0])),
    (27, gcc(&[3, 4, 24], &[1, 3, 11], &[7, 0, 0])),
    (31, gcc(&[3, 4, 28], &[1, 3, 12], &[7, 0, 0])),
    (34, gcc(&[3, 4, 29], &[1, 3, 13], &[11, 0])),
    (35, gcc(&[3, 4, 30], &[1, 3, 13], &[12, 0, 0])),
    (39, gcc(&[3, 4, 33], &[1, 3, 15], &[14, 0, 0])),
];

const fn gcc(glibcxx: &'static [u32], cxxabi: &'static [u32], gcc: &'static [u32]) -> CompilerSymbols {
    CompilerSymbols { glibcxx, cxxabi, gcc }
}

/// The highest versions that a platform tag promises; empty for musl, which has no libraries of a compiler.
pub fn promised_compilers(libc: Libc) -> Option<CompilerSymbols> {
    let Libc::Glibc(2, minor) = libc else { return None };
    COMPILERS.iter().rev().find(|(from, _)| *from <= minor).map(|(_, versions)| *versions)
}
