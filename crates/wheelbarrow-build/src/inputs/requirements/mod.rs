//! The only reader of requirements files.
//!
//! The format is pip's: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>. Each file is
//! read once, here, with the files that it includes. uv, which resolves, gets one text that is made from the
//! result, so a hash, an option or a line has the same meaning for both. Anything that is not understood is
//! an error with its line number.

mod entry;
mod lines;
mod options;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use url::Url;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_http::{Credentials, redact};

use super::formats::Formats;
use super::hashes::{RequiredHash, RequiredHashes};
use crate::{Error, Result};
pub use entry::Subject;
pub(super) use entry::parse;
use lines::{decode, expand, logical};
use options::{Words, is_option, split_options};

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Where relative paths of requirements start.
    pub project: &'a Path,
    pub files: &'a [PathBuf],
    /// Files that only constrain: paths or URLs.
    pub constraints: &'a [String],
    /// Requirements beside those of the files.
    pub with: &'a [String],
    pub offline: bool,
}

/// What a set of requirements files says, nested ones included.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// Every file read, in the order of reading, with the hash of what was read.
    pub files: Vec<(PathBuf, Sha256)>,
    pub hashes: RequiredHashes,
    /// Every line pins one version, or a file, and has a hash: nothing is left to resolve.
    pub complete: bool,
    /// Logins of the URLs in them.
    pub credentials: Credentials,
    /// For uv: requirements and indexes, a line each.
    pub text: String,
    /// For uv, likewise.
    pub constraints: String,
    pub prereleases: bool,
    pub formats: Formats,
    /// Options that are understood and have no effect.
    pub notes: Vec<String>,
}

/// Reads the files and what they include; nested ones are relative to their file.
pub fn read(sources: &Sources<'_>) -> Result<Requirements> {
    let mut reader = Reader::new(sources);
    for file in sources.files {
        reader.file(&FilePlace::Path(file.clone()), false)?;
    }
    for constraints in sources.constraints {
        let place = FilePlace::new(constraints, &FilePlace::Path(sources.project.join("constraints.txt")));
        reader.file(&place, true)?;
    }
    for requirement in sources.with {
        reader.with(requirement)?;
    }
    reader.finish()
}

/// Reads the text of one file, called `path`, and the local files that it includes.
pub fn read_text(path: &Path, text: &[u8]) -> Result<Requirements> {
    let project = path.parent().unwrap_or(Path::new(""));
    let sources = Sources { project, files: &[], constraints: &[], with: &[], offline: true };
    let mut reader = Reader::new(&sources);
    reader.text(&FilePlace::Path(path.to_path_buf()), text, false)?;
    reader.finish()
}

/// A file, or one on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FilePlace {
    Path(PathBuf),
    Url(Url),
}

impl FilePlace {
    /// As `from` names it.
    fn new(target: &str, from: &Self) -> Self {
        let url = match from {
            Self::Url(base) => base.join(target).ok(),
            Self::Path(_) => {
                Url::parse(target).ok().filter(|_| target.contains("://") || target.starts_with("file:"))
            }
        };
        match (url, from) {
            (Some(url), _) => match url.to_file_path() {
                Ok(path) if url.scheme() == "file" => Self::Path(path),
                _ => Self::Url(url),
            },
            (None, Self::Path(file)) => Self::Path(file.parent().unwrap_or(Path::new("")).join(target)),
            (None, Self::Url(_)) => Self::Path(target.into()),
        }
    }

    /// For messages and digests, without a login.
    fn shown(&self) -> PathBuf {
        match self {
            // What is no URL is a path, as it stands.
            Self::Path(path) => redact(&path.to_string_lossy()).into(),
            Self::Url(url) => redact(url.as_str()).into(),
        }
    }
}

/// A line of a file.
struct At<'a> {
    place: &'a FilePlace,
    line: usize,
}

impl At<'_> {
    fn wrong(&self, reason: &str) -> Error {
        Error::Requirements { path: self.place.shown(), line: self.line, reason: redact(reason) }
    }
}

struct Reader<'a> {
    sources: &'a Sources<'a>,
    result: Requirements,
    /// Files, and whether they were read as constraints.
    seen: Vec<(FilePlace, bool)>,
    /// Whether there was a requirement at all.
    any: bool,
    hashes_are_required: bool,
    /// The first line that `--require-hashes` does not allow, and why.
    hashless: Option<Error>,
}

impl<'a> Reader<'a> {
    fn new(sources: &'a Sources<'a>) -> Self {
        let set = |name| wheelbarrow_base::variable(&[name]).is_some_and(|text| crate::uv::truthy(&text));
        let mut result =
            Requirements { complete: true, prereleases: set("PIP_PRE"), ..Requirements::default() };
        result.formats = Formats::of_pip();
        let hashes_are_required = set("PIP_REQUIRE_HASHES");
        Self { sources, result, seen: Vec::new(), any: false, hashes_are_required, hashless: None }
    }

    fn finish(mut self) -> Result<Requirements> {
        match self.hashless {
            Some(error) if self.hashes_are_required => return Err(error),
            _ => {}
        }
        self.result.complete &= self.any;
        Ok(self.result)
    }

    fn file(&mut self, place: &FilePlace, is_constraint: bool) -> Result<()> {
        let real = match place {
            FilePlace::Path(path) => FilePlace::Path(path.canonicalize().unwrap_or_else(|_| path.clone())),
            FilePlace::Url(url) => FilePlace::Url(url.clone()),
        };
        if self.seen.contains(&(real.clone(), is_constraint)) {
            return Ok(());
        }
        self.seen.push((real, is_constraint));
        let bytes = match place {
            FilePlace::Path(path) => fs::read(path).map_err(|error| {
                let error = io::Error::new(error.kind(), redact(&error.to_string()));
                Error::io("read", &place.shown())(error)
            })?,
            FilePlace::Url(url) if self.sources.offline => {
                return Err(Error::Offline { missing: vec![redact(url.as_str())] });
            }
            FilePlace::Url(url) => wheelbarrow_http::text(url, &self.result.credentials)?,
        };
        self.text(place, &bytes, is_constraint)
    }

    fn text(&mut self, place: &FilePlace, bytes: &[u8], is_constraint: bool) -> Result<()> {
        self.result.files.push((place.shown(), Sha256::of(bytes)));
        let text = decode(bytes).map_err(|(line, reason)| At { place, line }.wrong(&reason))?;
        for (line, text) in logical(&text) {
            self.line(&At { place, line }, &expand(&text), is_constraint)?;
        }
        Ok(())
    }

    fn line(&mut self, at: &At<'_>, text: &str, is_constraint: bool) -> Result<()> {
        if text.contains(|character: char| character.is_control() && character != '\t') {
            return Err(at.wrong("unexpected control character"));
        }
        self.logins(text);
        if is_option(text) {
            return self.options(at, text, is_constraint);
        }
        let (requirement, options) = split_options(text);
        let mut digests = BTreeSet::new();
        let mut words = Words::new(options).map_err(|reason| at.wrong(&reason))?;
        while let Some((option, value)) = words.next_option().map_err(|reason| at.wrong(&reason))? {
            if option != "--hash" {
                return Err(at.wrong(&format!("the option {option} is not supported behind a requirement")));
            }
            digests.insert(entry::digest(&value).map_err(|reason| at.wrong(&reason))?);
        }
        self.requirement(at, requirement, digests, is_constraint)
    }

    /// What is fetched later needs the logins that are kept out of the lock.
    fn logins(&mut self, line: &str) {
        for word in line.split([' ', '=', '"', '\'']).filter(|word| word.contains("://")) {
            self.result.credentials.add(word.strip_prefix("git+").unwrap_or(word));
        }
    }

    fn options(&mut self, at: &At<'_>, text: &str, is_constraint: bool) -> Result<()> {
        if let Some(target) = options::editable(text) {
            return self.editable(at, target, is_constraint);
        }
        let mut words = Words::new(text).map_err(|reason| at.wrong(&reason))?;
        while let Some((option, value)) = words.next_option().map_err(|reason| at.wrong(&reason))? {
            match option {
                "--requirement" | "--constraint" => {
                    let nested = FilePlace::new(&value, at.place);
                    if let FilePlace::Path(path) = &nested
                        && !path.is_file()
                    {
                        return Err(at.wrong(&format!("{} does not exist", path.display())));
                    }
                    self.file(&nested, is_constraint || option == "--constraint")?;
                }
                "--index-url" | "--extra-index-url" => self.push(&format!("{option} {value}"), false),
                "--no-index" => self.push(option, false),
                "--find-links" => {
                    let links = self.links(at, &value);
                    self.push(&format!("{option} {links}"), false);
                }
                "--no-binary" => self.result.formats.no_binary(&value),
                "--only-binary" => self.result.formats.only_binary(&value),
                "--pre" => self.result.prereleases = true,
                "--require-hashes" => self.hashes_are_required = true,
                "--trusted-host" => {
                    self.note(at, "--trusted-host has no effect here; set PIP_TRUSTED_HOST");
                }
                "--prefer-binary" => {
                    self.note(at, "--prefer-binary has no effect; --only-binary NAME uses wheels only");
                }
                "--use-feature" => self.note(at, "--use-feature has no effect"),
                _ => {
                    return Err(
                        at.wrong(&format!("the option {option} is not supported on a line of its own"))
                    );
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, at: &At<'_>, text: &str) {
        self.result.notes.push(format!("{}:{}: {text}", at.place.shown().display(), at.line));
    }

    fn push(&mut self, line: &str, is_constraint: bool) {
        let text = if is_constraint { &mut self.result.constraints } else { &mut self.result.text };
        text.push_str(line);
        text.push('\n');
    }

    /// A directory is looked for beside the file first, as pip does.
    fn links(&self, at: &At<'_>, value: &str) -> String {
        let FilePlace::Path(file) = at.place else { return value.to_owned() };
        let beside = file.parent().unwrap_or(Path::new("")).join(value);
        let found =
            [beside, self.sources.project.join(value)].into_iter().find_map(|path| path.canonicalize().ok());
        let url =
            found.filter(|_| !value.contains("://")).and_then(|path| Url::from_directory_path(path).ok());
        url.map_or_else(|| value.to_owned(), String::from)
    }

    /// A directory or a repository; it has no hash. An artifact has no checkout that somebody could edit, so a repository, as
    /// `pip freeze` writes it, is one like any other.
    fn editable(&mut self, at: &At<'_>, target: &str, is_constraint: bool) -> Result<()> {
        if target.split_once("://").is_some_and(|(scheme, _)| scheme.contains('+')) {
            return self.requirement(at, target, BTreeSet::new(), is_constraint);
        }
        if target.split_once('#').is_some_and(|(_, fragment)| !options::has_no_hash(fragment)) {
            return Err(at.wrong("the hash of an editable requirement cannot be compared"));
        }
        self.any = true;
        self.result.complete = false;
        self.is_hashless(at, target);
        self.push(&format!("-e {target}"), is_constraint);
        Ok(())
    }

    fn requirement(
        &mut self,
        at: &At<'_>,
        text: &str,
        digests: BTreeSet<crate::lock::Digest>,
        is_constraint: bool,
    ) -> Result<()> {
        let entry = parse(text, self.sources.project).map_err(|reason| at.wrong(&reason))?;
        let sets: Vec<_> = [digests]
            .into_iter()
            .filter(|digests| !digests.is_empty())
            .chain(entry.digests.iter().map(|digest| BTreeSet::from([digest.clone()])))
            .collect();
        if !sets.is_empty() && !entry.has_hash {
            let reason = "a hash is of a file; that of a directory or a repository cannot be compared";
            return Err(at.wrong(reason));
        }
        if !is_constraint {
            self.any = true;
            let is_locked = !sets.is_empty() && entry.is_pinned;
            self.result.complete &= is_locked;
            if !is_locked {
                self.is_hashless(at, text);
            }
        }
        self.push(&entry.text, is_constraint);
        self.result.hashes.lines.extend(sets.into_iter().map(|digests| RequiredHash {
            path: at.place.shown(),
            line: at.line,
            subject: entry.subject.clone(),
            marker: entry.marker.clone(),
            digests,
            is_constraint,
        }));
        Ok(())
    }

    fn is_hashless(&mut self, at: &At<'_>, text: &str) {
        let reason = format!(
            "`{}` must be pinned with == and have a hash, as --require-hashes requires",
            redact(text)
        );
        self.hashless.get_or_insert_with(|| at.wrong(&reason));
    }

    /// A requirement of the command line or the settings.
    fn with(&mut self, text: &str) -> Result<()> {
        let wrong = |reason: String| Error::With { text: redact(text), reason: redact(&reason) };
        if is_option(text) || text.contains(char::is_control) {
            return Err(wrong("expected a requirement such as gunicorn or \"gunicorn>=23\"".to_owned()));
        }
        self.logins(text);
        let place = FilePlace::Path("--with".into());
        self.requirement(&At { place: &place, line: 1 }, text, BTreeSet::new(), false).map_err(|error| {
            match error {
                Error::Requirements { reason, .. } => wrong(reason),
                other => other,
            }
        })?;
        // Nothing else says what it requires.
        self.result.complete = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
