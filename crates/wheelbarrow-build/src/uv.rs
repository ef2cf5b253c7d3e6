//! Finds and runs uv, with the index options, certificates and proxies that are set for uv or for pip.
//!
//! Index URLs may contain passwords, so they are passed to uv in its environment, never on its command line.

mod logins;
pub(crate) mod narrow;
mod output;
pub(crate) mod uv_settings;
mod variables;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use url::Url;
use wheelbarrow_base::variable;

use crate::{Error, Result, programs};

pub use logins::add_logins;
pub(crate) use logins::hide_logins;
pub(crate) use output::{shown, stderr_of, warnings};
use variables::{DEFAULT_INDEXES, EXTRA_INDEXES};

/// Where distributions come from. What is given here wins over the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexOptions {
    pub index_url: Option<String>,
    pub extra_index_urls: Vec<String>,
    /// Directories or pages with links.
    pub find_links: Vec<String>,
    /// No index at all, only `find_links`.
    pub no_index: bool,
    /// Use what is in the caches, and no network.
    pub offline: bool,
    /// Where uv keeps its cache if its own place cannot be written to.
    pub uv_cache: Option<PathBuf>,
}

/// The index options after the environment was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    pub default: Option<String>,
    /// Each a URL, or `NAME=URL`.
    pub extra: Vec<String>,
    pub find_links: Vec<String>,
    /// No index at all, only `find_links`.
    pub none: bool,
}

impl IndexOptions {
    /// These, and where they say nothing what `UV_*` says, and else what `PIP_*` says. An index without a login gets the one that a
    /// variable has for the same scheme, host and port.
    pub fn indexes(&self) -> Indexes {
        let list = |given: &[String], names: &[&str], separators: &[char]| {
            if given.is_empty() {
                variable(names).map(|text| split(&text, separators)).unwrap_or_default()
            } else {
                given.to_vec()
            }
        };
        let mut find_links = list(&self.find_links, &["UV_FIND_LINKS"], &[',']);
        if find_links.is_empty() {
            find_links = list(&[], &["PIP_FIND_LINKS"], &[' ', '\n']);
        }
        Indexes {
            default: self.index_url.clone().map(variables::with_login).or_else(|| variable(&DEFAULT_INDEXES)),
            extra: list(&self.extra_index_urls, &EXTRA_INDEXES, &[' ', '\n'])
                .into_iter()
                .map(variables::with_login)
                .collect(),
            find_links: find_links.iter().map(|place| absolute(place)).collect(),
            none: self.no_index
                || variable(&["UV_NO_INDEX", "PIP_NO_INDEX"]).is_some_and(|text| truthy(&text)),
        }
    }
}

impl Indexes {
    /// The `find_links` that are directories.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.find_links.iter().map(PathBuf::from).filter(|path| path.is_dir()).collect()
    }

    /// All URLs, logins included.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.default.iter().chain(&self.extra).chain(&self.find_links).map(String::as_str)
    }
}

/// A directory as a URL, in which no character means anything to uv; anything else as it is.
fn quoted(place: &str) -> String {
    let url = Some(place)
        .filter(|place| Path::new(place).is_absolute())
        .and_then(|place| Url::from_file_path(place).ok());
    url.map_or_else(|| place.to_owned(), |url| url.as_str().replace(',', "%2C"))
}

/// Whether uv can write where it keeps its cache (<https://docs.astral.sh/uv/concepts/cache/>), or was told where that is.
fn has_own_cache() -> bool {
    let directory = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if directory("UV_CACHE_DIR").is_some() || directory("UV_NO_CACHE").is_some() {
        return true;
    }
    let usual = directory("XDG_CACHE_HOME").or_else(|| Some(directory("HOME")?.join(".cache")));
    let usual = usual.filter(|path| path.is_absolute()).map(|path| path.join("uv"));
    usual.is_some_and(|path| fs_err::create_dir_all(&path).is_ok() && tempfile::tempfile_in(&path).is_ok())
}

/// A directory of this user for uv's temporary files, in the workspaces of the cache that `uv_cache` is in. In `/tmp`, any user
/// can lock the files that uv locks.
fn own_temporary(uv_cache: &Path) -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let work = uv_cache.with_file_name(crate::cache::WORK);
    fs_err::create_dir_all(&work).ok()?;
    let path = work.join(format!("uv-{user}"));
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&path);
    let metadata = fs_err::symlink_metadata(&path).ok()?;
    (metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0).then_some(path)
}

/// A directory's absolute path, since uv runs in the project; anything else as it is.
fn absolute(place: &str) -> String {
    match Path::new(place).canonicalize() {
        Ok(path) if !place.contains("://") => path.to_string_lossy().into_owned(),
        _ => place.to_owned(),
    }
}

fn split(text: &str, separators: &[char]) -> Vec<String> {
    text.split(separators).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub(crate) fn truthy(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on" | "y" | "t")
}

/// Installers of wheels put the programs of all wheels into one directory, which need not be on PATH.
fn beside_this_program() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    Some(program.with_file_name("uv")).filter(|path| path.is_file())
}

/// The uv that the environment names.
fn named() -> Option<PathBuf> {
    env::var_os("UV").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// `python -m uv`, which would look into the working directory first.
const MODULE: &str = "import sys; sys.path[:] = [path for path in sys.path if path]; \
                      import runpy; runpy.run_module('uv', run_name='__main__', alter_sys=True)";

/// The first uv that writes a pylock.toml, by `pip compile` and by `export`.
const OLDEST: [u32; 3] = [0, 6, 15];

/// Of `uv 0.5.31`; a version in another form is accepted.
fn is_too_old(version: &str) -> bool {
    let numbers = version.strip_prefix("uv ").unwrap_or_default().split('.').map(|part| part.parse().ok());
    numbers.collect::<Option<Vec<u32>>>().is_some_and(|numbers| numbers[..] < OLDEST[..])
}

/// A uv that runs.
#[derive(Clone, Debug)]
pub struct Uv {
    program: PathBuf,
    /// [`MODULE`] where the program is a Python.
    before: Vec<OsString>,
}

impl Uv {
    /// `$UV`, else `uv` on PATH, else the `uv` beside this program (a wheel of it brings one), else `python3 -m uv`. A `$UV` that
    /// does not run has no other in its place.
    pub fn find() -> Option<Self> {
        Self::find_with_version().map(|(uv, _)| uv)
    }

    fn find_with_version() -> Option<(Self, String)> {
        let plain = |program: PathBuf| Self { program, before: Vec::new() };
        let answer = |uv: Self| uv.version().map(|version| (uv, version));
        if let Some(named) = named() {
            return answer(plain(named));
        }
        let modules = ["python3", "python"]
            .into_iter()
            .flat_map(programs::on_path)
            .map(|program| Self { program, before: vec!["-c".into(), MODULE.into()] });
        programs::on_path("uv")
            .into_iter()
            .map(plain)
            .chain(beside_this_program().map(plain))
            .chain(modules)
            .find_map(answer)
    }

    /// The same, or an error that says for what it is needed: `requirements.txt is not a lock`.
    pub(crate) fn needed(what: impl FnOnce() -> String) -> Result<Self> {
        match (Self::find_with_version(), named()) {
            (Some((uv, version)), _) if is_too_old(&version) => Err(Error::OldUv {
                path: uv.program,
                version,
                oldest: OLDEST.map(|part| part.to_string()).join("."),
            }),
            (Some((uv, _)), _) => Ok(uv),
            (None, Some(path)) => Err(Error::NamedUv { path }),
            (None, None) => Err(Error::NoUv { what: what() }),
        }
    }

    /// `uv 0.13.9`, or nothing if it does not run.
    fn version(&self) -> Option<String> {
        let output =
            self.command().arg("--version").output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The file that is all of it, where it is no module of a Python.
    pub fn single_program(&self) -> Option<PathBuf> {
        let found = programs::on_path(self.program.to_str()?).into_iter().next();
        let path = if self.program.is_file() { Some(self.program.clone()) } else { found };
        path.filter(|_| self.before.is_empty())?.canonicalize().ok()
    }

    /// A uv that reads nothing from standard input, draws nothing, and downloads no Python.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.before).stdin(Stdio::null());
        command.env("UV_NO_PROGRESS", "1").env("UV_PYTHON_DOWNLOADS", "never").env("NO_COLOR", "1");
        // It runs in the project.
        for name in ["UV_CACHE_DIR", "UV_CONFIG_FILE", "SSL_CERT_FILE"] {
            let named = env::var_os(name).filter(|path| !path.is_empty());
            if let Some(Ok(path)) = named.map(std::path::absolute) {
                command.env(name, path);
            }
        }
        command
    }

    /// [`Uv::command`] with a subcommand, set up with the index options, and pip's variables told in uv's words.
    pub fn with_indexes(&self, subcommand: &[&str], options: &IndexOptions) -> Command {
        let mut command = self.command();
        command.args(subcommand);
        let indexes = options.indexes();
        for name in ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"] {
            command.env_remove(name);
        }
        if let Some(default) = &indexes.default {
            command.env("UV_DEFAULT_INDEX", default);
        }
        if !indexes.extra.is_empty() {
            command.env("UV_INDEX", indexes.extra.join(" "));
        }
        if !indexes.find_links.is_empty() {
            let places: Vec<_> = indexes.find_links.iter().map(|place| quoted(place)).collect();
            command.env("UV_FIND_LINKS", places.join(","));
        }
        if indexes.none {
            command.arg("--no-index");
        }
        if options.offline {
            command.env("UV_OFFLINE", "1");
        }
        if let Some(cache) = options.uv_cache.as_ref().filter(|_| !has_own_cache()) {
            command.env("UV_CACHE_DIR", cache);
        }
        if let Some(directory) = options.uv_cache.as_deref().and_then(own_temporary) {
            command.env("TMPDIR", directory);
        }
        if OWN_CERTIFICATES.iter().all(|name| env::var_os(name).is_none())
            && let Some(file) = wheelbarrow_http::certificates()
        {
            command.env("SSL_CERT_FILE", file);
        }
        for (ours, theirs) in PIP_NAMES {
            if env::var_os(ours).is_none()
                && let Some(value) = variable(theirs)
            {
                command.env(ours, value);
            }
        }
        command
    }
}

/// With one of these, uv has its certificates. Otherwise uv would use a list of its own, without the authorities that were
/// added to this machine, and refuse an index that the downloads afterwards accept.
const OWN_CERTIFICATES: [&str; 4] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS"];

/// uv's variable, and pip's that stand for it.
const PIP_NAMES: [(&str, &[&str]); 5] = [
    ("UV_INSECURE_HOST", &["PIP_TRUSTED_HOST"]),
    ("UV_KEYRING_PROVIDER", &["PIP_KEYRING_PROVIDER"]),
    ("UV_HTTP_TIMEOUT", &["PIP_DEFAULT_TIMEOUT"]),
    ("HTTPS_PROXY", &["https_proxy", "PIP_PROXY"]),
    ("HTTP_PROXY", &["http_proxy", "PIP_PROXY"]),
];

/// Runs `command` to its end; its output is kept, its exit status left to the caller.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let program = PathBuf::from(command.get_program());
    command.output().map_err(|source| Error::Run { program, source })
}

/// The same, with `text` on its standard input.
pub(crate) fn run_with(command: &mut Command, text: &str) -> Result<Output> {
    use std::io::Write;
    let program = PathBuf::from(command.get_program());
    let failed = |source| Error::Run { program: program.clone(), source };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let input = child.stdin.take();
    std::thread::scope(|scope| {
        // A program that ends early does not read it all; what it says tells why.
        scope.spawn(move || input.map(|mut input| input.write_all(text.as_bytes())));
        child.wait_with_output().map_err(failed)
    })
}

/// Removes the variables of a virtualenv and of Python itself, which would leak into builds.
pub(crate) fn clean_python(command: &mut Command) {
    for name in ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "CONDA_PREFIX"]
    {
        command.env_remove(OsStr::new(name));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn places_are_printed_as_urls() {
        assert_eq!(quoted("/a,b#c d"), "file:///a%2Cb%23c%20d");
        assert_eq!(quoted("https://h/a,b"), "https://h/a,b");
    }

    #[test]
    fn temporary_files_are_in_a_directory_of_this_user() {
        let place = tempfile::tempdir().unwrap();
        let options = IndexOptions { uv_cache: Some(place.path().join("uv")), ..IndexOptions::default() };
        let uv = Uv { program: "uv".into(), before: Vec::new() };
        let temporary = || {
            let command = uv.with_indexes(&["build"], &options);
            command.get_envs().find(|(key, _)| *key == "TMPDIR")?.1.map(PathBuf::from)
        };
        let directory = temporary().unwrap();
        assert!(directory.starts_with(place.path().join(crate::cache::WORK)));
        assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(temporary(), Some(directory.clone()));
        fs_err::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(temporary(), None);
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_too_old("uv 0.5.31") && is_too_old("uv 0.6.14") && is_too_old("uv 0.6"));
        assert!(!is_too_old("uv 0.6.15") && !is_too_old("uv 0.13.9") && !is_too_old("uv 1.0.0"));
        assert!(!is_too_old("") && !is_too_old("uv 0.6.0rc1") && !is_too_old("other 0.1"));
    }

    #[test]
    fn the_module_is_not_looked_for_in_the_working_directory() {
        let place = tempfile::tempdir().unwrap();
        fs_err::write(place.path().join("uv.py"), "open('ran', 'w')").unwrap();
        let uv = Uv { program: "python3".into(), before: vec!["-c".into(), MODULE.into()] };
        let output = uv.command().arg("--version").current_dir(place.path()).output().unwrap();
        assert!(!place.path().join("ran").exists(), "{output:?}");
    }

    #[test]
    fn flags_win_over_the_environment() {
        let options = IndexOptions {
            index_url: Some("https://flag.example/simple".to_owned()),
            extra_index_urls: vec!["https://extra.example/simple".to_owned()],
            find_links: vec!["wheels".to_owned()],
            no_index: false,
            offline: true,
            uv_cache: None,
        };
        let indexes = options.indexes();
        assert_eq!(indexes.default.as_deref(), Some("https://flag.example/simple"));
        assert_eq!(indexes.urls().count(), 3);
        let uv = Uv { program: "uv".into(), before: Vec::new() };
        let command = uv.with_indexes(&["pip", "compile"], &options);
        let value =
            |name: &str| command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
        assert_eq!(value("UV_DEFAULT_INDEX"), Some(OsStr::new("https://flag.example/simple")));
        assert_eq!(value("UV_INDEX_URL"), None);
        assert_eq!(value("UV_FIND_LINKS"), Some(OsStr::new("wheels")));
        assert_eq!(value("UV_OFFLINE"), Some(OsStr::new("1")));
        if OWN_CERTIFICATES.iter().all(|name| env::var_os(name).is_none()) {
            let ours = wheelbarrow_http::certificates();
            assert_eq!(value("SSL_CERT_FILE"), ours.as_deref().map(Path::as_os_str));
        }
        assert_eq!(command.get_args().count(), 2);
    }
}
