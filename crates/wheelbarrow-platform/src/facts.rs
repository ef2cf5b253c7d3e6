//! Facts that identify a target of an artifact, as validated texts: a value of one of these types has the
//! required form. `artifact.py` has the same forms.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::platform::Platform;

/// A text that is not a valid fact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct FactError {
    pub text: String,
    pub what: &'static str,
}

macro_rules! fact {
    ($(#[$about:meta])* $name:ident, $what:literal, $is_valid:expr) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = FactError;

            fn try_from(text: String) -> Result<Self, FactError> {
                let is_valid: fn(&str) -> bool = $is_valid;
                if is_valid(&text) { Ok(Self(text)) } else { Err(FactError { text, what: $what }) }
            }
        }

        impl FromStr for $name {
            type Err = FactError;

            fn from_str(text: &str) -> Result<Self, FactError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(fact: $name) -> Self {
                fact.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}

fact!(
    /// Major and minor version of Python, `3.12`.
    MinorVersion,
    "a minor version of Python such as 3.12",
    |text| text.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
);

fact!(
    /// The ABI tag of a CPython: `cp312`, `cp37m`, `cp313t`.
    AbiTag,
    "an ABI tag such as cp312",
    |text| {
        let rest = text.strip_prefix("cp").map(|rest| rest.trim_end_matches(|end: char| end.is_ascii_lowercase()));
        rest.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    }
);

fact!(
    /// The platform that a set of wheels needs: `any`, or the narrowest platform tag, in the form of PEP 600
    /// or PEP 656.
    RequiredPlatform,
    "a platform tag such as manylinux_2_28_x86_64, or any",
    |text| text == "any" || Platform::parse(text).is_some_and(|platform| platform.to_string() == text)
);

impl MinorVersion {
    pub fn new(major: u32, minor: u32) -> Self {
        Self(format!("{major}.{minor}"))
    }

    /// Major and minor as numbers.
    pub fn numbers(&self) -> (u32, u32) {
        let (major, minor) = self.0.split_once('.').unwrap_or((&self.0, "0"));
        (major.parse().unwrap_or(3), minor.parse().unwrap_or(0))
    }
}

impl AbiTag {
    /// The tag of a CPython 3 of this minor version, with the letters of its ABI.
    pub(crate) fn new(minor: u32, flags: &str) -> Self {
        Self(format!("cp3{minor}{flags}"))
    }
}

impl RequiredPlatform {
    /// The platform of wheels that run on every platform.
    pub fn any() -> Self {
        Self("any".to_owned())
    }

    /// `None` for `any`.
    pub fn platform(&self) -> Option<Platform> {
        Platform::parse(&self.0)
    }
}

impl From<Platform> for RequiredPlatform {
    fn from(platform: Platform) -> Self {
        Self(platform.to_string())
    }
}

/// One to nine digits, without leading zeros.
fn is_number(text: &str) -> bool {
    let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits && (1..10).contains(&text.len()) && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_a_text_of_its_form() {
        for (text, is_valid) in [
            ("3.12", true),
            ("3.6", true),
            ("3", false),
            ("3.", false),
            ("3.012", false),
            ("3.12t", false),
            ("3.1.2", false),
        ] {
            assert_eq!(text.parse::<MinorVersion>().is_ok(), is_valid, "{text}");
        }
        for (text, is_valid) in [
            ("cp312", true),
            ("cp37m", true),
            ("cp313td", true),
            ("cp", false),
            ("cpt", false),
            ("py3", false),
            ("cp312-x", false),
        ] {
            assert_eq!(text.parse::<AbiTag>().is_ok(), is_valid, "{text}");
        }
        for (text, is_valid) in [
            ("any", true),
            ("manylinux_2_28_x86_64", true),
            ("musllinux_1_2_aarch64", true),
            ("manylinux2014_x86_64", false),
            ("manylinux_2_028_x86_64", false),
            ("linux_x86_64", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<RequiredPlatform>().is_ok(), is_valid, "{text}");
        }
        let error = "3.x".parse::<MinorVersion>().unwrap_err();
        insta::assert_snapshot!(error, @"`3.x` is not a minor version of Python such as 3.12");
        assert_eq!(MinorVersion::new(3, 12).numbers(), (3, 12));
    }
}
