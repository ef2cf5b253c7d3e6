//! The shared libraries of C libraries, by the names in `DT_NEEDED`.

use crate::platform::{Libc, Platform};

const GLIBC: [&str; 8] = [
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
];

/// Libraries that glibc has too, but that systems without glibc do not lack.
const RARE_GLIBC: [&str; 4] =
    ["libBrokenLocale.so.1", "libmvec.so.1", "libnss_files.so.2", "libthread_db.so.1"];

/// The dynamic loader, by CPU.
const LOADERS: [(&str, &str); 7] = [
    ("x86_64", "ld-linux-x86-64.so.2"),
    ("i686", "ld-linux.so.2"),
    ("aarch64", "ld-linux-aarch64.so.1"),
    ("armv7l", "ld-linux-armhf.so.3"),
    ("ppc64le", "ld64.so.2"),
    ("s390x", "ld64.so.1"),
    ("riscv64", "ld-linux-riscv64-lp64d.so.1"),
];

/// The libraries of the C library itself.
pub(super) fn of_libc(platform: &Platform) -> Vec<String> {
    let machine = platform.machine();
    match platform.libc() {
        Libc::Glibc(_, minor) => {
            let loader = LOADERS.iter().filter(|(of, _)| *of == machine).map(|(_, loader)| *loader);
            // glibc 2.22 for x86_64, 2.38 for aarch64.
            let vectors = (machine == "x86_64" && minor >= 22) || (machine == "aarch64" && minor >= 38);
            let vectors = vectors.then_some("libmvec.so.1");
            GLIBC.into_iter().chain(loader).chain(vectors).map(str::to_owned).collect()
        }
        // Alpine's linker writes the second name, others the first.
        Libc::Musl(..) => vec!["libc.so".to_owned(), format!("libc.musl-{machine}.so.1")],
    }
}

/// Whether the library is part of a C library.
pub fn is_of_libc(library: &str) -> bool {
    is_of_glibc(library) || is_of_musl(library)
}

/// Whether only musl has it.
pub fn is_of_musl(library: &str) -> bool {
    library == "libc.so" || library.starts_with("libc.musl-") || library.starts_with("ld-musl-")
}

/// Whether only glibc has it.
pub fn is_of_glibc(library: &str) -> bool {
    GLIBC.contains(&library)
        || RARE_GLIBC.contains(&library)
        || library.starts_with("ld-linux")
        || library.starts_with("ld64.so")
        || library == "ld.so.1"
}
