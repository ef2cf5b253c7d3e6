//! Logins in URLs, and texts without them.

use std::ops::Range;

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
/// `git` of `ssh://git@host/` has no password, so it is not secret and stays. What is no URL, since a password in it has a
/// character that should be escaped, has its login taken out too.
pub fn redact(text: &str) -> String {
    replace_logins(text, "****@", login_of_text)
}

/// `text` with the login of each URL cut out, so that the URLs still work.
pub fn without_logins(text: &str) -> String {
    replace_logins(text, "", login_of_url)
}

/// Whether an address of HTTP in `text` has a password in it. Variables that are put in later, as `${TOKEN}`, are none.
pub fn has_password(text: &str) -> bool {
    let is_secret = |login: &str| {
        let password = login.split_once(':').map(|(_, password)| password);
        password.is_some_and(|password| !password.is_empty() && !password.contains(['$', '{', '*']))
    };
    logins(text, login_of_url).iter().any(|login| {
        let scheme = text[..login.start].to_ascii_lowercase();
        (scheme.ends_with("http://") || scheme.ends_with("https://")) && is_secret(&text[login.clone()])
    })
}

fn replace_logins(text: &str, replacement: &str, find: Find) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = 0;
    for login in logins(text, find) {
        clean.push_str(&text[rest..login.start]);
        clean.push_str(replacement);
        // With the `@`.
        rest = login.end + 1;
    }
    clean + &text[rest..]
}

/// The end of the login at the begin of what stands behind `://`: of the word there, or of the rest of its line.
type Find = fn(&str, &str) -> Option<usize>;

/// Where the logins of URLs stand in a text.
fn logins(text: &str, find: Find) -> Vec<Range<usize>> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(at) = text[from..].find("://") {
        let start = from + at + 3;
        let line = text[start..].lines().next().unwrap_or_default();
        // What no part of a URL has unescaped. A comma and a parenthesis may be in a password.
        let word =
            &line[..line.find(|c: char| c.is_whitespace() || "\"`<>".contains(c)).unwrap_or(line.len())];
        from = start;
        if let Some(end) = find(word, line)
            && (!text[..start].ends_with("ssh://") || line[..end].contains(':'))
        {
            found.push(start..start + end);
            from = start + end + 1;
        }
    }
    found
}

/// As the standard has it: before the last `@` of the authority.
fn login_of_url(word: &str, _line: &str) -> Option<usize> {
    word[..word.find(['/', '?', '#']).unwrap_or(word.len())].rfind('@')
}

/// The same for a password with an unquoted `/`, quote or blank. The authority ends too early there, and its port is
/// then no number.
fn login_of_text(word: &str, line: &str) -> Option<usize> {
    let authority = &word[..word.find('/').unwrap_or(word.len())];
    let port = authority.split_once(':').filter(|_| !authority.starts_with('[')).map(|(_, port)| port);
    let is_cut = port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_login = |end: &usize| line[..*end].contains(':') && !line[..*end].contains("://");
    authority.rfind('@').or_else(|| word.rfind('@').filter(|_| is_cut)).or_else(|| {
        // A word behind a blank that has a `/` before its `@` is another address.
        let is_open = is_cut && authority.len() == word.len();
        line.find('@').filter(|end| is_open && is_login(end) && !line[word.len()..*end].contains('/'))
    })
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
        assert_eq!(without_logins("https://u:p,w)'@h/x?a=b@c"), "https://h/x?a=b@c");
        assert_eq!(without_logins("[\"https://h\", \"http://u:p@h\"]"), "[\"https://h\", \"http://h\"]");
        assert_eq!(without_logins("ssh://git@h/x"), "ssh://git@h/x");
    }

    #[test]
    fn logins_are_removed_from_what_is_no_url() {
        for password in ["s3cr3t", "s3,cr)3't", "s3#cr3t", "s3?cr3t", "s3/cr3t", "s3@cr3t", "s3/c@r3t"] {
            for host in ["[127.0.0.1/bad", "h:99999/x", "h", "[::1]:80/x"] {
                let shown = redact(&format!("`x @ http://usr:{password}@{host}`: invalid, see http://h/a@b"));
                assert_eq!(
                    shown,
                    format!("`x @ http://****@{host}`: invalid, see http://h/a@b"),
                    "{password}"
                );
            }
        }
        for password in ["s3\"cr3t", "s3 cr3t", "s3`cr3t", "s3<cr 3t"] {
            let shown = redact(&format!("`--index-url http://usr:{password}@h/x`: invalid"));
            assert_eq!(shown, "`--index-url http://****@h/x`: invalid", "{password}");
        }
        for plain in
            ["http://h:80/a@b", "http://[::1]:80/a@b", "`http://h:x`: invalid port", "git+ssh://git@h:o/x@v1"]
        {
            assert_eq!(redact(plain), plain);
        }
    }

    #[test]
    fn passwords_are_found() {
        for secret in
            ["--index-url https://u:p@h/x", "x @ git+HTTPS://u:p,w@h", "[\"http://h\", \"http://:p@h\"]"]
        {
            assert!(has_password(secret), "{secret}");
        }
        for harmless in [
            "https://user@h/x",
            "https://user:@h/x",
            "https://${USER}:${TOKEN}@h/x",
            "https://u:****@h/x",
            "https://USER:<TOKEN>@h/x",
            "git+ssh://git@h/x",
            "postgres://u:p@h/x",
            "https://h/x?a:b@c",
        ] {
            assert!(!has_password(harmless), "{harmless}");
        }
    }
}
