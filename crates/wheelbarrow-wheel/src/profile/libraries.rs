//! Shared libraries by the names that `DT_NEEDED` has.

use crate::platform::{Libc, Platform};

/// What every manylinux promises beside the C library, from PEP 513 on.
pub(super) const PROMISED: [&str; 15] = [
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

/// The dynamic loader, by machine.
const LOADERS: [(&str, &str); 7] = [
    ("x86_64", "ld-linux-x86-64.so.2"),
    ("i686", "ld-linux.so.2"),
    ("aarch64", "ld-linux-aarch64.so.1"),
    ("armv7l", "ld-linux-armhf.so.3"),
    ("ppc64le", "ld64.so.2"),
    ("s390x", "ld64.so.1"),
    ("riscv64", "ld-linux-riscv64-lp64d.so.1"),
];

/// The C library's own.
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
