//! Wheelbarrow's own units in systemd: writes them, and removes those that are no longer needed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_artifact::release::Manager;
use wheelbarrow_base::{open_no_link, read_limited, write_atomic};
use wheelbarrow_wheel::order::Inserted;

use super::Unit;
use super::service_unit::is_of;
use crate::{ReleaseError, Root};

/// Where the units of this machine are that no package brought.
const DIRECTORY: &str = "/etc/systemd/system";
/// Where systemd finds the units that others have installed; a unit in /etc takes their place. systemd.unit(5) has the list.
const LOADED: [&str; 6] = [
    "/run/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const OF_USERS: [&str; 4] =
    ["/etc/systemd/user", "/run/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"];
const KINDS: [&str; 4] = ["service", "socket", "timer", "target"];

/// Bytes of a unit that are looked at.
const LONGEST: u64 = 1 << 20;

/// The unit of this machine that a unit of this name would replace: a unit of the same name, or its template.
pub fn shadowed(manager: Manager, name: &str) -> Option<PathBuf> {
    match manager {
        Manager::System => shadowed_in(&LOADED.map(Path::new), name),
        Manager::User => shadowed_in(&OF_USERS.map(Path::new), name),
    }
}

/// Where units are written.
pub fn directory(manager: Manager) -> PathBuf {
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty());
    let of_user = || std::env::var_os("XDG_CONFIG_HOME").filter(|path| Path::new(path).is_absolute());
    match manager {
        Manager::System => DIRECTORY.into(),
        Manager::User => of_user()
            .map_or_else(|| Path::new(&home().unwrap_or_else(|| "/".into())).join(".config"), PathBuf::from)
            .join("systemd/user"),
    }
}

fn shadowed_in(directories: &[&Path], name: &str) -> Option<PathBuf> {
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    let template = name.split_once('@').map(|(template, _)| format!("{template}@.{kind}"));
    let names = [Some(name.to_owned()), template];
    let paths =
        names.into_iter().flatten().flat_map(|name| directories.iter().map(move |one| one.join(&name)));
    paths.into_iter().find(|path| fs::symlink_metadata(path).is_ok())
}

/// The units in a directory that were written for this root.
pub fn written(root: &Path, directory: &Path) -> Result<BTreeSet<String>, ReleaseError> {
    let root = Root::trusted_at(root)?;
    Installed { directory: directory.to_path_buf(), manager: Manager::System, root: &root }.names()
}

/// Units in a directory.
pub(crate) struct Installed<'r> {
    directory: PathBuf,
    manager: Manager,
    root: &'r Root,
}

impl<'r> Installed<'r> {
    pub(crate) fn of(root: &'r Root, manager: Manager) -> Self {
        Self { directory: directory(manager), manager, root }
    }

    /// Refuses a unit if a unit of that name exists which was not written for this root, here or among the units of packages.
    pub(crate) fn refuse_foreign(&self, wanted: &[Unit]) -> Result<(), ReleaseError> {
        for unit in wanted {
            if let Some(path) = shadowed(self.manager, &unit.name) {
                return Err(ReleaseError::ForeignUnit { path });
            }
            let path = self.directory.join(&unit.name);
            let is_free = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => true,
                Err(error) => return Err(ReleaseError::io("look at", &path)(error)),
                Ok(_) => self.is_own(&path),
            };
            if !is_free {
                return Err(ReleaseError::ForeignUnit { path });
            }
        }
        Ok(())
    }

    /// Writes those that are not as they should be; whether there were any.
    pub(crate) fn write(&self, wanted: &[Unit]) -> Result<bool, ReleaseError> {
        self.refuse_foreign(wanted)?;
        if self.manager == Manager::User && !wanted.is_empty() {
            fs::create_dir_all(&self.directory).map_err(ReleaseError::io("make", &self.directory))?;
        }
        let mut has_changed = false;
        for unit in wanted {
            let path = self.directory.join(&unit.name);
            if fs::read_to_string(&path).is_ok_and(|text| text == unit.text) {
                continue;
            }
            write_atomic(&path, unit.text.as_bytes(), 0o644)?;
            has_changed = true;
        }
        Ok(has_changed)
    }

    /// The names of those that were written for this root.
    pub(crate) fn names(&self) -> Result<BTreeSet<String>, ReleaseError> {
        let entries = match fs::read_dir(&self.directory) {
            // HOME can be a file, or another user's: nothing was written there.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(BTreeSet::new());
            }
            entries => entries.map_err(ReleaseError::io("list", &self.directory))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let is_kind = |name: &String| name.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind));
        Ok(names.filter(is_kind).filter(|name| self.is_own(&self.directory.join(name))).inserted())
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), ReleaseError> {
        let path = self.directory.join(name);
        fs::remove_file(&path).map_err(ReleaseError::io("remove", &path))
    }

    fn is_own(&self, path: &Path) -> bool {
        // The directory of `unit --write` may be one that others write into.
        let text = open_no_link(path).and_then(|file| read_limited(file, LONGEST));
        text.is_ok_and(|text| is_of(&self.root.path().to_string_lossy(), &String::from_utf8_lossy(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_the_machine_are_not_replaced() {
        let place = tempfile::tempdir().unwrap();
        for name in ["ssh.service", "getty@.service"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        let found = |name: &str| shadowed_in(&[Path::new("/nowhere"), place.path()], name);
        assert_eq!(found("ssh.service"), Some(place.path().join("ssh.service")));
        assert_eq!(found("getty@site.service"), Some(place.path().join("getty@.service")));
        for free in ["ssh.socket", "sshd.service", "site.service", "getty.service", "getty@site.socket"] {
            assert_eq!(found(free), None, "{free}");
        }
    }

    #[test]
    fn only_units_of_this_root_are_written_and_found() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(&place.path().join("root")).unwrap();
        let directory = place.path().join("units");
        fs::create_dir(&directory).unwrap();
        let installed = Installed { directory: directory.clone(), manager: Manager::System, root: &root };
        fs::write(place.path().join("file"), "").unwrap();
        let below_a_file = Installed {
            directory: place.path().join("file/systemd/user"),
            manager: Manager::User,
            root: &root,
        };
        assert!(below_a_file.names().unwrap().is_empty(), "as of a user whose HOME is /dev/null");
        let own = format!("# Written by Wheelbarrow for {}. More.\n", root.path().display());
        let unit = |name: &str, text: &str| Unit { name: name.to_owned(), text: text.to_owned() };
        let wanted = [unit("a.service", &own), unit("b.timer", &own)];
        assert!(installed.write(&wanted).unwrap());
        assert!(!installed.write(&wanted).unwrap(), "nothing has changed");
        assert!(installed.write(&[unit("a.service", &format!("{own}[Unit]\n"))]).unwrap());

        let foreign = [
            ("c.service", "[Unit]\n".to_owned()),
            ("d.service", own.replace("/root.", "/root2.")),
            ("e.service", own.replace("/root.", "/root/2.")),
        ];
        for (name, text) in &foreign {
            fs::write(directory.join(name), text).unwrap();
            let error = installed.write(&[unit(name, &own)]).unwrap_err();
            assert!(matches!(error, ReleaseError::ForeignUnit { .. }), "{error}");
            assert_eq!(fs::read_to_string(directory.join(name)).unwrap(), *text);
        }
        fs::write(directory.join("f.conf"), &own).unwrap();
        std::os::unix::fs::symlink("a.service", directory.join("g.service")).unwrap();
        assert_eq!(installed.names().unwrap(), ["a.service", "b.timer"].map(str::to_owned).into());
        installed.remove("b.timer").unwrap();
        assert_eq!(installed.names().unwrap(), ["a.service"].map(str::to_owned).into());
    }
}
