//! What all packages of a release have in common: names, texts, and where a system has the files.

use anyhow::Result;

use super::archive::{self, Tree};
use super::program::Program;

pub(super) const NAME: &str = "wheelbarrow";
pub(super) const SUMMARY: &str =
    "Packs a Python site into one executable zip, and deploys it without a network";
pub(super) const DESCRIPTION: &str = "Wheelbarrow packs a Python web application and all of its dependencies into one executable zip, \
     and turns that file into a running site on a Linux server. The server needs no network, no compiler, no uv and no pip.";
pub(super) const REPOSITORY: &str = "https://github.com/wheelbarrow/wheelbarrow";
pub(super) const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
/// As SPDX has it.
pub(super) const LICENCE: &str = "MIT OR Apache-2.0";

/// What all packages have in common.
pub(super) struct Release {
    pub(super) version: &'static str,
    /// Seconds since 1970.
    pub(super) time: u32,
    pub(super) pages: Tree,
    /// Of a program without the commands of servers.
    pub(super) pages_without_servers: Tree,
    /// Of the program that is packed.
    pub(super) licences: Tree,
}

impl Release {
    pub(super) fn pages(&self, program: &Program) -> &Tree {
        if program.is_for_mac() { &self.pages_without_servers } else { &self.pages }
    }
}

/// Where a system has a program, its pages and its completions; paths without the slash at the beginning.
pub(super) fn system(release: &Release, program: &Program) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.add(format!("usr/bin/{NAME}"), 0o755, program.bytes.clone());
    for (path, bytes) in release.pages.files() {
        let (path, bytes) = match path.rsplit_once('/').unwrap_or_default() {
            ("man", name) => (format!("usr/share/man/man1/{name}.gz"), archive::gz(bytes)?),
            (_, name) if name.ends_with(".bash") => {
                (format!("usr/share/bash-completion/completions/{NAME}"), bytes.to_vec())
            }
            (_, name) if name.ends_with(".fish") => {
                (format!("usr/share/fish/vendor_completions.d/{name}"), bytes.to_vec())
            }
            (_, name) => (format!("usr/share/zsh/vendor-completions/{name}"), bytes.to_vec()),
        };
        tree.add(path, 0o644, bytes);
    }
    tree.take(&format!("usr/share/doc/{NAME}/"), &release.licences);
    tree.directory(format!("etc/{NAME}"));
    Ok(tree)
}
