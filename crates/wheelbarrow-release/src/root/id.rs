//! Ids of releases: an increasing number, and the first digits of the manifest's SHA-256.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::{Exit, Explain};

/// How many digits of the manifest's SHA-256 stand in an id.
const DIGITS: usize = 8;

/// `7-1a2b3c4d`. Ordered by the number, which says in what order releases were made; clocks say nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseId {
    number: u64,
    digest: String,
}

#[derive(thiserror::Error)]
#[error("invalid release `{0}`: use a number, such as 7, or an id, such as 7-1a2b3c4d")]
pub struct NotAnId(String);

wheelbarrow_base::debug_error!(NotAnId);

impl Explain for NotAnId {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl ReleaseId {
    /// Of the release number `number` of an artifact whose manifest has this hash.
    pub fn new(number: u64, manifest: &Sha256) -> Self {
        let digest = manifest.to_string()[..DIGITS].to_owned();
        Self { number, digest }
    }

    pub fn number(&self) -> u64 {
        self.number
    }
}

impl FromStr for ReleaseId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let wrong = || NotAnId(text.to_owned());
        let (number, digest) = text.split_once('-').ok_or_else(wrong)?;
        let is_hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let canonical = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        if !canonical || digest.len() != DIGITS || !digest.bytes().all(is_hexadecimal) {
            return Err(wrong());
        }
        Ok(Self { number: number.parse().map_err(|_| wrong())?, digest: digest.to_owned() })
    }
}

impl TryFrom<String> for ReleaseId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.number, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = ReleaseId::new(12, &Sha256::of(b"manifest"));
        assert_eq!(id.to_string().parse::<ReleaseId>().unwrap(), id);
        for wrong in [
            "",
            "7",
            "07-1a2b3c4d",
            "-1a2b3c4d",
            "7-1A2B3C4D",
            "7-1a2b3c4",
            "7-1a2b3c4d5",
            "7-1a2b3c4/",
            "../7-1a2b3c4d",
            "+7-1a2b3c4d",
        ] {
            assert!(wrong.parse::<ReleaseId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_are_ordered_by_number() {
        let id = |number, text: &[u8]| ReleaseId::new(number, &Sha256::of(text));
        assert!(id(9, b"a") < id(10, b"b") && id(9, b"b") < id(10, b"a"));
    }
}
