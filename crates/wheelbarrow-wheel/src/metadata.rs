//! The two header files in `.dist-info`: WHEEL and METADATA.
//!
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-contents> and
//! <https://packaging.python.org/en/latest/specifications/core-metadata/>. Both are headers of electronic mail, read as
//! leniently as Python's `email` does: they end at the first line that is none.

use std::borrow::Cow;

use crate::Error;
use crate::text::{lines, number, strip};

/// No distribution has as many requirements, extras or classifiers.
const MOST_VALUES: usize = 20_000;

/// Bytes of one value. The whole METADATA of most distributions has less.
const LONGEST_VALUE: usize = 64 << 10;

/// WHEEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelInfo {
    /// Major and minor.
    pub version: (u64, u64),
    pub root_is_purelib: bool,
    /// As written, compressed sets not expanded.
    pub tags: Vec<String>,
}

/// METADATA, as far as an installer or a resolver needs it. Every value is text as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub metadata_version: Option<String>,
    pub name: String,
    pub version: String,
    pub requires_python: Option<String>,
    pub requires_dist: Vec<String>,
    pub provides_extra: Vec<String>,
    /// An SPDX expression (PEP 639).
    pub license_expression: Option<String>,
    /// Whatever people wrote there: a name, or the whole text if it is not too long.
    pub license: Option<String>,
    /// `License :: ...` among others.
    pub classifiers: Vec<String>,
}

impl WheelInfo {
    /// A newer major version than 1 is refused, as the specification asks; older ones (0.1) are read as pip does.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Encoding { file: "WHEEL" })?;
        let all = |wanted: &'static str| {
            headers(text).filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let values: Vec<_> = all("Wheel-Version").take(MOST_VALUES).collect();
        let value = values.first().ok_or(Error::Missing { file: "WHEEL", field: "Wheel-Version" })?;
        let version = wheel_version(value).filter(|_| values.len() == 1);
        let version = version.ok_or_else(|| Error::WheelVersion { value: values.join(", ") })?;
        if version.0 > 1 {
            return Err(Error::NewerWheel { value: value.to_string() });
        }
        Ok(Self {
            version,
            root_is_purelib: all("Root-Is-Purelib")
                .next()
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            tags: all("Tag").take(MOST_VALUES).map(Cow::into_owned).collect(),
        })
    }
}

/// Integers with dots between.
fn wheel_version(text: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = text.split('.').map(|part| number(part, 9)).collect::<Option<_>>()?;
    Some((*numbers.first()?, numbers.get(1).copied().unwrap_or(0)))
}

impl Metadata {
    /// Bytes that are not UTF-8 become replacement characters: old wheels have them in fields that nobody needs.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = String::from_utf8_lossy(bytes);
        let mut found = Self::default();
        let (mut name, mut version) = (None, None);
        for (field, value) in headers(&text) {
            let is = |wanted| field.eq_ignore_ascii_case(wanted);
            let one = match () {
                () if is("Requires-Dist") => Err(&mut found.requires_dist),
                () if is("Provides-Extra") => Err(&mut found.provides_extra),
                () if is("Classifier") => Err(&mut found.classifiers),
                () if is("Metadata-Version") => Ok(&mut found.metadata_version),
                () if is("Name") => Ok(&mut name),
                () if is("Version") => Ok(&mut version),
                () if is("Requires-Python") => Ok(&mut found.requires_python),
                () if is("License-Expression") => Ok(&mut found.license_expression),
                // A whole text is of no use.
                () if is("License") && value.len() <= LONGEST_VALUE => Ok(&mut found.license),
                () => continue,
            };
            if value.len() > LONGEST_VALUE {
                return Err(Error::Longest { file: "METADATA", most: LONGEST_VALUE });
            }
            match one {
                Ok(one @ None) => *one = Some(value.into_owned()),
                // Of several the first counts.
                Ok(_) => {}
                Err(all) if all.len() < MOST_VALUES => all.push(value.into_owned()),
                Err(_) => return Err(Error::Most { file: "METADATA", most: MOST_VALUES }),
            }
        }
        found.name = name.ok_or(Error::Missing { file: "METADATA", field: "Name" })?;
        found.version = version.ok_or(Error::Missing { file: "METADATA", field: "Version" })?;
        Ok(found)
    }
}

/// Names and values in order, folded lines joined with a space. Of what nobody asks for nothing is copied.
fn headers(text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut lines = lines(text).peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let (name, value) = line.split_once(':')?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut value = Cow::Borrowed(strip(value));
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            let value = value.to_mut();
            value.push(' ');
            value.push_str(strip(more));
        }
        match value {
            Cow::Borrowed(value) => Some((name, Cow::Borrowed(value))),
            Cow::Owned(value) => Some((name, Cow::Owned(strip(&value).to_owned()))),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wheel_is_read() {
        let info = WheelInfo::parse(b"Wheel-Version: 1.9\r\nGenerator: x\r\nroot-is-purelib: True\r\nTag: py2-none-any\r\nTag: py3-none-any\r\n\r\n");
        let tags = vec!["py2-none-any".to_owned(), "py3-none-any".to_owned()];
        assert_eq!(info, Ok(WheelInfo { version: (1, 9), root_is_purelib: true, tags }));
        assert!(!WheelInfo::parse(b"Wheel-Version: 0.1\nRoot-Is-Purelib:\n").unwrap().root_is_purelib);
    }

    #[test]
    fn unknown_wheel_versions_are_refused() {
        let refusal = |bytes| WheelInfo::parse(bytes).unwrap_err().to_string();
        insta::assert_snapshot!(refusal(b"Wheel-Version: 2.0\n"), @"WHEEL: Wheel-Version 2.0 is newer than the supported version (1.0)");
        insta::assert_snapshot!(refusal(b"Wheel-Version: new\n"), @"WHEEL: `new` is not a Wheel-Version");
        insta::assert_snapshot!(refusal(b"Tag: py3-none-any\n"), @"WHEEL has no `Wheel-Version`");
        insta::assert_snapshot!(refusal(b"\n\nWheel-Version: 1.0\n"), @"WHEEL has no `Wheel-Version`");
        insta::assert_snapshot!(refusal(b"Wheel-Version: \xff\n"), @"WHEEL is not UTF-8");
    }

    #[test]
    fn metadata_is_read_folded_and_ends_at_the_body() {
        let text = b"Metadata-Version: 2.1\nName: a\nVersion:  1.0 \nRequires-Dist: b (>=1)\nrequires-dist: c;\n  python_version<'3'\nProvides-Extra: x\nRequires-Python: >=3.8\nAuthor: \xe9\n\nRequires-Dist: not-this\n";
        let metadata = Metadata::parse(text).unwrap();
        assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("a", "1.0"));
        assert_eq!(metadata.requires_dist, ["b (>=1)", "c; python_version<'3'"]);
        assert_eq!(metadata.provides_extra, ["x"]);
        assert_eq!(metadata.requires_python.as_deref(), Some(">=3.8"));
        assert_eq!(Metadata::parse(b"Name: a\n").unwrap_err().to_string(), "METADATA has no `Version`");
    }

    #[test]
    fn more_values_than_any_distribution_has_are_refused() {
        let text = format!("Name: a\nVersion: 1\n{}", "Requires-Dist: b\n".repeat(MOST_VALUES + 1));
        assert!(Metadata::parse(text.as_bytes()).unwrap_err().to_string().contains("more than 20000"));
    }

    #[test]
    fn values_that_are_too_long_are_refused_or_left_out() {
        let with = |field: &str, length: usize| {
            Metadata::parse(format!("Name: a\nVersion: 1\n{field}: {}\n", "b".repeat(length)).as_bytes())
        };
        assert!(with("Requires-Dist", LONGEST_VALUE).is_ok() && with("Author", LONGEST_VALUE + 1).is_ok());
        let error = with("Requires-Dist", LONGEST_VALUE + 1).unwrap_err().to_string();
        assert_eq!(error, "METADATA has a value of more than 65536 bytes");
        assert_eq!(with("License", 9).unwrap().license.as_deref(), Some("bbbbbbbbb"));
        assert_eq!(with("License", LONGEST_VALUE + 1).unwrap().license, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = WheelInfo::parse(&bytes);
            let _ = Metadata::parse(&bytes);
        }
    }
}
