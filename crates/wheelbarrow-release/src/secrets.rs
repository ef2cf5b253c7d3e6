//! Keeping the secrets of an environment.json out of what programs say.
//!
//! Which values are secrets is a rule, `docs/environment.md` has it for people:
//!
//! * The name says so (`SECRET_KEY`, `DB_PASSWORD`, `API_TOKEN`), or the value is not an ordinary one: no path, no host, no
//!   word, no number. Such a value is hidden wherever it stands, and so is the password of a URL.
//! * A short value that is one word is hidden only as a word of its own: `postgres` is not in `postgresql`.
//! * An ordinary value under another name is shown: errors are about paths, hosts and names.
//!
//! A program seldom says a value as it is: it shows it quoted, escaped, or as a part of a URL. All such forms are hidden.

mod forms;
mod ordinary;

use std::path::Path;

use fs_err as fs;

/// What is put in place of a secret.
const HIDDEN: &str = "***";
/// Shorter values are not looked for: `1` and `true` are no secrets, and stand everywhere.
const SHORTEST: usize = 4;
/// Values of one word that are shorter are hidden as a whole word.
const SHORT_WORD: usize = 12;

/// The values that must not be seen.
#[derive(Default)]
pub(crate) struct Secrets {
    /// The longest first, so that one that contains another goes whole.
    values: Vec<Value>,
}

struct Value {
    text: String,
    /// Whether it counts only between other characters than letters and digits.
    is_word: bool,
}

impl Secrets {
    /// Of an install; none where it has no environment.json or one that cannot be read.
    pub(crate) fn of(install: &Path) -> Self {
        Self::of_all([install])
    }

    /// Of several installs.
    pub(crate) fn of_all<'p>(installs: impl IntoIterator<Item = &'p Path>) -> Self {
        let mut texts: Vec<String> = installs
            .into_iter()
            .flat_map(variables)
            .flat_map(|(name, value)| secrets_of(&name, &value))
            .flat_map(|secret| forms::of(&secret))
            .filter(|form| form.len() >= SHORTEST)
            .collect();
        texts.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        texts.dedup();
        let value = |text: String| Value { is_word: is_short_word(&text), text };
        Self { values: texts.into_iter().map(value).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The text with `***` in place of each value.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, value| value.hide(text))
    }
}

/// Names and values.
fn variables(install: &Path) -> Vec<(String, String)> {
    let text = fs::read(install.join("environment.json")).unwrap_or_default();
    let variables: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&text).unwrap_or_default();
    let text = |value: &serde_json::Value| Some(value.as_str()?.to_owned());
    variables.into_iter().filter_map(|(name, value)| Some((name, text(&value)?))).collect()
}

impl Value {
    fn hide(&self, text: String) -> String {
        if !text.contains(&self.text) {
            return text;
        }
        if !self.is_word {
            return text.replace(&self.text, HIDDEN);
        }
        let mut hidden = String::with_capacity(text.len());
        let mut end = 0;
        for (begin, found) in text.match_indices(&self.text) {
            let before = text[..begin].chars().next_back();
            let after = text[begin + found.len()..].chars().next();
            let is_part = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
            if !is_part(before) && !is_part(after) {
                hidden.push_str(&text[end..begin]);
                hidden.push_str(HIDDEN);
                end = begin + found.len();
            }
        }
        hidden.push_str(&text[end..]);
        hidden
    }
}

fn is_short_word(text: &str) -> bool {
    text.chars().count() < SHORT_WORD
        && text.chars().all(char::is_alphanumeric)
        && ordinary::is_ordinary(text)
}

/// What of a variable must not be seen: its value, if that is a secret, and what of it may stand alone: a line of a key,
/// and the password of a URL (RFC 3986, section 3.2.1), which programs take out of it.
fn secrets_of(name: &str, value: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    let password = forms::password(value);
    let is_url = value.contains("://");
    if ordinary::is_secret_name(name) || !(ordinary::is_ordinary(value) || is_url) {
        secrets.push(value.to_owned());
    } else if is_url && (password.is_some() || value.contains('?')) {
        // A login or a query may hold more than a password.
        secrets.push(value.to_owned());
    }
    if !secrets.is_empty() && value.trim_end().contains('\n') {
        secrets.extend(value.lines().map(|line| line.trim().to_owned()));
    }
    secrets.extend(password);
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(environment: &str) -> Secrets {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("environment.json"), environment).unwrap();
        Secrets::of(place.path())
    }

    #[test]
    fn values_are_hidden_whole() {
        let ours = secrets(r#"{"A": "secret-1", "B": "secret-1-and-more", "DEBUG": "1", "N": 5}"#);
        assert_eq!(ours.hide("secret-1-and-more, secret-1, 1, 5"), "***, ***, 1, 5");
        let text = r#"{"URL": "postgres://site:correct-horse@db/site", "KEY": "-BEGIN-\nc2VjcmV0\n-END-\n"}"#;
        let said = r"no user site at db with correct-horse; 'BEGIN\nc2VjcmV0\n'";
        assert_eq!(secrets(text).hide(said), r"no user site at db with ***; 'BEGIN\n***\n'");
        assert_eq!(Secrets::of(Path::new("/nowhere")).hide("secret"), "secret");
    }

    #[test]
    fn every_form_of_a_secret_is_hidden() {
        let ours = secrets(
            r#"{"DATABASE_URL": "postgres://site:p%40ss%2Fw%C3%B6rd%21@db/site", "SIGNING_KEY": "it's \"a\\b\"\tü€ &<", "T": "a b/c+d=e"}"#,
        );
        let forms = [
            // The password out of the URL, as it is, quoted anew, with the other kinds of escapes.
            "p@ss/wörd!",
            "p%40ss%2Fw%C3%B6rd%21",
            "p%40ss%2fw%c3%b6rd%21",
            "p%40ss/w%C3%B6rd%21",
            r"p@ss/w\u00f6rd!",
            r"p@ss/w\xc3\xb6rd!",
            // repr(), json.dumps(), HTML.
            r#"it\'s "a\\b"\tü€ &<"#,
            r#"it's \"a\\b\"\t\u00fc\u20ac &<"#,
            r#"it's \"a\\b\"\tü€ &<"#,
            "it&#x27;s &quot;a\\b&quot;\tü€ &amp;&lt;",
            "a+b%2Fc%2Bd%3De",
            "a%20b/c%2Bd%3De",
            "a b/c+d=e",
        ];
        for form in forms {
            assert_eq!(ours.hide(&format!("<<{form}>>")), "<<***>>", "{form}");
        }
    }

    #[test]
    fn words_paths_and_hosts_can_still_be_read() {
        let ours = secrets(
            r#"{"DB_USER": "postgres", "DB_PASSWORD": "postgres", "DB_HOST": "db.example.org", "STATIC_ROOT": "/srv/site/static",
            "DJANGO_SETTINGS_MODULE": "mysite.settings.production", "ALLOWED_HOSTS": "example.org,www.example.org", "STAGE": "production",
            "CACHE": "redis://localhost:6379/1", "TZ": "Europe/Berlin", "PORT": "5432", "SIZE": "1048576"}"#,
        );
        let said = "connection to /var/run/postgresql/.s.PGSQL.5432 failed: db.example.org is no host of mysite.settings.production \
                    in /srv/site/static/app, production of Europe/Berlin, redis://localhost:6379/1, example.org, 1048576";
        assert_eq!(ours.hide(said), said);
        // As a word of its own a password is hidden, however ordinary.
        assert_eq!(ours.hide("postgres:postgres@db 'postgres'"), "***:***@db '***'");
        let neutral = secrets(r#"{"DB_USER": "postgres"}"#);
        assert_eq!(neutral.hide("role \"postgres\" does not exist"), "role \"postgres\" does not exist");
    }
}
