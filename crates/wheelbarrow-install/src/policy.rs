//! SELinux and fapolicyd, which can prevent programs of an install from starting, and its files from being
//! read.
//!
//! Only cases that a policy certainly refuses are reported: types of files in homes and in directories that no
//! policy has. They were seen with Debian's policy in a virtual machine, and not with Red Hat's.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fs_err as fs;
use serde::Serialize;
use wheelbarrow_base::{beneath, read_regular, shell_word};
use wheelbarrow_wheel::order;

/// What the kernel is told to do with what its policy refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SelinuxMode {
    Enforcing,
    /// It is written to the log, and let pass.
    Permissive,
}

/// Neither systemd starts programs of these types, nor does a confined web server read them.
const REFUSED: [&str; 7] = [
    "admin_home_t",
    "default_t",
    "home_root_t",
    "unlabeled_t",
    "user_home_dir_t",
    "user_home_t",
    "user_tmp_t",
];
/// Where fapolicyd has its configuration.
pub const FAPOLICYD: &str = "etc/fapolicyd";
/// Where fapolicyd has what it trusts.
const TRUST: [&str; 4] = ["fapolicyd.trust", "fapolicyd.rules", "trust.d", "rules.d"];
/// A list of trusted files is longer than other configuration, in bytes.
const LONGEST: u64 = 16 << 20;

/// The SELinux label of a file.
pub trait Labels {
    /// Of the path itself, if it is a link; none where there is none.
    fn label(&self, path: &Path) -> Option<String>;

    /// The type in that label: `bin_t`.
    fn kind(&self, path: &Path) -> Option<String> {
        // USER:ROLE:TYPE:LEVEL
        Some(self.label(path)?.split(':').nth(2)?.to_owned())
    }
}

/// As the kernel says.
pub struct KernelLabels;

impl Labels for KernelLabels {
    fn label(&self, path: &Path) -> Option<String> {
        // A user may have mounted a file system there.
        beneath::found(path).ok()?;
        let mut label = [0; 256];
        let length = rustix::fs::lgetxattr(path, "security.selinux", &mut label[..]).ok()?;
        let label = label[..length].strip_suffix(b"\0").unwrap_or(&label[..length]);
        Some(OsStr::from_bytes(label).to_string_lossy().into_owned())
    }
}

/// Nothing where the kernel has no SELinux, or it is disabled. `machine` is its `/`.
pub fn selinux_mode(machine: &Path) -> Option<SelinuxMode> {
    let enforce = fs::read(machine.join("sys/fs/selinux/enforce")).ok()?;
    Some(if enforce.starts_with(b"1") { SelinuxMode::Enforcing } else { SelinuxMode::Permissive })
}

/// Whether systemd starts no program of this type, and no web server reads it.
pub fn is_refused(kind: &str) -> bool {
    REFUSED.contains(&kind)
}

/// Whether fapolicyd runs, and nothing that it trusts is `named`: a test of the text of each of its files.
pub fn fapolicyd_trusts_none(machine: &Path, named: &dyn Fn(&str) -> bool) -> bool {
    // What its service makes, and removes at its end.
    let runs =
        ["run/fapolicyd/fapolicyd.fifo", "run/fapolicyd.pid"].iter().any(|path| machine.join(path).exists());
    let configuration = machine.join(FAPOLICYD);
    runs && configuration.is_dir() && !trust_files(&configuration).iter().any(|text| named(text))
}

/// The texts of what is trusted.
fn trust_files(configuration: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for path in TRUST.map(|name| configuration.join(name)) {
        match fs::read_dir(&path) {
            Ok(entries) => paths.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => paths.push(path),
        }
    }
    order::sort(&mut paths);
    paths.iter().filter_map(|path| String::from_utf8(read_regular(path, LONGEST).ok()?).ok()).collect()
}

/// Whether a text speaks of the path, and not of one whose name only begins like it.
pub fn names(text: &str, path: &Path) -> bool {
    let path = path.to_string_lossy();
    let after = |(place, _): (usize, &str)| text[place + path.len()..].chars().next();
    let ends = |next: char| !(next.is_alphanumeric() || "-_.".contains(next));
    text.match_indices(path.as_ref()).map(after).any(|next| next.is_none_or(ends))
}

/// Whether one of the rules is for a whole directory that the path is in.
fn has_rule_above(text: &str, path: &Path) -> bool {
    let directories = text.split([' ', ',', '\t', '\n']).filter_map(|word| word.strip_prefix("dir=/"));
    directories
        .map(|directory| Path::new("/").join(directory))
        .any(|directory| directory.parent().is_some() && path.starts_with(directory))
}

/// What refuses an install in `destination` once it is there, each with a hint; `standing` is the nearest directory that exists.
pub(crate) fn notes(
    machine: &Path,
    labels: &dyn Labels,
    standing: &Path,
    destination: &Path,
) -> Vec<(String, String)> {
    let mut notes = Vec::new();
    let kind = (selinux_mode(machine) == Some(SelinuxMode::Enforcing)).then(|| labels.kind(standing));
    if let Some(kind) = kind.flatten().filter(|kind| is_refused(kind)) {
        notes.push((
            format!(
                "SELinux enforces its policy, and files that are made in {} have the type {kind}: systemd cannot start the \
                 site's Python, and a web server cannot read static files",
                standing.display()
            ),
            "name a destination below /srv or /opt, or add file contexts with `semanage fcontext` and run `restorecon -R` \
             after the install"
                .to_owned(),
        ));
    }
    if fapolicyd_trusts_none(machine, &|text| names(text, destination) || has_rule_above(text, destination)) {
        let rule = shell_word(&format!("allow perm=any all : dir={}/", destination.display()));
        notes.push((
            format!(
                "fapolicyd runs, which refuses programs and libraries that it does not trust, and nothing in it names {}",
                destination.display()
            ),
            format!(
                "`echo {rule} >/etc/fapolicyd/rules.d/35-wheelbarrow.rules && systemctl restart fapolicyd` trusts all files there"
            ),
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Of(&'static str);

    impl Labels for Of {
        fn label(&self, _: &Path) -> Option<String> {
            Some(format!("system_u:object_r:{}:s0", self.0))
        }
    }

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn told(machine: &Path, labels: &dyn Labels) -> Vec<String> {
        let found = notes(machine, labels, Path::new("/home/ada"), Path::new("/home/ada/sites/site"));
        found.into_iter().map(|(what, hint)| format!("{what}; hint: {hint}")).collect()
    }

    #[test]
    fn types_that_an_enforcing_policy_refuses_are_found() {
        let machine = tempfile::tempdir().unwrap();
        let (machine, home) = (machine.path(), Of("user_home_t"));
        assert_eq!(told(machine, &home), [""; 0], "no SELinux");
        write(machine.join("sys/fs/selinux/enforce"), "0");
        assert_eq!(told(machine, &home), [""; 0], "it is permissive");
        write(machine.join("sys/fs/selinux/enforce"), "1");
        assert_eq!(told(machine, &Of("var_t")), [""; 0]);
        let said = "SELinux enforces its policy, and files that are made in /home/ada have the type user_home_t: systemd cannot \
                    start the site's Python, and a web server cannot read static files; hint: name a destination below /srv or \
                    /opt, or add file contexts with `semanage fcontext` and run `restorecon -R` after the install";
        assert_eq!(told(machine, &home), [said], "and in `policy.py`");
    }

    #[test]
    fn a_fapolicyd_that_does_not_know_the_destination_is_found() {
        let machine = tempfile::tempdir().unwrap();
        let (machine, plain) = (machine.path(), Of("usr_t"));
        let rules = machine.join("etc/fapolicyd/rules.d/90-deny-execute.rules");
        write(
            rules.clone(),
            "deny_audit perm=execute all : all\nallow perm=any all : dir=/home/ada/site dir=/\n",
        );
        assert_eq!(told(machine, &plain), [""; 0], "it does not run");
        write(machine.join("run/fapolicyd.pid"), "1");
        let said = "fapolicyd runs, which refuses programs and libraries that it does not trust, and nothing in it names \
                    /home/ada/sites/site; hint: `echo 'allow perm=any all : dir=/home/ada/sites/site/' \
                    >/etc/fapolicyd/rules.d/35-wheelbarrow.rules && systemctl restart fapolicyd` trusts all files there";
        assert_eq!(told(machine, &plain), [said], "and in `policy.py`");
        for rule in [
            "allow perm=any all : dir=/home/ada/",
            "allow all : dir=/home/ada/sites/site/,execdirs",
            "/home/ada/sites/site/x 1 a",
        ] {
            write(rules.clone(), rule);
            assert_eq!(told(machine, &plain), [""; 0], "{rule}");
        }
    }
}
