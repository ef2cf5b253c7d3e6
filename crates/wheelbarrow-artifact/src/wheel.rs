//! A wheel in memory, ready to be audited or installed.
//!
//! The specification is
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>.

use std::collections::HashMap;

use wheelbarrow_wheel::entry_points::{self, EntryPoints};
use wheelbarrow_wheel::filename::WheelFilename;
use wheelbarrow_wheel::layout::{self, Destination, Layout};
use wheelbarrow_wheel::metadata::{Metadata, WheelInfo};
use wheelbarrow_wheel::record::{self, RecordRow};
use wheelbarrow_wheel::script;

use crate::zip::{Archive, Entry, ZipError};

/// The most bytes of the files of `.dist-info` that are read whole. None comes near this.
fn largest(file: &str) -> u64 {
    match file {
        "RECORD" => 32 << 20,
        "METADATA" => 8 << 20,
        _ => 1 << 20,
    }
}

/// A wheel of which the directory and the metadata were read and found in order.
pub struct OpenWheel<'a> {
    filename: WheelFilename,
    archive: Archive<&'a [u8]>,
    dist_info: String,
    entry_points: EntryPoints,
    files: Vec<WheelFile>,
}

/// A member that is installed as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelFile {
    /// Its place in [`Archive::entries`].
    pub entry: usize,
    pub destination: Destination,
    pub executable: bool,
}

#[derive(thiserror::Error)]
pub enum WheelError {
    #[error("the wheel {wheel} is not a whole zip")]
    Zip { wheel: String, source: ZipError },
    #[error("the wheel {wheel} breaks the rules for wheels")]
    Rules { wheel: String, source: wheelbarrow_wheel::Error },
    #[error("the wheel {wheel} has no {member}")]
    Missing { wheel: String, member: String },
    #[error("{member} in the wheel {wheel} is not UTF-8")]
    Encoding { wheel: String, member: String },
    #[error("the wheel {wheel} holds a symbolic link, {member}, which wheels cannot have")]
    Link { wheel: String, member: String },
    #[error("{member} in the wheel {wheel} is neither a file nor an empty directory entry")]
    Kind { wheel: String, member: String },
}

wheelbarrow_base::debug_error!(WheelError);

impl<'a> OpenWheel<'a> {
    /// Reads the wheel called `filename` out of its bytes.
    pub fn open(filename: &str, bytes: &'a [u8]) -> Result<Self, WheelError> {
        let rules = |source| WheelError::Rules { wheel: filename.to_owned(), source };
        let parsed = WheelFilename::parse(filename).map_err(rules)?;
        let archive =
            Archive::parse(bytes).map_err(|source| WheelError::Zip { wheel: filename.to_owned(), source })?;
        let members = archive.entries().iter().map(|entry| entry.name.as_str());
        let dist_info = layout::find_dist_info(members, &parsed).map_err(rules)?;
        let mut wheel = Self {
            filename: parsed,
            archive,
            dist_info,
            entry_points: EntryPoints::default(),
            files: Vec::new(),
        };
        WheelInfo::parse(&wheel.required("WHEEL")?).map_err(rules)?;
        if let Some(text) = wheel.metadata_text("entry_points.txt")? {
            wheel.entry_points = entry_points::parse(&text).map_err(rules)?;
        }
        for file in ["METADATA", "RECORD"] {
            wheel.required(file)?;
        }
        wheel.files = wheel.find_files()?;
        Ok(wheel)
    }

    pub fn filename(&self) -> &WheelFilename {
        &self.filename
    }

    pub fn archive(&self) -> &Archive<&'a [u8]> {
        &self.archive
    }

    /// The name of the `.dist-info` directory.
    pub fn dist_info(&self) -> &str {
        &self.dist_info
    }

    pub fn entry_points(&self) -> &EntryPoints {
        &self.entry_points
    }

    /// Whether it brings a program of that name.
    pub fn has_program(&self, name: &str) -> bool {
        self.programs().any(|program| program == name)
    }

    /// The names of the programs that it brings. A name may come twice.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let EntryPoints { console, gui } = &self.entry_points;
        let files = self.files.iter().filter_map(|file| match &file.destination {
            Destination::Scripts(path) => Some(path.as_str()),
            Destination::Data(path) => path.strip_prefix("bin/"),
            _ => None,
        });
        console.iter().chain(gui).map(|point| point.name.as_str()).chain(files)
    }

    /// What gets installed as it is, or, in `scripts`, with another first line. RECORD and what else installers write
    /// is not among it.
    pub fn files(&self) -> &[WheelFile] {
        &self.files
    }

    pub fn entry(&self, file: &WheelFile) -> &Entry {
        &self.archive.entries()[file.entry]
    }

    pub fn metadata(&self) -> Result<Metadata, WheelError> {
        let bytes = self.required("METADATA")?;
        Metadata::parse(&bytes).map_err(|source| WheelError::Rules { wheel: self.name(), source })
    }

    pub fn record(&self) -> Result<Vec<RecordRow>, WheelError> {
        let bytes = self.required("RECORD")?;
        // Some rows are of directories, or of files that were left out.
        record::parse_most(&bytes, 2 * self.archive.entries().len() + 1000)
            .map_err(|source| WheelError::Rules { wheel: self.name(), source })
    }

    /// RECORD by path. A row that is not true of a file to be installed is an error, as far as that shows without reading the file.
    pub fn recorded(&self) -> Result<HashMap<String, RecordRow>, WheelError> {
        let untrue = |path: &str, what| WheelError::Rules {
            wheel: self.name(),
            source: wheelbarrow_wheel::Error::Untrue { path: path.to_owned(), what },
        };
        let mut rows: HashMap<String, RecordRow> = HashMap::new();
        for row in self.record()? {
            match rows.get(&row.path) {
                Some(other) if *other != row => return Err(untrue(&row.path, "two rows differ")),
                _ => rows.insert(row.path.clone(), row),
            };
        }
        for entry in self.files.iter().map(|file| self.entry(file)) {
            let row = rows.get(&entry.name);
            if row.is_some_and(|row| row.size.is_some_and(|size| size != entry.size)) {
                return Err(untrue(&entry.name, "the file has another size"));
            }
        }
        Ok(rows)
    }

    fn find_files(&self) -> Result<Vec<WheelFile>, WheelError> {
        let layout = Layout::new(&self.dist_info);
        let scripts = self.entry_points.names();
        let mut files = Vec::with_capacity(self.archive.entries().len());
        for (index, entry) in self.archive.entries().iter().enumerate() {
            if entry.is_link() {
                return Err(WheelError::Link { wheel: self.name(), member: entry.name.clone() });
            }
            if !entry.is_plain() {
                return Err(WheelError::Kind { wheel: self.name(), member: entry.name.clone() });
            }
            layout::check_path(&entry.name)
                .map_err(|source| WheelError::Rules { wheel: self.name(), source })?;
            if entry.is_directory() || layout.is_of_installer(&entry.name) {
                continue;
            }
            let destination = layout
                .destination(&entry.name)
                .map_err(|source| WheelError::Rules { wheel: self.name(), source })?;
            let mut executable = entry.is_executable();
            if let Destination::Scripts(name) = &destination {
                if script::is_wrapper(name, &scripts) {
                    continue;
                }
                executable = true;
            }
            files.push(WheelFile { entry: index, destination, executable });
        }
        Ok(files)
    }

    fn required(&self, file: &str) -> Result<Vec<u8>, WheelError> {
        let member = Layout::new(&self.dist_info).dist_info_member(file);
        self.read(&member)?.ok_or_else(|| WheelError::Missing { wheel: self.name(), member })
    }

    fn metadata_text(&self, file: &str) -> Result<Option<String>, WheelError> {
        let member = Layout::new(&self.dist_info).dist_info_member(file);
        let Some(bytes) = self.read(&member)? else { return Ok(None) };
        let text =
            String::from_utf8(bytes).map_err(|_| WheelError::Encoding { wheel: self.name(), member })?;
        Ok(Some(text))
    }

    fn read(&self, member: &str) -> Result<Option<Vec<u8>>, WheelError> {
        let Some(entry) = self.archive.find(member) else { return Ok(None) };
        let limit = largest(member.rsplit('/').next().unwrap_or(member));
        let contents = self.archive.read(entry, limit);
        contents.map(Some).map_err(|source| WheelError::Zip { wheel: self.name(), source })
    }

    fn name(&self) -> String {
        self.filename.to_string()
    }
}
