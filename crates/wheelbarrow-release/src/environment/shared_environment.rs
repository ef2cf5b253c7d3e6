//! `ROOT/shared/environment.json`: read, changed by name, and replaced atomically with the same mode and
//! owner.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use fs_err as fs;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use wheelbarrow_base::beneath;
use wheelbarrow_base::json;
use wheelbarrow_wheel::order;

use crate::command::identity::Identity;
use crate::environment::{ENVIRONMENT, PRIVATE, without_mark};
use crate::root::release::CompleteRelease;
use crate::root::trusted;
use crate::{ReleaseError, Root};

/// What the file is called until it is in place; one that a killed run left is replaced, or removed by the next command.
const NEW: &str = ".environment.json.wheelbarrow-new";

/// A change of one variable. It has no `Debug`, so that no value of it is ever printed.
pub enum VariableChange {
    Set {
        name: String,
        value: String,
    },
    Unset {
        name: String,
    },
    /// What stands in the file by now.
    Nothing,
    /// All of it, as the text of an environment.json, which was found to be one.
    Replace {
        text: Vec<u8>,
    },
    /// These beside what is there.
    Merge {
        text: Vec<u8>,
    },
}

/// Names of variables by which two environments differ; never a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EnvironmentDifference {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

/// Names and values in the order of the file. It has no `Debug`, as [`VariableChange`].
#[derive(Default)]
pub(crate) struct Variables(Vec<(String, String)>);

impl EnvironmentDifference {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Variables {
    /// Of text that was found to be an environment.json.
    pub(crate) fn parse(text: &[u8]) -> Self {
        json::from_slice(without_mark(text)).unwrap_or_default()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A variable that is there keeps its place; a new one comes last.
    pub(crate) fn change(&mut self, change: &VariableChange) {
        match change {
            VariableChange::Set { name, value } => match self.0.iter_mut().find(|(found, _)| found == name) {
                Some((_, old)) => old.clone_from(value),
                None => self.0.push((name.clone(), value.clone())),
            },
            VariableChange::Unset { name } => self.0.retain(|(found, _)| found != name),
            VariableChange::Nothing => {}
            VariableChange::Replace { text } => {
                *self = Self::parse(text);
                // So that the same variables are the same file on every machine.
                order::sort(&mut self.0);
            }
            VariableChange::Merge { text } => {
                for (name, value) in Self::parse(text).0 {
                    self.change(&VariableChange::Set { name, value });
                }
            }
        }
    }

    pub(crate) fn difference(&self, later: &Self) -> EnvironmentDifference {
        let missing = |names: &Self, other: &Self| {
            names.names().into_iter().filter(|name| other.get(name).is_none()).collect()
        };
        let both = self.0.iter().filter(|(name, value)| later.get(name).is_some_and(|other| other != value));
        EnvironmentDifference {
            added: missing(later, self),
            removed: missing(self, later),
            changed: both.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// One variable a line.
    pub(crate) fn to_text(&self) -> Vec<u8> {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let lines: Vec<String> =
            self.0.iter().map(|(name, value)| format!("  {}: {}", quote(name), quote(value))).collect();
        let inside = if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join(",\n")) };
        format!("{{{inside}}}\n").into_bytes()
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Variables;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Variables, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Variables(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// A name that every shell and every service manager takes. What is told of a wrong one ends before a `=`, since what
/// follows may be a value.
pub fn check_name(name: &str) -> Result<(), ReleaseError> {
    let is_word = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    let reason = match () {
        () if name.is_empty() => "it is empty",
        () if name.contains('=') => {
            "do not pass the value as an argument; it is prompted for, or read from standard input"
        }
        () if !is_word => "it is not made of letters, digits and underscores",
        () if name.starts_with(|first: char| first.is_ascii_digit()) => "it begins with a digit",
        () => return Ok(()),
    };
    let name = name.split('=').next().unwrap_or_default().escape_debug().to_string();
    Err(ReleaseError::Name { name, reason })
}

/// The environment of a release.
pub(crate) fn of_release(release: &CompleteRelease) -> Result<Variables, ReleaseError> {
    let found = release.read_if_there(ENVIRONMENT)?;
    Ok(found.map(|text| Variables::parse(&text)).unwrap_or_default())
}

/// What is in place before [`publish`].
pub(crate) enum PreviousFile {
    /// What the release has, so that there is nothing to do.
    Same,
    Missing,
    Was {
        text: Vec<u8>,
        metadata: std::fs::Metadata,
    },
}

pub(crate) fn before(root: &Root, release: &CompleteRelease) -> Result<PreviousFile, ReleaseError> {
    let own = release.read_if_there(ENVIRONMENT)?;
    Ok(match trusted::read(root, ENVIRONMENT)? {
        Some((text, _)) if own.as_ref() == Some(&text) => PreviousFile::Same,
        Some((text, metadata)) => PreviousFile::Was { text, metadata },
        None if own.is_none() => PreviousFile::Same,
        None => PreviousFile::Missing,
    })
}

/// Puts the environment of a release in place as the shared one, whole and synced. Mode and owner stay those of the file
/// that is there, else they are those of the release's own.
pub(crate) fn publish(
    root: &Root,
    release: &CompleteRelease,
    before: &PreviousFile,
) -> Result<(), ReleaseError> {
    let Some(own) = release.read_if_there(ENVIRONMENT)? else { return Ok(()) };
    let (user, group, mode) = match before {
        PreviousFile::Same => return Ok(()),
        PreviousFile::Missing => {
            let directory = release.open()?;
            let path = release.path().join(ENVIRONMENT);
            let like = directory.stat_at(ENVIRONMENT).map_err(ReleaseError::io("look at", &path))?;
            (like.st_uid, like.st_gid, like.st_mode)
        }
        PreviousFile::Was { metadata, .. } => (metadata.uid(), metadata.gid(), metadata.mode()),
    };
    replace(root, &own, Some(user), Some(group), mode & 0o777)
}

/// Undoes [`publish`], as far as can be.
pub(crate) fn unpublish(root: &Root, before: &PreviousFile) {
    match before {
        PreviousFile::Same => {}
        PreviousFile::Missing => _ = fs::remove_file(path(root)),
        PreviousFile::Was { text, metadata } => {
            let (user, group) = (Some(metadata.uid()), Some(metadata.gid()));
            let _ = replace(root, text, user, group, metadata.mode() & 0o777);
        }
    }
}

/// Writes the shared file where nothing is live that could take it.
pub(crate) fn write(root: &Root, text: &[u8], identity: Option<&Identity>) -> Result<(), ReleaseError> {
    match trusted::read(root, ENVIRONMENT)? {
        Some((_, now)) => replace(root, text, Some(now.uid()), Some(now.gid()), now.mode() & 0o777),
        None => replace(root, text, None, identity.and_then(|identity| identity.group), PRIVATE),
    }
}

/// Removes what a killed run has not put in place: there are passwords in it. Where another user may write it is theirs
/// to remove, and keeps nobody from working.
pub(crate) fn forget_new(root: &Root) -> Result<(), ReleaseError> {
    let Ok(place) = trusted::to_write(root, ENVIRONMENT) else { return Ok(()) };
    place.directory.unlink(OsStr::new(NEW)).map_err(ReleaseError::io("remove", &root.shared().join(NEW)))
}

pub(crate) fn path(root: &Root) -> PathBuf {
    root.shared().join(ENVIRONMENT)
}

fn replace(
    root: &Root,
    text: &[u8],
    user: Option<u32>,
    group: Option<u32>,
    mode: u32,
) -> Result<(), ReleaseError> {
    forget_new(root)?;
    let path = path(root);
    let place = trusted::to_write(root, ENVIRONMENT)?;
    let written = (|| {
        let mut file = place.directory.create(OsStr::new(NEW), 0o600)?;
        file.write_all(text)?;
        // The owner is given first: until then nobody else may read it.
        beneath::give(file.as_fd(), user, group)?;
        file.set_permissions(PermissionsExt::from_mode(mode))?;
        file.sync_all()?;
        place.directory.rename(OsStr::new(NEW), &place.directory, &place.name)
    })();
    written.map_err(|error| {
        let _ = forget_new(root);
        ReleaseError::io("write", &path)(error)
    })?;
    crate::root::current::sync(&root.shared())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_variables_keep_their_position() {
        let mut variables = Variables::parse(br#"{"B": "1", "A": "\"2\"\n", "C": "3"}"#);
        let before = Variables::parse(&variables.to_text());
        assert!(before.difference(&variables).is_empty());
        variables.change(&VariableChange::Set { name: "B".to_owned(), value: "é".to_owned() });
        variables.change(&VariableChange::Set { name: "D".to_owned(), value: String::new() });
        variables.change(&VariableChange::Unset { name: "C".to_owned() });
        let text = String::from_utf8(variables.to_text()).unwrap();
        assert_eq!(text, "{\n  \"B\": \"é\",\n  \"A\": \"\\\"2\\\"\\n\",\n  \"D\": \"\"\n}\n");
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let difference = before.difference(&variables);
        assert_eq!(difference.added, names(&["D"]));
        assert_eq!(difference.removed, names(&["C"]));
        assert_eq!(difference.changed, names(&["B"]));
        assert_eq!(Variables::default().to_text(), b"{}\n");
    }

    #[test]
    fn errors_about_names_hide_values() {
        let told = |name| check_name(name).unwrap_err().to_string();
        assert!(check_name("SECRET_KEY2").is_ok());
        assert!(!told("KEY=hunter2").contains("hunter2"));
        for wrong in ["", "2KEY", "A-B", "A B", "Ä", "A\n"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
