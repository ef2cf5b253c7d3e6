//! A SHA-256, in the forms in which files contain it.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};

/// A SHA-256, as 64 lower-case hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Parses 64 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = base16ct::mixed::decode_vec(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// Parses the unpadded URL-safe base64 of RECORD files, without `sha256=`.
    pub fn from_record(digest: &str) -> Option<Self> {
        let bytes = Base64UrlUnpadded::decode_vec(digest).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The form in RECORD files: `sha256=` and unpadded URL-safe base64.
    pub fn to_record(self) -> String {
        format!("sha256={}", Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&base16ct::lower::encode_string(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sha256({self})")
    }
}

impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| serde::de::Error::custom("not a SHA-256 of 64 hexadecimal digits"))
    }
}
