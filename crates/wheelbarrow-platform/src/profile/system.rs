//! The facts about a system.

use crate::platform::Libc;

use super::cpu::Cpu;

/// A release of a Linux distribution: its smallest image with its own Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// As in `--target`: `debian-12`.
    pub name: &'static str,
    /// The name for people: `Debian 12 (bookworm)`.
    pub title: &'static str,
    pub libc: Libc,
    /// The level of x86_64 CPUs that its own packages need.
    pub cpu: Cpu,
    /// Minor versions of Python 3 in its own packages: first the version of `python3`, then the others.
    pub pythons: &'static [u32],
    /// `ID` and the beginning of `VERSION_ID` in os-release(5).
    pub os_release: &'static [(&'static str, &'static str)],
    /// The highest symbol versions of its own libstdc++ and libgcc; `None` if the smallest image has neither.
    pub compilers: Option<CompilerSymbols>,
    /// The page with these facts.
    pub page: &'static str,
    /// Groups of file names as in `DT_NEEDED`, besides those of the C library.
    pub(super) libraries: &'static [&'static [&'static str]],
}

/// Symbol versions of GCC's libraries, as numbers: `GLIBCXX_3.4.28` is `[3, 4, 28]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompilerSymbols {
    pub glibcxx: &'static [u32],
    pub cxxabi: &'static [u32],
    pub gcc: &'static [u32],
}
