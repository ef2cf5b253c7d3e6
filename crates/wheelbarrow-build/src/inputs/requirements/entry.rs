//! One requirement of a requirements file: its name, its marker, and the hashes in its URL.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use pep440_rs::Operator;
use pep508_rs::{MarkerTree, Requirement, VerbatimUrl, VersionOrUrl};
use url::Url;
use wheelbarrow_http::redact;
use wheelbarrow_wheel::name;

use crate::lock::{Digest, Place};

/// What a line's hashes are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Normalised.
    Name(String),
    /// A file that is named by its URL or path alone. A URL has neither login nor fragment.
    File(Place),
}

#[derive(Clone, Debug)]
pub(in crate::inputs) struct Entry {
    pub(in crate::inputs) subject: Subject,
    pub(in crate::inputs) marker: MarkerTree,
    /// Whether it can only be one version: `==`, or a file.
    pub(in crate::inputs) is_pinned: bool,
    /// Whether it is a file or comes from an index, so that it has a hash.
    pub(in crate::inputs) has_hash: bool,
    /// Of the URL's fragment; all of them count.
    pub(in crate::inputs) digests: Vec<Digest>,
    /// For uv.
    pub(in crate::inputs) text: String,
}

/// Names of hash algorithms in URL fragments.
const ALGORITHMS: [&str; 6] = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];
const ARCHIVES: [&str; 9] =
    [".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar"];

/// Relative paths start at `project`. No error has a login in it.
pub(in crate::inputs) fn parse(text: &str, project: &Path) -> Result<Entry, String> {
    parse_any(text, project).map_err(|reason| redact(&reason))
}

fn parse_any(text: &str, project: &Path) -> Result<Entry, String> {
    if let Some((before, url)) = text.split_once('@')
        && let Some(name) = bare_name(before)
    {
        let mut entry = located(url.trim(), project)?;
        // Extras and marker are checked by the reader of plain requirements.
        named(before.trim())?;
        entry.subject = Subject::Name(name);
        entry.text = format!("{} @ {}", before.trim(), entry.text);
        return Ok(entry);
    }
    if is_location(text) { located(text, project) } else { named(text) }
}

/// `Django[argon2] ` is `django`.
fn bare_name(text: &str) -> Option<String> {
    let text = text.split('[').next().unwrap_or_default().trim();
    name::is_valid(text).then(|| name::normalise(text))
}

fn is_location(text: &str) -> bool {
    let head = text.split([' ', '\t', ';']).next().unwrap_or_default();
    let file = head.split(['#', '[']).next().unwrap_or_default().to_ascii_lowercase();
    head.starts_with('.') || head.contains('/') || ARCHIVES.iter().any(|end| file.ends_with(end))
}

fn named(text: &str) -> Result<Entry, String> {
    if !name::has_whole_names(text) {
        return Err(format!(
            "`{text}`: names and extras are of ASCII letters, digits, `.`, `_` and `-` and end with a letter or a digit; a marker is ASCII"
        ));
    }
    let requirement = Requirement::<VerbatimUrl>::from_str(text).map_err(|error| {
        format!("`{text}`: {}", error.message.to_string().lines().next().unwrap_or_default())
    })?;
    let is_exact = |operator: &Operator| matches!(operator, Operator::Equal | Operator::ExactEqual);
    let is_pinned = match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => {
            specifiers.len() == 1 && specifiers.iter().all(|specifier| is_exact(specifier.operator()))
        }
        _ => false,
    };
    Ok(Entry {
        subject: Subject::Name(name::normalise(requirement.name.as_ref())),
        marker: requirement.marker.clone(),
        is_pinned,
        has_hash: true,
        digests: Vec::new(),
        text: requirement.to_string(),
    })
}

/// A URL or a path, with a marker behind it.
fn located(text: &str, project: &Path) -> Result<Entry, String> {
    let (location, marker) = match [text.find(" ;"), text.find("; ")].into_iter().flatten().min() {
        Some(at) => (text[..at].trim(), text[at..].trim_start_matches([' ', ';']).trim()),
        None => (text, ""),
    };
    let tree = if marker.is_empty() {
        MarkerTree::TRUE
    } else if !name::is_plain_marker(marker) {
        return Err(format!("`{marker}`: a marker must be ASCII, with parentheses at most 100 deep"));
    } else {
        MarkerTree::from_str(marker).map_err(|error| {
            format!("`{marker}`: {}", error.message.to_string().lines().next().unwrap_or_default())
        })?
    };
    let (bare, fragment) = location.split_once('#').unwrap_or((location, ""));
    let is_url = bare.contains("://") || bare.starts_with("file:");
    let digests = digests(fragment)?;
    // uv knows no path, and no URL without a name, that has a hash behind it.
    let others: Vec<_> = fragment.split('&').filter(|pair| !pair.is_empty() && !is_hash(pair)).collect();
    let kept = match others.as_slice() {
        [_, ..] if is_url => format!("{bare}#{}", others.join("&")),
        _ => bare.to_owned(),
    };
    let bare = match bare.split_once('[') {
        Some((path, extras)) if extras.ends_with(']') => path,
        _ => bare,
    };
    let place = if is_url { remote(bare)? } else { Place::Local(absolute(Path::new(bare), project)) };
    let is_file = match &place {
        Place::Local(path) => !path.is_dir(),
        Place::Remote(url) => !url.scheme().contains('+'),
    };
    Ok(Entry {
        subject: Subject::File(place),
        marker: tree,
        is_pinned: is_file,
        has_hash: is_file,
        digests,
        text: if marker.is_empty() { kept } else { format!("{kept} ; {marker}") },
    })
}

/// Of `#sha256=HEX&egg=NAME`. A hash that cannot be compared is an error.
pub(super) fn digests(fragment: &str) -> Result<Vec<Digest>, String> {
    fragment.split('&').filter(|pair| is_hash(pair)).map(|pair| digest(&pair.replacen('=', ":", 1))).collect()
}

fn is_hash(pair: &str) -> bool {
    pair.split_once('=').is_some_and(|(key, _)| ALGORITHMS.contains(&key.to_ascii_lowercase().as_str()))
}

pub(super) fn digest(text: &str) -> Result<Digest, String> {
    Digest::parse(text).ok_or_else(|| {
        format!(
            "invalid hash `{text}`: expected sha256, sha384 or sha512, a colon and the value in hexadecimal"
        )
    })
}

fn remote(url: &str) -> Result<Place, String> {
    let mut url = Url::parse(url).map_err(|error| format!("`{url}`: {error}"))?;
    if let ("file", Ok(path)) = (url.scheme(), url.to_file_path()) {
        return Ok(Place::Local(path.canonicalize().unwrap_or(path)));
    }
    let _ = (url.set_username(""), url.set_password(None));
    Ok(Place::Remote(url))
}

fn absolute(path: &Path, project: &Path) -> PathBuf {
    let joined = project.join(path);
    joined.canonicalize().unwrap_or(joined)
}

impl Subject {
    /// Whether the package `name` (normalised), of which the lock has this file, is meant.
    pub(crate) fn is(&self, name: &str, file: Option<&Place>) -> bool {
        match (self, file) {
            (Self::Name(own), _) => own == name,
            (Self::File(Place::Local(own)), Some(Place::Local(path))) => {
                path.canonicalize().is_ok_and(|path| path == *own)
            }
            (Self::File(Place::Remote(own)), Some(Place::Remote(url))) => {
                let mut url = url.clone();
                let _ = (url.set_username(""), url.set_password(None));
                url.set_fragment(None);
                url == *own
            }
            _ => false,
        }
    }
}
