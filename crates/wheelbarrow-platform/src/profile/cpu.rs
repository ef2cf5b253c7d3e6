//! CPU levels of the x86-64 psABI, and the features of each level.

use std::fmt;

use serde::{Deserialize, Serialize};

/// CPU levels of x86_64: each level includes the instructions of the lower levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cpu {
    #[serde(rename = "x86-64")]
    V1,
    #[serde(rename = "x86-64-v2")]
    V2,
    #[serde(rename = "x86-64-v3")]
    V3,
}

/// The features that each level adds, with Linux's names in /proc/cpuinfo: `pni` is SSE3, `abm` includes
/// LZCNT. Every x86_64 CPU has the first level.
const FEATURES: [(Cpu, &[&str]); 2] = [
    (Cpu::V2, &["cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"]),
    (Cpu::V3, &["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"]),
];

impl Cpu {
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    /// All features up to this level, those of the lower levels first.
    pub fn features(self) -> impl Iterator<Item = &'static str> {
        FEATURES.iter().filter(move |(level, _)| *level <= self).flat_map(|(_, names)| names.iter().copied())
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V1 => "x86-64",
            Self::V2 => "x86-64-v2",
            Self::V3 => "x86-64-v3",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_the_features_of_those_before_it() {
        let features = Cpu::ALL.map(|cpu| cpu.features().collect::<Vec<_>>());
        assert!(features[0].is_empty());
        assert_eq!(features[1].len(), 7);
        assert!(features[2].starts_with(&features[1]) && features[2].contains(&"avx2"));
    }
}
