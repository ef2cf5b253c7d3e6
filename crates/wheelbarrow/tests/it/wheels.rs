//! Wheels that tests make, and locks that name them.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_artifact::zip::{DosTime, Method, ZipWriter};

/// A wheel in the making.
pub(crate) struct Wheel {
    writer: ZipWriter,
    name: String,
    licence: Option<String>,
}

impl Wheel {
    /// `NAME-1-py3-none-any.whl` in `directory`.
    pub(crate) fn begin(directory: &Path, name: &str) -> Self {
        let file = fs::File::create(directory.join(format!("{name}-1-py3-none-any.whl"))).unwrap();
        // Text in front of a zip is nothing that a reader minds.
        let writer = ZipWriter::new(file.into_parts().0, "", DosTime::FIRST).unwrap();
        Self { writer, name: name.to_owned(), licence: None }
    }

    pub(crate) fn add(&mut self, path: &str, contents: &[u8]) {
        self.writer.add(path, MemberKind::File, contents).unwrap();
    }

    /// A member of zeros.
    pub(crate) fn add_zeros(&mut self, path: &str, method: Method, bytes: u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(bytes).unwrap();
        let mut contents = fs::File::open(file.path()).unwrap();
        self.writer.add_file(path, MemberKind::File, method, &mut contents).unwrap();
    }

    /// With nothing in it but what was added.
    pub(crate) fn finish_bare(self) {
        self.writer.finish().unwrap();
    }

    /// What its metadata says of its licence.
    pub(crate) fn licence(&mut self, text: &str) {
        self.licence = Some(text.to_owned());
    }

    pub(crate) fn finish(mut self) {
        let dist_info = format!("{}-1.dist-info", self.name);
        self.add(
            &format!("{dist_info}/WHEEL"),
            b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        );
        let licence = self.licence.as_ref().map(|text| format!("License: {text}\n")).unwrap_or_default();
        let metadata = format!("Metadata-Version: 2.1\nName: {}\nVersion: 1\n{licence}", self.name);
        self.add(&format!("{dist_info}/METADATA"), metadata.as_bytes());
        let rows = self
            .writer
            .members()
            .iter()
            .map(|member| format!("{},{},{}\n", member.path, member.sha256.to_record(), member.size));
        let record = format!("{dist_info}/RECORD");
        let text = format!("{}{record},,\n", rows.collect::<String>());
        self.add(&record, text.as_bytes());
        self.writer.finish().unwrap();
    }
}

/// A `pylock.toml` at `path` of wheels in the directory of it, by name.
pub(crate) fn lock(path: &Path, names: &[&str]) {
    let mut text = "lock-version = \"1.0\"\ncreated-by = \"test\"\n".to_owned();
    for name in names {
        let file = format!("{name}-1-py3-none-any.whl");
        let sha256 = sha256(&path.with_file_name(&file));
        text.push_str(&format!(
            "[[packages]]\nname = \"{name}\"\nversion = \"1\"\n[[packages.wheels]]\npath = \"{file}\"\n\
             hashes = {{sha256 = \"{sha256}\"}}\n"
        ));
    }
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Of a file that may be larger than memory.
fn sha256(path: &Path) -> Sha256 {
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Sha256::from_hex(text.split(' ').next().unwrap()).unwrap()
}
