//! SELinux and fapolicyd, which can prevent programs of a release from starting, and its files from being
//! read. What they refuse is in `wheelbarrow_install::policy`; static files with the type of `/srv` come on top of it.

use std::path::{Path, PathBuf};

use wheelbarrow_artifact::manifest::INTERPRETER;
use wheelbarrow_base::shell_word;
use wheelbarrow_install::policy::{FAPOLICYD, Labels, SelinuxMode, fapolicyd_trusts_none, is_refused};

use super::finding::Finding;
use super::site::JudgedSite;
use crate::report::rule;

/// What a web server does not read, and systemd starts: files that are made below `/srv`.
const NOT_READ: &str = "var_t";

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
        let kind = labels.kind(&path)?;
        let is_wrong = is_refused(&kind) || is_static && kind == NOT_READ;
        is_wrong.then(|| format!("{} has the type {kind}", path.display()))
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
        hint: format!(
            "semanage fcontext -a -t httpd_sys_content_t {all} && semanage fcontext -a -t bin_t {programs} && restorecon {} {} {} && find {} -exec restorecon {{}} + ! -user root -prune # then deploy again: a deploy labels the static files of the site's user",
            shell_word(&root),
            shell_word(&site.root.current().display().to_string()),
            shell_word(&format!("{root}/shared")),
            // Not of all: the site's user could exchange what is below shared meanwhile, or in a STATIC_ROOT.
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
    if !fapolicyd_trusts_none(machine, &|text| site.is_named_in(text)) {
        return;
    }
    let root = site.root.path().display().to_string();
    let rule = shell_word(&format!("allow perm=any all : dir={root}/releases/"));
    findings.push(Finding {
        rule: rule::FAPOLICYD,
        place: machine.join(FAPOLICYD).display().to_string(),
        what: "fapolicyd runs, which refuses programs and libraries that it does not trust, and nothing in it names the root"
            .to_owned(),
        hint: format!(
            "`echo {rule} >/etc/fapolicyd/rules.d/35-wheelbarrow.rules && systemctl restart fapolicyd` trusts all releases; \
             `fapolicyd-cli --file add {} --trust-file wheelbarrow && fapolicyd-cli --update` trusts the files that are there: run it \
             after each `wheelbarrow deploy --stage`, before `wheelbarrow activate`",
            shell_word(&format!("{root}/releases/"))
        ),
    });
}
