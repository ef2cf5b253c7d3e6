//! The table. Debian's rows are what a minbase with python3 holds, asked of each release; the others are the parts that
//! python3 and the package manager of the system link. `probe.py` has a copy of the names.

use super::system::{CompilerSymbols, System};
use crate::platform::Libc;

/// In the smallest image of every glibc system here, since its package manager and its Python need them.
const COMMON: &[&str] = &[
    "libacl.so.1",
    "libattr.so.1",
    "libblkid.so.1",
    "libexpat.so.1",
    "libgcc_s.so.1",
    "libgmp.so.10",
    "liblz4.so.1",
    "liblzma.so.5",
    "libmount.so.1",
    "libncursesw.so.6",
    "libpanelw.so.6",
    "libselinux.so.1",
    "libsmartcols.so.1",
    "libsqlite3.so.0",
    "libstdc++.so.6",
    "libsystemd.so.0",
    "libtinfo.so.6",
    "libuuid.so.1",
    "libz.so.1",
    "libzstd.so.1",
];

/// Debian and what is made of it.
const DEBIAN: &[&str] = &[
    "libanl.so.1",
    "libaudit.so.1",
    "libbz2.so.1.0",
    "libcap-ng.so.0",
    "libcrypt.so.1",
    "libdb-5.3.so",
    "libnsl.so.1",
    "libpam.so.0",
    "libpcre2-8.so.0",
    "libreadline.so.8",
    "libseccomp.so.2",
    "libudev.so.1",
    "libxxhash.so.0",
];

/// Red Hat's, and what is made of it.
const REDHAT: &[&str] = &[
    "libbz2.so.1",
    "libcap.so.2",
    "libcom_err.so.2",
    "libcurl.so.4",
    "libgssapi_krb5.so.2",
    "libk5crypto.so.3",
    "libkeyutils.so.1",
    "libkrb5.so.3",
    "libpcre2-8.so.0",
];

const OPENSSL_1_1: &[&str] = &["libcrypto.so.1.1", "libssl.so.1.1"];
const OPENSSL_3: &[&str] = &["libcrypto.so.3", "libssl.so.3"];
const EL8: &[&str] = &["libcrypt.so.1", "libffi.so.6", "libreadline.so.7"];
const EL9: &[&str] = &["libcrypt.so.2", "libffi.so.8", "libreadline.so.8"];

/// CentOS 7: older names of nearly everything.
const EL7: &[&str] = &[
    "libacl.so.1",
    "libattr.so.1",
    "libbz2.so.1",
    "libcrypt.so.1",
    "libcrypto.so.10",
    "libcurl.so.4",
    "libdb-5.3.so",
    "libexpat.so.1",
    "libffi.so.6",
    "libgcc_s.so.1",
    "liblzma.so.5",
    "libncursesw.so.5",
    "libnsl.so.1",
    "libpanelw.so.5",
    "libpcre.so.1",
    "libreadline.so.6",
    "libselinux.so.1",
    "libsqlite3.so.0",
    "libssl.so.10",
    "libstdc++.so.6",
    "libtinfo.so.5",
    "libuuid.so.1",
    "libz.so.1",
];

/// Alpine with its python3; not even the libraries of the compiler are there.
const ALPINE: &[&str] = &[
    "libbz2.so.1",
    "libexpat.so.1",
    "libffi.so.8",
    "libgdbm.so.6",
    "liblzma.so.5",
    "libncursesw.so.6",
    "libpanelw.so.6",
    "libreadline.so.8",
    "libsqlite3.so.0",
    "libz.so.1",
];

/// What the libraries of each GCC export at most, asked of Debian's where it has that GCC. `GCC_11.0` is only known on
/// aarch64, `GCC_12.0.0` only on x86_64: where the other machine has none of that name, no file needs it either.
const fn gcc(
    glibcxx: &'static [u32],
    cxxabi: &'static [u32],
    gcc: &'static [u32],
) -> Option<CompilerSymbols> {
    Some(CompilerSymbols { glibcxx, cxxabi, gcc })
}

const GCC_4_8: Option<CompilerSymbols> = gcc(&[3, 4, 19], &[1, 3, 7], &[4, 8, 0]);
const GCC_8: Option<CompilerSymbols> = gcc(&[3, 4, 25], &[1, 3, 11], &[7, 0, 0]);
const GCC_10: Option<CompilerSymbols> = gcc(&[3, 4, 28], &[1, 3, 12], &[7, 0, 0]);
const GCC_11: Option<CompilerSymbols> = gcc(&[3, 4, 29], &[1, 3, 13], &[11, 0]);
const GCC_12: Option<CompilerSymbols> = gcc(&[3, 4, 30], &[1, 3, 13], &[12, 0, 0]);
const GCC_14: Option<CompilerSymbols> = gcc(&[3, 4, 33], &[1, 3, 15], &[14, 0, 0]);

const fn glibc(
    name: &'static str,
    title: &'static str,
    minor: u32,
    compilers: Option<CompilerSymbols>,
    pythons: &'static [u32],
    os_release: &'static [(&'static str, &'static str)],
    libraries: &'static [&'static [&'static str]],
) -> System {
    System { name, title, libc: Libc::Glibc(2, minor), pythons, os_release, compilers, libraries }
}

const fn alpine(
    name: &'static str,
    title: &'static str,
    python: &'static [u32],
    os_release: &'static [(&'static str, &'static str)],
) -> System {
    let libraries = &[ALPINE, OPENSSL_3];
    System { name, title, libc: Libc::Musl(1, 2), pythons: python, os_release, compilers: None, libraries }
}

#[rustfmt::skip]
pub(super) static SYSTEMS: [System; 17] = [
    glibc("el7", "RHEL 7, CentOS 7", 17, GCC_4_8, &[6],
        &[("rhel", "7"), ("centos", "7"), ("ol", "7")], &[EL7]),
    glibc("el8", "RHEL 8, AlmaLinux 8, Rocky Linux 8", 28, GCC_8, &[6, 8, 9, 11, 12],
        &[("rhel", "8"), ("almalinux", "8"), ("rocky", "8"), ("ol", "8"), ("centos", "8")],
        &[COMMON, REDHAT, EL8, OPENSSL_1_1]),
    glibc("el9", "RHEL 9, AlmaLinux 9, Rocky Linux 9", 34, GCC_11, &[9, 11, 12],
        &[("rhel", "9"), ("almalinux", "9"), ("rocky", "9"), ("ol", "9"), ("centos", "9")],
        &[COMMON, REDHAT, EL9, OPENSSL_3]),
    glibc("el10", "RHEL 10, AlmaLinux 10, Rocky Linux 10", 39, GCC_14, &[12],
        &[("rhel", "10"), ("almalinux", "10"), ("rocky", "10"), ("ol", "10"), ("centos", "10")],
        &[COMMON, REDHAT, EL9, OPENSSL_3]),
    glibc("amazon-2023", "Amazon Linux 2023", 34, GCC_11, &[9, 11, 12, 13],
        &[("amzn", "2023")], &[COMMON, REDHAT, EL9, OPENSSL_3]),
    glibc("debian-11", "Debian 11 (bullseye)", 31, GCC_10, &[9],
        &[("debian", "11")], &[COMMON, DEBIAN, OPENSSL_1_1, &["libffi.so.7"]]),
    glibc("debian-12", "Debian 12 (bookworm)", 36, GCC_12, &[11],
        &[("debian", "12")], &[COMMON, DEBIAN, OPENSSL_3, &["libcap.so.2", "libffi.so.8"]]),
    glibc("debian-13", "Debian 13 (trixie)", 41, GCC_14, &[13],
        &[("debian", "13")], &[COMMON, DEBIAN, OPENSSL_3, &["libcap.so.2", "libffi.so.8"]]),
    glibc("ubuntu-20.04", "Ubuntu 20.04 (focal)", 31, GCC_10, &[8, 9],
        &[("ubuntu", "20.04")], &[COMMON, DEBIAN, OPENSSL_1_1, &["libffi.so.7"]]),
    glibc("ubuntu-22.04", "Ubuntu 22.04 (jammy)", 35, GCC_12, &[10, 11],
        &[("ubuntu", "22.04")], &[COMMON, DEBIAN, OPENSSL_3, &["libffi.so.8"]]),
    glibc("ubuntu-24.04", "Ubuntu 24.04 (noble)", 39, GCC_14, &[12],
        &[("ubuntu", "24.04")], &[COMMON, DEBIAN, OPENSSL_3, &["libcap.so.2", "libffi.so.8"]]),
    alpine("alpine-3.18", "Alpine 3.18", &[11], &[("alpine", "3.18")]),
    alpine("alpine-3.19", "Alpine 3.19", &[11], &[("alpine", "3.19")]),
    alpine("alpine-3.20", "Alpine 3.20", &[12], &[("alpine", "3.20")]),
    alpine("alpine-3.21", "Alpine 3.21", &[12], &[("alpine", "3.21")]),
    alpine("alpine-3.22", "Alpine 3.22", &[12], &[("alpine", "3.22")]),
    alpine("alpine-3.23", "Alpine 3.23", &[12], &[("alpine", "3.23")]),
];
