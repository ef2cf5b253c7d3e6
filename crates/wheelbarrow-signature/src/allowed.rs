//! Files of allowed signers, as ssh-keygen(1) describes them below ALLOWED SIGNERS.
//!
//! A line is `PRINCIPALS [OPTIONS] KEYTYPE BASE64 [COMMENT]`. The options `namespaces`, `valid-after` and
//! `valid-before` count. Lines with `cert-authority` are for certificates, which sign no artifacts, and are
//! skipped. An invalid line is refused, although ssh-keygen skips it: its author wanted to allow or to forbid
//! something.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ssh_key::PublicKey;
use wheelbarrow_base::{is_kept_by_root, is_out_of_reach};

use crate::SignatureError;
use crate::time::{self, Timestamp};

/// What a signature says that it is for, so that one over something else is none over an artifact.
pub const NAMESPACE: &str = "wheelbarrow";

/// Nothing else is blank.
const BLANKS: [char; 2] = [' ', '\t'];

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
            let line = line.trim_matches(BLANKS);
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

/// Whoever may write the file, or a link on the way to it, says who signs, so that must be nobody but root and this user.
fn read_trusted(path: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = open_trusted(path).map_err(named)?;
    if !is_out_of_reach(&file) && !is_kept_by_root(&file) {
        let why = format!(
            "others may write {} or a directory above it: `chown root FILE` and `chmod go-w FILE DIRECTORY` end that",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    io::read_to_string(file).map_err(named)
}

#[cfg(target_os = "linux")]
fn open_trusted(path: &Path) -> io::Result<File> {
    let place = wheelbarrow_base::beneath::place(Path::new("/"), &std::path::absolute(path)?)?;
    place.directory.file(&place.name)
}

/// Links are followed: what is opened is looked at.
#[cfg(not(target_os = "linux"))]
fn open_trusted(path: &Path) -> io::Result<File> {
    wheelbarrow_base::open_regular(path)
}

/// None is a line for certificates.
fn parse(line: &str) -> Result<Option<Allowed>, String> {
    if let Some(hidden) = line.chars().find(|one| *one != '\t' && is_hidden(*one)) {
        return Err(format!("it has the character U+{:04X}, which is not seen", u32::from(hidden)));
    }
    let (principals, rest) = word(line)?;
    let principals = principals_of(&principals)?;
    let (options, key) = if is_key(rest) { (Options::default(), rest) } else { options(rest)? };
    let Options { namespaces, after, before, is_authority } = options;
    if is_authority {
        return Ok(None);
    }
    let key = PublicKey::from_openssh(key).map_err(|error| format!("its key cannot be read ({error})"))?;
    Ok(Some(Allowed { principals, key, namespaces, after, before }))
}

/// Without the quotes around them. A name is not asked for, so nothing can be judged by what a name must not be.
fn principals_of(word: &str) -> Result<String, String> {
    let bare = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word);
    if bare.contains('"') {
        return Err("a quote is within its names".to_owned());
    }
    if bare.split(',').any(str::is_empty) {
        return Err("one of its names is empty".to_owned());
    }
    match bare.split(',').find(|name| name.starts_with('!')) {
        Some(name) => Err(format!("{name:?} forbids a name, and everybody is judged by the key alone")),
        None => Ok(bare.to_owned()),
    }
}

#[derive(Default)]
struct Options {
    namespaces: Option<String>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    is_authority: bool,
}

/// The options in front of a key, each once, and the key.
fn options(text: &str) -> Result<(Options, &str), String> {
    let (words, key) = word(text)?;
    let mut options = Options::default();
    for option in split(&words) {
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let lower = name.to_ascii_lowercase();
        let is_there = match lower.as_str() {
            "namespaces" => options.namespaces.is_some(),
            "valid-after" => options.after.is_some(),
            "valid-before" => options.before.is_some(),
            _ => false,
        };
        if is_there {
            return Err(format!("it has the option {name:?} twice"));
        }
        match (lower.as_str(), value) {
            ("cert-authority", None) => options.is_authority = true,
            ("namespaces", Some(value)) => options.namespaces = Some(unquoted(name, value)?.to_owned()),
            ("valid-after", Some(value)) => options.after = Some(time::parse(unquoted(name, value)?)?),
            ("valid-before", Some(value)) => options.before = Some(time::parse(unquoted(name, value)?)?),
            ("", None) => return Err("it has an empty option: there is a comma too many".to_owned()),
            _ => return Err(format!("the option {option:?} is not known")),
        }
    }
    Ok((options, key))
}

fn unquoted<'v>(name: &str, value: &'v str) -> Result<&'v str, String> {
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let bare = bare.filter(|bare| !bare.contains(['"', '\\']));
    bare.ok_or_else(|| format!("the value of {name} is not in quotes, expected {name}=\"...\""))
}

/// A control character, or one that is not shown: a byte order mark before the first name is a part of it for ssh-keygen.
fn is_hidden(one: char) -> bool {
    one.is_control()
        || one.is_whitespace() && !one.is_ascii()
        || matches!(one, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_key(text: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start))
}

/// The first word, in which quotes hold blanks together, and what follows it.
fn word(text: &str) -> Result<(String, &str), String> {
    let mut quoted = false;
    let end = text.find(|character: char| {
        quoted ^= character == '"';
        BLANKS.contains(&character) && !quoted
    });
    let end = end.ok_or("it ends early")?;
    Ok((text[..end].to_owned(), text[end..].trim_start_matches(BLANKS)))
}

/// At commas that are not in quotes.
fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    options.split(move |character: char| {
        quoted ^= character == '"';
        character == ',' && !quoted
    })
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
            "a valid-after=\"2030\" KEY",
            "a valid-after=\"20301301\" KEY",
            "a valid-before=\"20300101\",valid-before=\"20400101\" KEY",
            "a valid-after=\"20200101\",Valid-After=\"20100101\" KEY",
            "a namespaces=\"file\",namespaces=\"wheelbarrow\" KEY",
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
    fn links_of_other_users_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, lchown, symlink};
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("allowed_signers");
        fs_err::write(&path, format!("a {KEY}\n")).unwrap();
        let links = place.path().join("links");
        fs_err::create_dir(&links).unwrap();
        let link = links.join("link");
        symlink(&path, &link).unwrap();
        AllowedSigners::read(&link).unwrap();
        fs_err::set_permissions(&links, PermissionsExt::from_mode(0o777)).unwrap();
        let refused = AllowedSigners::read(&link).unwrap_err();
        let SignatureError::Read(error) = refused else { panic!("{refused}") };
        assert!(error.to_string().contains("links/link: a symbolic link"), "{error}");
        // Nobody replaces a link of this user where the sticky bit is set.
        fs_err::set_permissions(&links, PermissionsExt::from_mode(0o1777)).unwrap();
        AllowedSigners::read(&link).unwrap();
        if lchown(&link, Some(4321), None).is_ok() {
            AllowedSigners::read(&link).unwrap_err();
        }
    }

    /// Lines of which ssh-keygen takes at most those that are taken here; whether they are.
    const LINES: [(&str, bool); 46] = [
        ("rel@example.org KEY", true),
        ("rel@example.org\tKEY", true),
        ("  rel@example.org KEY comment", true),
        ("rel@example.org KEY\r", true),
        ("*@example.org KEY", true),
        ("other,rel@example.org KEY", true),
        ("\"rel@example.org\" KEY", true),
        ("rel@example.org namespaces=\"wheelbarrow\" KEY", true),
        ("rel@example.org namespaces=\"git,wheel*\",valid-after=\"20200101\" KEY", true),
        ("rel@example.org VALID-BEFORE=\"20990101Z\" KEY", true),
        // Values are quoted.
        ("rel@example.org namespaces=wheelbarrow KEY", false),
        ("rel@example.org namespaces=\"wheelbarrow KEY", false),
        ("rel@example.org namespaces=wheelbarrow\" KEY", false),
        ("rel@example.org namespaces=git\",wheelbarrow\" KEY", false),
        ("rel@example.org namespaces='wheelbarrow' KEY", false),
        ("rel@example.org valid-after=20200101 KEY", false),
        ("rel@example.org valid-before=20990101 KEY", false),
        ("rel@example.org namespaces=\"git\\\",wheelbarrow\" KEY", false),
        ("rel@example.org namespaces KEY", false),
        ("rel@example.org namespaces= KEY", false),
        ("rel@example.org namespaces=\"\" KEY", false),
        // Times are after 1970 began.
        ("rel@example.org valid-after=\"19700102\" KEY", true),
        ("rel@example.org valid-after=\"19700101Z\" KEY", false),
        ("rel@example.org valid-after=\"19600101\" KEY", false),
        ("rel@example.org valid-after=\"19700101Z\",valid-before=\"20990101\" KEY", false),
        // Commas stand between options.
        ("rel@example.org namespaces=\"wheelbarrow\", KEY", false),
        ("rel@example.org ,namespaces=\"wheelbarrow\" KEY", false),
        ("rel@example.org , KEY", false),
        ("rel@example.org namespaces=\"wheelbarrow\"valid-after=\"20200101\" KEY", false),
        ("rel@example.org cert-authority KEY", false),
        ("rel@example.org cert-authority=\"no\" KEY", false),
        // Other blanks than space and tab are none, and what is not seen is a part of a name.
        ("rel@example.org\x0cKEY", false),
        ("rel@example.org\x0bKEY", false),
        ("rel@example.org \x0cKEY", false),
        ("\x0crel@example.org KEY", false),
        ("rel@example.org\u{a0}KEY", false),
        ("\u{a0}rel@example.org KEY", false),
        ("\u{2003}rel@example.org KEY", false),
        ("\u{feff}rel@example.org KEY", false),
        ("\u{200b}rel@example.org KEY", false),
        // Names.
        ("!rel@example.org,* KEY", false),
        ("*,!rel@example.org KEY", false),
        ("\"!rel@example.org,*\" KEY", false),
        ("\"\" KEY", false),
        (", KEY", false),
        ("re\"l@example.org\" KEY", false),
    ];

    fn is_taken(line: &str) -> bool {
        let signers = AllowedSigners::parse(Path::new("allowed"), &format!("{line}\n"));
        let now = Timestamp::now();
        signers.is_ok_and(|signers| signers.lines.iter().any(|line| line.objection(now).is_none()))
    }

    #[test]
    fn lines_that_may_mean_something_else_are_refused() {
        for (line, expected) in LINES {
            assert_eq!(is_taken(&line.replace("KEY", KEY)), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_refused_by_ssh_keygen_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name).display().to_string();
        let ssh_keygen = |words: &[&str]| {
            let mut command = std::process::Command::new("ssh-keygen");
            command.args(words).stdin(fs_err::File::open(at("message")).unwrap().into_parts().0).output()
        };
        fs_err::write(at("message"), "message").unwrap();
        let Ok(made) = ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &at("key")]) else {
            assert!(std::env::var_os("CI").is_none(), "there is no ssh-keygen");
            return;
        };
        assert!(made.status.success(), "{made:?}");
        assert!(
            ssh_keygen(&["-Y", "sign", "-n", NAMESPACE, "-f", &at("key"), &at("message")])
                .unwrap()
                .status
                .success()
        );
        let key = fs_err::read_to_string(at("key.pub")).unwrap().trim().to_owned();
        let (allowed, signature) = (at("allowed"), at("message.sig"));
        let words =
            ["-Y", "verify", "-n", NAMESPACE, "-I", "rel@example.org", "-f", &allowed, "-s", &signature];
        for (line, _) in LINES {
            let line = line.replace("KEY", &key);
            fs_err::write(&allowed, format!("{line}\n")).unwrap();
            let theirs = ssh_keygen(&words).unwrap();
            assert!(theirs.status.success() || !is_taken(&line), "{line:?}: {theirs:?}");
        }
        // The same of signatures with text around them, and with other ends of lines.
        fs_err::write(&allowed, format!("* {key}\n")).unwrap();
        let ours = AllowedSigners::read(Path::new(&allowed)).unwrap();
        let signed = fs_err::read_to_string(&signature).unwrap();
        for (text, is_good) in [
            (signed.clone(), true),
            (format!("text\n{signed}"), false),
            (format!("\n{signed}"), false),
            (format!("{signed}text\n"), false),
            (signed.replace('\n', "\r\n"), false),
            (signed.replace('\n', "\r"), false),
            (signed.trim_end().to_owned() + "\r\n", false),
            (signed.trim_end().to_owned(), true),
        ] {
            fs_err::write(&signature, &text).unwrap();
            let theirs = ssh_keygen(&words).unwrap().status.success();
            assert!(theirs || !is_good, "{text:?}");
            assert_eq!(ours.signer(b"message", text.as_bytes()).is_ok(), is_good, "{text:?}");
        }
    }

    #[test]
    fn namespaces_and_times_count() {
        let objection = |options: &str| {
            parse(&format!("a {options} {KEY}")).unwrap().unwrap().objection(Timestamp::now())
        };
        for good in [
            "namespaces=\"wheelbarrow\"",
            "namespaces=\"file,wheel*\"",
            "namespaces=\"*,!git\"",
            "valid-after=\"20200101\"",
        ] {
            assert_eq!(objection(good), None, "{good}");
        }
        for bad in [
            "namespaces=\"file\"",
            "namespaces=\"*,!wheel?arrow\"",
            "valid-after=\"21000101Z\"",
            "valid-before=\"20200101120000\"",
        ] {
            assert!(objection(bad).is_some(), "{bad}");
        }
    }
}
