//! Compatibility tags: <https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/>.
//!
//! The order is that of `packaging.tags.sys_tags()`, version 26.3, which pip 26.3 contains. Since then the
//! machine's own `linux_MACHINE` comes before manylinux and musllinux. A test compares the order with every
//! interpreter found.

use std::collections::{BTreeSet, HashMap};

use crate::facts::RequiredPlatform;
use crate::platform::{Libc, Platform};
use crate::tag::Tag;

/// The tags that one interpreter accepts, best first.
#[derive(Clone, Debug)]
pub struct CompatibleTags {
    ordered: Vec<Tag>,
    ranks: HashMap<Tag, usize>,
    python: (u32, u32),
    abi: String,
    platform: Platform,
}

/// Why a wheel does not fit an interpreter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is for Python {}, this is {have}", wanted.join(", "))]
    Python { wanted: Vec<String>, have: String },
    #[error("it is for the ABI {}, this is {have}", wanted.join(", "))]
    Abi { wanted: Vec<String>, have: String },
    #[error("it is for {}, this is {have}", wanted.join(", "))]
    Platform { wanted: Vec<String>, have: String },
    #[error("it is for the CPU {}, this is {have}", wanted.join(", "))]
    Machine { wanted: Vec<String>, have: String },
    #[error("it needs {wanted}, this has {have}")]
    Libc { wanted: Libc, have: Libc },
}

impl CompatibleTags {
    /// The tags of a CPython of `python` (major, minor) with `abi`: `cp312`, `cp37m`, `cp313t` or `cp312d`.
    pub fn new(python: (u32, u32), abi: &str, platform: &Platform) -> Self {
        let mut ordered = Vec::new();
        let platforms = platform.tags();
        cpython(python, abi, &platforms, &mut ordered);
        pure(python, &platforms, &mut ordered);
        let ranks = ordered.iter().enumerate().rev().map(|(rank, tag)| (tag.clone(), rank)).collect();
        Self { ordered, ranks, python, abi: abi.to_owned(), platform: platform.clone() }
    }

    /// All tags, best first.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.ordered.iter()
    }

    /// The place of a wheel's best tag; lower is better. `None` if none fits.
    pub fn rank(&self, wheel: &[Tag]) -> Option<usize> {
        wheel.iter().filter_map(|tag| self.ranks.get(tag).copied()).min()
    }

    /// The first reason why a wheel with these tags does not fit, or `None` if it fits.
    pub fn explain(&self, wheel: &[Tag]) -> Option<Unfit> {
        if self.rank(wheel).is_some() {
            return None;
        }
        let (major, minor) = self.python;
        let own = format!("cp{major}{minor}");
        let is_of_abi = |tag: &&Tag| self.has(|have| have.python == tag.python && have.abi == tag.abi);
        let is_of_python = |tag: &&Tag| {
            // An older CPython is only ours by its stable ABI.
            is_of_abi(tag)
                || tag.python == own
                || tag.python.starts_with("py") && self.has(|have| have.python == tag.python)
        };
        let of_python: Vec<&Tag> = wheel.iter().filter(is_of_python).collect();
        let of_abi: Vec<&Tag> = of_python.iter().copied().filter(is_of_abi).collect();
        Some(if of_python.is_empty() {
            let have = format!("CPython {major}.{minor}");
            Unfit::Python { wanted: each(wheel.iter().map(|tag| &tag.python)), have }
        } else if of_abi.is_empty() {
            Unfit::Abi { wanted: each(of_python.iter().map(|tag| &tag.abi)), have: self.abi.clone() }
        } else {
            self.explain_platform(&of_abi)
        })
    }

    /// Explains the nearest of several platforms: the C library of the same CPU, then the CPU.
    fn explain_platform(&self, tags: &[&Tag]) -> Unfit {
        let have = &self.platform;
        let platforms: Vec<Platform> = tags.iter().filter_map(|tag| Platform::parse(&tag.platform)).collect();
        let of_libc = |platform: &&Platform| {
            std::mem::discriminant(&platform.libc()) == std::mem::discriminant(&have.libc())
        };
        let of_machine = platforms.iter().filter(|platform| platform.machine() == have.machine());
        // Any with the same C library before one with another.
        if let Some(nearest) = of_machine.min_by_key(|platform| (!of_libc(platform), platform.libc())) {
            return Unfit::Libc { wanted: nearest.libc(), have: have.libc() };
        }
        let machines: Vec<String> =
            platforms.iter().filter(of_libc).map(|platform| platform.machine().to_owned()).collect();
        if machines.is_empty() {
            let wanted = each(tags.iter().map(|tag| &tag.platform));
            return Unfit::Platform { wanted, have: have.to_string() };
        }
        Unfit::Machine { wanted: each(machines.iter()), have: have.machine().to_owned() }
    }

    fn has(&self, fits: impl Fn(&Tag) -> bool) -> bool {
        self.ordered.iter().any(fits)
    }
}

fn each<'a>(parts: impl Iterator<Item = &'a String>) -> Vec<String> {
    parts.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// `packaging.tags.cpython_tags`: own ABI, the stable ABI (PEP 384), no ABI, the stable ABI of each older version.
fn cpython((major, minor): (u32, u32), abi: &str, platforms: &[String], tags: &mut Vec<Tag>) {
    let interpreter = format!("cp{major}{minor}");
    let flags = abi.strip_prefix(interpreter.as_str()).unwrap_or_default();
    let mut add = |python: &str, abi: &str| {
        tags.extend(platforms.iter().map(|platform| Tag::new(python, abi, platform)))
    };
    add(&interpreter, abi);
    if flags.contains('d') && (major, minor) >= (3, 8) {
        // From 3.8 on a debug build loads ordinary extension modules too.
        add(&interpreter, &abi.replacen('d', "", 1));
    }
    // PEP 384; PEP 803 for builds without the lock.
    let stable = if flags.contains('t') { "abi3t" } else { "abi3" };
    let has_stable = (major, minor) >= (3, 2);
    if has_stable {
        add(&interpreter, stable);
    }
    add(&interpreter, "none");
    if has_stable {
        for older in (2..minor).rev() {
            add(&format!("cp{major}{older}"), stable);
        }
    }
}

/// `packaging.tags.compatible_tags`: pure Python, for a platform and for any.
fn pure((major, minor): (u32, u32), platforms: &[String], tags: &mut Vec<Tag>) {
    let mut pythons = vec![format!("py{major}{minor}"), format!("py{major}")];
    pythons.extend((0..minor).rev().map(|older| format!("py{major}{older}")));
    for python in &pythons {
        tags.extend(platforms.iter().map(|platform| Tag::new(python, "none", platform)));
    }
    tags.push(Tag::new(&format!("cp{major}{minor}"), "none", "any"));
    tags.extend(pythons.iter().map(|python| Tag::new(python, "none", "any")));
}

/// The narrowest platform that wheels need together, given the tags of each: `any`, or the highest
/// `manylinux_2_X_MACHINE` or `musllinux_1_X_MACHINE`. A wheel of `linux_MACHINE` does not name a C library;
/// it was built on this machine, so it needs `built_on`. `None` if `tags` has no tag of one of the wheels.
pub fn required_platform<'a>(
    wheels: impl IntoIterator<Item = &'a [Tag]>,
    tags: &CompatibleTags,
    built_on: Libc,
) -> Option<RequiredPlatform> {
    let mut highest: Option<Platform> = None;
    for wheel in wheels {
        let fitting = wheel.iter().filter(|tag| tags.ranks.contains_key(*tag));
        let needs = fitting.map(|tag| needed(&tag.platform, built_on));
        let least = needs.min_by_key(|need| need.as_ref().map(Platform::libc))?;
        if least.as_ref().map(Platform::libc) > highest.as_ref().map(Platform::libc) {
            highest = least;
        }
    }
    Some(highest.map_or_else(RequiredPlatform::any, RequiredPlatform::from))
}

/// The need of one platform tag; `None` if it needs nothing.
fn needed(tag: &str, built_on: Libc) -> Option<Platform> {
    match tag.strip_prefix("linux_") {
        Some(machine) => Some(Platform::Linux { machine: machine.to_owned(), libc: built_on }),
        None => Platform::parse(tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tags of a file name.
    fn wheel(filename: &str) -> Vec<Tag> {
        let mut parts = filename.strip_suffix(".whl").unwrap().rsplit('-');
        let [platforms, abis, pythons] = std::array::from_fn(|_| parts.next().unwrap().split('.'));
        let pairs = pythons.flat_map(|python| abis.clone().map(move |abi| (python, abi)));
        pairs
            .flat_map(|(python, abi)| platforms.clone().map(move |platform| Tag::new(python, abi, platform)))
            .collect()
    }

    fn tags(python: (u32, u32), abi: &str, platform: &str) -> CompatibleTags {
        CompatibleTags::new(python, abi, &Platform::parse(platform).unwrap())
    }

    #[test]
    fn the_narrower_wheel_is_better() {
        let server = tags((3, 12), "cp312", "manylinux_2_28_x86_64");
        let rank = |filename| server.rank(&wheel(filename)).unwrap();
        let ranks = [
            "a-1-cp312-cp312-manylinux_2_28_x86_64.whl",
            "a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "a-1-cp312-abi3-manylinux1_x86_64.whl",
            "a-1-cp37-abi3-manylinux1_x86_64.whl",
            "a-1-py3-none-manylinux1_x86_64.whl",
            "a-1-py2.py3-none-any.whl",
        ]
        .map(rank);
        assert!(ranks.is_sorted(), "{ranks:?}");
    }

    #[test]
    fn a_refusal_names_what_is_wrong() {
        let server = tags((3, 12), "cp312", "manylinux_2_28_x86_64");
        let why = |filename| {
            server.explain(&wheel(filename)).map_or_else(|| "it fits".to_owned(), |why| why.to_string())
        };
        assert_eq!(why("a-1-py3-none-any.whl"), "it fits");
        insta::assert_snapshot!(why("bcrypt-3.1.7-cp38-cp38-win_amd64.whl"), @"it is for Python cp38, this is CPython 3.12");
        insta::assert_snapshot!(why("a-1-py2.cp27-none-any.whl"), @"it is for Python cp27, py2, this is CPython 3.12");
        insta::assert_snapshot!(why("a-1-cp312-cp312t-linux_x86_64.whl"), @"it is for the ABI cp312t, this is cp312");
        insta::assert_snapshot!(why("a-1-py3-fakeabi-fakeplat.whl"), @"it is for the ABI fakeabi, this is cp312");
        insta::assert_snapshot!(why("a-1-cp312-cp312-manylinux_2_34_x86_64.whl"), @"it needs glibc 2.34, this has glibc 2.28");
        insta::assert_snapshot!(why("a-1-cp312-cp312-musllinux_1_1_x86_64.musllinux_1_2_x86_64.whl"), @"it needs musl 1.1, this has glibc 2.28");
        insta::assert_snapshot!(why("a-1-cp312-cp312-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"), @"it is for the CPU aarch64, this is x86_64");
        insta::assert_snapshot!(why("a-1-cp312-cp312-macosx_11_0_arm64.whl"), @"it is for macosx_11_0_arm64, this is manylinux_2_28_x86_64");
    }

    #[test]
    fn the_platform_needed_is_the_highest_of_the_lowest() {
        let server = tags((3, 11), "cp311", "manylinux_2_36_x86_64");
        let need = |filenames: &[&str]| {
            let wheels: Vec<_> = filenames.iter().map(|filename| wheel(filename)).collect();
            required_platform(wheels.iter().map(Vec::as_slice), &server, Libc::Glibc(2, 31))
        };
        let pure = "a-1-py3-none-any.whl";
        let old = "b-1-cp311-cp311-manylinux_2_5_x86_64.manylinux1_x86_64.manylinux_2_17_x86_64.whl";
        let newer = "c-1-cp39-abi3-manylinux_2_28_x86_64.whl";
        let built = "d-1-cp311-cp311-linux_x86_64.whl";
        assert_eq!(need(&[pure]).unwrap(), "any");
        assert_eq!(need(&[pure, old]).unwrap(), "manylinux_2_5_x86_64");
        assert_eq!(need(&[newer, old, pure]).unwrap(), "manylinux_2_28_x86_64");
        assert_eq!(need(&[newer, built]).unwrap(), "manylinux_2_31_x86_64");
        assert_eq!(need(&["c-1-py3-none-any.manylinux_2_28_x86_64.whl"]).unwrap(), "any");
        assert_eq!(need(&["e-1-cp38-cp38-win_amd64.whl"]), None);

        let alpine = tags((3, 12), "cp312", "musllinux_1_2_aarch64");
        let wheels = [wheel("f-1-cp312-cp312-musllinux_1_1_aarch64.whl"), wheel(pure)];
        let need = required_platform(wheels.iter().map(Vec::as_slice), &alpine, Libc::Musl(1, 2));
        assert_eq!(need.unwrap(), "musllinux_1_1_aarch64");
    }
}
