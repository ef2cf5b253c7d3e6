//! Checks out a commit of a git repository. Logins are passed to git in its environment, never on its command
//! line.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;
use url::Url;
use wheelbarrow_http::{Credentials, redact, without_logins};

use crate::{Error, Result, network, stoppable, uv};

/// What to check out.
pub(super) struct Checkout<'a> {
    /// Of the package, for messages.
    pub(super) name: &'a str,
    pub(super) url: &'a str,
    pub(super) commit: &'a str,
    pub(super) credentials: &'a Credentials,
    /// Ends git when it is set.
    pub(super) stop: &'a AtomicBool,
}

impl Checkout<'_> {
    /// Clones into `directory`, which does not exist yet, with all tags (build backends make versions of them) but only the
    /// files of the one commit; with submodules.
    pub(super) fn run(&self, directory: &Path) -> Result<()> {
        let looks_like_a_commit =
            self.commit.len() >= 7 && self.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !looks_like_a_commit {
            return Err(self.failed(&format!("`{}` is no commit", self.commit)));
        }
        let url = without_logins(self.url);
        let mut clone = self.git();
        clone.args(["clone", "--quiet", "--filter=blob:none", "--no-checkout", "--", &url]).arg(directory);
        self.step(clone)?;
        let inside = |arguments: &[&str]| {
            let mut git = self.git();
            git.arg("-C").arg(directory).args(arguments);
            git
        };
        // The commit may be on no branch.
        if self.step(inside(&["cat-file", "-e", self.commit])).is_err() {
            self.step(inside(&["fetch", "--quiet", "origin", self.commit]))?;
        }
        self.step(inside(&["checkout", "--quiet", "--detach", self.commit]))?;
        self.step(inside(&["submodule", "--quiet", "update", "--init", "--recursive"]))
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.stdin(std::process::Stdio::null()).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(name);
        }
        if let Ok(url) = Url::parse(self.url)
            && url.scheme().starts_with("http")
            && let Some(authorization) = self.credentials.authorization(&url)
        {
            git.env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", format!("http.{}/.extraHeader", url.origin().ascii_serialization()))
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: {authorization}"));
        }
        git
    }

    fn step(&self, mut git: Command) -> Result<()> {
        let output = stoppable::run(&mut git, self.stop)?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = uv::stderr_of(&output);
        // ssh says why, and git then what else it could be.
        let line = stderr.lines().find(|line| network::failed(line)).or(stderr.lines().last());
        Err(self.failed(line.unwrap_or("git failed")))
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Git { name: self.name.to_owned(), url: redact(self.url), reason: reason.to_owned() }
    }
}

/// Checkouts that wait for their builds, each in `source` of its directory.
#[derive(Default)]
pub(crate) struct Checkouts(Mutex<BTreeMap<(String, String), TempDir>>);

impl Checkouts {
    /// That of a commit, for the first who asks.
    pub(super) fn take_checkout(&self, url: &str, commit: &str) -> Option<TempDir> {
        let mut checkouts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checkouts.remove(&(url.to_owned(), commit.to_owned()))
    }

    /// Keeps that of a commit until it is taken.
    pub(super) fn put(&self, url: &str, commit: &str, checkout: TempDir) {
        let mut checkouts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checkouts.insert((url.to_owned(), commit.to_owned()), checkout);
    }
}
