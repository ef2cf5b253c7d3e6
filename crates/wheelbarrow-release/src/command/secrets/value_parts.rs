//! The secrets in a variable: its value, and the parts that programs print alone.

use std::collections::BTreeSet;

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};
use wheelbarrow_base::json;

use super::encodings::percent_decoded;
use super::ordinary_values::{is_neutral_key, is_ordinary, is_secret_name, names_one_secret_among_others};

/// How often a part is taken apart again: a URL in a query in JSON.
const DEPTH: usize = 4;
/// Bytes of a value that is not quoted.
const LONGEST_KEYWORD: usize = 4096;
/// Bytes of a password that is looked for from each of its characters that end a part of a URL, and up to them.
const LONGEST_CUT: usize = 256;
/// Base64 of fewer characters is a word.
const SHORTEST_BASE64: usize = 16;

pub(super) fn secrets_of(name: &str, value: &str) -> BTreeSet<String> {
    let mut found = SecretParts::default();
    let is_named = is_secret_name(name);
    if names_one_secret_among_others(name) {
        found.add(value);
        found.parts(false, value, DEPTH);
    } else {
        found.value(is_named, value, DEPTH);
    }
    found.0
}

#[derive(Default)]
struct SecretParts(BTreeSet<String>);

impl SecretParts {
    /// `is_named` says that the name of the value, or of what it is a part of, is one of secrets.
    fn value(&mut self, is_named: bool, value: &str, depth: usize) {
        if is_named || !(is_ordinary(value) || is_plain_urls(value)) {
            self.add(value);
            self.parts(is_named, value, depth);
        }
    }

    /// With its lines, where there are several: a key is shown line by line. A line end may be written as `\n`.
    fn add(&mut self, value: &str) {
        self.0.insert(value.to_owned());
        let value = value.replace(r"\r", "").replace(r"\n", "\n");
        if value.trim_end().contains('\n') {
            self.0.extend(value.lines().map(|line| line.trim().to_owned()));
        }
    }

    fn parts(&mut self, is_named: bool, value: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let json = json::from_slice::<serde_json::Value>(value.trim().as_bytes());
        if let Ok(json @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) = json {
            return self.json(is_named, &json, depth);
        }
        let urls = urls(value);
        for url in &urls {
            self.unquoted(url);
            self.0.extend(user(url).filter(|user| !is_ordinary(user)).map(str::to_owned));
        }
        if let [_, _, ..] = urls[..] {
            urls.iter().for_each(|url| self.value(false, url, depth));
        }
        for Keyword { key, value, longer } in keywords(value) {
            let is_inherited = is_named && urls.is_empty() && !is_neutral_key(key);
            let is_named = is_secret_name(key) || is_inherited;
            self.value(is_named, &value, depth);
            if let Some(decoded) = percent_decoded(&value) {
                self.value(is_named, &decoded, depth);
            }
            self.0.extend(longer.into_iter().filter(|_| is_named).map(str::to_owned));
        }
        if urls.is_empty() {
            self.list(is_named, value, depth);
        }
        if let Some(decoded) = base64_decoded(value) {
            self.value(is_named, &decoded, depth);
        }
    }

    /// The password of a URL, and its pieces between unquoted `#`, `@` and the like: each program cuts at another
    /// of them, and shows a piece as a host, a port or a path. Behind the first `@` there may be a host instead.
    fn unquoted(&mut self, url: &str) {
        let Some((_, rest)) = url.split_once("://") else { return };
        let whole = rest.rsplit_once('@').map_or("", |(login, _)| login);
        let whole = whole.split_once(':').map_or(whole, |(_, password)| password);
        let password = password(url).unwrap_or_default();
        self.0.insert(password.to_owned());
        let is_end = |one: char| "/?#@:[]".contains(one);
        let ends = whole.match_indices(is_end).filter(|_| whole.len() <= LONGEST_CUT);
        let pieces = whole.split(is_end).chain(ends.flat_map(|(at, _)| [&whole[..at], &whole[at + 1..]]));
        let is_secret = |piece: &&str| password == whole || !is_ordinary(piece);
        self.0.extend(pieces.filter(is_secret).map(str::to_owned));
    }

    /// Members, each of which may be shown alone.
    fn list(&mut self, is_named: bool, value: &str, depth: usize) {
        let bare = |member: &str| {
            member.trim_matches(|one: char| one.is_whitespace() || "[]()'\"".contains(one)).to_owned()
        };
        if value.contains([',', ';']) {
            value.split([',', ';']).map(bare).for_each(|member| self.value(is_named, &member, depth));
        }
        // `user:password`, but not `host.example.org:8443`.
        let is_host = value.contains('.') && is_ordinary(value);
        if let Some((_, password)) = value.split_once(':').filter(|_| is_named && !is_host) {
            self.value(true, password, depth);
        }
        // Words of a sentence are none, nor are flags of a command.
        let is_worded = |member: &str| member.split(['-', '_']).all(is_ordinary_or_empty);
        let members = value.split(|one: char| one.is_whitespace() || one == ':' || one == '|').map(bare);
        for member in members.filter(|member| !member.contains('=') && !is_worded(member) && member != value)
        {
            self.value(false, &member, depth);
        }
    }

    fn json(&mut self, is_named: bool, json: &serde_json::Value, depth: usize) {
        match json {
            serde_json::Value::String(text) => self.value(is_named, text, depth),
            serde_json::Value::Number(number) if is_named => _ = self.0.insert(number.to_string()),
            serde_json::Value::Array(members) => {
                members.iter().for_each(|member| self.json(is_named, member, depth));
            }
            serde_json::Value::Object(members) => {
                for (key, member) in members {
                    // A token may be the key, and its owner the value.
                    if is_named && key.contains(|one: char| one.is_ascii_digit()) && !is_ordinary(key) {
                        self.add(key);
                    }
                    let is_inherited = is_named && !is_neutral_key(key);
                    self.json(is_secret_name(key) || is_inherited, member, depth);
                }
            }
            _ => {}
        }
    }
}

fn is_ordinary_or_empty(text: &str) -> bool {
    text.is_empty() || is_ordinary(text)
}

/// Whether there is nothing but URLs, none of which has a login or a query: those may hold more than a password.
fn is_plain_urls(value: &str) -> bool {
    let is_plain = |url: &str| {
        let authority = url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        authority.is_some_and(|authority| !authority.contains('@') || user(url).is_some_and(is_ordinary))
            && password(url).is_none()
            && url.chars().all(|one| one.is_alphanumeric() || "/._-~:@%+#!*[]".contains(one))
    };
    let mut parts = value.split([',', ';', ' ']).filter(|part| !part.is_empty());
    value.contains("://") && parts.all(|part| is_ordinary(part) || is_plain(part))
}

/// The URLs in a value, each up to the next.
fn urls(value: &str) -> Vec<&str> {
    let is_of_scheme = |one: char| one.is_ascii_alphanumeric() || "+-.".contains(one);
    let begins: Vec<usize> = value
        .match_indices("://")
        .map(|(at, _)| value[..at].rfind(|one| !is_of_scheme(one)).map_or(0, |before| before + 1))
        .map(|at| (at..=value.len()).find(|at| value.is_char_boundary(*at)).unwrap_or(at))
        .collect();
    let ends = begins.iter().skip(1).copied().chain([value.len()]);
    let end = |one: char| one.is_whitespace() || ",;|'\"".contains(one);
    begins
        .iter()
        .zip(ends)
        .filter_map(|(begin, end)| value.get(*begin..end))
        .map(|url| url.trim_end_matches(end))
        .collect()
}

/// User and password of a URL (RFC 3986, section 3.2.1).
fn login(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    // One with an unquoted slash, which is no URL but is found all the same.
    let authority = if authority.contains('@') { authority } else { rest };
    authority.rsplit_once('@').map(|(login, _)| login)
}

/// Quoted, as it stands there.
fn password(url: &str) -> Option<&str> {
    login(url)?.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
}

/// A key may stand there instead of a name.
fn user(url: &str) -> Option<&str> {
    let login = login(url)?;
    let user = login.split_once(':').map_or(login, |(user, _)| user);
    Some(user).filter(|user| !user.contains(['/', '?']))
}

/// `key=value`
struct Keyword<'v> {
    key: &'v str,
    value: String,
    /// What the value is if what ends it here is a part of it.
    longer: Vec<&'v str>,
}

/// Of a query, of the keywords that libpq takes, and of what ODBC and others take.
fn keywords(text: &str) -> Vec<Keyword<'_>> {
    let is_of_key = |one: char| one.is_alphanumeric() || "_-.".contains(one);
    let mut keywords = Vec::new();
    for (at, _) in text.match_indices('=') {
        let before = text[..at].trim_end();
        let begin = before.char_indices().rev().take_while(|(_, one)| is_of_key(*one)).last();
        let Some((begin, _)) = begin else { continue };
        let key = &before[begin..];
        let rest = text[at + 1..].trim_start_matches([' ', '\t']);
        let close = match rest.chars().next() {
            Some(quote @ ('\'' | '"')) => Some(quote),
            Some('{') => Some('}'),
            _ => None,
        };
        if let Some((quoted, value)) = close.and_then(|close| quoted(&rest[1..], close)) {
            keywords.push(Keyword { key, value, longer: vec![quoted] });
        }
        let ends: [&[char]; 5] = [&[';', '#', '&', ','], &[';', '#'], &['&', '#'], &[','], &[]];
        let [value, longer @ ..] = ends.map(|end| {
            let is_end =
                |(at, one): &(usize, char)| one.is_whitespace() || end.contains(one) || *at > LONGEST_KEYWORD;
            &rest[..rest.char_indices().find(is_end).map_or(rest.len(), |(at, _)| at)]
        });
        keywords.push(Keyword { key, value: value.to_owned(), longer: longer.to_vec() });
    }
    keywords
}

/// What stands before the closing quote, as it is and without its backslashes.
fn quoted(text: &str, close: char) -> Option<(&str, String)> {
    let mut plain = String::new();
    let mut is_escaped = false;
    for (at, one) in text.char_indices() {
        match one {
            '\\' if !is_escaped => is_escaped = true,
            one if one == close && !is_escaped => return Some((&text[..at], plain)),
            one => {
                is_escaped = false;
                plain.push(one);
            }
        }
    }
    None
}

/// Text that somebody has put into base64, so that it is one line.
fn base64_decoded(value: &str) -> Option<String> {
    let bare: String = value.chars().filter(|one| !one.is_whitespace()).collect();
    let bare = bare.trim_end_matches('=');
    if bare.len() < SHORTEST_BASE64 {
        return None;
    }
    let decoded = Base64Unpadded::decode_vec(bare).or_else(|_| Base64UrlUnpadded::decode_vec(bare));
    let text = String::from_utf8(decoded.ok()?).ok()?;
    text.chars().all(|one| !one.is_control() || one.is_whitespace()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_value_are_secrets_of_their_own() {
        for (name, value, secrets) in [
            // Passwords of all URLs, and keys in place of a user.
            ("BROKERS", "amqp://web:first%2Fone@a/,amqp://web:second1@b/", &["first%2Fone", "second1"][..]),
            ("SENTRY_URL", "https://0b7e1f6a93@sentry.example.org/1", &["0b7e1f6a93"]),
            // Queries, and URLs in them.
            ("DB", "postgresql:///app?host=/run&user=web&password=Zx81qp%4c&sslmode=disable", &["Zx81qp%4c"]),
            ("NEXT", "https://a/?to=redis%3A%2F%2F%3Apw12%40b%2F0", &["pw12"]),
            // Keywords of libpq, ODBC, Redis clients and Azure.
            ("DSN", "host=db user=web password=Vt62plMnQr port=5432", &["Vt62plMnQr"]),
            ("STORE", r"host=db password = 'it\'s 9 o' port=1", &["it's 9 o", r"it\'s 9 o"]),
            ("ODBC", "Driver={X};Uid=web;Pwd={a;b=c9};Server=db", &["a;b=c9"]),
            ("CACHE", "cache:6380,password=hunter2x=,ssl=True", &["hunter2x="]),
            ("QUEUE", "AccountName=web;AccountKey=kA7f3PqX9z==;Suffix=net", &["kA7f3PqX9z=="]),
            // JSON, whatever is in it.
            ("ACCOUNT", r#"{"uri": "https://a/b", "private_key": "-B-\nMIIabc12\n-E-\n"}"#, &["MIIabc12"]),
            // Variables that hold line ends as they are written.
            ("JWT_KEY", r"-----BEGIN KEY-----\nQUJDREVG1\n-----END KEY-----", &["QUJDREVG1"]),
            ("JWT_KEY", r"-----BEGIN KEY-----\r\nQUJDREVG1\r\n-----END KEY-----\r\n", &["QUJDREVG1"]),
            (
                "DATABASES",
                r#"{"default": [{"URL": "mysql://web:pw12@b/x"}, {"PASSWORD": "sunshine"}]}"#,
                &["pw12", "sunshine"],
            ),
            (
                "PASSWORDS",
                r#"["sunshine", {"bob": "moonlight", "pin": 90210}]"#,
                &["sunshine", "moonlight", "90210"],
            ),
            ("API_TOKENS", r#"{"t0k3n77": "alice"}"#, &["t0k3n77"]),
            // Lists.
            ("API_KEYS", "kA7f3PqX9z,kB8g4QrY0w; sunshine", &["kA7f3PqX9z", "kB8g4QrY0w", "sunshine"]),
            ("PASSWORDS", "['one1a', 'two2b']", &["one1a", "two2b"]),
            ("KEYS", "kA7f3PqX9z kB8g4QrY0w", &["kA7f3PqX9z", "kB8g4QrY0w"]),
            ("BASIC_AUTH", "admin:sunshine", &["sunshine"]),
            ("HEADER", "Bearer kA7f3PqX9z", &["kA7f3PqX9z"]),
            ("PASSWORDS", "alice=sunshine bob=moonlight", &["sunshine", "moonlight"]),
            // Base64 of JSON.
            ("CREDENTIALS", "eyJwcml2YXRlX2tleSI6ICJoM2xsby13MHJsZCJ9", &["h3llo-w0rld"]),
        ] {
            let found = secrets_of(name, value);
            for secret in secrets {
                assert!(found.contains(*secret), "{name}={value}: {secret} is not among {found:?}");
            }
        }
    }

    /// RFC 3986 would have these characters quoted. Programs that meet them in a password cut the URL in their own ways.
    #[test]
    fn each_part_of_an_unquoted_password_is_a_secret() {
        for (url, secrets) in [
            ("postgres://web:Zq7abc#Rest9Xy@db.internal/site", &["Zq7abc#Rest9Xy", "Zq7abc", "Rest9Xy"][..]),
            ("postgres://web:Zq7abc?Rest9Xy@db.internal/site", &["Zq7abc?Rest9Xy", "Zq7abc", "Rest9Xy"]),
            ("postgres://web:Zq7abc:Rest9Xy@db.internal/site", &["Zq7abc:Rest9Xy", "Zq7abc", "Rest9Xy"]),
            ("postgres://web:Zq7abc@Rest9Xy@db.internal/site", &["Zq7abc@Rest9Xy", "Zq7abc", "Rest9Xy"]),
            ("postgres://web:Zq[7abc]Rest9Xy@db.internal/site", &["Zq", "7abc]Rest9Xy", "Rest9Xy"]),
            ("s3://webuser:wJal9X/rXUtn+FEMI@bucket", &["wJal9X", "rXUtn+FEMI"]),
            (
                "redis://:a@b#cd12@ef/3gh4@db.internal",
                &["b#cd12@ef/3gh4", "cd12@ef/3gh4", "a@b#cd12", "3gh4"],
            ),
            // Up to the first of them there is a login already.
            ("postgres://web:Zq7@7abc#Rest9Xy@db.internal/site", &["7abc#Rest9Xy", "7abc", "Rest9Xy"]),
            ("https://Zq7abc#Rest9Xy@db.internal/1", &["Zq7abc", "Rest9Xy"]),
        ] {
            let found = secrets_of("SITE", url);
            for secret in secrets {
                assert!(found.contains(*secret), "{url}: {secret} is not among {found:?}");
            }
            for shown in ["db.internal", "webuser", "site"] {
                assert!(!found.contains(shown), "{url}: {shown} is among {found:?}");
            }
        }
        let found = secrets_of("MAILER", "smtp://web:Vt62plMnQr@db.internal/?from=shop@example.org");
        assert!(!found.contains("db.internal") && found.contains("Vt62plMnQr"), "{found:?}");
    }

    #[test]
    fn ordinary_parts_are_shown() {
        for (name, value) in [
            ("DSN", "host=db.internal user=webuser dbname=shop password=Vt62plMnQr sslmode=disable"),
            ("DATABASE_URL", "postgresql:///shop?host=db.internal&user=webuser&sslmode=disable"),
            (
                "ACCOUNT",
                r#"{"type": "webuser", "host": "db.internal", "key": "Vt62plMnQr", "mode": "disable"}"#,
            ),
            ("SECRETS", r#"{"user": "webuser", "host": "db.internal", "database": "shop"}"#),
            ("ARGUMENTS", "--bind 127.0.0.1:8000 --host db.internal shop --mode=disable"),
            ("KEYCLOAK_HOST", "db.example.org:8443"),
            ("ORIGINS", "https://shop.example.org,https://db.internal:8000/webuser"),
        ] {
            let found = secrets_of(name, value);
            for shown in [
                "db.internal",
                "webuser",
                "shop",
                "disable",
                "8443",
                "--bind",
                "--host",
                "https://shop.example.org",
            ] {
                assert!(!found.contains(shown), "{name}={value}: {shown} is among {found:?}");
            }
        }
    }
}
