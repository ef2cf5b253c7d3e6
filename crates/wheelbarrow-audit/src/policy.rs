//! What systems promise beyond the libraries of [`wheelbarrow_wheel::profile`].

use wheelbarrow_wheel::profile::CompilerSymbols;
use wheelbarrow_wheel::tags::Libc;

/// Part of glibc itself.
const GLIBC: [&str; 12] = [
    "libBrokenLocale.so.1",
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libmvec.so.1",
    "libnss_files.so.2",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libthread_db.so.1",
    "libutil.so.1",
];

/// The highest symbol versions of libstdc++ and libgcc, those of the compilers that the oldest distributions with this
/// glibc or a later one came with (PEP 600).
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

/// Whether the library is part of the C library itself.
pub(crate) fn is_of_libc(library: &str) -> bool {
    GLIBC.contains(&library)
        || library.starts_with("ld-linux")
        || library.starts_with("ld64.so")
        || library == "ld.so.1"
        || is_musl(library)
}

/// Whether only musl has it.
pub(crate) fn is_musl(library: &str) -> bool {
    library == "libc.so" || library.starts_with("libc.musl-") || library.starts_with("ld-musl-")
}

/// Whether only glibc has it.
pub(crate) fn is_glibc(library: &str) -> bool {
    is_of_libc(library) && !is_musl(library)
}

/// The highest versions that a platform tag promises; nothing for musl, which has the libraries of no compiler.
pub(crate) fn compilers(libc: Libc) -> Option<CompilerSymbols> {
    let Libc::Glibc(2, minor) = libc else { return None };
    COMPILERS.iter().rev().find(|(from, _)| *from <= minor).map(|(_, versions)| *versions)
}
