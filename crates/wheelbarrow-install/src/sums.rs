//! The hashes of an install, in `DEST/.wheelbarrow/SHA256SUMS`, as `sha256sum` writes and checks them.

use std::collections::BTreeMap;

use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_wheel::order;

/// A line a file, ordered by path: 64 digits, two spaces, the path. Where the path has a
/// line end or a backslash, they are escaped, and a backslash in front of the line says so.
pub(crate) fn sums<'p>(files: impl Iterator<Item = (&'p str, Sha256)>) -> Vec<u8> {
    // They come in runs that are in order, which a stable sort makes use of.
    let mut files: Vec<(&str, Sha256)> = files.collect();
    order::sort_by_key(&mut files, |(path, _)| *path);
    let mut text = String::with_capacity(files.iter().map(|(path, _)| sums_line(path)).sum());
    for (path, sha256) in files {
        let escaped = path.contains(['\\', '\n', '\r']);
        if escaped {
            text.push('\\');
        }
        text.push_str(&base16ct::lower::encode_string(&sha256.0));
        text.push_str("  ");
        if escaped {
            text.push_str(&path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"));
        } else {
            text.push_str(path);
        }
        text.push('\n');
    }
    text.into_bytes()
}

/// Bytes that [`sums`] writes of a file, escapes aside.
pub(crate) fn sums_line(path: &str) -> usize {
    path.len() + 67
}

/// The files that a text of [`sums`] names; none where it is no such text.
pub(crate) fn read_sums(text: &[u8]) -> Option<BTreeMap<String, Sha256>> {
    let mut files = BTreeMap::new();
    let text = std::str::from_utf8(text).ok()?;
    // Not `lines`, which would take a `\r` off the end of a name.
    for line in text.split_terminator('\n') {
        let (line, escaped) = line.strip_prefix('\\').map_or((line, false), |line| (line, true));
        let (sha256, path) = line.split_once("  ")?;
        let path = if escaped { unescape(path)? } else { path.to_owned() };
        if files.insert(path, Sha256::from_hex(sha256)?).is_some() {
            return None;
        }
    }
    Some(files)
}

fn unescape(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}
