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

/// gitcredentials(7). A line end would end the answer.
const HELPER: &str = r#"!login() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$LOGIN_USER" "$LOGIN_PASSWORD"; }; login"#;

/// What to check out.
pub(super) struct Checkout<'a> {
    /// Of the package, for messages.
    pub(super) name: &'a str,
    pub(super) url: &'a str,
    /// The whole ID of one.
    pub(super) commit: &'a str,
    pub(super) credentials: &'a Credentials,
    /// Ends git when it is set.
    pub(super) stop: &'a AtomicBool,
}

impl Checkout<'_> {
    /// Clones into `directory`, which does not exist yet, with all tags (build backends make versions of them) but only the
    /// files of the one commit; with submodules.
    pub(super) fn run(&self, directory: &Path) -> Result<()> {
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
        let head = self.step(inside(&["rev-parse", "HEAD"]))?;
        if !String::from_utf8_lossy(&head).trim().eq_ignore_ascii_case(self.commit) {
            return Err(self.failed(&format!("`{}` is not a commit there, but a name", self.commit)));
        }
        self.step(inside(&["submodule", "--quiet", "update", "--init", "--recursive"])).map(drop)
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.stdin(std::process::Stdio::null()).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(name);
        }
        if let Ok(url) = Url::parse(self.url)
            && url.scheme().starts_with("http")
            && let Some((user, password)) = self.credentials.user_and_password(&url)
        {
            log_in(&mut git, &url.origin().ascii_serialization(), &user, &password);
        }
        git
    }

    /// What git prints.
    fn step(&self, mut git: Command) -> Result<Vec<u8>> {
        let output = stoppable::run(&mut git, self.stop)?;
        if output.status.success() {
            return Ok(output.stdout);
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

/// Has git ask a helper for the login of an origin, and no other helper, which might keep it. A header that git adds
/// (`http.extraHeader`) and `http.proactiveAuth` go to the host of a redirect, too.
fn log_in(git: &mut Command, origin: &str, user: &str, password: &str) {
    let count =
        std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0_usize);
    let key = format!("credential.{origin}.helper");
    for (number, value) in ["", HELPER].into_iter().enumerate() {
        git.env(format!("GIT_CONFIG_KEY_{}", count + number), &key);
        git.env(format!("GIT_CONFIG_VALUE_{}", count + number), value);
    }
    git.env("GIT_CONFIG_COUNT", (count + 2).to_string());
    git.env("LOGIN_USER", user).env("LOGIN_PASSWORD", password);
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Answers each request by its head, and keeps the heads.
    fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = head_of(&mut stream);
                kept.lock().unwrap().push(head.clone());
                let _ = stream.write_all(answer(&head).as_bytes());
            }
        });
        (format!("http://{address}"), heads)
    }

    fn head_of(stream: &mut TcpStream) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        String::from_utf8_lossy(&head).to_lowercase()
    }

    fn is_logged_in(head: &str) -> bool {
        head.contains("\r\nauthorization: basic ")
    }

    /// A tag may have the name that a commit's ID begins with, and even a whole ID of another format.
    #[test]
    fn only_a_whole_commit_id_is_checked_out() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let repository = place.path().join("repository");
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=x", "-c", "user.email=x@localhost", "-C"])
                .arg(&repository)
                .args(arguments);
            let output = git.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        fs_err::create_dir(&repository).unwrap();
        git(&["init", "--quiet"]);
        git(&["commit", "--quiet", "--allow-empty", "--message=good"]);
        let good = git(&["rev-parse", "HEAD"]);
        git(&["commit", "--quiet", "--allow-empty", "--message=evil"]);
        let long = format!("{good}{}", "0".repeat(24));
        git(&["tag", &good[..8]]);
        git(&["tag", &long]);
        let url = format!("file://{}", repository.display());
        let credentials = Credentials::default();
        let check_out = |commit: &str| {
            let out = place.path().join("out");
            let _ = fs_err::remove_dir_all(&out);
            let stop = AtomicBool::new(false);
            let checkout = Checkout { name: "x", url: &url, commit, credentials: &credentials, stop: &stop };
            checkout.run(&out).map_err(|error| error.to_string())
        };
        assert_eq!(check_out(&good), Ok(()));
        assert!(check_out(&good[..8]).unwrap_err().contains("but a name"));
        assert!(check_out(&long).unwrap_err().contains("but a name"));
    }

    /// The host of the login says where the repository is by now.
    #[test]
    fn a_login_stays_with_its_host_after_a_redirect() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        let refs = format!(
            "001e# service=git-upload-pack\n0000003f{} HEAD\0{}\n0000",
            "a".repeat(40),
            "x".repeat(12)
        );
        let (other, of_other) = serve(move |head| match head.starts_with("get ") {
            true => format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{refs}",
                refs.len()
            ),
            false => "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        });
        // Another host for curl, too, which before 7.83 takes no notice of the port.
        let other = other.replace("127.0.0.1", "localhost");
        let (own, of_own) = serve(move |head| {
            let path = head.split(' ').nth(1).unwrap_or_default();
            match is_logged_in(head) {
                true => format!(
                    "HTTP/1.1 302 Found\r\nLocation: {other}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                ),
                false => "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\
                          Connection: close\r\n\r\n"
                    .to_owned(),
            }
        });
        let place = tempfile::tempdir().unwrap();
        let mut credentials = Credentials::default();
        credentials.add(&own.replace("http://", "http://joe:Top5ecret@"));
        let url = format!("{own}/x.git");
        let checkout = Checkout {
            name: "x",
            url: &url,
            commit: "aaaaaaaa",
            credentials: &credentials,
            stop: &AtomicBool::new(false),
        };
        let mut git = checkout.git();
        git.env("NO_PROXY", "*").env("no_proxy", "*");
        git.args(["clone", "--quiet", "--", &url]).arg(place.path().join("x")).output().unwrap();
        let (own, other) = (of_own.lock().unwrap(), of_other.lock().unwrap());
        assert!(own.iter().any(|head| is_logged_in(head)), "{own:?}");
        assert!(!other.iter().any(|head| is_logged_in(head)), "{other:?}");
    }
}
