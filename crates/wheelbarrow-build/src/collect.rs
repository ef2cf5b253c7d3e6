//! Static files of a Django site, collected at build in the installed site: `[build] collectstatic`.
//!
//! The artifact without static files is written into a scratch directory and installed there by a Python of a
//! target, on this machine or in the target's container. Then the `prepare` commands that collect static
//! files run as they would in a release, with the environment of the build instead of a server's. The files
//! that they leave in STATIC_ROOT become members of the artifact.

mod command_output;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::mem::discriminant;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use fs_err as fs;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Project;
use wheelbarrow_artifact::release::Words;
use wheelbarrow_base::SafePath;
use wheelbarrow_base::progress::{Progress, Silent};
use wheelbarrow_wheel::text::is_control;

use crate::build_error::BuildError;
use crate::cache::Cache;
use crate::container::{BuildRoom, BuildRooms, SOURCE_DATE_EPOCH, WORK};
use crate::pack::{self, Plan};
use crate::project::ProjectFile;
use crate::target::BuildTarget;
use crate::{Error, Result, untrusted};
use tree::CollectedTree;

const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";
const STATIC_ROOT: &str = include_str!("../python/static_root.py");
const SORTED: &str = include_str!("../python/sorted_directories.py");

/// Lines of a failed command that are shown.
const LAST_LINES: usize = 15;

/// In the scratch directory.
const ARTIFACT: &str = "site.zip";
const DESTINATION: &str = "site";
const HOME: &str = "home";

/// What errors call the directory of the installed site.
const DEST: &str = "DEST";

/// Where programs are in a container.
const CONTAINER_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of `[build] environment`. They are in no artifact, error or log.
#[derive(Clone, Default, PartialEq)]
pub struct BuildEnvironment(pub BTreeMap<String, String>);

/// `[build] collectstatic = true`.
#[derive(Clone, Debug)]
pub struct CollectRequest {
    pub environment: BuildEnvironment,
    /// What the environment was read from.
    pub environment_file: Option<PathBuf>,
    /// `DJANGO_SETTINGS_MODULE`, if the environment has none.
    pub settings: Option<String>,
    /// Finds it in the code, which is on `sys.path`, if neither says it.
    pub find_settings: fn(&Path) -> Option<String>,
    /// The text with `***` in place of the secrets of an environment.
    pub hide: fn(&BTreeMap<String, String>, &str) -> String,
}

/// What is collected, from what.
pub(crate) struct CollectJob<'j> {
    pub(crate) request: &'j CollectRequest,
    /// The artifact without its static files.
    pub(crate) plan: &'j Plan,
    pub(crate) targets: &'j [BuildTarget],
    /// `SOURCE_DATE_EPOCH`.
    pub(crate) epoch: Option<&'j str>,
    pub(crate) engine: Option<&'j str>,
    pub(crate) offline: bool,
    pub(crate) cache: &'j Cache,
    pub(crate) progress: &'j dyn Progress,
}

/// The static files of a site.
pub(crate) struct Collected {
    /// STATIC_ROOT, below the code.
    pub(crate) root: String,
    /// Below the code, ordered.
    pub(crate) files: Vec<ProjectFile>,
    /// Where they are until the artifact is written.
    pub(crate) scratch: tempfile::TempDir,
}

/// Where the site is installed.
enum CollectPlace<'t> {
    Here(&'t Interpreter),
    Container(Arc<BuildRoom>),
}

/// The installed site.
struct InstalledSite<'s> {
    job: &'s CollectJob<'s>,
    place: CollectPlace<'s>,
    /// The scratch directory, as this process sees it, without links.
    scratch: PathBuf,
    /// DJANGO_SETTINGS_MODULE, if the environment has none.
    settings: Option<String>,
}

impl fmt::Debug for BuildEnvironment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// Collects the static files of a site.
pub(crate) fn collect(job: &CollectJob<'_>) -> std::result::Result<Collected, BuildError> {
    let place = place(job)?;
    let scratch = job.cache.workspace()?;
    let path = fs::canonicalize(scratch.path()).map_err(Error::io("find", scratch.path()))?;
    pack::write(job.plan, &path.join(ARTIFACT), &Silent)?;
    let settings = job.request.settings.clone();
    let mut site = InstalledSite { job, place, scratch: path, settings };
    site.install()?;
    if site.settings.is_none() {
        // Before the code of the site runs, which could put a link in the place of a directory.
        let code = site.destination().join(&job.project().import_path);
        site.settings = (job.request.find_settings)(&code);
    }
    let commands = site.commands();
    let root = site.static_root(&commands).map_err(|error| site.own_error(&commands, error))?;
    let tree = CollectedTree {
        scratch: &site.scratch,
        site: &site.destination(),
        code: &site.destination().join(&job.project().directory),
        root: &root,
    };
    tree.clear()?;
    for words in &commands {
        job.progress.note(&format!("collecting static files: {}", site.hide(&words.to_string())));
        site.run(&words.to_string(), words.as_slice())?;
    }
    let files = tree.files()?;
    if files.is_empty() {
        return Err(
            Error::StaticRoot { reason: format!("is {root}, and the command wrote nothing there") }.into()
        );
    }
    Ok(Collected { root, files, scratch })
}

/// The first target that a Python here, or a container, can install for.
fn place<'t>(job: &CollectJob<'t>) -> Result<CollectPlace<'t>> {
    for target in job.targets {
        if let Some(container) = &target.container {
            let rooms = BuildRooms::default();
            let room = rooms.room(container, target, job.engine, job.offline, job.progress)?;
            return Ok(CollectPlace::Container(room));
        }
        let is_here = |interpreter: &&Interpreter| {
            interpreter.abi == target.abi
                && interpreter.machine == target.machine
                && discriminant(&interpreter.libc) == discriminant(&target.libc)
        };
        if let Some(interpreter) = target.interpreter.as_ref().filter(is_here) {
            return Ok(CollectPlace::Here(interpreter));
        }
    }
    let targets: Vec<_> = job.targets.iter().map(BuildTarget::describe).collect();
    Err(Error::CollectNowhere { targets: targets.join(", ") })
}

impl CollectJob<'_> {
    fn project(&self) -> &Project {
        &self.plan.manifest.project
    }
}

impl InstalledSite<'_> {
    fn destination(&self) -> PathBuf {
        self.scratch.join(DESTINATION)
    }

    /// A path of the scratch directory, as the site sees it.
    fn there(&self, below: &str) -> String {
        match &self.place {
            CollectPlace::Here(_) => self.scratch.join(below).display().to_string(),
            CollectPlace::Container(_) => format!("{WORK}/{below}"),
        }
    }

    fn hide(&self, text: &str) -> String {
        (self.job.request.hide)(&self.job.request.environment.0, text)
    }

    fn interpreter(&self) -> &Interpreter {
        match &self.place {
            CollectPlace::Here(interpreter) => interpreter,
            CollectPlace::Container(room) => &room.interpreter,
        }
    }

    fn install(&self) -> Result<()> {
        let home = self.scratch.join(HOME);
        fs::create_dir(&home).map_err(Error::io("make", &home))?;
        let python = self.interpreter().executable.display().to_string();
        let (artifact, destination) = (self.there(ARTIFACT), self.there(DESTINATION));
        let words =
            [&python, &artifact, "-d", &destination, "--without-pip", "--quiet", "--compile", "never"];
        let output = self.output("", &words.map(str::to_owned))?;
        if !output.status.success() {
            return Err(Error::CollectInstall { python, last_lines: self.last_lines(&output) });
        }
        let packages = self.destination().join("venv").join(&self.interpreter().site_packages);
        self.write(&packages.join("_wheelbarrow_sorted.py"), SORTED.as_bytes(), 0o644)?;
        self.write(&packages.join("wheelbarrow-sorted.pth"), b"import _wheelbarrow_sorted\n", 0o644)?;
        let environment = serde_json::to_vec(&self.job.request.environment.0).unwrap_or_default();
        self.write(&self.destination().join("environment.json"), &environment, 0o600)
    }

    fn write(&self, path: &Path, contents: &[u8], mode: u32) -> Result<()> {
        let created = untrusted::create(&self.scratch, path, mode);
        created.and_then(|mut file| file.write_all(contents)).map_err(Error::io("write", path))
    }

    /// Those of `prepare` that collect static files; Django's own if there are none.
    fn commands(&self) -> Vec<Words> {
        let release = self.job.plan.manifest.release.as_ref();
        let prepare = release.and_then(|release| release.prepare.as_deref()).unwrap_or_default();
        let commands: Vec<_> = prepare.iter().filter(|words| words.collects_static()).cloned().collect();
        match commands.is_empty() {
            true => "django-admin collectstatic --noinput".parse().into_iter().collect(),
            false => commands,
        }
    }

    /// STATIC_ROOT below the code, as the settings of the first command have it.
    fn static_root(&self, commands: &[Words]) -> Result<String> {
        let mut words = vec!["python".to_owned(), "-c".to_owned(), STATIC_ROOT.to_owned()];
        words.extend(commands.first().and_then(settings_of));
        let output = self.run("python: settings.STATIC_ROOT", &words)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Option<String> =
            text.lines().last().and_then(|line| serde_json::from_str(line).ok()).flatten();
        let found = found.map(|found| found.replacen(&self.there(DESTINATION), DEST, 1));
        let set = self.job.plan.manifest.release.as_ref().and_then(|release| release.static_root.as_deref());
        below_code(found.as_deref(), self.job.project(), set)
            .map_err(|reason| Error::StaticRoot { reason: self.hide(&reason) })
    }

    /// What the first command says itself, if it fails as the question before it did.
    fn own_error(&self, commands: &[Words], error: Error) -> Error {
        match (&error, commands.first()) {
            (Error::Collect { .. }, Some(words)) => {
                self.run(&words.to_string(), words.as_slice()).err().unwrap_or(error)
            }
            _ => error,
        }
    }

    /// Runs what must end well; `shown` is what it is called.
    fn run(&self, shown: &str, words: &[String]) -> Result<Output> {
        let output = self.output(&format!("{DESTINATION}/{}", self.job.project().import_path), words)?;
        if output.status.success() {
            return Ok(output);
        }
        let (command, last_lines) = (self.hide(shown), self.last_lines(&output));
        Err(Error::Collect { command, problem: output.status.to_string(), last_lines })
    }

    /// Runs a command in a directory of the scratch directory, with an environment of its own.
    fn output(&self, directory: &str, words: &[String]) -> Result<Output> {
        let request = self.job.request;
        let virtualenv = self.there(&format!("{DESTINATION}/venv"));
        let usual = match self.place {
            CollectPlace::Here(_) => std::env::var("PATH").unwrap_or_default(),
            CollectPlace::Container(_) => CONTAINER_PATH.to_owned(),
        };
        let epoch = self.job.epoch.filter(|epoch| !epoch.is_empty()).unwrap_or(SOURCE_DATE_EPOCH);
        let mut environment = vec![
            ("PATH", format!("{virtualenv}/bin:{usual}")),
            ("VIRTUAL_ENV", virtualenv),
            ("HOME", self.there(HOME)),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("SOURCE_DATE_EPOCH", epoch.to_owned()),
            ("PYTHONHASHSEED", "0".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ];
        if !request.environment.0.contains_key(VARIABLE) {
            environment.extend(self.settings.clone().map(|module| (VARIABLE, module)));
        }
        let interpreter = self.interpreter();
        environment
            .extend(interpreter.environment.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let mut command = match &self.place {
            CollectPlace::Here(_) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).env_clear().envs(environment).stdin(Stdio::null());
                command.current_dir(self.scratch.join(directory));
                command
            }
            CollectPlace::Container(room) => room.command(&self.scratch, directory, environment, words),
        };
        command_output::run(&mut command, &self.scratch)
    }

    fn last_lines(&self, output: &Output) -> String {
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        let text = self.hide(&String::from_utf8_lossy(&text));
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

/// STATIC_ROOT below the code, or why it cannot be collected to. `set` is what the settings of releases say of it.
fn below_code(
    found: Option<&str>,
    project: &Project,
    set: Option<&str>,
) -> std::result::Result<String, String> {
    let Some(found) = found else { return Err("is not set".to_owned()) };
    let code = format!("{DEST}/{}/", project.directory);
    let Some(below) = found.strip_prefix(&code).filter(|below| !below.is_empty()) else {
        return Err(format!("is {found}, which is not in the code, {DEST}/{}", project.directory));
    };
    if format!("{}/", project.import_path).starts_with(&format!("{}/{below}/", project.directory)) {
        return Err(format!("is {found}, which has the code in it"));
    }
    if let Err(error) = SafePath::new(below) {
        return Err(format!("is {found}: {}", error.reason));
    }
    if below.contains(is_control) {
        return Err(format!("is {found:?}, which has a control character in it"));
    }
    match set.filter(|set| set.trim_end_matches('/') != below) {
        Some(set) => Err(format!("is {below} in the code, and `static_root` in [release] is {set}")),
        None => Ok(below.to_owned()),
    }
}

/// `--settings=X`, or `--settings X`.
fn settings_of(words: &Words) -> Option<String> {
    let mut words = words.as_slice().iter();
    words
        .find_map(|word| match word.strip_prefix("--settings=") {
            Some(module) => Some(Some(module.to_owned())),
            None => (word == "--settings").then_some(None),
        })?
        .or_else(|| words.next().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_a_command_are_found() {
        let of = |text: &str| settings_of(&text.parse().unwrap());
        assert_eq!(of("python manage.py collectstatic --settings=a.b").as_deref(), Some("a.b"));
        assert_eq!(of("django-admin collectstatic --settings c -v 0").as_deref(), Some("c"));
        assert_eq!(of("django-admin collectstatic --noinput"), None);
    }

    #[test]
    fn static_files_are_collected_below_the_code() {
        let project = Project {
            directory: "mysite".to_owned(),
            import_path: "mysite/src/app".to_owned(),
            static_root: None,
            digest: wheelbarrow_artifact::manifest::Sha256::of(b""),
        };
        let below = |found, set| below_code(found, &project, set);
        assert_eq!(below(Some("DEST/mysite/src/static"), None).as_deref(), Ok("src/static"));
        assert_eq!(below(Some("DEST/mysite/static"), Some("static/")).as_deref(), Ok("static"));
        for (found, set, reason) in [
            (None, None, "is not set"),
            (Some("/nowhere"), None, "is /nowhere, which is not in the code, DEST/mysite"),
            (Some("DEST/mysite"), None, "is DEST/mysite, which is not in the code, DEST/mysite"),
            (Some("DEST/static"), None, "is DEST/static, which is not in the code, DEST/mysite"),
            (Some("DEST/mysite/src"), None, "is DEST/mysite/src, which has the code in it"),
            (Some("DEST/mysite/../../a"), None, "is DEST/mysite/../../a: it leads out by '..'"),
            (Some("DEST/mysite/a/./b"), None, "is DEST/mysite/a/./b: it has a part '.'"),
            (Some("DEST/mysite/a\nb"), None, "is \"DEST/mysite/a\\nb\", which has a control character in it"),
            (Some("DEST/mysite/a"), Some("b"), "is a in the code, and `static_root` in [release] is b"),
        ] {
            assert_eq!(below(found, set).unwrap_err(), reason);
        }
    }

    #[test]
    fn values_of_the_environment_are_not_shown() {
        let environment = BuildEnvironment(BTreeMap::from([("KEY".to_owned(), "hidden".to_owned())]));
        assert_eq!(format!("{environment:?}"), "{\"KEY\"}");
    }
}
