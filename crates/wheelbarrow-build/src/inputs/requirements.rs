//! Reading requirements files as far as is needed beside uv: which files they include, what hashes they ask for, and
//! whether they are a lock already.
//!
//! The format is pip's: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>. uv resolves; this
//! only follows `-r` and `-c` and collects `--hash`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fs_err as fs;
use pep440_rs::Version;
use wheelbarrow_wheel::{WheelFilename, name};

use crate::credentials::Credentials;
use crate::lock::Digest;
use crate::{Error, Result};

/// What a set of requirements files says, nested ones included.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// Every file read, in the order of reading, each once.
    pub files: Vec<PathBuf>,
    pub hashes: RequiredHashes,
    /// Every line pins one version, or a URL, and has a hash: nothing is left to resolve.
    pub complete: bool,
    /// Logins of the URLs in them.
    pub credentials: Credentials,
}

/// Hashes that the files ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredHashes {
    /// By normalised name and, where the line pins one, version.
    entries: BTreeMap<(String, Option<Version>), BTreeSet<Digest>>,
}

impl RequiredHashes {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What a file of `name` (normalised) at `version` must hash to, one of them; `None` where no line says.
    pub fn of(&self, name: &str, version: Option<&str>) -> Option<&BTreeSet<Digest>> {
        let version = version.and_then(parse_version);
        self.entries.get(&(name.to_owned(), version)).or_else(|| self.entries.get(&(name.to_owned(), None)))
    }
}

/// `None` for what is no version, which then speaks for every version.
fn parse_version(version: &str) -> Option<Version> {
    version.parse().ok()
}

/// Reads `files` and what they include; nested ones are relative to their file.
pub fn read(files: &[PathBuf]) -> Result<Requirements> {
    let mut reader =
        Reader { result: Requirements { complete: true, ..Requirements::default() }, any: false };
    for file in files {
        reader.file(file, false)?;
    }
    reader.result.complete &= reader.any;
    Ok(reader.result)
}

/// Reads the text of one file, called `path`, and what it includes.
pub fn read_text(path: &Path, text: &[u8]) -> Result<Requirements> {
    let mut reader =
        Reader { result: Requirements { complete: true, ..Requirements::default() }, any: false };
    reader.text(path, text, false)?;
    reader.result.complete &= reader.any;
    Ok(reader.result)
}

struct Reader {
    result: Requirements,
    /// Whether there was a requirement at all.
    any: bool,
}

impl Reader {
    fn file(&mut self, path: &Path, constraint: bool) -> Result<()> {
        if self.result.files.iter().any(|seen| seen == path) {
            return Ok(());
        }
        self.result.files.push(path.to_path_buf());
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        self.text(path, &bytes, constraint)
    }

    fn text(&mut self, path: &Path, bytes: &[u8], constraint: bool) -> Result<()> {
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        for (number, line) in logical_lines(&text) {
            self.logins(&line);
            let bad = |reason: String| Error::Requirements { path: path.to_path_buf(), line: number, reason };
            match included(&line) {
                Some((_, target)) if target.contains("://") => self.result.complete = false,
                Some((kind, target)) => {
                    let nested = path.parent().unwrap_or(Path::new("")).join(expand(&target));
                    if !nested.is_file() {
                        return Err(bad(format!("{} does not exist", nested.display())));
                    }
                    self.file(&nested, constraint || kind == Included::Constraints)?;
                }
                None if line.starts_with('-') => self.option(&line),
                None => self.requirement(&line, constraint).map_err(bad)?,
            }
        }
        Ok(())
    }

    /// What is fetched later needs the logins that are kept out of the lock.
    fn logins(&mut self, line: &str) {
        for word in expand(line).split([' ', '=', '"', '\'']).filter(|word| word.contains("://")) {
            self.result.credentials.add(word.strip_prefix("git+").unwrap_or(word));
        }
    }

    /// An editable entry is a requirement without a hash; the other options are uv's matter.
    fn option(&mut self, line: &str) {
        if line.starts_with("-e") || line.starts_with("--editable") {
            self.any = true;
            self.result.complete = false;
        }
    }

    fn requirement(&mut self, line: &str, constraint: bool) -> std::result::Result<(), String> {
        let (requirement, digests) = split_hashes(line)?;
        let pinned = Pin::of(&requirement);
        if !constraint {
            self.any = true;
            self.result.complete &= !digests.is_empty() && pinned.is_some();
        }
        if !digests.is_empty()
            && let Some(pin) = pinned
        {
            let key = (pin.name, pin.version.as_deref().and_then(parse_version));
            self.result.hashes.entries.entry(key).or_default().extend(digests);
        }
        Ok(())
    }
}

/// The one file that a line means.
struct Pin {
    name: String,
    /// Absent for a URL.
    version: Option<String>,
}

impl Pin {
    fn of(requirement: &str) -> Option<Self> {
        let requirement = requirement.split(';').next().unwrap_or_default().trim();
        if let Some((before, _)) = requirement.split_once('@')
            && let Some(name) = bare_name(before)
        {
            return Some(Self { name, version: None });
        }
        if requirement.contains("://") || requirement.ends_with(".whl") {
            let file = requirement.split(['#', '?']).next()?.rsplit('/').next()?;
            let wheel = WheelFilename::parse(&file.replace("%2B", "+")).ok()?;
            return Some(Self { name: wheel.name, version: None });
        }
        let (before, version) = requirement.split_once("==")?;
        let version = version.trim_start_matches('=').trim();
        let exact = !version.is_empty() && !version.contains(['*', ',', '<', '>', '!', '~', ' ']);
        Some(Self { name: bare_name(before)?, version: Some(version.to_owned()) }).filter(|_| exact)
    }
}

/// `Django[argon2] ` is `django`.
fn bare_name(text: &str) -> Option<String> {
    let text = text.split('[').next().unwrap_or_default().trim();
    name::is_valid(text).then(|| name::normalise(text))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Included {
    Requirements,
    Constraints,
}

/// The target of `-r FILE`, `-rFILE`, `--requirement=FILE` and the like.
fn included(line: &str) -> Option<(Included, String)> {
    let forms = [
        ("--requirement", Included::Requirements),
        ("--constraint", Included::Constraints),
        ("-r", Included::Requirements),
        ("-c", Included::Constraints),
    ];
    forms.into_iter().find_map(|(option, kind)| {
        let rest = line.strip_prefix(option)?;
        let separated = option.len() == 2 || rest.starts_with(['=', ' ', '\t']);
        let target = rest.trim_start_matches(['=', ' ', '\t']).trim().trim_matches(['"', '\'']);
        (separated && !target.is_empty()).then(|| (kind, target.to_owned()))
    })
}

/// `${NAME}`, as pip expands it; a variable that is not set stays as it is.
fn expand(text: &str) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        let Some((variable, tail)) = after.split_once('}') else {
            return expanded + "${" + after;
        };
        expanded.push_str(&std::env::var(variable).unwrap_or_else(|_| format!("${{{variable}}}")));
        rest = tail;
    }
    expanded + rest
}

/// Takes `--hash=sha256:...` off the line's end.
fn split_hashes(line: &str) -> std::result::Result<(String, Vec<Digest>), String> {
    let mut words = line.split_whitespace().peekable();
    let mut requirement = Vec::new();
    let mut digests = Vec::new();
    while let Some(word) = words.next() {
        let hash = match word.strip_prefix("--hash") {
            Some("") => words.next().unwrap_or_default(),
            Some(rest) if rest.starts_with('=') => &rest[1..],
            _ => {
                requirement.push(word);
                continue;
            }
        };
        digests.push(Digest::parse(hash).ok_or_else(|| format!("`{hash}` is no hash"))?);
    }
    Ok((requirement.join(" "), digests))
}

/// Lines with continuations joined and comments gone, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let is_comment = line.trim_start().starts_with('#');
        let (start, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        match line.strip_suffix('\\') {
            Some(part) if !is_comment => {
                joined.push_str(part);
                open = Some((start, joined));
            }
            _ => {
                joined.push_str(line);
                lines.push((start, joined));
            }
        }
    }
    lines.extend(open);
    lines
        .into_iter()
        .map(|(number, line)| (number, without_comment(&line).trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// A `#` begins a comment at the line's start or after a blank; else it is part of a URL.
fn without_comment(line: &str) -> &str {
    let bytes = line.as_bytes();
    let start =
        (0..bytes.len()).find(|&at| bytes[at] == b'#' && (at == 0 || bytes[at - 1].is_ascii_whitespace()));
    &line[..start.unwrap_or(line.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    fn requirements(files: &[(&str, &str)]) -> Requirements {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(&[directory.path().join(files[0].0)]).unwrap()
    }

    #[test]
    fn nested_files_are_followed_from_where_they_are_named() {
        let read = requirements(&[
            ("requirements.txt", "\u{feff}-r requirements/production.txt\r\n"),
            ("requirements/production.txt", "-r base.txt\r\n--constraint=../limits.txt # why\r\nuwsgi"),
            ("requirements/base.txt", "-r production.txt\nDjango>=4"),
            ("limits.txt", "six==1.0"),
        ]);
        let names: Vec<_> =
            read.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["requirements.txt", "production.txt", "base.txt", "limits.txt"]);
        assert!(!read.complete);
    }

    #[test]
    fn hashes_are_collected_over_continued_lines() {
        let text = format!(
            "--index-url https://h/simple\nSix[x]==1.16.0 ; python_version > '3' \\\n    --hash=sha256:{ONE} \\\n    --hash \
             sha256:{TWO}\n# end\nb @ https://h/b-1.tar.gz#egg=b --hash=sha256:{ONE}\nhttps://h/c_c-2-py3-none-any.whl --hash=sha256:{TWO}"
        );
        let read = requirements(&[("r.txt", &text)]);
        assert!(read.complete);
        let count = |name: &str, version| read.hashes.of(name, version).map(BTreeSet::len);
        assert_eq!(count("six", Some("1.16")), Some(2));
        assert_eq!(count("six", Some("1.17.0")), None);
        assert_eq!(count("b", Some("7")), Some(1));
        assert_eq!(count("c-c", None), Some(1));
    }

    #[test]
    fn one_line_without_a_hash_leaves_something_to_resolve() {
        for line in ["b", "b==1.*", "b>=1", "-e ./b", "b==1"] {
            let read = requirements(&[("r.txt", &format!("a==1 --hash=sha256:{ONE}\n{line}\n"))]);
            assert!(!read.complete, "{line}");
        }
        assert!(!requirements(&[("r.txt", "# nothing\n")]).complete);
    }

    #[test]
    fn errors_name_the_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("r.txt");
        fs::write(&file, "a==1\n-r gone.txt\n").unwrap();
        let error = read(&[file]).unwrap_err().to_string();
        assert!(error.contains("r.txt:2: ") && error.contains("gone.txt does not exist"), "{error}");
    }
}
