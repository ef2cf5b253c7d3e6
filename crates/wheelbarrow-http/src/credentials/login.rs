//! Logins in URLs, and texts without them.

use std::ops::Range;

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use url::Url;

use super::hidden;

/// A user name with its password. Has no `Debug` on purpose.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// Shorter passwords would hide parts of words.
const SHORTEST: usize = 6;

impl Login {
    /// The password, and a user that is a token, in [`forms`], and the login as it is sent to an index; nothing that is short.
    pub(super) fn secrets(&self) -> Vec<String> {
        let Self { user, password } = self;
        let secrets = [Some(password), Some(user).filter(|user| is_token(user))].into_iter().flatten();
        let mut found: Vec<_> =
            secrets.filter(|secret| secret.len() >= SHORTEST).flat_map(|it| forms(it)).collect();
        if !found.is_empty() {
            found.extend(encoded(&format!("{user}:{password}")));
        }
        found
    }
}

/// How a program may repeat a secret: as it is, escaped for a URL or a message, and encoded.
fn forms(secret: &str) -> Vec<String> {
    let mut url = Url::parse("http://h/").ok();
    let as_in_url = url.as_mut().and_then(|url| {
        url.set_password(Some(secret)).ok()?;
        url.password().map(str::to_owned)
    });
    let lower = secret.bytes().map(|byte| match char::from(byte) {
        plain if byte.is_ascii_alphanumeric() || "-._~".contains(plain) => plain.to_string(),
        _ => format!("%{byte:02x}"),
    });
    let texts = [secret.to_owned(), escape(secret), lower.collect(), secret.escape_debug().to_string()];
    texts.into_iter().chain(as_in_url).chain(encoded(secret)).collect()
}

/// In base64, which some write without the `=` at the end, and in hexadecimal digits.
fn encoded(text: &str) -> [String; 4] {
    let all = BASE64.encode(text.as_bytes());
    let text = text.as_bytes();
    [all.trim_end_matches('=').to_owned(), all, HEXLOWER.encode(text), HEXUPPER.encode(text)]
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

/// Escapes all but unreserved characters (RFC 3986, section 2.3).
pub(super) fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    escaped.collect()
}

/// `text` with the login of each URL in it taken out: `https://user:secret@host/` becomes `https://****@host/`. The user
/// `git` of `ssh://git@host/` has no password, so it is not secret and stays. What is no URL, since a password in it has a
/// character that should be escaped, has its login taken out too. So has the query, which may have a key. Passwords
/// of [`Credentials::hide`](super::Credentials::hide) are taken out wherever they are.
pub fn redact(text: &str) -> String {
    hidden::without(&without_queries(&replace_logins(text, "****@", login_of_text)))
}

/// `text` with `?****` in place of the query of each URL.
fn without_queries(text: &str) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let word = &rest[at..];
        // A quote ends a URL that another begins. In a key it may be anything.
        let scheme = rest[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let quote = scheme.chars().next_back().filter(|c| "\"`<'".contains(*c));
        let quote = quote.map(|quote| if quote == '<' { '>' } else { quote });
        let is_end = |c: char| c.is_whitespace() || Some(c) == quote;
        let word = &word[..word.find(is_end).unwrap_or(word.len())];
        let word = word.trim_end_matches([':', ',', ';', '.', ')', ']', '"', '`', '>', '\'']);
        let Some(query) = word.find('?').filter(|query| query + 1 < word.len()) else {
            clean.push_str(&rest[..at + 3]);
            rest = &rest[at + 3..];
            continue;
        };
        let end = word[query..].find('#').map_or(word.len(), |fragment| query + fragment);
        clean.push_str(&rest[..at + query]);
        clean.push_str("?****");
        rest = &rest[at + end..];
    }
    clean + rest
}

/// `text` with the login of each URL cut out, so that the URLs still work.
pub fn without_logins(text: &str) -> String {
    replace_logins(text, "", login_of_url)
}

/// Whether an address of HTTP in `text` has a password or a token in it. Variables that are put in later, as `${TOKEN}`, are
/// none. In front of an empty password the user is the secret: some indexes want a token there.
pub fn has_secret(text: &str) -> bool {
    let is_secret = |login: &str| match login.split_once(':') {
        Some((user, "")) => !user.is_empty() && !is_placeholder(user),
        Some((_, password)) => !is_placeholder(password),
        None => is_token(login),
    };
    let is_http = |begin: usize| {
        let scheme = text[..begin].to_ascii_lowercase();
        scheme.ends_with("http://") || scheme.ends_with("https://")
    };
    let in_logins = logins(text, login_of_url).into_iter();
    in_logins.clone().any(|login| is_http(login.start) && is_secret(&text[login]))
        || text.match_indices("://").any(|(at, _)| is_http(at + 3) && has_key(&text[at..]))
}

/// Whether a user name without a password is a token, as Git hosts and indexes take it: with the begin of one, or long, and
/// digits among its letters more than once. `oauth2accesstoken` and `service-account-2024` are names, as addresses of mail are.
pub(super) fn is_token(user: &str) -> bool {
    let bytes: Vec<u8> = user.bytes().filter(u8::is_ascii_alphanumeric).collect();
    if user.contains("%40") || is_placeholder(user) {
        return false;
    }
    let changes = bytes.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit());
    TOKENS.iter().any(|begin| user.starts_with(begin)) || (bytes.len() >= 16 && changes.count() >= 3)
}

/// How tokens of GitHub, GitLab, PyPI and Docker Hub begin.
const TOKENS: [&str; 8] = ["ghp_", "gho_", "ghu_", "ghs_", "github_pat_", "glpat-", "pypi-", "dckr_pat_"];

/// Names in a query whose value is a secret, in lower case.
const KEYS: [&str; 15] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "auth_token",
    "key",
    "passwd",
    "password",
    "private_token",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-signature",
    "x-goog-signature",
];

/// Whether the query of the URL at the begin of `rest` has a key for it.
fn has_key(rest: &str) -> bool {
    let url = &rest[..rest.find(|c: char| c.is_whitespace() || "\"`<>'#".contains(c)).unwrap_or(rest.len())];
    let query = url.trim_end_matches([',', ';', ')', ']']).split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(name, value)| {
        KEYS.contains(&name.to_ascii_lowercase().as_str()) && !value.is_empty() && !is_placeholder(value)
    })
}

/// `$NAME`, `${NAME}`, `{NAME}` in upper case, as pip and uv put variables in, or stars.
fn is_placeholder(text: &str) -> bool {
    let name = text.strip_prefix('$').unwrap_or(text);
    let inside = name.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    let is_name = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.bytes().all(is_part)
    };
    text.bytes().all(|byte| byte == b'*')
        || is_name(inside.unwrap_or(name)) && (inside.is_some() || name != text)
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
        assert_eq!(
            redact("cannot fetch `https://h/x.whl?sig=s3cret#sha256=1`, https://h/y?a=b: timeout"),
            "cannot fetch `https://h/x.whl?****#sha256=1`, https://h/y?****: timeout"
        );
        assert_eq!(redact("at https://h/x?"), "at https://h/x?");
        assert_eq!(
            redact(
                "at `x @ https://h/x?v=(2)&sig=<s3cr3t>\"s3cr3t`s3cr3t`: 'https://h/y?a=b', see <http://h?a=\"s3cr3t>"
            ),
            "at `x @ https://h/x?****`: 'https://h/y?****', see <http://h?****>"
        );
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
    fn passwords_and_tokens_are_found() {
        for secret in [
            "--index-url https://u:p@h/x",
            "x @ git+HTTPS://u:p,w@h",
            "[\"http://h\", \"http://:p@h\"]",
            "https://u:p$w@h/x",
            "https://u:p{w@h/x",
            "https://u:p*w@h/x",
            "https://u:$p-w@h/x",
            "https://token:@h/x",
            "https://u:$passw0rd@h/x",
            "https://u:{passw0rd}@h/x",
            "git+https://ghp_AAAAAAAAAAAAAAAAAAAA@h/x",
            "https://0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c@h/x",
            "https://aB3dE6gH9jK2mN5pQ8@h/x",
            "https://h/x.whl?sv=2024&sig=s3cr3t#sha256=1",
            "git+https://h/x?TOKEN=s3cr3t",
            "{ url = 'https://h/x?X-Amz-Signature=0f' }",
        ] {
            assert!(has_secret(secret), "{secret}");
        }
        for harmless in [
            "https://user@h/x",
            "https://${TOKEN}:@h/x",
            "https://u:$TOKEN@h/x",
            "https://u:{TOKEN}@h/x",
            "https://${USER}:${TOKEN}@h/x",
            "https://u:****@h/x",
            "https://USER:<TOKEN>@h/x",
            "git+ssh://git@h/x",
            "postgres://u:p@h/x",
            "https://h/x?a:b@c",
            "https://oauth2accesstoken@h/x",
            "https://VssSessionToken@h/x",
            "https://service-account-2024@h/x",
            "https://j4ne.d0e.1%40example.com@h/x",
            "https://${INDEX_1_TOKEN_2_OF_3}@h/x",
            "https://h/x?version=0f1e2d3c&keys=1",
            "https://h/x?token=",
            "['https://h/x?token=$TOKEN', https://h/x?sig=${SIG}]",
            "https://h/x, see a?token=b",
            "https://h/x#?token=b",
        ] {
            assert!(!has_secret(harmless), "{harmless}");
        }
    }
}
