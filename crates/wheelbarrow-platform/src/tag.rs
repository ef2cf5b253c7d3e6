//! One compatibility tag: <https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/>.

use std::fmt;

/// One `PYTHON-ABI-PLATFORM`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    pub python: String,
    pub abi: String,
    pub platform: String,
}

impl Tag {
    pub fn new(python: &str, abi: &str, platform: &str) -> Self {
        let [python, abi, platform] = [python, abi, platform].map(str::to_ascii_lowercase);
        Self { python, abi, platform }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.python, self.abi, self.platform)
    }
}
