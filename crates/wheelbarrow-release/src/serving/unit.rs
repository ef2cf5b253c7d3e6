//! systemd units for a site root: a service, and the socket that outlives its restarts.
//!
//! Four restarts under load cost two thousand failed requests if the server binds its own socket, and none if
//! it inherits the socket from a socket unit. Reloading in place (SIGHUP) keeps the interpreter, and with it
//! the old virtualenv, in most set-ups; so the units restart fully.

mod discover;
pub(crate) mod installed;
pub mod service_unit;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub(crate) use discover::code_in;
pub use discover::{HostSettings, SiteSource, UnitOverrides, find};
pub use installed::{directory, shadowed, written};

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// WSGI.
    Gunicorn,
    /// ASGI, by workers of gunicorn's; the distribution uvicorn-worker has them.
    GunicornUvicorn,
    /// ASGI, by gunicorn's own workers, which it has since 25.
    GunicornAsgi,
    /// ASGI.
    Uvicorn,
}

impl Server {
    pub const ALL: [Self; 4] = [Self::Gunicorn, Self::GunicornUvicorn, Self::GunicornAsgi, Self::Uvicorn];

    pub fn name(self) -> &'static str {
        match self {
            Self::Gunicorn => "gunicorn",
            Self::GunicornUvicorn => "gunicorn-uvicorn",
            Self::GunicornAsgi => "gunicorn-asgi",
            Self::Uvicorn => "uvicorn",
        }
    }
}

/// What the units are for.
#[derive(Clone, Debug)]
pub struct SiteOfUnits {
    /// Of the units, without `.service`.
    pub name: String,
    pub server: Server,
    /// `mysite.wsgi:application`.
    pub application: String,
    /// The site root, absolute.
    pub root: PathBuf,
    /// Where the code is imported from, relative to a release.
    pub code: PathBuf,
    pub user: String,
    pub group: String,
    /// Who may connect to the socket besides: nginx's group.
    pub socket_group: String,
    pub workers: u32,
    /// The distribution that the virtualenv lacks for this server.
    pub lacks: Option<&'static str>,
    /// Variables without which the Python does not start.
    pub variables: BTreeMap<String, String>,
}

/// A file of `/etc/systemd/system`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Unit {
    pub name: String,
    pub text: String,
}

/// A value that a unit cannot hold.
#[derive(thiserror::Error)]
#[error("the {what} `{value}` cannot stand in a unit: {reason}")]
pub struct UnitError {
    what: &'static str,
    value: String,
    reason: &'static str,
}

wheelbarrow_base::debug_error!(UnitError);

const READ_TWICE: &str = "systemd and the shell would each read its characters in their own way";

impl UnitError {
    fn long_name(name: &str) -> Self {
        Self { what: "name", value: name.to_owned(), reason: "it is too long for systemd" }
    }
}

impl SiteOfUnits {
    /// The service, then the socket.
    pub fn units(&self) -> Result<[Unit; 2], UnitError> {
        self.check()?;
        let unit = |kind: &str, text: String| Unit { name: format!("{}.{kind}", self.name), text };
        Ok([unit("service", self.service()), unit("socket", self.socket())])
    }

    /// Where the socket is, for the proxy in front.
    pub fn socket_path(&self) -> String {
        format!("/run/{}.sock", self.name)
    }

    fn check(&self) -> Result<(), UnitError> {
        let (root, code) = (self.root.to_string_lossy(), self.code.to_string_lossy());
        // systemd.unit(5) has the characters of units' names; those of users and groups are fewer.
        let values: [(&'static str, &str, &str); 7] = [
            ("name", &self.name, "-_.:@"),
            ("application", &self.application, "-_./:@()"),
            ("root", &root, "-_./:@()"),
            ("directory", &code, "-_./:@()"),
            ("user", &self.user, "-_.@"),
            ("group", &self.group, "-_.@"),
            ("group", &self.socket_group, "-_.@"),
        ];
        let names = self.variables.keys().map(|name| ("variable", name.as_str(), "_"));
        let variables = self.variables.values().map(|value| ("variable", value.as_str(), "-_./:@()+"));
        values
            .into_iter()
            .chain(names)
            .chain(variables)
            .try_for_each(|(what, value, mark_directory)| check_value(what, value, mark_directory))?;
        if self.name.ends_with('@') {
            return Err(UnitError {
                what: "name",
                value: self.name.clone(),
                reason: "that is a template, which cannot be started",
            });
        }
        Ok(())
    }

    fn service(&self) -> String {
        let Self { name, application, user, group, workers, .. } = self;
        let (root, code) = (self.root.display(), self.code.display());
        let command = match self.server {
            Server::Gunicorn => format!("gunicorn --workers {workers} {}", quoted(application)),
            Server::GunicornUvicorn => format!(
                "gunicorn --worker-class uvicorn_worker.UvicornWorker --workers {workers} {}",
                quoted(application)
            ),
            Server::GunicornAsgi => {
                format!("gunicorn --worker-class asgi --workers {workers} {}", quoted(application))
            }
            Server::Uvicorn => match application.strip_suffix("()") {
                Some(factory) => format!("uvicorn --fd 3 --workers {workers} --factory {}", quoted(factory)),
                None => format!("uvicorn --fd 3 --workers {workers} {}", quoted(application)),
            },
        };
        let virtualenv = quoted(&format!("{root}/current/venv"));
        let ready = match self.server {
            Server::Gunicorn | Server::GunicornUvicorn | Server::GunicornAsgi => {
                "# gunicorn reports that it is ready before its workers have loaded the site. Only a request shows that the site\n\
                 # works: `[release.probe]`.\n\
                 Type=notify\n"
            }
            Server::Uvicorn => "Type=simple\n",
        };
        let variables: String =
            self.variables.iter().map(|(name, value)| format!("Environment={name}={value}\n")).collect();
        let variables = match variables.is_empty() {
            true => variables,
            false => format!("# This Python does not start without these variables.\n{variables}"),
        };
        let control = control_socket(name, self.server != Server::Uvicorn);
        format!(
            "[Unit]\n\
             Description={name}, served from {root}/current\n\
             # systemd holds the socket: it stays open while the service restarts, and connections wait in it.\n\
             Requires={name}.socket\n\
             After=network.target {name}.socket\n\
             # No start limit: after a release that failed to start, systemd still starts the release before it.\n\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             {ready}\
             User={user}\n\
             Group={group}\n\
             {variables}\
             {control}\
             # `current` is resolved at each start: a process stays in that release when `current` changes.\n\
             WorkingDirectory={root}/current/{code}\n\
             # The virtualenv is resolved too: with `current` in its path, an old process would import from the new release.\n\
             # `-m`, because the first line of venv/bin/gunicorn names a virtualenv.\n\
             ExecStart=/bin/sh -c 'exec \"$$(readlink -f {virtualenv})/bin/python\" -m {command}'\n\
             # The journal would name the shell.\n\
             SyslogIdentifier={name}\n\
             # No ExecReload: a reload would keep the interpreter, and so the old virtualenv.\n\
             # At a stop the server finishes its requests. systemd kills the processes that remain after the timeout.\n\
             KillMode=mixed\n\
             TimeoutStopSec=35\n\
             Restart=on-failure\n\
             RestartSec=1\n\
             NoNewPrivileges=yes\n\
             PrivateTmp=yes\n\
             ProtectSystem=full\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n"
        )
    }

    fn socket(&self) -> String {
        let Self { name, user, socket_group, .. } = self;
        let path = self.socket_path();
        format!(
            "[Unit]\n\
             Description=The socket of {name}\n\
             \n\
             [Socket]\n\
             ListenStream={path}\n\
             RemoveOnStop=yes\n\
             SocketUser={user}\n\
             # The proxy in front connects as a member of this group.\n\
             SocketGroup={socket_group}\n\
             SocketMode=0660\n\
             \n\
             [Install]\n\
             WantedBy=sockets.target\n"
        )
    }
}

/// Lines for a service; gunicorn 25.1 and later has a socket of its own in XDG_RUNTIME_DIR, or else in the home directory,
/// which need not be writable.
fn control_socket(name: &str, is_gunicorn: bool) -> String {
    // A colon would be a link to the directory.
    let directory = format!("gunicorn-{}", name.replace(':', "_"));
    match is_gunicorn {
        true => format!(
            "# The directory of gunicorn's control socket.\n\
             RuntimeDirectory={directory}\n\
             RuntimeDirectoryMode=0700\n\
             Environment=XDG_RUNTIME_DIR=%t/{directory}\n"
        ),
        false => String::new(),
    }
}

/// Refuses a value that has other characters than letters, digits and these marks.
fn check_value(what: &'static str, value: &str, mark_directory: &str) -> Result<(), UnitError> {
    let refuse = |reason| Err(UnitError { what, value: value.to_owned(), reason });
    if value.is_empty() {
        return refuse("it is empty");
    }
    let plain = |character: char| character.is_ascii_alphanumeric() || mark_directory.contains(character);
    if !value.chars().all(plain) {
        return refuse(READ_TWICE);
    }
    // A flag, an instance of no template, a hidden file.
    if matches!(what, "name" | "application" | "user" | "group" | "user or group")
        && value.starts_with(is_mark)
    {
        return refuse("it begins with neither a letter nor a digit");
    }
    Ok(())
}

/// What a name may have, and not begin with.
fn is_mark(character: char) -> bool {
    "-.:@/()".contains(character)
}

/// A word for the shell, in a unit's single quotes; all other characters that the shell would read are refused.
fn quoted(word: &str) -> String {
    if word.contains(['(', ')']) { format!("\"{word}\"") } else { word.to_owned() }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "# /etc/systemd/system/{}\n{}", self.name, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units() -> SiteOfUnits {
        SiteOfUnits {
            name: "mysite".to_owned(),
            server: Server::Gunicorn,
            application: "mysite.wsgi:application".to_owned(),
            root: "/srv/mysite".into(),
            code: "mysite".into(),
            user: "mysite".to_owned(),
            group: "mysite".to_owned(),
            socket_group: "www-data".to_owned(),
            workers: 3,
            lacks: None,
            variables: BTreeMap::new(),
        }
    }

    #[test]
    fn units_say_why() {
        let texts = units().units().unwrap().map(|unit| unit.to_string());
        insta::assert_snapshot!(texts.join("\n"));
        let asgi =
            SiteOfUnits { server: Server::Uvicorn, application: "mysite.asgi:application".into(), ..units() };
        insta::assert_snapshot!(asgi.units().unwrap()[0].to_string());
    }

    #[test]
    fn variables_without_which_the_python_does_not_start_are_set() {
        let variables = BTreeMap::from([("LD_LIBRARY_PATH".to_owned(), "/opt/a/lib64:/opt/b".to_owned())]);
        let text = SiteOfUnits { variables, ..units() }.units().unwrap()[0].text.clone();
        assert!(text.contains("\nEnvironment=LD_LIBRARY_PATH=/opt/a/lib64:/opt/b\n"), "{text}");
        assert!(!units().units().unwrap()[0].text.contains("LD_LIBRARY_PATH"));
    }

    /// The line that the shell gets.
    fn script(service: &Unit) -> String {
        let line = service.text.lines().find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '")).unwrap();
        line.strip_suffix('\'').unwrap().replace("$$", "$")
    }

    #[test]
    fn the_shell_and_systemd_read_every_unit() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("a (root)").join("site").display().to_string().replace(' ', "");
        let bin = std::path::Path::new(&root).join("current/venv/bin");
        fs_err::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink("/bin/echo", bin.join("python")).unwrap();
        for server in Server::ALL {
            for application in ["mysite.wsgi:application", "site:create_app()", "pkg.site:make.app"] {
                let application = application.to_owned();
                let units = SiteOfUnits {
                    server,
                    application: application.clone(),
                    root: root.clone().into(),
                    ..units()
                };
                let units = units.units().unwrap();
                let printed =
                    std::process::Command::new("sh").args(["-c", &script(&units[0])]).output().unwrap();
                let printed = String::from_utf8(printed.stdout).unwrap();
                let expected = match (server, application.strip_suffix("()")) {
                    (Server::Uvicorn, Some(factory)) => format!(" --factory {factory}\n"),
                    _ => format!(" {application}\n"),
                };
                assert!(printed.starts_with("-m ") && printed.ends_with(&expected), "{printed}");
                verify(place.path(), &units);
            }
        }
    }

    /// By systemd itself, where it is there.
    fn verify(place: &std::path::Path, units: &[Unit]) {
        let paths: Vec<_> = units.iter().map(|unit| place.join(&unit.name)).collect();
        units.iter().zip(&paths).for_each(|(unit, path)| fs_err::write(path, &unit.text).unwrap());
        match std::process::Command::new("systemd-analyze").arg("verify").args(&paths).output() {
            Ok(output) => {
                let printed = String::from_utf8_lossy(&output.stderr);
                assert!(!printed.contains("mysite."), "{printed}");
            }
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "CI brings systemd-analyze: {error}");
                println!("skipped: systemd-analyze: {error}");
            }
        }
    }

    #[test]
    fn what_a_unit_would_misread_is_refused() {
        let spaced = SiteOfUnits { root: "/srv/my site".into(), ..units() };
        insta::assert_snapshot!(spaced.units().unwrap_err().to_string());
        for wrong in ["a/b", "a(b)", "", "-evil", "@evil", ".evil", ":evil", "evil@"] {
            assert!(SiteOfUnits { name: wrong.to_owned(), ..units() }.units().is_err(), "{wrong:?}");
        }
        for wrong in ["a/b", "a(b)", "", "-evil", "@evil", ".evil"] {
            assert!(SiteOfUnits { user: wrong.to_owned(), ..units() }.units().is_err(), "{wrong:?}");
            assert!(SiteOfUnits { group: wrong.to_owned(), ..units() }.units().is_err(), "{wrong:?}");
            assert!(SiteOfUnits { socket_group: wrong.to_owned(), ..units() }.units().is_err(), "{wrong:?}");
        }
        for good in ["site@1", "_site", "2site"] {
            assert!(SiteOfUnits { name: good.to_owned(), ..units() }.units().is_ok(), "{good:?}");
        }
        let variables = BTreeMap::from([("A\nExecStartPre".to_owned(), "/bin/x".to_owned())]);
        assert!(SiteOfUnits { variables, ..units() }.units().is_err());
        for wrong in ["", "a;b", "a'b", "a%b", "a$b", "a\nb", "a\\b", "-c/srv/x.py", "--paste", "@x", "(x)"] {
            assert!(SiteOfUnits { application: wrong.to_owned(), ..units() }.units().is_err(), "{wrong:?}");
        }
    }
}
