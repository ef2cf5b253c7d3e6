//! Hides the secrets of an environment.json in the output of programs.
//!
//! `docs/reference/environment.md` documents which values are secrets:
//!
//! * The name marks a secret (`SECRET_KEY`, `DB_PASSWORD`, `API_TOKEN`), or the value is not ordinary: no
//!   path, host, word or number. Such a value is hidden everywhere, and so is the password of a URL.
//! * A short value that is one word is hidden only as a whole word: `postgres` is not hidden in `postgresql`.
//! * An ordinary value under another name is shown: errors are about paths, hosts and names.
//!
//! A program seldom prints a value unchanged: it quotes or escapes it, or makes it part of a URL. All such
//! forms are hidden.

mod encodings;
mod matcher;
mod ordinary_values;
mod undone;
mod value_parts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use matcher::{MatchKind, SHORTEST, SecretFinder};
use wheelbarrow_base::{LARGEST_ENVIRONMENT, json, read_regular};
use wheelbarrow_wheel::order::Inserted;

use crate::environment::without_mark;

/// What is put in place of a secret.
const HIDDEN: &str = "***";
/// Values of one word that are shorter are hidden as a whole word.
const SHORT_WORD: usize = 12;

/// The values that must not be seen.
#[derive(Default)]
pub(crate) struct Secrets {
    finder: SecretFinder,
}

impl Secrets {
    /// Of an install; none where it has no environment.json or one that cannot be read.
    pub(crate) fn of(install: &Path) -> Self {
        Self::of_all([install])
    }

    /// Of several installs.
    pub(crate) fn of_all<'p>(installs: impl IntoIterator<Item = &'p Path>) -> Self {
        Self::of_variables(installs.into_iter().flat_map(variables).chain(passed()))
    }

    /// Of names and values.
    fn of_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let secrets: BTreeSet<String> = variables
            .into_iter()
            .flat_map(|(name, value)| value_parts::secrets_of(&name, &value))
            .filter(|secret| secret.len() >= SHORTEST && !ordinary_values::is_switch(secret))
            .inserted();
        let is_long = |form: &String| form.len() >= SHORTEST;
        let forms: BTreeSet<String> =
            secrets.iter().flat_map(|secret| encodings::of(secret)).filter(is_long).inserted();
        let encoded: BTreeSet<String> =
            secrets.iter().flat_map(|secret| encodings::encoded(secret)).filter(is_long).inserted();
        let mut finder = SecretFinder::default();
        secrets.iter().for_each(|secret| finder.add_ends(secret));
        encoded.into_iter().for_each(|form| finder.add(form, MatchKind::Encoded));
        for form in forms {
            let kind = if is_short_word(&form) { MatchKind::Word } else { MatchKind::Text };
            finder.add(form, kind);
        }
        finder.sort();
        Self { finder }
    }

    /// The text with `***` in place of each value, on each line that has some of it.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut hidden = String::with_capacity(text.len());
        let mut end = 0;
        for span in self.finder.spans(text.as_bytes()) {
            hidden.push_str(&text[end..span.start]);
            let mut lines = text[span.clone()].lines();
            lines.next();
            hidden.push_str(HIDDEN);
            lines.for_each(|_| _ = write!(hidden, "\n{HIDDEN}"));
            end = span.end;
        }
        hidden.push_str(&text[end..]);
        hidden
    }

    /// Bytes that must be known on both sides of a place to tell whether it is within a secret.
    pub(crate) fn margin(&self) -> usize {
        self.finder.margin()
    }

    /// The secret that goes over the place `at`, where a cut would leave a half that nobody finds; else that place.
    pub(crate) fn over(&self, bytes: &[u8], at: usize) -> Range<usize> {
        let mut spans = self.finder.spans(bytes).into_iter();
        spans.find(|span| span.start < at && at < span.end).unwrap_or(at..at)
    }
}

/// A text with `***` in place of the secrets among the values of an environment.
pub fn hide_secrets(environment: &BTreeMap<String, String>, text: &str) -> String {
    let variables = environment.iter().map(|(name, value)| (name.clone(), value.clone()));
    Secrets::of_variables(variables).hide(text)
}

/// Names and values.
fn variables(install: &Path) -> Vec<(String, String)> {
    let text = read_regular(&install.join("environment.json"), LARGEST_ENVIRONMENT).unwrap_or_default();
    let variables: serde_json::Map<String, serde_json::Value> =
        json::from_slice(without_mark(&text)).unwrap_or_default();
    let text = |value: &serde_json::Value| Some(value.as_str()?.to_owned());
    variables.into_iter().filter_map(|(name, value)| Some((name, text(&value)?))).collect()
}

/// Names of the variables of this process that commands of the site get too.
static PASSED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// From now on the values of these variables are hidden as those of an environment.json are.
pub(crate) fn hide_passed(names: &[String]) {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner).extend(names.iter().cloned());
}

fn passed() -> Vec<(String, String)> {
    let names = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    names.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect()
}

fn is_short_word(text: &str) -> bool {
    text.chars().count() < SHORT_WORD
        && text.chars().all(char::is_alphanumeric)
        && ordinary_values::is_ordinary(text)
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

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
        let output = r"no user site at db with correct-horse; 'BEGIN\nc2VjcmV0\n'";
        assert_eq!(secrets(text).hide(output), r"no user site at db with ***; 'BEGIN\n***\n'");
        assert_eq!(Secrets::of(Path::new("/nowhere")).hide("secret"), "secret");
    }

    /// A site may print any number of them.
    #[test]
    fn a_secret_that_begins_with_many_backslashes_takes_no_long_time() {
        let secret = format!("{}x-1", "\\".repeat(100_000));
        let ours = Secrets::of_variables([("K".to_owned(), secret.clone())]);
        let begun = std::time::Instant::now();
        let text = "\\".repeat(1 << 20);
        assert_eq!(ours.hide(&text), text);
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
        assert_eq!(ours.hide(&format!("a {secret} b")), "a *** b");
    }

    #[test]
    fn a_file_with_a_byte_order_mark_has_secrets_too() {
        assert_eq!(secrets("\u{feff}{\"A\": \"correct-horse\"}").hide("correct-horse"), "***");
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
    fn a_secret_is_hidden_in_base64_and_in_hexadecimal_digits() {
        let ours = secrets(r#"{"SMTP_PASSWORD": "Sm7pPassw0rdZ", "T": "hunter2x"}"#);
        for text in [
            // Alone, after "\0web\0", "a:" and "web:"; of URLs.
            "U203cFBhc3N3MHJkWg==",
            "AHdlYgBTbTdwUGFzc3cwcmRa",
            "YTpTbTdwUGFzc3cwcmRa",
            "d2ViOlNtN3BQYXNzdzByZFo=",
            "U203cFBhc3N3MHJkWg",
            "536d377050617373773072645a",
            "536D377050617373773072645A",
            "aHVudGVyMng=",
        ] {
            assert_eq!(ours.hide(&format!("AUTH PLAIN {text}\r\n")), "AUTH PLAIN ***\r\n", "{text}");
        }
        // Wrapped, as encodebytes() of Python does it.
        let long = "n0t-a-w0rd".repeat(20);
        let ours = secrets(&format!(r#"{{"T": "{long}"}}"#));
        let base64 =
            <base64ct::Base64 as base64ct::Encoding>::encode_string(format!("web:{long}").as_bytes());
        let lines: Vec<&str> =
            (0..base64.len()).step_by(76).map(|at| &base64[at..base64.len().min(at + 76)]).collect();
        assert_eq!(ours.hide(&lines.join("\n")), "***\n***\n***\n***");
    }

    #[test]
    fn a_short_secret_is_hidden_wherever_lines_are_broken() {
        let ours = secrets(r#"{"SMTP_PASSWORD": "Sm7pPassw0rdZ", "T": "hunter2x"}"#);
        let breaks = ["\n", "\r\n", "\n    ", "\\n", "\\r\\n", "\\\n", "\\\\n", "'\n '", "\"\n  b\""];
        for (width, before) in
            [64, 76].into_iter().flat_map(|width| (0..2 * width).map(move |at| (width, at)))
        {
            let text = format!("{}{}{}", "u".repeat(before), "Sm7pPassw0rdZ", ": and more".repeat(9));
            let base64 = <base64ct::Base64 as base64ct::Encoding>::encode_string(text.as_bytes());
            // Characters that are of the secret alone.
            let within = (8 * before).div_ceil(6)..8 * (before + 13) / 6;
            let lines: Vec<_> =
                (0..base64.len()).step_by(width).map(|at| at..base64.len().min(at + width)).collect();
            let wrapped: Vec<&str> = lines.iter().map(|line| &base64[line.clone()]).collect();
            for line_break in breaks {
                let hidden = ours.hide(&format!("<{}>", wrapped.join(line_break)));
                for line in &lines {
                    let (begin, end) = (line.start.max(within.start), line.end.min(within.end));
                    let shown = if begin < end { begin..end } else { line.clone() };
                    let is_shown = hidden.contains(&base64[shown.clone()]);
                    assert!(
                        shown.len() < 3 || is_shown == (begin >= end),
                        "{before} {line_break:?}: {hidden}"
                    );
                }
            }
        }
        // A secret itself, and words that only meet.
        assert_eq!(ours.hide("hunt\n  er2x"), "***\n***");
        let word = secrets(r#"{"DB_PASSWORD": "postgres"}"#);
        assert_eq!(word.hide("post\ngres"), "post\ngres");
    }

    #[test]
    fn a_secret_is_hidden_as_a_shell_and_as_json_quote_it() {
        let ours = secrets(r#"{"SIGNING_KEY": "it's $5 & \"<b>\"/\\!"}"#);
        for form in [
            // shlex.quote(), ${VAR@Q} and `set -x`, printf %q, Shellwords, within double quotes.
            r#"it'"'"'s $5 & "<b>"/\!"#,
            r#"it'\''s $5 & "<b>"/\!"#,
            r#"it\'s\ \$5\ \&\ \"\<b\>\"/\\\!"#,
            r#"it's \$5 & \"<b>\"/\\!"#,
            // The first of these in JSON; json_script of Django, tojson of Jinja; others.
            r#"it'\"'\"'s $5 & \"<b>\"/\\!"#,
            r#"it's $5 \u0026 \"\u003Cb\u003E\"/\\!"#,
            r#"it\u0027s $5 \u0026 \"\u003cb\u003e\"/\\!"#,
            r#"it's $5 & \"<b>\"\/\\!"#,
        ] {
            assert_eq!(ours.hide(&format!("<<{form}>>")), "<<***>>", "{form}");
        }
    }

    #[test]
    fn a_secret_is_hidden_as_other_programs_write_it() {
        let ours = secrets(r#"{"SIGNING_KEY": "it's = \"ö你\ud83d\udd11\" & <b>"}"#);
        for form in [
            // ascii(), unicode_escape, and standard error in an ASCII locale.
            r#"it\'s = "\xf6\u4f60\U0001f511" & <b>"#,
            r#"it's = "\xf6\u4f60\U0001f511" & <b>"#,
            // markupsafe, and Go; JSON of Go.
            "it&#39;s = &#34;ö你🔑&#34; &amp; &lt;b&gt;",
            r#"it's = \"ö你🔑\" \u0026 \u003cb\u003e"#,
            // SQL, CSV, mail, a URL within another.
            r#"it''s = "ö你🔑" & <b>"#,
            r#"it's = ""ö你🔑"" & <b>"#,
            r#"it's =3D "=C3=B6=E4=BD=A0=F0=9F=94=91" & <b>"#,
            "it%2527s%2520%253D%2520%2522%25C3%25B6%25E4%25BD%25A0%25F0%259F%2594%2591%2522%2520%2526%2520%253Cb%253E",
        ] {
            assert_eq!(ours.hide(&format!("<<{form}>>")), "<<***>>", "{form}");
        }
        let ours = secrets(r#"{"T": "hunter2x-and-more"}"#);
        for (form, hidden) in [
            ("hunter\x1b[1;31m2x-and\x1b[0m-more", "***"),
            ("hunter\x1b[0m\n  \x1b[31m2x-and-more", "***\n***"),
            ("hunter2x=\r\n-and-more", "***\n***"),
        ] {
            assert_eq!(ours.hide(&format!("<{form}>")), format!("<{hidden}>"), "{form:?}");
        }
    }

    #[test]
    fn a_secret_is_hidden_in_several_forms_at_once() {
        let ours = secrets(
            r#"{"SIGNING_KEY": "wö/rd \"a\\b\" & 9+%7E", "SMTP_PASSWORD": "Sm7pPassw0rdZ>?>?", "ID": "p%40ss\\n1w/ö"}"#,
        );
        for form in [
            // json_encode() of PHP, and the same within JSON and HTML.
            r#"w\u00f6\/rd \"a\\b\" & 9+%7E"#,
            r#"w\\u00f6\\/rd \\\"a\\\\b\\\" & 9+%7E"#,
            r#"w\u00f6\/rd \&quot;a\\b\&quot; &amp; 9+%7E"#,
            r#"w\u00f6\u002frd \u0022a\u005cb\u0022 \u0026 9+%7E"#,
            // Some characters as in a URL and others not, each character in its own way, octal digits.
            r#"w%C3%B6/rd%20%22a\b%22 %26 9%2b%257E"#,
            r#"w&#246;/rd &#34;a&#92;b&#x22; &amp; 9&#43;%7E"#,
            r#"w\303\266/rd "a\\b" & 9+%7E"#,
            r#"w\u{f6}/rd "a\\b" & 9+%7E"#,
            r#"w%u00F6/rd%20%22a%5Cb%22%20%26%209+%257E"#,
            // In the query of a URL in JSON in JSON, and thrice in URLs.
            r#"\\u0077%C3%B6%2Frd+%22a%5Cb%22+%26+9%2B%257E"#,
            "w%2525C3%2525B6%25252Frd%252520%252522a%25255Cb%252522%252520%252526%2525209%25252B%2525257E",
            // One that looks as if it was escaped already.
            r#"p%40ss\\n1w\/\u00f6"#,
            r#"p%2540ss%5Cn1w\/ö"#,
            // Base64 in a URL, in JSON of PHP, and of JSON.
            "U203cFBhc3N3MHJkWj4%2FPj8%3D",
            r"U203cFBhc3N3MHJkWj4\/Pj8=",
            "eyJhIjogIndcdTAwZjYvcmQgXCJhXFxiXCIgJiA5KyU3RSJ9",
        ] {
            let hidden = ours.hide(&format!("<<{form}>>"));
            assert_eq!(hidden, "<<***>>", "{form}");
        }
    }

    /// `int()` of Python, and everything that formats with `%.200R`, `reprlib`, and loggers with a limit for a line.
    #[test]
    fn a_long_secret_is_hidden_where_it_is_cut() {
        let key = "kA7f3!PqX9z(kB8g4-QrY0w_dT2m=9Jt5%YYtTu77Pmn2Wq".repeat(5);
        let ours =
            secrets(&format!(r#"{{"API_TOKEN": "{key}", "AUTH_URL": "https://login.example.org/abc/def"}}"#));
        for (text, hidden) in [
            (format!("invalid literal: '{}", &key[..199]), "invalid literal: '***"),
            (format!("'{}...{}'", &key[..12], &key[key.len() - 13..]), "'***...***'"),
            (format!("... {} and more", &key[40..]), "... *** and more"),
            (format!("{}\n{} and more", &key[..30], &key[30..60]), "***\n*** and more"),
            (format!("{key} and more"), "*** and more"),
            (
                "kA7f3!PqX9 https://login.example.org/other".to_owned(),
                "kA7f3!PqX9 https://login.example.org/other",
            ),
        ] {
            assert_eq!(ours.hide(&text), hidden, "{text}");
        }
    }

    #[test]
    fn a_passphrase_is_hidden_wherever_lines_are_broken_at_a_space() {
        let ours = secrets(r#"{"API_TOKEN": "correct horse battery staple nine words"}"#);
        for (text, hidden) in [
            ("<correct horse\nbattery staple nine\nwords>", "<***\n***\n***>"),
            ("  correct horse battery\n    staple nine words", "  ***\n***"),
            (r"<correct horse battery\nstaple nine words>", "<***>"),
            ("correct horse\nof another battery", "correct horse\nof another battery"),
        ] {
            assert_eq!(ours.hide(text), hidden, "{text}");
        }
    }

    /// The site's user knows its secrets, and root looks for them in what that user says.
    #[test]
    fn repeated_secrets_in_base64_are_searched_once() {
        let ours = secrets(r#"{"SMTP_PASSWORD": "Sm7pPassw0rdZ"}"#);
        for (piece, size) in
            [("536d377050617373773072645a", 1 << 17), (r"\u0053m7pPassw0rdZ", 1 << 14), ("%25%32", 1 << 14)]
        {
            let (text, begun) = (piece.repeat(size / piece.len()), std::time::Instant::now());
            let hidden = ours.hide(&text);
            assert!(!hidden.contains("Passw0rd") && !hidden.contains("536d"));
            assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn secrets_that_overlap_are_hidden_whole() {
        let ours =
            secrets(r#"{"ONE_KEY": "begin-middle1", "OTHER_KEY": "middle1-end", "FLAG_AUTH": "true"}"#);
        assert_eq!(ours.hide("<begin-middle1-end>, true"), "<***>, true");
    }

    #[test]
    fn words_paths_and_hosts_can_still_be_read() {
        let ours = secrets(
            r#"{"DB_USER": "postgres", "DB_PASSWORD": "postgres", "DB_HOST": "db.example.org", "STATIC_ROOT": "/srv/site/static",
            "DJANGO_SETTINGS_MODULE": "mysite.settings.production", "ALLOWED_HOSTS": "example.org,www.example.org", "STAGE": "production",
            "CACHE": "redis://localhost:6379/1", "TZ": "Europe/Berlin", "PORT": "5432", "SIZE": "1048576"}"#,
        );
        let text = "connection to /var/run/postgresql/.s.PGSQL.5432 failed: db.example.org is no host of mysite.settings.production \
                    in /srv/site/static/app, production of Europe/Berlin, redis://localhost:6379/1, example.org, 1048576";
        assert_eq!(ours.hide(text), text);
        // As a word of its own a password is hidden, however ordinary.
        assert_eq!(ours.hide("postgres:postgres@db 'postgres'"), "***:***@db '***'");
        let neutral = secrets(r#"{"DB_USER": "postgres"}"#);
        assert_eq!(neutral.hide("role \"postgres\" does not exist"), "role \"postgres\" does not exist");
    }
}
