//! Markers of a lock, evaluated for one target.
//!
//! PEP 751 adds `"NAME" in extras` and `"NAME" in dependency_groups` to the markers of PEP 508. The chosen
//! extras and groups decide both, so each is replaced by a comparison that is always true or always false
//! before pep508_rs parses it.

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{MarkerEnvironment, MarkerTree};
use wheelbarrow_wheel::name;
use wheelbarrow_wheel::name::is_plain_marker;

use crate::target::BuildTarget;

/// What markers are asked about.
pub struct TargetMarkers<'a> {
    markers: MarkerEnvironment,
    versions: Vec<Version>,
    extras: &'a [String],
    groups: &'a [String],
}

impl<'a> TargetMarkers<'a> {
    pub fn new(target: &BuildTarget, extras: &'a [String], groups: &'a [String]) -> Self {
        // Where only the minor version is known, any micro version will do for Requires-Python.
        let last =
            if target.own_interpreter().is_none() { Some(format!("{}.99", target.python)) } else { None };
        let versions = [Some(target.full_version()), last]
            .into_iter()
            .flatten()
            .filter_map(|text| text.parse().ok())
            .collect();
        Self { markers: target.markers(), versions, extras, groups }
    }

    /// Whether `marker` holds. An error says what is wrong with its text.
    pub fn holds(&self, marker: &str) -> Result<bool, String> {
        if !is_plain_marker(marker) {
            return Err(format!("`{marker}`: a marker must be ASCII, with parentheses at most 100 deep"));
        }
        let settled = self.settle(marker);
        let tree = MarkerTree::from_str(&settled).map_err(|error| {
            format!("`{marker}`: {}", error.message.to_string().lines().next().unwrap_or_default())
        })?;
        Ok(tree.evaluate(&self.markers, &[]))
    }

    /// Whether a marker of a requirement holds.
    pub(crate) fn is_met(&self, marker: &MarkerTree) -> bool {
        marker.evaluate(&self.markers, &[])
    }

    /// Whether this Python is among `specifiers` (`>=3.9,<4`).
    pub fn python_is_in(&self, specifiers: &str) -> Result<bool, String> {
        let parsed = VersionSpecifiers::from_str(specifiers).map_err(|error| {
            format!("`{specifiers}`: {}", error.to_string().lines().next().unwrap_or_default())
        })?;
        Ok(self.versions.iter().any(|version| parsed.contains(version)))
    }

    /// Replaces the two kinds of containment.
    fn settle(&self, marker: &str) -> String {
        let tokens = tokens(marker);
        let mut settled = String::with_capacity(marker.len());
        let mut at = 0;
        while at < tokens.len() {
            let (length, negated) = match tokens[at..] {
                [_, "in", "extras" | "dependency_groups", ..] => (3, false),
                [_, "not", "in", "extras" | "dependency_groups", ..] => (4, true),
                _ => {
                    settled.push_str(tokens[at]);
                    settled.push(' ');
                    at += 1;
                    continue;
                }
            };
            let wanted = name::normalise(tokens[at].trim_matches(['"', '\'']));
            let chosen = if tokens[at + length - 1] == "extras" { self.extras } else { self.groups };
            let holds = chosen.iter().any(|name| name::normalise(name) == wanted) != negated;
            settled.push_str(if holds { "os_name == 'posix' " } else { "os_name != 'posix' " });
            at += length;
        }
        settled
    }
}

/// Strings with their quotes, parentheses, and what stands between blanks.
fn tokens(marker: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = marker.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' | '\'' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            '(' | ')' => 1,
            _ => rest
                .find(|c: char| c.is_whitespace() || "()\"'".contains(c))
                .unwrap_or(rest.len())
                .max(first.len_utf8()),
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_those_of_the_target() {
        let target = BuildTarget {
            python: "3.11".parse().unwrap(),
            abi: "cp311".parse().unwrap(),
            interpreter: None,
            machine: "aarch64".to_owned(),
            libc: wheelbarrow_platform::Libc::Glibc(2, 28),
            spec: None,
            libraries: Vec::new(),
            container: None,
        };
        let (extras, groups) = (["Prod_One".to_owned()], ["web".to_owned()]);
        let environment = TargetMarkers::new(&target, &extras, &groups);
        for (marker, holds) in [
            ("python_version >= '3.8' and sys_platform == 'linux'", true),
            ("python_full_version < '3.11' or platform_machine == 'x86_64'", false),
            ("implementation_name != 'PyPy' and platform_python_implementation == 'CPython'", true),
            ("'prod-one' in extras and \"web\" in dependency_groups", true),
            ("('dev' in dependency_groups or 'x' in extras) and os_name == 'posix'", false),
            ("'dev' not in dependency_groups", true),
            ("extra == 'x'", false),
            ("'linux' in sys_platform", true),
        ] {
            assert_eq!(environment.holds(marker), Ok(holds), "{marker}");
        }
        assert!(environment.holds("python_version >").is_err());
        assert_eq!(environment.python_is_in(">=3.11.4,<4"), Ok(true));
        assert_eq!(environment.python_is_in(">=3.12"), Ok(false));
    }
}
