//! Wheels in a temporary directory, ELF files by the machine's compiler, and tools of the index to compare with.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_artifact::zip::{DosTime, ZipWriter};
use wheelbarrow_audit::{Allowance, Report, audit_wheels};
use wheelbarrow_base::progress::Silent;
use wheelbarrow_wheel::WheelFilename;

/// A place to make wheels in.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A wheel with these members, those of `.dist-info` made up where they are not among them.
    pub(crate) fn wheel(&self, filename: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let parsed = WheelFilename::parse(filename).unwrap();
        let dist_info = format!("{}-{}.dist-info", parsed.distribution, parsed.version_text);
        let mut members: Vec<(String, Vec<u8>)> =
            files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
        let (name, version) = (&parsed.name, &parsed.version_text);
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
        let wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n".to_owned();
        for (file, text) in [("METADATA", metadata), ("WHEEL", wheel)] {
            let path = format!("{dist_info}/{file}");
            if members.iter().all(|(member, _)| *member != path) {
                members.push((path, text.into_bytes()));
            }
        }
        let record = format!("{dist_info}/RECORD");
        if members.iter().all(|(member, _)| *member != record) {
            let rows = members
                .iter()
                .map(|(path, bytes)| format!("{path},{},{}\n", Sha256::of(bytes).to_record(), bytes.len()));
            let text = rows.collect::<String>() + &format!("{record},,\n");
            members.push((record, text.into_bytes()));
        }
        let path = self.path(filename);
        let file = fs::File::create(&path).unwrap().into_parts().0;
        let mut zip = ZipWriter::new(file, "#", DosTime::FIRST).unwrap();
        for (path, bytes) in &members {
            zip.add(path, MemberKind::File, bytes).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    /// A shared object of this C code; nothing where there is no compiler for it.
    pub(crate) fn library(&self, code: &str, flags: &[&str]) -> Option<Vec<u8>> {
        self.compile("cc", code, flags)
    }

    pub(crate) fn compile(&self, compiler: &str, code: &str, flags: &[&str]) -> Option<Vec<u8>> {
        let (source, output) = (self.path("code.c"), self.path("code.so"));
        fs::write(&source, code).unwrap();
        let mut command = Command::new(compiler);
        command.args(["-shared", "-fPIC", "-nostartfiles", "-o"]).arg(&output).arg(&source).args(flags);
        let Ok(done) = command.current_dir(self.directory.path()).output() else {
            assert!(compiler != "cc" || std::env::var_os("CI").is_none(), "CI must have a C compiler");
            println!("skipped: no {compiler}");
            return None;
        };
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Some(fs::read(output).unwrap())
    }

    /// A library to link with, `libNAME.so` here, of another soname.
    pub(crate) fn stub(&self, name: &str, soname: &str, code: &str) -> Option<()> {
        let bytes = self.library(code, &[&format!("-Wl,-soname,{soname}")])?;
        fs::write(self.path(&format!("lib{name}.so")), bytes).unwrap();
        Some(())
    }
}

/// Judges wheels, by `target` where it is one.
pub(crate) fn report(wheels: &[PathBuf], target: &str, allow: &[&str]) -> Report {
    let targets: Vec<_> = target.split_whitespace().map(|target| target.parse().unwrap()).collect();
    let allow: Vec<Allowance> = allow.iter().map(|text| text.parse().unwrap()).collect();
    audit_wheels(wheels, &targets, &allow, &Silent).unwrap().remove(0)
}

/// A line for each finding.
pub(crate) fn told(wheels: &[PathBuf], target: &str) -> String {
    let report = report(wheels, target, &[]);
    let lines = report
        .findings
        .iter()
        .map(|finding| format!("{} {}:{} {}", finding.severity, finding.rule, finding.name, finding.what));
    lines.collect::<Vec<_>>().join("\n")
}

/// A directory with packages of the index, for `PYTHONPATH`; nothing where there is no index. Made once.
pub(crate) fn tools(requirement: &str) -> Option<PathBuf> {
    let name: String = requirement.chars().filter(char::is_ascii_alphanumeric).collect();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if place.is_dir() {
        return Some(place);
    }
    let temporary = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let new = temporary.path().join("packages");
    let mut command = python();
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
    let done = command.arg(&new).arg(requirement).output().unwrap();
    if !done.status.success() {
        assert!(std::env::var_os("CI").is_none(), "{}", String::from_utf8_lossy(&done.stderr));
        println!("skipped: {requirement} cannot be had");
        return None;
    }
    // Another test may have been faster.
    let _ = fs::rename(&new, &place);
    Some(place)
}

/// `python3` without what this machine is used to.
pub(crate) fn python() -> Command {
    let mut command = Command::new("python3");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let kept = ["PIP_CERT", "PIP_INDEX_URL"].contains(&text.as_ref());
        if !kept && (text.starts_with("PIP_") || text.starts_with("PYTHON")) {
            command.env_remove(&name);
        }
    }
    command
}
