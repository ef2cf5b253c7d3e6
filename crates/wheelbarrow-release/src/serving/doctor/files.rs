//! Configuration files that name a site root.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::FileType;
use wheelbarrow_artifact::release::Server;
use wheelbarrow_base::{Explain, as_user, beneath, read_limited};
use wheelbarrow_wheel::order;

use super::finding::Finding;
use super::site::JudgedSite;
use crate::report::rule;
use crate::root::receipt::Receipt;
use crate::root::release::CompleteRelease;
use crate::root::{lock, settings, trash, trusted, trusted_python};
use crate::{ReleaseError, ReleaseId, Root, environment};

/// How deep configuration is looked for below a directory.
const DEPTH: usize = 3;
/// No such file is longer; what is, is no configuration.
const LONGEST: u64 = 1 << 20;

/// What a file holds; none where it cannot be read as text. What a process names is read with the rights on files that its user
/// has: any user may start one that names any file, and root would read it for him.
pub(super) fn text(path: &Path, process: Option<u32>) -> Option<String> {
    let read = || {
        let (place, stat) = beneath::found(path).ok()?;
        // Where another user may write, a second name may be one of a file that is not theirs to read.
        if place.exposed.is_some() && stat.st_nlink > 1 {
            return None;
        }
        String::from_utf8(read_limited(place.directory.file(&place.name).ok()?, LONGEST).ok()?).ok()
    };
    match process.filter(|_| rustix::process::geteuid().is_root()) {
        Some(pid) => {
            let (user, group) = user_of(pid)?;
            as_user(user, group, read).ok()?
        }
        None => read(),
    }
}

/// The user and the group whose rights a process has, if it has those of no other: whoever starts a program that gets more rights
/// chose its arguments. The owner of `/proc/PID` can be another: root, of one that is not dumpable.
fn user_of(pid: u32) -> Option<(u32, u32)> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status).into_owned();
    let only = |name: &str| {
        let numbers = status.lines().find_map(|line| line.strip_prefix(name))?;
        // The real one, the effective one, and the saved one.
        let numbers: Vec<u32> = numbers.split_whitespace().take(3).flat_map(str::parse).collect();
        numbers.iter().all(|number| *number == numbers[0]).then(|| numbers.first().copied())?
    };
    Some((only("Uid:")?, only("Gid:")?))
}

/// A file, and its lines without comments.
pub(super) struct ConfigurationFile {
    pub(super) path: PathBuf,
    /// Number and text, trimmed, none of them empty.
    pub(super) lines: Vec<(usize, String)>,
}

impl ConfigurationFile {
    /// None where it cannot be read as text. Comments begin with `#` or `;`; a line that ends in a backslash goes on.
    pub(super) fn read(path: &Path) -> Option<Self> {
        Some(Self::of(path, &text(path, None)?))
    }

    /// The same of a file that a process names.
    pub(super) fn read_for(process: Option<u32>, path: &Path) -> Option<Self> {
        Some(Self::of(path, &text(path, process)?))
    }

    fn of(path: &Path, text: &str) -> Self {
        let mut lines: Vec<(usize, String)> = Vec::new();
        let mut goes_on = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !goes_on && (line.is_empty() || line.starts_with(['#', ';'])) {
                continue;
            }
            let part = line.strip_suffix('\\').unwrap_or(line);
            match lines.last_mut().filter(|_| goes_on) {
                Some((_, whole)) => whole.push_str(&format!(" {}", part.trim())),
                None => lines.push((number + 1, part.trim().to_owned())),
            }
            goes_on = line.ends_with('\\');
        }
        Self { path: path.to_path_buf(), lines }
    }

    pub(super) fn names(&self, site: &JudgedSite<'_>) -> bool {
        self.lines.iter().any(|(_, line)| site.is_named_in(line))
    }

    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// `key = value` or `key=value`, of those lines that are like that.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.lines.iter().filter_map(|(number, line)| {
            let (key, value) = line.split_once('=')?;
            Some((*number, key.trim(), value.trim()))
        })
    }

    /// A release that is named by its own path stays what it is.
    pub(super) fn names_a_release(&self, site: &JudgedSite<'_>, findings: &mut Vec<Finding>) {
        let releases = [site.root.path(), &site.real].map(|root| format!("{}/releases/", root.display()));
        for (number, line) in &self.lines {
            let named = releases.iter().find_map(|releases| {
                let rest = &line[line.find(releases)? + releases.len()..];
                rest.split(|next: char| !(next.is_alphanumeric() || next == '-'))
                    .next()?
                    .parse::<ReleaseId>()
                    .ok()
            });
            let Some(id) = named else { continue };
            let root = site.root.path().display();
            findings.push(Finding {
                rule: rule::NAMES_A_RELEASE,
                place: self.place(*number),
                what: format!("it names the release {id}, and stays with it whatever is live"),
                hint: format!("{root}/current instead of {root}/releases/{id}"),
            });
        }
    }
}

/// What is wrong with the files of the root itself: settings that nobody believes, and what cannot be removed.
pub(super) fn under_root(root: &Root) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in [settings::FILE, environment::ENVIRONMENT] {
        let Err(error @ ReleaseError::Untrusted { .. }) = trusted::read(root, name) else { continue };
        let place = root.shared().join(name).display().to_string();
        findings.push(untrusted(place, &error, "so every command that needs it is refused"));
    }
    let is_at_work = lock::holder(root).is_some();
    for path in trash::left(root).into_iter().filter(|_| !is_at_work) {
        findings.push(Finding {
            rule: rule::LEFT_IN_TRASH,
            place: path.display().to_string(),
            what: "a removed release that could not be deleted takes up space".to_owned(),
            hint: "`wheelbarrow recover` as root shows the reason; then `umount`, `chattr -i` or `rm -r --one-file-system`"
                .to_owned(),
        });
    }
    findings
}

/// A Python that the site's user could write, which `env set` would run as root.
pub(super) fn python(release: &CompleteRelease) -> Option<Finding> {
    let receipt = Receipt::of(release).ok()?;
    let error = trusted_python::check(receipt.python()).err();
    let error = error.filter(|error| matches!(error, ReleaseError::ForeignPython { .. }))?;
    let place = receipt.python().display().to_string();
    Some(untrusted(place, &error, "so `env` cannot make a release of the live one"))
}

/// A program that reloads the server, which the site's user could write.
pub(super) fn reload(server: &Server) -> Option<Finding> {
    let Server::Command { command } = server else { return None };
    let error = trusted_python::check_command(command.program()).err()?;
    Some(untrusted(command.program().to_owned(), &error, "and until then every deploy is refused"))
}

fn untrusted(place: String, error: &ReleaseError, therefore: &str) -> Finding {
    let (what, hint) = (format!("{error}, {therefore}"), error.hint().unwrap_or_default());
    Finding { rule: rule::UNTRUSTED_FILE, place, what, hint }
}

/// Every file below these directories of a machine that can be read, in order; a directory that is not there has none.
pub(super) fn below(
    machine: &Path,
    directories: &[&str],
    wanted: fn(&Path) -> bool,
) -> Vec<ConfigurationFile> {
    let mut paths = Vec::new();
    for directory in directories {
        collect(&machine.join(directory.trim_start_matches('/')), DEPTH, &mut paths);
    }
    // A file that several links lead to is one.
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|(path, real)| wanted(path) && seen.insert(real.clone()));
    paths.iter().filter_map(|(path, _)| ConfigurationFile::read(path)).collect()
}

/// The paths of files, and their real paths. No link of another user is followed, and no file system of one is asked.
fn collect(directory: &Path, depth: usize, paths: &mut Vec<(PathBuf, PathBuf)>) {
    let mut entries: Vec<_> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    order::sort(&mut entries);
    for path in entries {
        let Ok((place, stat)) = beneath::found(&path) else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth > 1 => collect(&path, depth - 1, paths),
            FileType::RegularFile => paths.push((path, place.path)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn what_a_process_names_is_read_with_its_rights() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root reads what others may not");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("secret");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let mut other = std::process::Command::new("sleep").arg("60").uid(4321).gid(4321).spawn().unwrap();
        let mut own = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(text(&path, None).as_deref(), Some("secret"));
        assert_eq!(text(&path, Some(own.id())).as_deref(), Some("secret"));
        assert_eq!(text(&path, Some(other.id())), None);
        // What a file of root's names may lie in a directory of another user.
        let theirs = place.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        for name in ["file", "second"] {
            fs::write(theirs.join(name), name).unwrap();
        }
        fs::hard_link(theirs.join("second"), theirs.join("name")).unwrap();
        std::os::unix::fs::symlink(&path, theirs.join("link")).unwrap();
        let read = || ["file", "link", "second"].map(|name| text(&theirs.join(name), None).is_some());
        assert_eq!(read(), [true; 3]);
        std::os::unix::fs::chown(&theirs, Some(4321), None).unwrap();
        assert_eq!(read(), [true, false, false]);
        for child in [&mut own, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
