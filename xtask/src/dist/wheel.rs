//! A wheel with the program in it, by <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>.

use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::Result;
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::archive::Tree;
use super::notices;
use super::program::{Program, System};
use super::release::{DESCRIPTION, LICENCE, LICENCES, NAME, REPOSITORY, Release, SUMMARY};
use crate::children::{clean, run as run_child};

/// What a static program runs on, by the oldest tags that are in use; [`audit`] looks whether that is true.
const TAGS: [(&str, &str); 3] = [("manylinux", "_2_17"), ("manylinux", "2014"), ("musllinux", "_1_1")];
/// The oldest uv that builds are tested with.
const UV: &str = "uv>=0.13";
/// Those of uv.
const PYTHON: &str = ">=3.8";

pub(super) fn name(release: &Release, program: &Program) -> String {
    format!("{NAME}-{}-py3-none-{}.whl", release.version, platforms(program).join("."))
}

fn platforms(program: &Program) -> Vec<String> {
    let machine = program.machine.name;
    match program.system {
        System::StaticLinux => {
            TAGS.iter().map(|(name, version)| format!("{name}{version}_{machine}")).collect()
        }
        System::Linux => vec![format!("linux_{machine}")],
        System::MacOs(major, minor) => vec![format!("macosx_{major}_{minor}_{}", program.machine.mac)],
    }
}

pub(super) fn make(release: &Release, program: &Program) -> Result<Vec<u8>> {
    let stem = format!("{NAME}-{}", release.version);
    let information = format!("{stem}.dist-info");
    let mut tree = Tree::default();
    tree.add(format!("{stem}.data/scripts/{NAME}"), 0o755, program.bytes.clone());
    for (path, bytes) in release.pages(program).files() {
        let path = match path.rsplit_once('/').unwrap_or_default() {
            ("man", name) => format!("man/man1/{name}"),
            (_, name) if name.ends_with(".bash") => format!("bash-completion/completions/{NAME}"),
            (_, name) if name.ends_with(".fish") => format!("fish/vendor_completions.d/{name}"),
            (_, name) => format!("zsh/site-functions/{name}"),
        };
        tree.add(format!("{stem}.data/data/share/{path}"), 0o644, bytes.to_vec());
    }
    tree.take(&format!("{information}/licenses/"), &release.licences);
    tree.add(format!("{information}/METADATA"), 0o644, metadata(release.version, program).into_bytes());
    tree.add(format!("{information}/WHEEL"), 0o644, wheel(program).into_bytes());
    let record = record(&tree, &format!("{information}/RECORD"));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9))
        .last_modified_time(DateTime::default());
    for (path, mode, bytes) in tree.files_with_modes() {
        zip.start_file(path, options.unix_permissions(mode))?;
        zip.write_all(bytes)?;
    }
    // RECORD comes last, so that it can be changed without moving anything else.
    zip.start_file(format!("{information}/RECORD"), options.unix_permissions(0o644))?;
    zip.write_all(record.as_bytes())?;
    Ok(zip.finish()?.into_inner())
}

fn metadata(version: &str, program: &Program) -> String {
    let system = if program.is_for_mac() { "MacOS" } else { "POSIX :: Linux" };
    let files = LICENCES.iter().chain([&notices::NAME]);
    let files: String = files.map(|name| format!("License-File: {name}\n")).collect();
    format!(
        "Metadata-Version: 2.4\nName: {NAME}\nVersion: {version}\nSummary: {SUMMARY}\n\
         License-Expression: {LICENCE}\n{files}Requires-Python: {PYTHON}\nRequires-Dist: {UV}\n\
         Project-URL: Source, {REPOSITORY}\nProject-URL: Changelog, {REPOSITORY}/blob/main/CHANGELOG.md\n\
         Classifier: Environment :: Console\nClassifier: Operating System :: {system}\n\
         Classifier: Topic :: Software Development :: Build Tools\n\
         Description-Content-Type: text/markdown\n\n{DESCRIPTION}\n"
    )
}

fn wheel(program: &Program) -> String {
    let tags: String =
        platforms(program).iter().map(|platform| format!("Tag: py3-none-{platform}\n")).collect();
    format!("Wheel-Version: 1.0\nGenerator: wheelbarrow xtask\nRoot-Is-Purelib: false\n{tags}")
}

fn record(tree: &Tree, own: &str) -> String {
    let line = |(path, bytes): (&str, &[u8])| {
        format!("{path},sha256={},{}\n", BASE64URL_NOPAD.encode(&Sha256::digest(bytes)), bytes.len())
    };
    let lines: String = tree.files().map(line).collect();
    format!("{lines}{own},,\n")
}

/// Has `wheelbarrow audit` compare what each wheel needs with the oldest systems that its tags name.
pub(super) fn audit(programs: &[Program], place: &Path) -> Result<()> {
    let Some(auditor) = programs.iter().find(|program| program.runs_here()) else {
        println!("skipped: the audit of the wheels, which needs a program that runs here");
        return Ok(());
    };
    for entry in fs_err::read_dir(place)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(tags) = name.strip_suffix(".whl").and_then(|name| name.rsplit('-').next()) else { continue };
        for platform in tags.split('.').filter(|tag| tag.contains("linux_2_") || tag.contains("linux_1_")) {
            let mut audit = clean(&auditor.path);
            audit.arg("audit").arg(&path).args(["--target", &format!("3.12@{platform}")]);
            run_child(&mut audit)?;
        }
    }
    Ok(())
}
