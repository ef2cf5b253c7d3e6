//! The table. Debian's rows have the libraries of a minbase with python3, as installed from each release. The
//! other rows have the libraries that python3 and the package manager of the system link with. C libraries
//! and GCC's symbols of the others were measured by
//! [pep600_compliance](https://github.com/mayeut/pep600_compliance), SLES's on the openSUSE Leap that is made
//! of the same packages. The page of a row has the Pythons and the CPU. `probe.py` has a copy of the names.

use super::cpu::Cpu;
use super::system::{CompilerSymbols, System};
use crate::platform::Libc;

/// In the smallest image of every glibc system in this table, since its package manager and its Python need
/// them.
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

/// Debian and its derivatives.
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

/// Red Hat and its rebuilds.
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

/// Amazon Linux 2: as old as CentOS 7, with newer curses.
const AMAZON_2: &[&str] = &[
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
    "libncursesw.so.6",
    "libpanelw.so.6",
    "libpcre.so.1",
    "libreadline.so.6",
    "libselinux.so.1",
    "libsqlite3.so.0",
    "libssl.so.10",
    "libstdc++.so.6",
    "libtinfo.so.6",
    "libuuid.so.1",
    "libz.so.1",
];

/// SUSE's libraries, besides those of every system.
const SUSE: &[&str] = &[
    "libbz2.so.1",
    "libcap.so.2",
    "libcom_err.so.2",
    "libcrypt.so.1",
    "libcurl.so.4",
    "libgssapi_krb5.so.2",
    "libk5crypto.so.3",
    "libkeyutils.so.1",
    "libkrb5.so.3",
    "libudev.so.1",
];

/// Alpine with its python3, without the libraries of the compiler.
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

/// The highest symbol versions of the libraries of each GCC, from Debian where Debian has that GCC.
/// `GCC_11.0` exists only on aarch64, `GCC_12.0.0` only on x86_64: on the other machine no file needs them.
const fn gcc(
    glibcxx: &'static [u32],
    cxxabi: &'static [u32],
    gcc: &'static [u32],
) -> Option<CompilerSymbols> {
    Some(CompilerSymbols { glibcxx, cxxabi, gcc })
}

const GCC_4_8: Option<CompilerSymbols> = gcc(&[3, 4, 19], &[1, 3, 7], &[4, 8, 0]);
const GCC_7: Option<CompilerSymbols> = gcc(&[3, 4, 24], &[1, 3, 11], &[7, 0, 0]);
const GCC_8: Option<CompilerSymbols> = gcc(&[3, 4, 25], &[1, 3, 11], &[7, 0, 0]);
const GCC_10: Option<CompilerSymbols> = gcc(&[3, 4, 28], &[1, 3, 12], &[7, 0, 0]);
const GCC_11: Option<CompilerSymbols> = gcc(&[3, 4, 29], &[1, 3, 13], &[11, 0]);
const GCC_12: Option<CompilerSymbols> = gcc(&[3, 4, 30], &[1, 3, 13], &[12, 0, 0]);
const GCC_13: Option<CompilerSymbols> = gcc(&[3, 4, 32], &[1, 3, 14], &[13, 0, 0]);
const GCC_14: Option<CompilerSymbols> = gcc(&[3, 4, 33], &[1, 3, 15], &[14, 0, 0]);
const GCC_16: Option<CompilerSymbols> = gcc(&[3, 4, 35], &[1, 3, 17], &[16, 0]);

/// The page of a row of Debian and its derivatives, by the name of the release.
macro_rules! page {
    (el $version:literal) => {
        concat!(
            "https://docs.redhat.com/en/documentation/red_hat_enterprise_linux/",
            $version,
            "/html/considerations_in_adopting_rhel_",
            $version
        )
    };
    (debian $name:literal) => {
        concat!("https://packages.debian.org/", $name, "/python3")
    };
    (ubuntu $name:literal) => {
        concat!("https://packages.ubuntu.com/", $name, "/python3")
    };
    (alpine $version:literal) => {
        concat!("https://pkgs.alpinelinux.org/package/v", $version, "/main/x86_64/python3")
    };
}

/// A row: its name, title, C library, GCC's symbols, CPU, Pythons, os-release, libraries, page.
macro_rules! glibc {
    ($name:literal, $title:literal, $minor:literal, $gcc:expr, $cpu:ident, [$($python:literal),+],
     [$(($id:literal, $version:literal)),+], [$($libraries:expr),+], $page:expr) => {
        System {
            name: $name,
            title: $title,
            libc: Libc::Glibc(2, $minor),
            cpu: Cpu::$cpu,
            pythons: &[$($python),+],
            os_release: &[$(($id, $version)),+],
            compilers: $gcc,
            page: $page,
            libraries: &[$($libraries),+],
        }
    };
}

/// A row of Alpine: version and Python.
macro_rules! alpine {
    ($version:literal, $python:literal) => {
        System {
            name: concat!("alpine-", $version),
            title: concat!("Alpine ", $version),
            libc: Libc::Musl(1, 2),
            cpu: Cpu::V1,
            pythons: &[$python],
            os_release: &[("alpine", $version)],
            compilers: None,
            page: page!(alpine $version),
            libraries: &[ALPINE, OPENSSL_3],
        }
    };
}

#[rustfmt::skip]
pub(super) static SYSTEMS: [System; 24] = [
    glibc!("el7", "RHEL 7, CentOS 7", 17, GCC_4_8, V1, [6],
        [("rhel", "7"), ("centos", "7"), ("ol", "7")], [EL7],
        "https://docs.redhat.com/en/documentation/red_hat_enterprise_linux/7"),
    glibc!("el8", "RHEL 8, AlmaLinux 8, Rocky Linux 8", 28, GCC_8, V1, [6, 8, 9, 11, 12],
        [("rhel", "8"), ("almalinux", "8"), ("rocky", "8"), ("ol", "8"), ("centos", "8")],
        [COMMON, REDHAT, EL8, OPENSSL_1_1], page!(el "8")),
    glibc!("el9", "RHEL 9, AlmaLinux 9, Rocky Linux 9", 34, GCC_11, V2, [9, 11, 12],
        [("rhel", "9"), ("almalinux", "9"), ("rocky", "9"), ("ol", "9"), ("centos", "9")],
        [COMMON, REDHAT, EL9, OPENSSL_3], page!(el "9")),
    glibc!("el10", "RHEL 10, AlmaLinux 10, Rocky Linux 10", 39, GCC_14, V3, [12],
        [("rhel", "10"), ("almalinux", "10"), ("rocky", "10"), ("ol", "10"), ("centos", "10")],
        [COMMON, REDHAT, EL9, OPENSSL_3], page!(el "10")),
    glibc!("amazon-2", "Amazon Linux 2", 26, GCC_7, V1, [7],
        [("amzn", "2")], [AMAZON_2],
        "https://docs.aws.amazon.com/AL2/latest/relnotes/relnotes-al2.html"),
    glibc!("amazon-2023", "Amazon Linux 2023", 34, GCC_11, V2, [9, 11, 12, 13],
        [("amzn", "2023")], [COMMON, REDHAT, EL9, OPENSSL_3],
        "https://docs.aws.amazon.com/linux/al2023/ug/python.html"),
    glibc!("sles-15", "SLES 15 SP3 to SP5", 31, GCC_10, V1, [6, 11],
        [("sles", "15.3"), ("sles", "15.4"), ("sles", "15.5"), ("sles_sap", "15.4"), ("sles_sap", "15.5"),
         ("opensuse-leap", "15.5")],
        [COMMON, SUSE, OPENSSL_1_1, &["libffi.so.7", "libreadline.so.7"]],
        "https://documentation.suse.com/releasenotes/sles/html/releasenotes_sles_15.5/index.html"),
    glibc!("sles-15.6", "SLES 15 SP6 and SP7", 38, GCC_13, V1, [6, 11, 12],
        [("sles", "15.6"), ("sles", "15.7"), ("sles_sap", "15.6"), ("sles_sap", "15.7"), ("opensuse-leap", "15.6")],
        [COMMON, SUSE, OPENSSL_3, &["libffi.so.7", "libreadline.so.7"]],
        "https://documentation.suse.com/releasenotes/sles/html/releasenotes_sles_15.6/index.html"),
    glibc!("sles-16", "SLES 16", 40, GCC_14, V2, [13],
        [("sles", "16"), ("sles_sap", "16"), ("opensuse-leap", "16")],
        [COMMON, SUSE, OPENSSL_3, &["libffi.so.8", "libreadline.so.8"]],
        "https://documentation.suse.com/releasenotes/sles/html/releasenotes_sles_16.0/index.html"),
    glibc!("debian-11", "Debian 11 (bullseye)", 31, GCC_10, V1, [9],
        [("debian", "11")], [COMMON, DEBIAN, OPENSSL_1_1, &["libffi.so.7"]], page!(debian "bullseye")),
    glibc!("debian-12", "Debian 12 (bookworm)", 36, GCC_12, V1, [11],
        [("debian", "12")], [COMMON, DEBIAN, OPENSSL_3, &["libcap.so.2", "libffi.so.8"]], page!(debian "bookworm")),
    glibc!("debian-13", "Debian 13 (trixie)", 41, GCC_14, V1, [13],
        [("debian", "13")], [COMMON, DEBIAN, OPENSSL_3, &["libcap.so.2", "libffi.so.8"]], page!(debian "trixie")),
    glibc!("debian-14", "Debian 14 (forky)", 43, GCC_16, V1, [14],
        [("debian", "14")], [COMMON, DEBIAN, OPENSSL_3, &["libffi.so.8"]], page!(debian "forky")),
    glibc!("ubuntu-20.04", "Ubuntu 20.04 (focal)", 31, GCC_10, V1, [8, 9],
        [("ubuntu", "20.04")], [COMMON, DEBIAN, OPENSSL_1_1, &["libffi.so.7"]], page!(ubuntu "focal")),
    glibc!("ubuntu-22.04", "Ubuntu 22.04 (jammy)", 35, GCC_12, V1, [10, 11],
        [("ubuntu", "22.04")], [COMMON, DEBIAN, OPENSSL_3, &["libffi.so.8"]], page!(ubuntu "jammy")),
    glibc!("ubuntu-24.04", "Ubuntu 24.04 (noble)", 39, GCC_14, V1, [12],
        [("ubuntu", "24.04")], [COMMON, DEBIAN, OPENSSL_3, &["libcap.so.2", "libffi.so.8"]], page!(ubuntu "noble")),
    glibc!("ubuntu-26.04", "Ubuntu 26.04 (resolute)", 43, GCC_16, V1, [14],
        [("ubuntu", "26.04")], [COMMON, DEBIAN, OPENSSL_3, &["libffi.so.8"]], page!(ubuntu "resolute")),
    alpine!("3.18", 11),
    alpine!("3.19", 11),
    alpine!("3.20", 12),
    alpine!("3.21", 12),
    alpine!("3.22", 12),
    alpine!("3.23", 12),
    alpine!("3.24", 14),
];
