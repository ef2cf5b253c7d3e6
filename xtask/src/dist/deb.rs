//! A package for Debian and its relatives, by deb(5) and deb-control(5).

use anyhow::Result;

use super::archive::Tree;
use super::program::Program;
use super::release::{DESCRIPTION, LICENCE, NAME, REPOSITORY, Release, SUMMARY, system};

pub(super) fn make(release: &Release, program: &Program) -> Result<Vec<u8>> {
    let mut data = system(release, program)?;
    data.add(format!("usr/share/doc/{NAME}/copyright"), 0o644, copyright().into_bytes());
    let size: usize = data.files().map(|(_, bytes)| bytes.len().div_ceil(1024)).sum();
    let mut control = Tree::default();
    let machine = program.machine.debian;
    control.add("control".to_owned(), 0o644, fields(release.version, machine, size).into_bytes());
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", control.tar_gz(release.time)?),
        ("data.tar.gz", data.tar_gz(release.time)?),
    ];
    Ok(ar(&members, release.time))
}

/// `size` in KiB.
fn fields(version: &str, machine: &str, size: usize) -> String {
    format!(
        "Package: {NAME}\nVersion: {version}\nArchitecture: {machine}\n\
         Maintainer: The Wheelbarrow developers <wheelbarrow@users.noreply.github.com>\nInstalled-Size: {size}\n\
         Recommends: python3\nSection: admin\nPriority: optional\nHomepage: {REPOSITORY}\n\
         Description: {SUMMARY}\n {DESCRIPTION}\n"
    )
}

fn copyright() -> String {
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: {NAME}\nSource: {REPOSITORY}\n\n\
         Files: *\nCopyright: The Wheelbarrow developers\nLicense: {LICENCE}\n \
         The texts are in LICENSE-APACHE and LICENSE-MIT beside this file.\n"
    )
}

/// The common format of ar(5).
fn ar(members: &[(&str, Vec<u8>)], time: u32) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let header = format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 100_644, bytes.len());
        archive.extend(header.as_bytes());
        archive.extend(bytes);
        if bytes.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}
