//! Files that a newer version of Wheelbarrow wrote, and that this version must neither change nor remove.
//!
//! Every JSON file of Wheelbarrow has a key `format`, and names the program that wrote it. The number is
//! checked first, since another format may have other keys. `docs/reference/compatibility.md` is the
//! specification.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wheelbarrow_base::json;

/// The version of this program.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// A file that a later version of Wheelbarrow wrote.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {what}: {needed} is needed, and this is {PROGRAM}", path.display())]
pub struct Newer {
    pub path: PathBuf,
    /// `has format 2`.
    pub what: String,
    pub needed: Needed,
}

wheelbarrow_base::debug_error!(Newer);

/// The version of the program that understands a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The version that wrote the file, where the file names a later one than this.
    version: Option<String>,
}

/// Why a file was not understood.
#[derive(Debug)]
pub enum Misread {
    Newer(Newer),
    Wrong(serde_json::Error),
}

/// The keys by which each format can be recognised, whatever else it has.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    format: Scalar,
    /// The version that wrote the file.
    #[serde(default)]
    program: Scalar,
    /// The same in a manifest, behind the name of the program.
    #[serde(default)]
    built_by: Scalar,
}

/// A value of which only these two are of use. Any other takes no memory.
#[derive(Default)]
enum Scalar {
    Number(u64),
    Text(String),
    #[default]
    Other,
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self::Other)
    }
}

impl<'de> Visitor<'de> for Scalar {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self, E> {
        Ok(Self::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self, E> {
        Ok(Self::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Self, A::Error> {
        while values.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

impl Needed {
    /// By what a file says of the version that wrote it, if it does.
    pub fn of(program: Option<&str>) -> Self {
        Self { version: program.filter(|program| is_later(program, PROGRAM)).map(str::to_owned) }
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(formatter, "wheelbarrow {version} or later"),
            None => write!(formatter, "a wheelbarrow later than {PROGRAM}"),
        }
    }
}

impl Newer {
    pub fn hint(&self) -> String {
        "run the command with a newer wheelbarrow; each artifact contains the version that built it: \
         `./ARTIFACT COMMAND`"
            .to_owned()
    }
}

/// Refuses a text of a later format than `known`. What is not JSON, or names no format, has none.
pub fn check(path: &Path, text: &[u8], known: u32) -> Result<(), Newer> {
    let Ok(head) = json::from_slice::<Head>(text) else { return Ok(()) };
    match head.format {
        Scalar::Number(format) if format > u64::from(known) => {
            Err(head.newer(path, format!("has format {format}")))
        }
        _ => Ok(()),
    }
}

/// Reads what a later version may have written with keys that this one does not know.
pub fn read<T: DeserializeOwned>(path: &Path, text: &[u8], known: u32) -> Result<T, Misread> {
    check(path, text, known).map_err(Misread::Newer)?;
    json::from_slice(text).map_err(|error| match json::from_slice::<Head>(text) {
        Ok(head) if head.is_later() => Misread::Newer(
            head.newer(path, format!("has contents that {PROGRAM} does not support ({error})")),
        ),
        _ => Misread::Wrong(error),
    })
}

/// The same for a file that only Wheelbarrow writes: whatever is not understood is a later version's.
pub fn read_own<T: DeserializeOwned>(path: &Path, text: &[u8], known: u32) -> Result<T, Misread> {
    read(path, text, known).map_err(|misread| match misread {
        Misread::Wrong(error) if error.is_data() => {
            let needed = Needed { version: None };
            let what = format!("has contents that {PROGRAM} does not support ({error})");
            Misread::Newer(Newer { path: path.to_path_buf(), what, needed })
        }
        other => other,
    })
}

/// What is wrong with a number that was never given to a format.
pub(crate) fn unknown(format: u32, known: u32) -> serde_json::Error {
    serde::de::Error::custom(format!("it has format {format}, and {PROGRAM} reads format {known}"))
}

impl Head {
    fn program(&self) -> Option<&str> {
        match (&self.program, &self.built_by) {
            (Scalar::Text(program), _) => Some(program),
            (_, Scalar::Text(builder)) => builder.strip_prefix("wheelbarrow "),
            _ => None,
        }
    }

    fn is_later(&self) -> bool {
        self.program().is_some_and(|program| is_later(program, PROGRAM))
    }

    fn newer(&self, path: &Path, what: String) -> Newer {
        Newer { path: path.to_path_buf(), what, needed: Needed::of(self.program()) }
    }
}

/// By the numbers of two versions; a version without them is later than none.
fn is_later(one: &str, other: &str) -> bool {
    let numbers = |version: &str| -> Option<Vec<u64>> {
        let release = version.split(['-', '+', ' ']).next()?;
        release.split('.').map(|number| number.parse().ok()).collect()
    };
    numbers(one).is_some_and(|one| Some(one) > numbers(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Known {
        #[expect(dead_code, reason = "it is only read")]
        format: u32,
        #[serde(default, rename = "program")]
        _program: Option<String>,
    }

    fn misread(text: &str, own: bool) -> String {
        let path = Path::new("/root/file");
        let read = if own { read_own::<Known> } else { read::<Known> };
        match read(path, text.as_bytes(), 1) {
            Ok(_) => "understood".to_owned(),
            Err(Misread::Newer(newer)) => newer.to_string(),
            Err(Misread::Wrong(_)) => "wrong".to_owned(),
        }
    }

    #[test]
    fn a_later_format_names_the_version_that_is_needed() {
        let later = r#"{"format": 2, "program": "9.0.0", "x": 1}"#;
        let needed =
            format!("/root/file has format 2: wheelbarrow 9.0.0 or later is needed, and this is {PROGRAM}");
        assert_eq!(misread(later, false), needed);
        let nameless = misread(r#"{"format": 2}"#, false);
        assert!(nameless.contains(&format!("a wheelbarrow later than {PROGRAM} is needed")), "{nameless}");
        assert_eq!(misread(r#"{"format": "2.1"}"#, false), "wrong");
        assert!(misread(r#"{"format": "2.1"}"#, true).contains("is needed"));
        assert!(
            misread(r#"{"format": 2, "built_by": "wheelbarrow 9.1"}"#, false)
                .contains("wheelbarrow 9.1 or later")
        );
    }

    #[test]
    fn an_unknown_key_is_a_later_versions_or_wrong() {
        assert_eq!(misread(r#"{"format": 1}"#, false), "understood");
        assert_eq!(misread(r#"{"format": 1, "x": 1}"#, false), "wrong");
        assert!(misread(r#"{"format": 1, "x": 1, "program": "9.0.0"}"#, false).contains("9.0.0 or later"));
        assert!(misread(r#"{"format": 1, "x": 1}"#, true).contains("unknown field `x`"));
        assert_eq!(misread("{\"format\": 1", true), "wrong");
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_later("0.10.0", "0.9.9") && is_later("1.0.0-rc1", "0.9"));
        assert!(!is_later("0.1.0", "0.1.0") && !is_later("a test", "0.1.0") && !is_later("0.1.0+x", "0.1.0"));
    }
}
