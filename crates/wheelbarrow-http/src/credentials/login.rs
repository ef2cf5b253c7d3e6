//! Logins as URLs have them, and texts without them.

use url::Url;

/// A user name with its password. Has no `Debug` on purpose.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// That of a URL, where it has one.
pub(super) fn login_of(url: &Url) -> Option<Login> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    Some(Login { user: unescape(url.username()), password: unescape(url.password().unwrap_or_default()) })
}

/// Undoes percent escapes.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `text` with the login of each URL in it taken out: `https://user:secret@host/` becomes `https://****@host/`. The user
/// `git` of `ssh://git@host/` has no password, so it is not secret and stays.
pub fn redact(text: &str) -> String {
    replace_logins(text, "****@")
}

/// `text` with the login of each URL cut out, so that the URLs still work.
pub fn without_logins(text: &str) -> String {
    replace_logins(text, "")
}

fn replace_logins(text: &str, replacement: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'`<>,)".contains(c)).unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(login) if !before.ends_with("ssh://") || after[..login].contains(':') => {
                clean.push_str(replacement);
                rest = &after[login + 1..];
            }
            _ => rest = after,
        }
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_removed_from_any_text() {
        assert_eq!(
            redact("at https://joe:se%40cret@h.example/simple now"),
            "at https://****@h.example/simple now"
        );
        assert_eq!(redact("https://tok@h/x, http://a:b@c"), "https://****@h/x, http://****@c");
        assert_eq!(redact("git+ssh://git@h/x"), "git+ssh://git@h/x");
        assert_eq!(redact("https://h/a@b"), "https://h/a@b");
        assert_eq!(redact("`https://u:p@w@h/x`"), "`https://****@h/x`");
        assert_eq!(without_logins("https://u:p@h/x"), "https://h/x");
        assert_eq!(without_logins("ssh://git@h/x"), "ssh://git@h/x");
    }
}
