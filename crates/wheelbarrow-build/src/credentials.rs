//! Who may fetch from where: user names and passwords out of index URLs and netrc, and keeping them out of sight.

mod configured;
mod keyring;

use std::collections::HashMap;
use std::path::PathBuf;

use data_encoding::BASE64;
use fs_err as fs;
use url::Url;

/// A user name with its password. Has no `Debug` on purpose.
#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

/// Looks up what to send to a host.
#[derive(Clone, Default)]
pub struct Credentials {
    /// By scheme, host and port.
    origins: HashMap<String, Login>,
    /// By host, from netrc.
    hosts: HashMap<String, Login>,
    fallback: Option<Login>,
    /// With a user name, and no password that was found.
    unanswered: Vec<Url>,
}

impl Credentials {
    /// Takes the logins of `indexes` (URLs; those without one, and those that are paths, are passed over) and of
    /// `$NETRC` or `~/.netrc`. An unreadable netrc is as good as none.
    pub fn collect<'a>(indexes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut credentials = Self::default();
        indexes.into_iter().for_each(|index| credentials.add(index));
        if let Some(text) = netrc_path().and_then(|path| fs::read_to_string(path).ok()) {
            credentials.read_netrc(&text);
        }
        credentials
    }

    /// Takes the login of one URL, if it has one. uv's form `NAME=URL` is understood, and its variables for that name.
    pub fn add(&mut self, index: &str) {
        match (Url::parse(index), index.split_once('=')) {
            (Ok(url), _) => self.add_url(&url),
            (_, Some((name, url))) => self.add_named(name, url),
            _ => {}
        }
    }

    fn add_url(&mut self, url: &Url) {
        if let Some(login) = login_of(url)
            && !self.origins.contains_key(&origin(url))
        {
            if url.password().is_none() {
                match keyring::is_asked_by_variables() {
                    Some(true) if self.ask_keyring(url) => return,
                    Some(_) => {}
                    None => self.unanswered.push(url.clone()),
                }
            }
            self.origins.insert(origin(url), login);
        }
    }

    /// Whether it knew.
    fn ask_keyring(&mut self, url: &Url) -> bool {
        let login = keyring::login(url, &unescape(url.username()));
        let is_known = login.is_some();
        self.origins.extend(login.map(|login| (origin(url), login)));
        is_known
    }

    /// Adds those of `other` for origins that have none here.
    pub fn extend(&mut self, other: &Self) {
        for (origin, login) in &other.origins {
            self.origins.entry(origin.clone()).or_insert_with(|| login.clone());
        }
        self.unanswered.extend_from_slice(&other.unanswered);
    }

    /// The value of the `Authorization` header for `url`: its own login, else that of an index of the same origin,
    /// else that of netrc.
    pub fn authorization(&self, url: &Url) -> Option<String> {
        let own = login_of(url);
        let login = own
            .as_ref()
            .or_else(|| self.origins.get(&origin(url)))
            .or_else(|| self.hosts.get(url.host_str()?))
            .or(self.fallback.as_ref())?;
        Some(format!("Basic {}", BASE64.encode(format!("{}:{}", login.user, login.password).as_bytes())))
    }

    /// <https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html>
    fn read_netrc(&mut self, text: &str) {
        let mut machine: Option<String> = None;
        let mut login = Login { user: String::new(), password: String::new() };
        let mut inside = false;
        let mut in_macro = false;
        for line in text.lines() {
            if in_macro {
                in_macro = !line.trim().is_empty();
                continue;
            }
            let mut words = line.split_whitespace();
            while let Some(word) = words.next() {
                match word {
                    "machine" | "default" => {
                        self.keep(inside, machine.take(), &mut login);
                        inside = true;
                        machine = if word == "machine" { words.next().map(str::to_owned) } else { None };
                    }
                    "login" | "user" => login.user = words.next().unwrap_or_default().to_owned(),
                    "password" => login.password = words.next().unwrap_or_default().to_owned(),
                    "account" => drop(words.next()),
                    "macdef" => {
                        in_macro = true;
                        break;
                    }
                    _ if word.starts_with('#') => break,
                    _ => {}
                }
            }
        }
        self.keep(inside, machine, &mut login);
    }

    fn keep(&mut self, inside: bool, machine: Option<String>, login: &mut Login) {
        let login = std::mem::replace(login, Login { user: String::new(), password: String::new() });
        match machine {
            _ if !inside || (login.user.is_empty() && login.password.is_empty()) => {}
            Some(host) => drop(self.hosts.entry(host).or_insert(login)),
            None => self.fallback = Some(login),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials(..)")
    }
}

fn login_of(url: &Url) -> Option<Login> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    Some(Login { user: unescape(url.username()), password: unescape(url.password().unwrap_or_default()) })
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn netrc_path() -> Option<PathBuf> {
    match std::env::var_os("NETRC") {
        Some(path) => Some(path.into()),
        None => Some(PathBuf::from(std::env::var_os("HOME")?).join(".netrc")),
    }
}

/// Undoes percent escapes.
pub(crate) fn unescape(text: &str) -> String {
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

/// `text` with the login of each URL in it taken out: `https://user:secret@host/` becomes `https://****@host/`. A bare
/// `git@` or `ssh://git@` user stays, since it is no secret.
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
    fn logins_are_taken_out_of_any_text() {
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

    #[test]
    fn logins_stay_with_their_origin() {
        let mut credentials = Credentials::default();
        let index = Url::parse("https://joe:p%40ss@index.example/simple").unwrap();
        credentials.origins.insert(origin(&index), login_of(&index).unwrap());
        let header = |url: &str| credentials.authorization(&Url::parse(url).unwrap());
        assert_eq!(
            header("https://index.example/files/a.whl"),
            Some(format!("Basic {}", BASE64.encode(b"joe:p@ss")))
        );
        for other in
            ["http://index.example/a.whl", "https://index.example:8443/a.whl", "https://files.example/a.whl"]
        {
            assert_eq!(header(other), None, "{other}");
        }
    }

    #[test]
    fn netrc_is_read() {
        let mut credentials = Credentials::default();
        credentials.read_netrc(
            "# mine\nmachine a.example login joe password one\nmachine b.example\n  login ann\n  password two\n\
             macdef init\n machine c.example login x password y\n\ndefault login any password three\n",
        );
        let header = |url: &str| credentials.authorization(&Url::parse(url).unwrap()).unwrap();
        let basic = |login: &str| format!("Basic {}", BASE64.encode(login.as_bytes()));
        assert_eq!(header("https://a.example/x"), basic("joe:one"));
        assert_eq!(header("http://b.example:8080/x"), basic("ann:two"));
        assert_eq!(header("https://c.example/x"), basic("any:three"));
        assert_eq!(header("https://q:r@a.example/x"), basic("q:r"));
    }
}
