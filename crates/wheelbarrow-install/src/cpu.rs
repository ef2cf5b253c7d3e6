//! The CPU of this machine, from /proc/cpuinfo.

use std::io::Read;

use fs_err as fs;
use wheelbarrow_platform::Cpu;

use crate::InstallError;

/// More than the kernel writes of the first CPU, in bytes; a machine may have thousands of them.
const ENOUGH: u64 = 1 << 16;

/// That the CPU of this machine is older than a level. Nothing where the kernel does not say what it is.
pub(crate) fn cpu_error(needed: Cpu) -> Option<InstallError> {
    let mut text = Vec::new();
    fs::File::open("/proc/cpuinfo").and_then(|file| file.take(ENOUGH).read_to_end(&mut text)).ok()?;
    let (here, missing) = missing(needed, &String::from_utf8_lossy(&text))?;
    Some(InstallError::Cpu { needed, here, missing })
}

/// The name of the first CPU, and which features of the level it lacks; nothing if it has them all.
fn missing(needed: Cpu, cpuinfo: &str) -> Option<(String, Vec<&'static str>)> {
    let value = |wanted: &str| {
        let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        pairs.filter(|(key, _)| key.trim() == wanted).map(|(_, value)| value.split_whitespace()).next()
    };
    let flags: Vec<_> = value("flags")?.collect();
    let missing: Vec<_> = needed.features().filter(|name| !flags.contains(name)).collect();
    let name =
        value("model name").map(|words| words.collect::<Vec<_>>().join(" ")).filter(|name| !name.is_empty());
    (!missing.is_empty()).then(|| (name.unwrap_or_else(|| "the CPU of this machine".to_owned()), missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_judged_by_its_flags() {
        let old = "model name\t: Opteron  X\nflags\t\t: fpu pni cx16 lahf_lm popcnt sse4_1\n\nflags\t: sse4_2 ssse3\n";
        assert_eq!(missing(Cpu::V1, old), None);
        assert_eq!(missing(Cpu::V2, old), Some(("Opteron X".to_owned(), vec!["sse4_2", "ssse3"])));
        assert_eq!(missing(Cpu::V3, old).unwrap().1.len(), 11);
        let all: String = Cpu::V3.features().map(|name| format!(" {name}")).collect();
        assert_eq!(missing(Cpu::V3, &format!("flags :{all}")), None);
        assert_eq!(missing(Cpu::V3, "Features : fp asimd"), None, "another machine");
        assert_eq!(missing(Cpu::V2, "flags :").unwrap().0, "the CPU of this machine");
    }
}
