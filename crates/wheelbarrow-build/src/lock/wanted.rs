//! The optional parts of a project to install: extras and dependency groups, chosen as in uv.
//! <https://packaging.python.org/en/latest/specifications/dependency-groups/>

use std::path::Path;

use wheelbarrow_wheel::name;

use super::Pylock;
use crate::inputs::Inputs;
use crate::{Error, Result};

/// Groups that nobody wants on a server, unless they say so.
const NOT_ON_SERVERS: &str = "dev";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedLock {
    pub extras: Vec<String>,
    pub all_extras: bool,
    /// Beside the default ones.
    pub groups: Vec<String>,
    pub all_groups: bool,
    /// Left out, whatever else names them.
    pub no_groups: Vec<String>,
    pub no_default_groups: bool,
}

impl WantedLock {
    /// Whether anything was asked for that a plain list of requirements does not have.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses names that the inputs do not have, as far as uv does not.
    pub(super) fn check(&self, inputs: &Inputs, pylock: Option<&Pylock>) -> Result<()> {
        let (extras, groups) = match (inputs, pylock) {
            (_, Some(pylock)) => (
                Some(pylock.extras.clone()),
                [pylock.dependency_groups.as_slice(), &pylock.default_groups].concat(),
            ),
            (Inputs::Project(_), _) => (None, inputs.groups()),
            (Inputs::Requirements(_), _) if !self.is_nothing() => {
                return Err(Error::NoExtras { inputs: inputs.describe() });
            }
            _ => return Ok(()),
        };
        let lists = [
            ("extra", &self.extras, extras.as_ref()),
            ("dependency group", &self.groups, Some(&groups)),
            ("dependency group", &self.no_groups, Some(&groups)),
        ];
        for (what, names, known) in lists {
            let Some(known) = known else { continue };
            if let Some(name) = names.iter().find(|name| !contains(known, name)) {
                let (inputs, name) = (inputs.describe(), name.clone());
                return Err(Error::UnknownName { inputs, what, name, known: known.clone() });
            }
        }
        Ok(())
    }

    /// For a digest: the same text for the same wishes.
    pub(super) fn text(&self) -> String {
        if self.is_nothing() { String::new() } else { format!("{self:?}\n") }
    }

    pub(super) fn extras_of(&self, pylock: &Pylock) -> Vec<String> {
        if self.all_extras { pylock.extras.clone() } else { normalised(&self.extras) }
    }

    /// Default groups and named ones, without those that are not wanted.
    pub(super) fn groups_of(&self, pylock: &Pylock) -> Vec<String> {
        let mut groups = Vec::new();
        if !self.no_default_groups {
            groups.extend_from_slice(&pylock.default_groups);
        }
        if self.all_groups {
            groups.extend_from_slice(&pylock.dependency_groups);
        }
        groups.extend(normalised(&self.groups));
        groups.retain(|group| !contains(&self.no_groups, group));
        groups
    }

    /// For `uv export`, which knows all of them. The group `dev` is a default one in uv; it stays out here.
    pub(super) fn tell_export(&self, command: &mut std::process::Command) {
        let dev_is_named = self.all_groups || contains(&self.groups, NOT_ON_SERVERS);
        if !dev_is_named {
            // Not `--no-group dev`, which uv refuses where the project has no such group.
            command.arg("--no-dev");
        }
        for (flag, is_set) in [
            ("--all-extras", self.all_extras),
            ("--all-groups", self.all_groups),
            ("--no-default-groups", self.no_default_groups),
        ] {
            command.args(is_set.then_some(flag));
        }
        let lists = [("--extra", &self.extras), ("--group", &self.groups), ("--no-group", &self.no_groups)];
        for (flag, names) in lists {
            for name in names {
                command.args([flag, name]);
            }
        }
    }

    /// For `uv pip compile` of `file`, a pyproject.toml, which has no default groups and must be told each by its name.
    pub(super) fn tell_compile(&self, command: &mut std::process::Command, file: &Path, groups: &[String]) {
        if self.all_extras {
            command.arg("--all-extras");
        }
        for extra in &self.extras {
            command.args(["--extra", extra]);
        }
        let all = if self.all_groups { groups } else { &self.groups[..] };
        for group in all.iter().filter(|group| !contains(&self.no_groups, group)) {
            command.arg("--group").arg(format!("{}:{group}", file.display()));
        }
    }
}

fn normalised(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name::normalise(name)).collect()
}

fn contains(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| name::normalise(name) == name::normalise(wanted))
}
