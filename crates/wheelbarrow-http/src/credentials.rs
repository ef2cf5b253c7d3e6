//! Logins for downloads: user names and passwords from index URLs and netrc, and their redaction in output.

mod hidden;
mod keyring;
mod login;

use std::collections::HashMap;
use std::path::PathBuf;

use data_encoding::BASE64;
use fs_err as fs;
use url::Url;

use login::{Login, login_of};

pub use keyring::is_keyring;
pub use login::{has_secret, redact, unescape, without_logins};

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

    /// The URL's own login, and that of the variables `UV_INDEX_NAME_USERNAME` and `UV_INDEX_NAME_PASSWORD` for an index
    /// of this name.
    pub fn add_named(&mut self, name: &str, url: &str) {
        let Ok(url) = Url::parse(url) else { return };
        self.add_url(&url);
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = name.chars().map(upper).collect();
        let variable = |what: &str| std::env::var(format!("UV_INDEX_{name}_{what}")).ok();
        if let Some(password) = variable("PASSWORD") {
            let user = variable("USERNAME").unwrap_or_default();
            self.origins.entry(origin(&url)).or_insert(Login { user, password });
        }
    }

    /// Ends the search for passwords that no URL and no variable had. The program `keyring` is asked for them if the
    /// settings say so.
    pub fn complete(&mut self, ask_keyring: bool) {
        let unanswered = std::mem::take(&mut self.unanswered);
        for url in unanswered.iter().filter(|_| ask_keyring) {
            self.ask_keyring(url);
        }
    }

    /// Hides all passwords in output, wherever they are: an index may repeat them.
    pub fn hide(&self) {
        self.origins
            .values()
            .chain(self.hosts.values())
            .chain(&self.fallback)
            .for_each(|login| hidden::hide(login.secrets()));
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
        let (user, password) = self.user_and_password(url)?;
        Some(format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes())))
    }

    /// The same for a program that sends it by itself.
    pub fn user_and_password(&self, url: &Url) -> Option<(String, String)> {
        let own = login_of(url);
        let login = own
            .as_ref()
            .or_else(|| self.origins.get(&origin(url)))
            .or_else(|| self.hosts.get(url.host_str()?))
            .or(self.fallback.as_ref())?;
        Some((login.user.clone(), login.password.clone()))
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

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn netrc_path() -> Option<PathBuf> {
    match std::env::var_os("NETRC") {
        Some(path) => Some(path.into()),
        None => Some(PathBuf::from(std::env::var_os("HOME")?).join(".netrc")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_passwords_are_hidden_wherever_they_are() {
        let mut credentials = Credentials::default();
        credentials.add("https://bob:p%40Ss%2Fw%25rd@index.example/simple");
        let said = "503 busy Basic Ym9iOnBAU3MvdyVyZA== bob:p@Ss/w%rd p%40Ss%2Fw%25rd";
        assert_eq!(redact(said), said);
        credentials.hide();
        assert_eq!(redact(said), "503 busy Basic **** bob:**** ****");
        let said = "p%40Ss%2fw%25rd Ym9iOnBAU3MvdyVyZA cEBTcy93JXJk 704053732f77257264 704053732F77257264";
        assert_eq!(redact(said), "**** **** **** **** ****");
        let mut credentials = Credentials::default();
        credentials.add("https://ghp_abcdefgh0123456789:x-oauth-basic@h/simple");
        credentials.add("https://ann:quo%22te%5Cd@other/simple");
        credentials.hide();
        assert_eq!(redact("ghp_abcdefgh0123456789:x-oauth-basic quo\\\"te\\\\d"), "****:**** ****");
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
