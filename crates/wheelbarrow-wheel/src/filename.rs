//! Wheel file names:
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention>.

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;
use wheelbarrow_platform::Tag;

use crate::Error;
use crate::name;
use crate::text::number;

/// More than any wheel has; a name with more is an attack on whoever expands it.
const MOST_TAGS: usize = 256;

/// `DISTRIBUTION-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`, taken apart. [`fmt::Display`] gives back the name as it was
/// written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelFilename {
    /// As written in the name.
    pub distribution: String,
    /// Normalised (PEP 503).
    pub name: String,
    pub version: Version,
    /// As written in the name.
    pub version_text: String,
    pub build: Option<BuildTag>,
    /// The compressed tag sets expanded, in the order written, each tag once; never empty.
    pub tags: Vec<Tag>,
    text: String,
}

/// Settles which of two wheels of one version is taken: the higher. A wheel without one comes before all with one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildTag {
    /// The leading digits.
    pub number: u64,
    /// The rest.
    pub suffix: String,
}

impl WheelFilename {
    /// Takes the last part of a path or URL; refuses what pip and uv refuse: another extension, a wrong number of
    /// parts, a bad name, a version that is not PEP 440, a build tag without a digit in front.
    pub fn parse(filename: &str) -> Result<Self, Error> {
        let (wheel, sets) = Self::parse_name(filename)?;
        Ok(Self { tags: expand(&sets), ..wheel })
    }

    /// The normalised name of the distribution. Refuses the same, without expanding the tags: a manifest can name many wheels.
    pub fn name_of(filename: &str) -> Result<String, Error> {
        Ok(Self::parse_name(filename)?.0.name)
    }

    fn parse_name(filename: &str) -> Result<(Self, TagSets<'_>), Error> {
        Self::parse_parts(filename)
            .map_err(|reason| Error::Filename { filename: filename.to_owned(), reason })
    }

    /// Without tags, and their sets.
    fn parse_parts(filename: &str) -> Result<(Self, TagSets<'_>), String> {
        let stem = filename.strip_suffix(".whl").ok_or("it does not end in .whl")?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (distribution, version_text, build, [python, abi, platform]) = match parts[..] {
            [distribution, version, python, abi, platform] => {
                (distribution, version, None, [python, abi, platform])
            }
            [distribution, version, build, python, abi, platform] => {
                (distribution, version, Some(build), [python, abi, platform])
            }
            _ => return Err(format!("it has {} parts between dashes, not 5 or 6", parts.len())),
        };
        if !name::is_valid(distribution) {
            return Err(format!("`{distribution}` is not the name of a distribution"));
        }
        if !is_plain_version(version_text) {
            return Err(format!("`{version_text}` is not a version"));
        }
        let version = Version::from_str(version_text)
            .map_err(|error| format!("`{version_text}` is not a version: {error}"))?;
        let wheel = Self {
            distribution: distribution.to_owned(),
            name: name::normalise(distribution),
            version,
            version_text: version_text.to_owned(),
            build: build.map(BuildTag::parse_parts).transpose()?,
            tags: Vec::new(),
            text: filename.to_owned(),
        };
        Ok((wheel, tag_sets(python, abi, platform)?))
    }
}

impl BuildTag {
    fn parse_parts(text: &str) -> Result<Self, String> {
        let (digits, suffix) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let number = number(digits, 18)
            .ok_or_else(|| format!("the build tag `{text}` does not begin with a number"))?;
        if !suffix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte)) {
            return Err(format!("the build tag `{text}` has other characters than letters and digits"));
        }
        Ok(Self { number, suffix: suffix.to_owned() })
    }
}

/// Without white space and numbers of more than 18 digits, of which readers make different things.
fn is_plain_version(text: &str) -> bool {
    let public = text.split('+').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".!+_".contains(&byte);
    let mut numbers = public.split(|character: char| !character.is_ascii_digit());
    text.bytes().all(is_plain) && numbers.all(|number| number.len() <= 18)
}

/// The parts of the three compressed tag sets.
type TagSets<'n> = [Vec<&'n str>; 3];

fn tag_sets<'n>(python: &'n str, abi: &'n str, platform: &'n str) -> Result<TagSets<'n>, String> {
    let sets = [python, abi, platform].map(|set| set.split('.').collect::<Vec<_>>());
    for part in sets.iter().flatten() {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("`{part}` is not a part of a tag"));
        }
    }
    if sets.iter().map(Vec::len).try_fold(1, usize::checked_mul).is_none_or(|count| count > MOST_TAGS) {
        return Err(format!("it has more than {MOST_TAGS} tags"));
    }
    Ok(sets)
}

/// `py2.py3-none-any` is two tags (PEP 425, compressed tag sets).
fn expand(sets: &TagSets<'_>) -> Vec<Tag> {
    let mut tags = Vec::new();
    for python in &sets[0] {
        for abi in &sets[1] {
            for platform in &sets[2] {
                tags.push(Tag::new(python, abi, platform));
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    tags.retain(|tag| seen.insert(tag.clone()));
    tags
}

impl fmt::Display for WheelFilename {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for WheelFilename {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(filename: &str) -> String {
        WheelFilename::parse(filename).unwrap_err().to_string()
    }

    #[test]
    fn file_names_are_parsed() {
        let wheel = WheelFilename::parse("Zope.Interface-5.4.0-2b-py2.py3-none-any.whl").unwrap();
        assert_eq!(wheel.distribution, "Zope.Interface");
        assert_eq!(wheel.name, "zope-interface");
        assert_eq!(wheel.version, Version::from_str("5.4").unwrap());
        assert_eq!(wheel.version_text, "5.4.0");
        assert_eq!(wheel.build, Some(BuildTag { number: 2, suffix: "b".to_owned() }));
        assert_eq!(wheel.tags, [Tag::new("py2", "none", "any"), Tag::new("py3", "none", "any")]);
    }

    #[test]
    fn local_versions_and_builds_are_ordered() {
        let wheel = WheelFilename::parse("torch-2.0.0+cu118-cp311-cp311-linux_x86_64.whl").unwrap();
        assert_eq!(wheel.version.to_string(), "2.0.0+cu118");
        let build = |text| BuildTag::parse_parts(text).unwrap();
        assert!(build("2") < build("10") && build("2") < build("2a"));
        assert!(None < Some(build("0")));
    }

    #[test]
    fn names_refused_by_pip_are_refused() {
        insta::assert_snapshot!(reason("invalid.whl"), @"`invalid.whl` is not the name of a wheel: it has 1 parts between dashes, not 5 or 6");
        insta::assert_snapshot!(reason("badname-1.0.whl"), @"`badname-1.0.whl` is not the name of a wheel: it has 2 parts between dashes, not 5 or 6");
        for bad in [
            "a-1.0-py3-none-any.zip",
            "a-1.0-py3-none-any.whl.metadata",
            "invalid_version-2010i-py3-none-any.whl",
            "a-1.0-x1-py3-none-any.whl",
            "a--py3-none-any.whl",
            "-1.0-py3-none-any.whl",
            "a/b-1.0-py3-none-any.whl",
            "a-1.0-py3-none-.whl",
            "a-1.0-py3..py2-none-any.whl",
            "a-1.0-1-2-py3-none-any.whl",
        ] {
            reason(bad);
        }
    }

    #[test]
    fn a_product_of_tags_without_end_is_refused() {
        let many = vec!["x"; 10_000].join(".");
        assert!(reason(&format!("a-1-{many}-{many}-{many}.whl")).contains("more than 256 tags"));
        let some = |count: usize| vec!["x"; count].join(".");
        assert!(WheelFilename::parse(&format!("a-1-{0}-{0}-any.whl", some(16))).is_ok());
        let more = format!("a-1-{}-{}-any.whl", some(16), some(17));
        assert_eq!(WheelFilename::name_of(&more).unwrap_err().to_string(), reason(&more));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}(-\\PC{0,9}){0,6}(\\.whl)?") {
            if let Ok(wheel) = WheelFilename::parse(&text) {
                prop_assert_eq!(wheel.to_string(), text.as_str());
                prop_assert_eq!(WheelFilename::name_of(&text), Ok(wheel.name));
            } else {
                prop_assert!(WheelFilename::name_of(&text).is_err());
            }
        }

        #[test]
        fn good_names_round_trip(
            name in "[A-Za-z0-9]([A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", version in "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(rc[0-9])?",
            build in "(-[0-9]{1,5}[a-z]{0,3})?", tags in "(py3|cp311\\.cp312)-(none|abi3)-(any|linux_x86_64)",
        ) {
            let text = format!("{name}-{version}{build}-{tags}.whl");
            let wheel = WheelFilename::parse(&text).unwrap();
            prop_assert_eq!(&wheel.distribution, &name);
            prop_assert_eq!(wheel.to_string(), text);
        }
    }
}
