//! What is known of a system.

use crate::platform::Libc;

use super::cpu::Cpu;

/// A release of a Linux distribution, as its smallest image plus its own Python has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// As in `--target`: `debian-12`.
    pub name: &'static str,
    /// For people: `Debian 12 (bookworm)`.
    pub title: &'static str,
    pub libc: Libc,
    /// What its own packages need of an x86_64 machine.
    pub cpu: Cpu,
    /// Minor versions of Python 3 that its own packages bring: first what `python3` is, then the others.
    pub pythons: &'static [u32],
    /// Whose `ID` and start of `VERSION_ID` in os-release(5) these are.
    pub os_release: &'static [(&'static str, &'static str)],
    /// The highest symbol versions of its own libstdc++ and libgcc; nothing where the smallest image has neither.
    pub compilers: Option<CompilerSymbols>,
    /// The page that the facts are from.
    pub page: &'static str,
    /// Groups of file names as in `DT_NEEDED`, beside those of the C library.
    pub(super) libraries: &'static [&'static [&'static str]],
}

/// Symbol versions of GCC's libraries, as numbers: `GLIBCXX_3.4.28` is `[3, 4, 28]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompilerSymbols {
    pub glibcxx: &'static [u32],
    pub cxxabi: &'static [u32],
    pub gcc: &'static [u32],
}
