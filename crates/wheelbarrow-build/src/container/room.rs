//! Prepares an image with the target's Python for builds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::Progress;

use super::engine::{ContainerRun, Engine, Image, last_stderr_line};
use crate::target::{BuildTarget, ContainerRequest};
use crate::uv::run;
use crate::{Error, Result, stoppable};

/// Where the directory to work in is mounted. A fixed place, because compilers write it into what they make.
pub(crate) const WORK: &str = "/wheelbarrow";

/// Where what is given to a build is mounted, to be read.
pub(crate) const GIVEN: &str = "/wheelbarrow-given";

/// 1980-01-01, the first moment that a zip can tell, in seconds since 1970.
pub(crate) const SOURCE_DATE_EPOCH: &str = "315532800";

/// Tries the interpreters named after the first argument, and runs what that says with the first of this version.
const FIND_PYTHON: &str = r#"
facts=$1 minor=$2; shift 2
for python in "$@"; do
    if "$python" -I -S -c "import sys; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
        exec "$python" -I -S -c "$facts"
    fi
done
exit 64
"#;

/// An image that was looked into.
#[derive(Debug)]
pub(crate) struct BuildRoom {
    engine: Engine,
    image: String,
    /// What it is, for cache keys: the image's digest and the packages.
    pub(crate) key: String,
    /// The target's Python in it.
    pub(crate) interpreter: Interpreter,
}

/// Rooms by image, packages and ABI, each opened once.
#[derive(Debug, Default)]
pub(crate) struct BuildRooms {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    engine: Option<Engine>,
    rooms: BTreeMap<(String, Vec<String>, String), Arc<BuildRoom>>,
}

impl BuildRooms {
    /// The room that `request` asks for. `named` is the engine, where the person named one.
    pub(crate) fn room(
        &self,
        request: &ContainerRequest,
        target: &BuildTarget,
        named: Option<&str>,
        offline: bool,
        progress: &dyn Progress,
    ) -> Result<Arc<BuildRoom>> {
        // The lock is held while one is opened: others would only open the same.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (request.image.clone(), request.packages.clone(), target.abi.to_string());
        if let Some(room) = open.rooms.get(&key) {
            return Ok(Arc::clone(room));
        }
        let engine = match open.engine.take() {
            Some(engine) => engine,
            None => Engine::find(named)?,
        };
        open.engine = Some(engine.clone());
        let room = Arc::new(BuildRoom::open(engine, request, target, offline, progress)?);
        open.rooms.insert(key, Arc::clone(&room));
        Ok(room)
    }
}

impl BuildRoom {
    fn open(
        engine: Engine,
        request: &ContainerRequest,
        target: &BuildTarget,
        offline: bool,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let unfit =
            |reason: String| Error::Image { image: request.image.clone(), target: target.describe(), reason };
        let base = engine.image(&request.image, &target.machine, offline)?;
        if !Engine::is_of(&base, &target.machine) {
            return Err(unfit(format!("it is for {}, not {}", base.architecture, target.machine)));
        }
        let key = format!("image {} {}", base.id, request.packages.join(" "));
        let image = if request.packages.is_empty() {
            base.id
        } else {
            with_packages(&engine, &base, &request.packages, progress)?
        };
        let interpreter = find_python(&engine, &image, target).map_err(unfit)?;
        if !target.takes_builds_of(&interpreter) {
            let BuildTarget { abi, libc, machine, .. } = target;
            return Err(unfit(format!(
                "its Python is {} on {} with {}; the target is {abi} on {machine} with {}",
                interpreter.abi, interpreter.machine, interpreter.libc, libc
            )));
        }
        Ok(Self { engine, image, key, interpreter })
    }

    /// The room's own system as a target, whose wheels run in it.
    pub(crate) fn system(&self, container: &ContainerRequest) -> BuildTarget {
        BuildTarget { container: Some(container.clone()), ..BuildTarget::of(self.interpreter.clone()) }
    }

    /// What runs in it, in a directory of `work_directory`, which is mounted at [`WORK`].
    pub(crate) fn command(
        &self,
        work_directory: &Path,
        directory: &str,
        environment: Vec<(&str, String)>,
        words: &[String],
    ) -> Command {
        self.engine.run(&ContainerRun {
            image: &self.image,
            mounts: vec![(work_directory.to_path_buf(), WORK.to_owned())],
            environment,
            directory: Some(&Path::new(WORK).join(directory)),
            command: words.iter().map(Into::into).collect(),
            ..ContainerRun::default()
        })
    }

    /// Runs its Python with `arguments`. `work_directory` is mounted at [`WORK`]; to be read, `given` at [`GIVEN`] and `repository`
    /// at its own path.
    pub(crate) fn python(
        &self,
        work_directory: &Path,
        given: &Path,
        repository: Option<&Path>,
        arguments: &[&str],
    ) -> Result<Output> {
        let mut mounts = vec![
            (work_directory.to_path_buf(), WORK.to_owned()),
            (given.to_path_buf(), format!("{GIVEN}:ro")),
        ];
        mounts.extend(repository.map(|path| (path.to_path_buf(), format!("{}:ro", path.display()))));
        let environment = vec![
            ("HOME", format!("{WORK}/home")),
            ("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH.to_owned()),
            ("PYTHONHASHSEED", "0".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ];
        let program = self.interpreter.executable.clone().into_os_string();
        let mut command = self.engine.run(&ContainerRun {
            image: &self.image,
            mounts,
            environment,
            directory: Some(Path::new(WORK)),
            command: std::iter::once(program).chain(arguments.iter().map(Into::into)).collect(),
            ..ContainerRun::default()
        });
        // The client of an engine is not killed: its container would run on.
        stoppable::run(&mut command, &AtomicBool::new(false))
    }
}

/// The facts of the image's Python of the target's version.
fn find_python(
    engine: &Engine,
    image: &str,
    target: &BuildTarget,
) -> std::result::Result<Interpreter, String> {
    let python = format!("python{}", target.python);
    // Where the images of PyPA have theirs.
    let pypa = format!("/opt/python/{0}-{1}/bin/python", target.abi.trim_end_matches(['t', 'm']), target.abi);
    let (_, minor) = target.version();
    let words = ["sh", "-c", FIND_PYTHON, "sh", wheelbarrow_artifact::python::INTERPRETER];
    let (minor, names) = (minor.to_string(), [pypa.as_str(), python.as_str(), "python3", "python"]);
    let command = words.into_iter().chain([minor.as_str()]).chain(names).map(Into::into).collect();
    let output = run(&mut engine.run(&ContainerRun { image, command, ..ContainerRun::default() }))
        .map_err(|error| error.to_string())?;
    match output.status.code() {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("its Python printed invalid facts: {error}")),
        Some(64) => Err(format!("it has no Python {}", target.python)),
        _ => Err(last_stderr_line(&output)),
    }
}

/// The image with the packages in it, made where it is not here from an earlier run.
fn with_packages(
    engine: &Engine,
    base: &Image,
    packages: &[String],
    progress: &dyn Progress,
) -> Result<String> {
    let is_name = |name: &&String| {
        !name.starts_with('-')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+:_/=~@-".contains(&byte))
    };
    if let Some(bad) = packages.iter().find(|name| !is_name(name)) {
        return Err(Error::PackageName { name: bad.clone() });
    }
    let list = packages.join(" ");
    let script = install(&list);
    let digest = Sha256::of(format!("{}\n{script}", base.id).as_bytes()).to_string();
    let tag = format!("localhost/wheelbarrow-build:{}", &digest[..16]);
    if let Some(image) = engine.inspect(&tag)? {
        return Ok(image.id);
    }
    progress.note(&format!("installing {list} into a copy of {}", base.name));
    let containerfile = format!("FROM {}\nUSER 0\nRUN {script}\n", base.name);
    let output = engine.build(&tag, &containerfile)?;
    let failed =
        || Error::Packages { image: base.name.clone(), packages: list.clone(), stderr: last_lines(&output) };
    if !output.status.success() {
        return Err(failed());
    }
    Ok(engine.inspect(&tag)?.ok_or_else(failed)?.id)
}

/// A line of shell that installs packages by whichever manager there is.
fn install(packages: &str) -> String {
    let managers = [
        (
            "apt-get",
            "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends",
        ),
        ("dnf", "dnf install -y"),
        ("microdnf", "microdnf install -y"),
        ("yum", "yum install -y"),
        ("apk", "apk add --no-cache"),
    ];
    let tries = managers.map(|(manager, install)| {
        format!("if command -v {manager} >/dev/null; then {install} {packages}; el")
    });
    format!("{}se echo 'no package manager that is known' >&2; exit 1; fi", tries.concat())
}

fn last_lines(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
