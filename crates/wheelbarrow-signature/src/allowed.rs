//! Files of allowed signers, as ssh-keygen(1) describes them below ALLOWED SIGNERS.
//!
//! A line is `PRINCIPALS [OPTIONS] KEYTYPE BASE64 [COMMENT]`. The options `namespaces`, `valid-after` and `valid-before` count; lines
//! with `cert-authority` are for certificates, which sign no artifacts, and are passed over. A line that cannot be understood is
//! refused, where ssh-keygen goes on: somebody meant to allow or to forbid something by it.

use std::io;
use std::path::{Path, PathBuf};

use fs_err::File;
use ssh_key::PublicKey;
use wheelbarrow_fs::is_out_of_reach;

use crate::time::{self, Timestamp};
use crate::{NAMESPACE, SignatureError};

/// Who may sign.
#[derive(Clone, Debug)]
pub struct AllowedSigners {
    path: PathBuf,
    lines: Vec<Allowed>,
}

#[derive(Clone, Debug)]
struct Allowed {
    principals: String,
    key: PublicKey,
    /// Patterns; none allows every namespace.
    namespaces: Option<String>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl AllowedSigners {
    pub fn read(path: &Path) -> Result<Self, SignatureError> {
        let text = read_trusted(path).map_err(SignatureError::Read)?;
        Self::parse(path, &text)
    }

    /// The text of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SignatureError> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let allowed = parse(line).map_err(|reason| SignatureError::Line {
                path: path.to_path_buf(),
                line: index + 1,
                reason,
            })?;
            lines.extend(allowed);
        }
        Ok(Self { path: path.to_path_buf(), lines })
    }

    /// The principals of the first line that lets this key sign artifacts now.
    pub(crate) fn principals_of(&self, key: &PublicKey, fingerprint: &str) -> Result<String, SignatureError> {
        let now = Timestamp::now();
        let mut but = None;
        for line in self.lines.iter().filter(|line| line.key.key_data() == key.key_data()) {
            match line.objection(now) {
                None => return Ok(line.principals.clone()),
                Some(objection) => but = but.or(Some(objection)),
            }
        }
        Err(SignatureError::Stranger { fingerprint: fingerprint.to_owned(), file: self.path.clone(), but })
    }
}

impl Allowed {
    fn objection(&self, now: Timestamp) -> Option<String> {
        if let Some(patterns) = self.namespaces.as_ref().filter(|patterns| !matches(NAMESPACE, patterns)) {
            return Some(format!("its namespaces are \"{patterns}\""));
        }
        if let Some(after) = self.after.filter(|after| now < *after) {
            return Some(format!("it is valid after {after}"));
        }
        let before = self.before.filter(|before| now >= *before)?;
        Some(format!("it was valid before {before}"))
    }
}

/// Whoever may write the file says who signs, so that must be nobody but root and this user.
fn read_trusted(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    if !is_out_of_reach(file.file()) {
        let why = format!(
            "others may write {} or a directory above it: `chown root FILE` and `chmod go-w FILE DIRECTORY` end that",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    io::read_to_string(file)
}

/// None is a line for certificates.
fn parse(line: &str) -> Result<Option<Allowed>, String> {
    let (principals, rest) = word(line)?;
    let mut allowed = (None, None, None);
    let mut key = rest;
    let mut is_authority = false;
    if !is_key(rest) {
        let (options, after) = word(rest)?;
        key = after;
        for option in split(&options) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            let is_there = match name.to_ascii_lowercase().as_str() {
                "namespaces" => allowed.0.is_some(),
                "valid-after" => allowed.1.is_some(),
                "valid-before" => allowed.2.is_some(),
                _ => false,
            };
            if is_there {
                return Err(format!("it has the option {name:?} twice"));
            }
            match name.to_ascii_lowercase().as_str() {
                "cert-authority" => is_authority = true,
                "namespaces" => allowed.0 = Some(value.to_owned()),
                "valid-after" => allowed.1 = Some(time::parse(value)?),
                "valid-before" => allowed.2 = Some(time::parse(value)?),
                _ => return Err(format!("the option {name:?} is not known")),
            }
        }
    }
    if is_authority {
        return Ok(None);
    }
    let key = PublicKey::from_openssh(key).map_err(|error| format!("its key cannot be read ({error})"))?;
    let (namespaces, after, before) = allowed;
    Ok(Some(Allowed { principals: principals.replace('"', ""), key, namespaces, after, before }))
}

fn is_key(text: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start))
}

/// The first word, in which quotes hold blanks together, and what follows it.
fn word(text: &str) -> Result<(String, &str), String> {
    let mut quoted = false;
    let end = text.find(|character: char| {
        quoted ^= character == '"';
        character.is_ascii_whitespace() && !quoted
    });
    let end = end.ok_or("it ends early")?;
    Ok((text[..end].to_owned(), text[end..].trim_start()))
}

/// At commas that are not in quotes.
fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    options
        .split(move |character: char| {
            quoted ^= character == '"';
            character == ',' && !quoted
        })
        .filter(|option| !option.is_empty())
}

/// Whether a list of patterns (`*`, `?`, and `!` in front, which forbids) takes `text`, as ssh_config(5) says below PATTERNS.
fn matches(text: &str, patterns: &str) -> bool {
    let mut is_taken = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if glob(text.as_bytes(), pattern.as_bytes()) => return false,
            Some(_) => {}
            None => is_taken |= glob(text.as_bytes(), pattern.as_bytes()),
        }
    }
    is_taken
}

fn glob(text: &[u8], pattern: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| glob(&text[skipped..], rest)),
        Some((b'?', rest)) => !text.is_empty() && glob(&text[1..], rest),
        Some((byte, rest)) => text.first() == Some(byte) && glob(&text[1..], rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn lines_are_read() {
        let allowed = |line: &str| parse(&line.replace("KEY", KEY));
        assert_eq!(allowed("a@b,*@c KEY somebody").unwrap().unwrap().principals, "a@b,*@c");
        let quoted =
            allowed("\"a b\" namespaces=\"file,wheel*\",valid-before=\"20300101Z\" KEY").unwrap().unwrap();
        assert_eq!(quoted.namespaces.as_deref(), Some("file,wheel*"));
        assert_eq!(quoted.before.unwrap().to_string(), "2030-01-01T00:00:00Z");
        assert!(allowed("a cert-authority KEY").unwrap().is_none());
        for wrong in [
            "a",
            "a KE",
            "a ssh-ed25519 AAAA",
            "a no-such KEY",
            "a valid-after=2030 KEY",
            "a valid-after=20301301 KEY",
            "a valid-before=20300101,valid-before=20400101 KEY",
            "a valid-after=20200101,Valid-After=20100101 KEY",
            "a namespaces=file,namespaces=wheelbarrow KEY",
        ] {
            assert!(allowed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("allowed_signers");
        fs_err::write(&path, format!("a {KEY}\n")).unwrap();
        for (file, directory, is_taken) in
            [(0o644, 0o755, true), (0o666, 0o755, false), (0o664, 0o755, false), (0o644, 0o777, false)]
        {
            fs_err::set_permissions(&path, PermissionsExt::from_mode(file)).unwrap();
            fs_err::set_permissions(place.path(), PermissionsExt::from_mode(directory)).unwrap();
            assert_eq!(AllowedSigners::read(&path).is_ok(), is_taken, "{file:o} {directory:o}");
        }
    }

    #[test]
    fn namespaces_and_times_count() {
        let objection = |options: &str| {
            parse(&format!("a {options} {KEY}")).unwrap().unwrap().objection(Timestamp::now())
        };
        for good in [
            "namespaces=wheelbarrow",
            "namespaces=\"file,wheel*\"",
            "namespaces=\"*,!git\"",
            "valid-after=20200101",
        ] {
            assert_eq!(objection(good), None, "{good}");
        }
        for bad in [
            "namespaces=file",
            "namespaces=\"*,!wheel?arrow\"",
            "valid-after=21000101Z",
            "valid-before=20200101120000",
        ] {
            assert!(objection(bad).is_some(), "{bad}");
        }
    }
}
