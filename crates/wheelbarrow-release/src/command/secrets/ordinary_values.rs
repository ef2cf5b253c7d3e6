//! Decides which variables are secrets, by their names and values.

/// A variable whose name has one of these words holds a secret.
const NAMES: [&str; 14] = [
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASS",
    "PWD",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
    "AUTH",
    "DSN",
    "PRIVATE",
    "SALT",
    "COOKIE",
];

/// Characters of an ordinary value, and of a part of it.
const LONGEST: usize = 100;
const LONGEST_PART: usize = 24;

/// Last words of the names of members, in JSON or among keywords, that are no secrets beside one.
const NEUTRAL: [&str; 19] = [
    "host", "hostaddr", "server", "port", "user", "uid", "username", "name", "dbname", "db", "database",
    "type", "uri", "url", "domain", "email", "engine", "scheme", "region",
];

/// What a setting is switched on and off by.
const SWITCHES: [&str; 4] = ["true", "false", "none", "null"];

/// By its name.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    NAMES.iter().any(|word| name.contains(word))
}

/// `DSN` says that a password stands among other things.
pub(super) fn names_one_secret_among_others(name: &str) -> bool {
    is_secret_name(name) && !is_secret_name(&name.to_ascii_uppercase().replace("DSN", ""))
}

/// `client_email` of an account, `host` of a database.
pub(super) fn is_neutral_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.rsplit(['_', '-', '.']).next().is_some_and(|word| NEUTRAL.contains(&word))
}

/// `DJANGO_AUTH=true` is no secret, by whatever name.
pub(super) fn is_switch(value: &str) -> bool {
    SWITCHES.contains(&value.to_ascii_lowercase().as_str())
}

/// A word, a number, a path, or names with dots, commas and ports: `mysite.settings`, `localhost:5432`,
/// `/srv/site/static`, `a.example.org,b.example.org`.
pub(super) fn is_ordinary(value: &str) -> bool {
    let value = value.trim();
    value.len() <= LONGEST
        && value.split([',', ' ']).filter(|part| !part.is_empty()).all(|part| is_path(part) || is_name(part))
}

/// Absolute. Its parts may be of any kind: a random one is the name of a file, not a key.
fn is_path(part: &str) -> bool {
    part.starts_with('/') && part.chars().all(|one| one.is_alphanumeric() || "/._-~@".contains(one))
}

/// Words and numbers between dots and slashes, and a port.
fn is_name(part: &str) -> bool {
    let (part, port) = part.rsplit_once(':').unwrap_or((part, ""));
    let is_port = port.len() <= 5 && port.chars().all(|one| one.is_ascii_digit());
    let has_parts = part.contains(['.', '/']);
    let words = part.split(['.', '/']);
    is_port && words.clone().all(|word| word.is_empty() || is_word(word, has_parts)) && !part.is_empty()
}

/// One that people write: no letters and digits in turn, no capitals inside. Words with hyphens between them are a name
/// among other parts; alone they may be a passphrase.
fn is_word(word: &str, has_parts: bool) -> bool {
    if word.chars().all(|one| one.is_ascii_digit()) {
        return word.len() <= LONGEST_PART;
    }
    let is_plain = |part: &str| {
        let letters = part.trim_end_matches(|one: char| one.is_ascii_digit());
        let digits = part.len() - letters.len();
        let is_case =
            letters.chars().all(char::is_uppercase) || letters.chars().skip(1).all(char::is_lowercase);
        digits <= 4 && is_case && letters.chars().all(char::is_alphabetic)
    };
    let parts: Vec<&str> = word.split(['_', '-']).collect();
    word.len() <= LONGEST_PART && (has_parts || parts.len() == 1) && parts.into_iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_values_are_words_numbers_paths_and_hosts() {
        for value in [
            "postgres",
            "production",
            "5432",
            "true",
            "/srv/site/static",
            "mysite.settings.base",
            "db-1.example.org",
            "localhost:8000",
            "a.example.org, b.example.org",
            "en_US.UTF-8",
            "Europe/Berlin",
            "v1.4",
            "127.0.0.1",
        ] {
            assert!(is_ordinary(value), "{value}");
        }
        for value in [
            "correct-horse",
            "hunter2x",
            "s3cr3t",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCY",
            "AKIAIOSFODNN7EXAMPLE",
            "a:b",
            "p@ss",
            "eyJhbGciOi.eyJzdWIi.SflKxw",
            "-BEGIN-\nx",
            "0b7e1f6a93",
            "user:pass@host",
        ] {
            assert!(!is_ordinary(value), "{value}");
        }
        assert!(
            is_secret_name("django_secret_key") && is_secret_name("PGPASSWORD") && !is_secret_name("DB_USER")
        );
    }
}
