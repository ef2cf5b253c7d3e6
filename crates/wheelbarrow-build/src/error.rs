//! Errors from the project to its wheels.
//!
//! No variant contains a URL with credentials: callers pass URLs through [`wheelbarrow_http::redact`].

use std::io;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::interpreter::ProbeError;
use wheelbarrow_base::{Exit, Explain, FsError, shell_word};
use wheelbarrow_http::{HttpError, redact};

use crate::failed_build::{build_hint, temporary_hint, wrong_python_hint};
use crate::network;
use crate::place::shown;

pub type Result<T> = std::result::Result<T, Error>;

/// Every message is one line; [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be bundled as the site's Python: {reason}", path.display())]
    NoStandalone { path: PathBuf, reason: String },
    #[error("uv could not fetch Python {version}:\n{stderr}")]
    FetchPython { version: String, stderr: String },
    #[error("the target {target} runs on another Python than the bundled one, {found}")]
    OtherPython { target: String, found: String },
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Fs(#[from] FsError),

    #[error("Python {wanted} was not found")]
    NoPython { wanted: String, found: Vec<String> },
    #[error("Python {spec} is not supported")]
    UnsupportedPython { spec: String, found: Vec<String> },
    #[error("the project does not allow {target}: {} requires Python {wanted}", file.display())]
    ExcludedPython { target: String, wanted: String, file: PathBuf },
    #[error("the Python at {} cannot be used", path.display())]
    BadPython { path: PathBuf, source: ProbeError },
    #[error("{} is {what}; only CPython is supported", path.display())]
    NotCPython { path: PathBuf, what: String },
    #[error("`{spec}` is neither a Python version such as 3.12 nor the path of an interpreter")]
    PythonSpec { spec: String },

    #[error(transparent)]
    Target(#[from] wheelbarrow_platform::SpecError),
    #[error("this machine cannot be a target: it does not run Linux")]
    NoTarget,

    #[error("no file in {} names the dependencies of the project", shown(project))]
    NoInputs { project: PathBuf, below: Option<PathBuf> },
    #[error("the build would use {}, which another user may have made", path.display())]
    Above { path: PathBuf },
    #[error("{} has several input files: {}", shown(project), candidates.join(", "))]
    AmbiguousInputs { project: PathBuf, candidates: Vec<String> },
    #[error("{}:{line}: {reason}", path.display())]
    Requirements { path: PathBuf, line: usize, reason: String },

    #[error("`--with {text}`: {reason}")]
    With { text: String, reason: String },
    /// `lock` is one beside it that is not supported, with the command that exports it.
    #[error("the input {} does not exist", path.display())]
    NoInput { path: PathBuf, lock: Option<(String, &'static str)> },
    #[error("{}: {reason}", path.display())]
    UnsupportedInput {
        path: PathBuf,
        reason: String,
        /// The command that writes requirements.txt.
        export: &'static str,
    },
    #[error("{}: neither setup.py nor pyproject.toml is beside it, without which uv and pip do not read it", path.display())]
    LoneSetupCfg { path: PathBuf },
    #[error("{} is not a lock", path.display())]
    NotALock { path: PathBuf },
    #[error("`uv lock --check` failed for {}:\n{stderr}", path.display())]
    StaleLock { path: PathBuf, stderr: String },
    #[error(
        "`uv lock --check` needs a Python that {} allows ({wanted}), which this machine lacks",
        path.display()
    )]
    LockPython { path: PathBuf, wanted: String, found: Vec<String> },

    #[error("{inputs} has no {what} `{name}`")]
    UnknownName { inputs: String, what: &'static str, name: String, known: Vec<String> },
    #[error("{inputs} has neither extras nor dependency groups")]
    NoExtras { inputs: String },

    #[error("the project in {} cannot be installed as a distribution: it has no name", shown(project))]
    NoDistribution { project: PathBuf },

    #[error("cannot compile {of}")]
    Compile { of: String, source: io::Error },
    #[error("no Python {python} on this machine to compile with")]
    NoCompiler { python: String },

    #[error("uv was not found, and {} is not a lock", what)]
    NoUv { what: String },
    #[error("the uv that UV names, {}, does not run", redact(&path.display().to_string()))]
    NamedUv { path: PathBuf },
    #[error("{version} at {} is too old: {oldest} or newer is required", redact(&path.display().to_string()))]
    OldUv { path: PathBuf, version: String, oldest: String },
    #[error("{}, line {line}: {reason}", path.display())]
    UvSettings { path: PathBuf, line: usize, reason: String },
    #[error("cannot run {}", program.display())]
    Run { program: PathBuf, source: io::Error },
    #[error("uv could not resolve the requirements:\n{stderr}")]
    Resolve { stderr: String },
    #[error("cannot find {file}, which every artifact contains:\n{stderr}")]
    NoPip { file: String, stderr: String },
    /// There is a kept lock, another one was needed, and could not be made.
    #[error("{error}")]
    Relock {
        error: Box<Error>,
        #[source]
        unfit: UnfitLock,
    },

    #[error("the lock {} cannot be read: {reason}", path.display())]
    Lock { path: PathBuf, reason: String },
    #[error("{} already exists and was not written by Wheelbarrow: a lock would replace it", path.display())]
    ForeignLock { path: PathBuf },
    #[error("the lock {} is an input of the build, which would write over it to add {with}", path.display())]
    LockIsInput { path: PathBuf, with: String },
    #[error("the lock {} is out of date: {file} has changed since", path.display())]
    ChangedInput { path: PathBuf, file: String },
    #[error("the lock {} does not cover Python {python}: {reason}", path.display())]
    NotCovered { path: PathBuf, python: String, reason: String },
    #[error("no distribution of {package} fits {target}:{}", each_refused(refused))]
    NothingFits {
        /// Name and version.
        package: String,
        target: String,
        /// File name, and why it was not taken.
        refused: Vec<(String, String)>,
    },
    #[error("{file} has the wrong hash: expected {}, got {got}", expected.join(" or "))]
    Hash { file: String, expected: Vec<String>, got: String },

    /// The one below the directory for temporary files.
    #[error("the cache {} is not used, since {reason}", path.display())]
    ExposedCache { path: PathBuf, reason: String },
    #[error("a build is using the cache {}", path.display())]
    CacheInUse { path: PathBuf },

    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("offline, and the cache lacks:{}", missing.iter().map(|file| format!("\n  {file}")).collect::<String>())]
    Offline { missing: Vec<String> },

    #[error("{package} has no wheel for {target}, and {reason}")]
    NotHere {
        /// Name and version.
        package: String,
        target: String,
        /// Why it is not built on this machine.
        reason: String,
        python: String,
        /// Whether the target is another system than this machine.
        foreign: bool,
    },
    #[error("no container engine answers{}", each_reason(reasons))]
    NoEngine { named: Option<String>, reasons: Vec<String> },
    #[error("cannot get the image {image}: {stderr}")]
    Pull { image: String, stderr: String },
    #[error("the image {image} cannot build for {target}: {reason}")]
    Image { image: String, target: String, reason: String },
    #[error("`{name}` is not the name of a package")]
    PackageName { name: String },
    #[error("cannot install {packages} into a copy of {image}:\n{stderr}")]
    Packages { image: String, packages: String, stderr: String },
    #[error("the build of {package} needs itself: {}", chain.join(" -> "))]
    BuildCycle { package: String, chain: Vec<String> },
    /// In a container.
    #[error("cannot build {package}, which requires {requirements} for its build: {reason}")]
    BuildRequirements { package: String, requirements: String, reason: String },
    #[error("could not build {package} for {target}:\n{}", indented(last_lines))]
    Build {
        package: String,
        target: String,
        last_lines: String,
        log: PathBuf,
        /// Whether it is the project's own distribution.
        own: bool,
    },
    #[error("building {name} {version} gave {result}")]
    BadBuild { name: String, version: String, result: String },
    #[error("`{command}` failed at build, {problem}:\n{last_lines}")]
    Collect { command: String, problem: String, last_lines: String },
    #[error("cannot install the site with {python} to collect its static files:\n{last_lines}")]
    CollectInstall { python: String, last_lines: String },
    #[error(
        "no Python to collect static files with: neither this machine nor a container can run the site for {targets}"
    )]
    CollectNowhere { targets: String },
    #[error("static files cannot be collected at build: STATIC_ROOT {reason}")]
    StaticRoot { reason: String },
    /// Never told: something else failed first.
    #[error("stopped, since something else failed")]
    Stopped,
    #[error("cannot get the source of {name} from {url}: {reason}")]
    Git { name: String, url: String, reason: String },
}

/// Why a kept lock is not used.
#[derive(Debug, thiserror::Error)]
#[error("{} does not fit: {reason}", shown(path))]
pub struct UnfitLock {
    pub path: PathBuf,
    pub reason: String,
}

fn each_refused(refused: &[(String, String)]) -> String {
    if refused.is_empty() {
        return " the lock has none".to_owned();
    }
    refused.iter().map(|(file, why)| format!("\n  {file}: {why}")).collect()
}

/// The Pythons of this machine.
fn here(found: &[String]) -> String {
    match found {
        [] => "no Python was found here".to_owned(),
        found => format!("found here: {}", found.join(", ")),
    }
}

/// Lines of a program of others, below the line that names it.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn each_reason(reasons: &[String]) -> String {
    reasons.iter().map(|line| format!("\n  {line}")).collect()
}

impl Error {
    /// Whether another program failed because of the network or an index, as it says.
    fn is_of_network(&self) -> bool {
        match self {
            Self::Resolve { stderr }
            | Self::NoPip { stderr, .. }
            | Self::FetchPython { stderr, .. }
            | Self::StaleLock { stderr, .. } => network::failed_uv(stderr),
            Self::Build { last_lines: text, .. } | Self::BuildRequirements { reason: text, .. } => {
                network::failed_uv(text)
            }
            Self::Git { reason, .. } => network::failed(reason),
            Self::Packages { stderr, .. } => network::failed(stderr),
            _ => false,
        }
    }

    /// For `map_err` on an I/O call; `action` completes "cannot ... PATH".
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Io { source, .. } => Exit::of_io(source),
            Self::Fs(error) => error.exit(),
            Self::Relock { error, .. } => error.exit(),
            Self::Run { .. }
            | Self::NamedUv { .. }
            | Self::CacheInUse { .. }
            | Self::Compile { .. }
            | Self::NoEngine { .. } => Exit::Failed,
            Self::PythonSpec { .. }
            | Self::UnsupportedPython { .. }
            | Self::Target(_)
            | Self::NoTarget
            | Self::PackageName { .. }
            | Self::With { .. } => Exit::Usage,
            Self::Lock { .. } | Self::Hash { .. } => Exit::Broken,
            Self::Offline { .. } | Self::Pull { .. } => Exit::Network,
            _ if self.is_of_network() => Exit::Network,
            Self::Http(error) => error.exit(),
            _ => Exit::Project,
        }
    }

    /// What the person can do about it.
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::FetchPython { .. } => "without a network, give an archive: `--with-python FILE`, an install_only_stripped one \
                of python-build-standalone; UV_PYTHON_INSTALL_MIRROR names a mirror, `uv python list` the versions"
                .to_owned(),
            Self::Resolve { stderr: text } | Self::BuildRequirements { reason: text, .. }
                if text.contains(network::OFFLINE) =>
            {
                "run once without --offline, or name a directory that has the files: --find-links DIR".to_owned()
            }
            Self::Relock { error, .. } => return error.hint(),
            Self::Resolve { .. } | Self::NoPip { .. } | Self::StaleLock { .. } | Self::BuildRequirements { .. }
                if self.is_of_network() =>
            {
                "check the network, the login, the proxy variables and SSL_CERT_FILE, then run again".to_owned()
            }
            Self::NoPython { found, .. } => format!(
                "{}; name one of them, or a path: --python /path/to/python",
                here(found)
            ),
            Self::UnsupportedPython { found, .. } => format!(
                "give a minor version of CPython from 3.6 on, such as `--python 3.12`, or a path; {}",
                here(found)
            ),
            Self::ExcludedPython { .. } => {
                "name another Python with --python or --target, or change what the project requires".to_owned()
            }
            Self::BadPython { .. } | Self::NotCPython { .. } => "give the path of a CPython from 3.6 on, or a version \
                such as `--python 3.12`"
                .to_owned(),
            Self::PythonSpec { .. } => {
                "give a version, `--python 3.12`, or a path, `--python /usr/bin/python3.12`".to_owned()
            }
            Self::Run { program, .. } if program.ends_with("django-admin") => {
                "add Django to the requirements, or remove `collectstatic` from [build]".to_owned()
            }
            Self::Io { action: "make the cache", .. } => {
                "`--cache-dir DIR` or the variable WHEELBARROW_CACHE_DIR names another directory".to_owned()
            }
            Self::Io { action: "write the lock", .. } => {
                "`-o FILE` in another directory: a new lock is written beside the artifact".to_owned()
            }
            Self::Io { path, .. } => return temporary_hint(path),
            Self::Target(error) => error.hint(),
            Self::NoTarget => {
                "name the system of the servers, such as `--target debian-12`; `wheelbarrow targets` lists them".to_owned()
            }
            Self::NoInputs { below: Some(below), .. } => {
                format!("{} has such a file: `wheelbarrow build {}`", below.display(), shell_word(&below.to_string_lossy()))
            }
            Self::NoInputs { .. } => {
                "add a requirements.txt, pylock.toml, uv.lock or pyproject.toml, or name one with -r FILE or --lock FILE".to_owned()
            }
            Self::AmbiguousInputs { candidates, .. } => {
                format!("name one: -r {}", candidates.first().map_or("FILE", String::as_str))
            }
            Self::Above { .. } => {
                "remove it, or keep the project and the output where no other user can make files beside or above them".to_owned()
            }
            Self::NoCompiler { python } => format!(
                "install a Python {python}, or leave `--bytecode=always` away: its bytecode is not bundled then"
            ),
            Self::NoUv { .. } => "install uv, for example with `python3 -m venv ~/.uv && ~/.uv/bin/pip install uv`, then \
                put it on PATH, or set UV to its path: UV=~/.uv/bin/uv"
                .to_owned(),
            Self::UvSettings { .. } => {
                "correct it: uv refuses it too; UV_NO_CONFIG=1 ignores all settings of uv".to_owned()
            }
            Self::OldUv { .. } => "upgrade it, for example with `pip install --upgrade uv` in its virtualenv, or set UV to the path \
                of a newer uv"
                .to_owned(),
            Self::NamedUv { .. } => {
                "set UV to the path of a uv, or unset it to use the uv on PATH".to_owned()
            }
            Self::ForeignLock { path } => format!("use it with `--lock {}`, or move it away", path.display()),
            Self::LockIsInput { .. } => "if Wheelbarrow wrote it, build without `--lock`, which locks again; else rename it, \
                for example to pylock.toml: the result is another file then"
                .to_owned(),
            Self::ChangedInput { .. } => "build without `--lock`, which locks again, and commit the lock; `--frozen` uses it \
                as it is"
                .to_owned(),
            Self::NoInput { lock: Some((lock, export)), .. } => format!("write it with `{export}`, from {lock}"),
            Self::NoInput { .. } => {
                "name a file of the project: -r FILE, --lock FILE, or `requirements` in the settings".to_owned()
            }
            Self::UnsupportedInput { export, .. } => format!(
                "export it with `{export}`, then name that file: -r requirements.txt, or requirements = \
                 [\"requirements.txt\"] in the settings"
            ),
            Self::LoneSetupCfg { path } => format!(
                "write {} with the line `from setuptools import setup; setup()`",
                path.with_file_name("setup.py").display()
            ),
            Self::NotALock { .. } => "--lock takes a pylock.toml or a uv.lock; name requirements with -r FILE".to_owned(),
            Self::LockPython { found, .. } => {
                format!("install one, or use the lock without this check: `--frozen`; {}", here(found))
            }
            Self::StaleLock { .. } => {
                "if the lock is out of date, run `uv lock`; `--frozen` uses the lock without this check".to_owned()
            },
            Self::UnknownName { what, known, .. } if known.is_empty() => format!("it has no {what} at all"),
            Self::UnknownName { known, .. } => format!("it has {}", known.join(", ")),
            Self::NoExtras { .. } => "write them into it, as in `django[argon2]`; extras and groups are those of \
                pyproject.toml, uv.lock and pylock.toml"
                .to_owned(),
            Self::Resolve { stderr } => return wrong_python_hint(stderr),
            Self::NoPip { .. } => {
                "put the file on the index, or into a directory: --find-links DIR".to_owned()
            }
            Self::Lock { .. } => "make the lock again with `--upgrade`, or with the tool that wrote it".to_owned(),
            Self::NotCovered { .. } => "if Wheelbarrow wrote the lock: build without `--lock` for the same target, which locks again; otherwise \
                name a Python that the lock covers, with --python, or extend requires-python in pyproject.toml and run `uv lock` or the \
                tool that wrote the lock"
                .to_owned(),
            Self::NothingFits { .. } => {
                "use another version, another Python or a newer system for which there is a wheel; or name a directory with a wheel that you built: --find-links DIR"
                    .to_owned()
            }
            Self::Hash { .. } => "the file is not the one that was locked; if the change is intended, lock again".to_owned(),
            Self::Offline { .. } => "run once without --offline to fill the cache, or put the files into a directory: \
                --find-links DIR"
                .to_owned(),
            Self::ExposedCache { .. } => "set HOME, or name a directory that only you can write to: --cache-dir DIR, or \
                WHEELBARROW_CACHE_DIR"
                .to_owned(),
            Self::CacheInUse { .. } => "run the command again after the build".to_owned(),
            Self::Http(error) => return error.hint(),
            Self::NotHere { foreign: true, .. } => "build it in a container of that system, \
                `--container IMAGE`; or use a version that has a wheel, or name a directory with a wheel: \
                --find-links DIR"
                .to_owned(),
            Self::NotHere { python, .. } => {
                format!("install Python {python} or give its path: --python /path/to/python{python}")
            }
            Self::NoEngine { .. } => {
                "install podman or docker, or name one that works: --container-engine PATH".to_owned()
            }
            Self::Pull { image, .. } if image.starts_with("localhost/") => {
                "this machine has no such image: `podman images` lists its images, and `podman build -t` makes one".to_owned()
            }
            Self::Pull { .. } => "use the name that `podman pull` accepts; names of local images begin with \
                localhost/"
                .to_owned(),
            Self::Image { .. } => "name an image of the target's system, with its Python in it".to_owned(),
            Self::Packages { .. } | Self::PackageName { .. } => {
                "`packages` are for the image's own package manager: libpq-dev on Debian, libpq-devel on RHEL"
                    .to_owned()
            }
            Self::NoDistribution { .. } => {
                "name it in pyproject.toml, as `name` in [project]; or remove `install-project = true`".to_owned()
            }
            Self::Collect { .. } => "set the variables that it needs in `environment` of [build]; placeholders are enough, and none \
                is packed. If it needs a database or another service, remove `collectstatic` from [build] \
                and add the command to `prepare`: then each deploy runs it"
                .to_owned(),
            Self::CollectInstall { .. } => "name a container of a target's system, `--container IMAGE`, or remove \
                `collectstatic` from [build]"
                .to_owned(),
            Self::CollectNowhere { .. } => "name a container of a target's system, `--container IMAGE`, or build on such a \
                system; or remove `collectstatic` from [build], and add the command to `prepare`"
                .to_owned(),
            Self::StaticRoot { .. } => {
                "set it below the code, as `STATIC_ROOT = BASE_DIR / \"static\"`; or remove `collectstatic` from [build]".to_owned()
            }
            Self::Build { last_lines, log, own: true, .. } => format!(
                "{}; `--no-install-project` leaves out the project's own distribution: its metadata, entry points and scripts",
                build_hint(last_lines, log)
            ),
            Self::Build { last_lines, log, .. } => build_hint(last_lines, log),
            Self::BuildRequirements { .. } => "no source distribution is built on this machine for a build in a container: name a directory \
                with a wheel, --find-links DIR; or run the whole build in the container, --in-container IMAGE"
                .to_owned(),
            Self::NoStandalone { .. } => {
                "give an install_only_stripped archive of python-build-standalone for the target, or a directory \
                 that one was unpacked to"
                    .to_owned()
            }
            Self::OtherPython { .. } => {
                "build an artifact for each Python, with the targets that run on it: --target SYSTEM:PYTHON".to_owned()
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_and_a_program_that_are_not_there_have_hints() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let hint = Error::io("make the cache", Path::new("/x"))(missing()).hint().unwrap();
        assert!(hint.starts_with("`--cache-dir DIR` "), "{hint}");
        let hint = Error::Run { program: "django-admin".into(), source: missing() }.hint().unwrap();
        assert!(hint.starts_with("add Django to the requirements"), "{hint}");
        let error = Error::io("write the lock", Path::new("/x"))(io::ErrorKind::ReadOnlyFilesystem.into());
        assert_eq!((error.to_string().as_str(), error.exit()), ("cannot write the lock /x", Exit::Refused));
        assert!(error.hint().unwrap().starts_with("`-o FILE` in another directory: "));
        assert_eq!(Error::io("make", Path::new("/x"))(missing()).hint(), None);
    }
}
