//! A root, and the binary's verbs on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::Server;
use super::site::{self, Site};
use crate::support::{Said, wheelbarrow};

/// A directory with the root `site` in it, and artifacts beside.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
}

/// What a version of the test site is like.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    /// What the server answers.
    pub(crate) status: u16,
    pub(crate) settings: String,
}

impl Version {
    pub(crate) fn good(name: &str) -> Self {
        Self { name: name.to_owned(), status: 200, settings: String::new() }
    }

    /// Live, it answers with an error.
    pub(crate) fn broken(name: &str) -> Self {
        Self { status: 500, ..Self::good(name) }
    }

    pub(crate) fn with(name: &str, settings: &str) -> Self {
        Self { settings: settings.to_owned(), ..Self::good(name) }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: site::place() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_path_buf()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("site")
    }

    pub(crate) fn artifact(&self, version: &Version) -> PathBuf {
        let Version { name, status, settings } = version;
        let style = format!("static/{name}.css");
        let code = vec![
            ("app.py", format!("VERSION = {name:?}\n")),
            ("status", status.to_string()),
            (style.as_str(), format!("/* {name} */\n")),
        ];
        Site { version: name, release: site::settings(settings), code }.write(self.directory.path())
    }

    /// What every version shares: the server is asked, and impatiently.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with("")
    }

    /// The same, with more settings of every version.
    pub(crate) fn serve_with(&self, settings: &str) -> Server {
        let server = Server::of(&self.root());
        let text = format!(
            "[release]\nstatic_root = 'static'\n{settings}\n[release.probe]\nurl = {:?}\nsuccesses = 1\ndeadline = 1\n\
             [release.server]\nkind = \"none\"\n",
            server.url
        );
        fs_err::create_dir_all(self.root().join("shared")).unwrap();
        fs_err::write(self.root().join("shared/wheelbarrow.toml"), text).unwrap();
        server
    }

    /// `wheelbarrow VERB ... --root site`.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = wheelbarrow(&self.path());
        command.args(words).env("WHEELBARROW_ROOT", "site");
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        self.finish(&mut self.command(words))
    }

    pub(crate) fn finish(&self, command: &mut Command) -> Said {
        let output = command.output().unwrap();
        let place = self.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&place, "[PLACE]");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    pub(crate) fn deploy(&self, version: &Version) -> Said {
        self.run(&deploy_words(&self.artifact(version)).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `(number, state)` of each release.
    pub(crate) fn list(&self) -> Vec<(u64, String)> {
        let listed: serde_json::Value = serde_json::from_str(&self.run(&["list", "--json"]).out).unwrap();
        let row = |release: &serde_json::Value| {
            let id = release["id"].as_str().unwrap();
            let number = id.split('-').next().unwrap().parse().unwrap();
            (number, release["state"].as_str().unwrap().to_owned())
        };
        listed.as_array().unwrap().iter().map(row).collect()
    }

    pub(crate) fn live(&self) -> Option<u64> {
        number(&self.root().join("current"))
    }

    /// The directory of a release.
    pub(crate) fn release(&self, number: u64) -> PathBuf {
        let entries = fs_err::read_dir(self.root().join("releases")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        let is_it =
            |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{number}-"));
        paths.find(is_it).unwrap()
    }

    /// What must hold at any moment: `current` is absent or leads to a complete release.
    pub(crate) fn check_current(&self) -> Result<(), String> {
        let current = self.root().join("current");
        if fs_err::symlink_metadata(&current).is_err() {
            return Ok(());
        }
        let record = fs_err::read(current.join(".wheelbarrow/release.json"));
        let record = record.map_err(|error| format!("current is broken: {error}"))?;
        serde_json::from_slice::<serde_json::Value>(&record)
            .map(drop)
            .map_err(|error| format!("current is incomplete: {error}"))
    }
}

/// Of the link `current`.
fn number(current: &Path) -> Option<u64> {
    let target = fs_err::read_link(current).ok()?;
    target.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

pub(crate) fn deploy_words(artifact: &Path) -> Vec<String> {
    let python = site::interpreter().executable.display().to_string();
    let artifact = artifact.display().to_string();
    ["deploy".to_owned(), artifact, "--without-pip".to_owned(), "--python".to_owned(), python].to_vec()
}
