//! Keeping the values of an environment.json out of what other programs say.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use fs_err as fs;

/// Shorter values are not looked for: `1` and `true` are no secrets, and stand everywhere.
const SHORTEST: usize = 6;

/// The values that must not be seen.
#[derive(Default)]
pub(crate) struct Secrets {
    /// The longest first, so that one that contains another goes whole.
    values: Vec<String>,
}

impl Secrets {
    /// Of an install; none where it has no environment.json or one that cannot be read.
    pub(crate) fn of(install: &Path) -> Self {
        let text = fs::read(install.join("environment.json")).unwrap_or_default();
        let values: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&text).unwrap_or_default();
        let mut values: Vec<String> = values
            .into_values()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .flat_map(|value| parts(&value))
            .filter(|value| value.len() >= SHORTEST)
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { values }
    }

    /// Puts `***` in place of each value in the file, from byte `begin` on. Nothing is written where there is none.
    pub(crate) fn hide_in(&self, path: &Path, begin: u64) -> std::io::Result<()> {
        if self.values.is_empty() {
            return Ok(());
        }
        let mut file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(begin))?;
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let hidden = self.hide(&text);
        if hidden == text {
            return Ok(());
        }
        file.seek(SeekFrom::Start(begin))?;
        file.write_all(hidden.as_bytes())?;
        let end = file.stream_position()?;
        file.file().set_len(end)
    }

    /// The text with `***` in place of each value.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, value| text.replace(value, "***"))
    }
}

/// A value, and what of it may stand alone: a line of a key, which Python shows with `\n` in place of line ends, and the
/// password of a URL (RFC 3986, section 3.2.1), which programs take out of it.
fn parts(value: &str) -> Vec<String> {
    let mut parts = vec![value.to_owned()];
    if value.trim_end().contains('\n') {
        parts.extend(value.lines().map(|line| line.trim().to_owned()));
    }
    let authority = value.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    parts.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| password.to_owned()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_whole() {
        let place = tempfile::tempdir().unwrap();
        fs::write(
            place.path().join("environment.json"),
            r#"{"A": "secret", "B": "secret-and-more", "DEBUG": "1", "N": 5}"#,
        )
        .unwrap();
        let secrets = Secrets::of(place.path());
        assert_eq!(secrets.hide("secret-and-more, secret, 1, 5"), "***, ***, 1, 5");
        let text = r#"{"URL": "postgres://site:correct-horse@db/site", "KEY": "-BEGIN-\nc2VjcmV0\n-END-\n"}"#;
        fs::write(place.path().join("environment.json"), text).unwrap();
        let secrets = Secrets::of(place.path());
        let said = r"no user site at db with correct-horse; 'BEGIN\nc2VjcmV0\n'";
        assert_eq!(secrets.hide(said), r"no user site at db with ***; 'BEGIN\n***\n'");
        assert_eq!(Secrets::of(Path::new("/nowhere")).hide("secret"), "secret");
    }
}
