//! SELinux and fapolicyd, which can prevent programs of a release from starting, and its files from being
//! read.
//!
//! Only cases that a policy certainly refuses are reported: types of files in homes and in directories that no
//! policy has, and static files with the type of `/srv`. They were seen with Debian's policy in
//! a virtual machine, and not with Red Hat's.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;
use wheelbarrow_artifact::manifest::INTERPRETER;
use wheelbarrow_base::{read_regular, shell_word};
use wheelbarrow_wheel::order;

use super::finding::Finding;
use super::site::JudgedSite;
use crate::report::rule;

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
/// What a web server does not read, and systemd starts: files that are made below `/srv`.
const NOT_READ: &str = "var_t";
/// Where fapolicyd has what it trusts.
const TRUST: [&str; 4] = ["fapolicyd.trust", "fapolicyd.rules", "trust.d", "rules.d"];
/// A list of trusted files is longer than other configuration, in bytes.
const LONGEST: u64 = 16 << 20;

/// The SELinux label of a file.
pub(super) trait Labels {
    /// Of the path itself, if it is a link; none where there is none.
    fn label(&self, path: &Path) -> Option<String>;
}

/// As the kernel says.
pub(super) struct KernelLabels;

impl Labels for KernelLabels {
    fn label(&self, path: &Path) -> Option<String> {
        let mut label = [0; 256];
        let length = rustix::fs::lgetxattr(path, "security.selinux", &mut label[..]).ok()?;
        let label = label[..length].strip_suffix(b"\0").unwrap_or(&label[..length]);
        Some(OsStr::from_bytes(label).to_string_lossy().into_owned())
    }
}

/// Nothing where the kernel has no SELinux, or it is disabled.
pub(super) fn selinux_mode(machine: &Path) -> Option<SelinuxMode> {
    let enforce = fs::read(machine.join("sys/fs/selinux/enforce")).ok()?;
    Some(if enforce.starts_with(b"1") { SelinuxMode::Enforcing } else { SelinuxMode::Permissive })
}

/// The paths that systemd starts or a web server reads, and whose types that refuses.
pub(super) fn judge_labels(
    site: &JudgedSite<'_>,
    mode: Option<SelinuxMode>,
    labels: &dyn Labels,
    findings: &mut Vec<Finding>,
) {
    if mode != Some(SelinuxMode::Enforcing) {
        return;
    }
    let wrong = looked_at(site).into_iter().filter_map(|(path, is_static)| {
        let label = labels.label(&path)?;
        // USER:ROLE:TYPE:LEVEL
        let kind = label.split(':').nth(2)?;
        let is_refused = REFUSED.contains(&kind) || is_static && kind == NOT_READ;
        is_refused.then(|| format!("{} has the type {kind}", path.display()))
    });
    let wrong: Vec<_> = wrong.collect();
    if wrong.is_empty() {
        return;
    }
    let root = site.root.path().display().to_string();
    let pattern = regex_quoted(&root);
    let all = shell_word(&format!("{pattern}(/.*)?"));
    let programs = shell_word(&format!("{pattern}/(releases|store)/.*/bin(/.*)?"));
    findings.push(Finding {
        rule: rule::SELINUX_LABEL,
        place: root.clone(),
        what: format!(
            "SELinux enforces its policy, and {}: systemd cannot start the site's Python, or a web server cannot read static files",
            wrong.join(", ")
        ),
        fix: format!(
            "semanage fcontext -a -t httpd_sys_content_t {all} && semanage fcontext -a -t bin_t {programs} && restorecon {} {} {} && restorecon -R {}",
            shell_word(&root),
            shell_word(&site.root.current().display().to_string()),
            shell_word(&format!("{root}/shared")),
            // Not of all: the site's user could exchange what is below shared meanwhile.
            shell_word(&format!("{root}/releases"))
        ),
    });
}

/// The root, the Python that is started, and, with `true`, the static files.
fn looked_at(site: &JudgedSite<'_>) -> Vec<(PathBuf, bool)> {
    let mut paths = vec![(site.root.path().to_path_buf(), false), (site.root.current(), false)];
    let Some(live) = &site.live else { return paths };
    let release = site.root.release(live);
    paths.push((release.join("venv/bin/python"), false));
    let own = release.join(INTERPRETER).join("bin");
    if own.is_dir() {
        paths.push((own, false));
    }
    let Some(settings) = &site.settings else { return paths };
    paths.extend(settings.collected.iter().map(|root| (release.join(root.as_str()), true)));
    let code = site.root.complete(live).ok().and_then(|release| Some(release.site().ok()?.project.directory));
    let statics = settings.static_root.iter().zip(&code);
    paths.extend(statics.map(|(root, code)| (release.join(code).join(root.as_str()), true)));
    paths
}

/// A text as a regular expression that finds it.
fn regex_quoted(text: &str) -> String {
    let quoted = text.chars().flat_map(|one| {
        let is_special = r".^$*+?()[]{}|\".contains(one);
        is_special.then_some('\\').into_iter().chain([one])
    });
    quoted.collect()
}

/// A service of fapolicyd's that runs, and that does not know the root.
pub(super) fn judge_fapolicyd(site: &JudgedSite<'_>, machine: &Path, findings: &mut Vec<Finding>) {
    let configuration = machine.join("etc/fapolicyd");
    // What its service makes, and removes at its end.
    let runs =
        ["run/fapolicyd/fapolicyd.fifo", "run/fapolicyd.pid"].iter().any(|path| machine.join(path).exists());
    if !configuration.is_dir()
        || !runs
        || trust_files(&configuration).iter().any(|text| site.is_named_in(text))
    {
        return;
    }
    let root = site.root.path().display().to_string();
    let rule = shell_word(&format!("allow perm=any all : dir={root}/releases/"));
    findings.push(Finding {
        rule: rule::FAPOLICYD,
        place: configuration.display().to_string(),
        what: "fapolicyd runs, which refuses programs and libraries that it does not trust, and nothing in it names the root"
            .to_owned(),
        fix: format!(
            "`echo {rule} >/etc/fapolicyd/rules.d/35-wheelbarrow.rules && fagenrules --load` trusts all releases; `fapolicyd-cli \
             --file add {} --trust-file wheelbarrow && fapolicyd-cli --update` trusts the files that are there, and is needed after \
             each deploy",
            shell_word(&format!("{root}/releases/"))
        ),
    });
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
