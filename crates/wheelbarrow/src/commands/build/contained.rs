//! `wheelbarrow build --in-container IMAGE`: the whole build, by this program, in a container of the target's system.
//!
//! Everything that the command names is mounted under its own path, so that the same words have the same
//! meaning in the container. If wheelbarrow is dynamically linked, its loader and its libraries are mounted
//! too, since the image may have an older C library, or another one.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use wheelbarrow_build::BuildOptions;
use wheelbarrow_build::cache::Cache;
use wheelbarrow_build::container::{ContainerRun, Engine};
use wheelbarrow_build::target::HAS_TARGETS;
use wheelbarrow_build::uv::Uv;
use wheelbarrow_http::certificates;

use crate::failure::{CommandError, CommandResult, Refusal, WithContext};

const PROGRAM: &str = "/wheelbarrow/bin/wheelbarrow";
const LIBRARIES: &str = "/wheelbarrow/lib";
const UV: &str = "/wheelbarrow/bin/uv";
const NETRC: &str = "/wheelbarrow/netrc";
const CERTIFICATES: &str = "/wheelbarrow/certificates.pem";

/// Variables that say where distributions come from, and how to get there.
const PREFIXES: [&str; 4] = ["PIP_", "UV_", "WHEELBARROW_", "SOURCE_DATE_EPOCH"];
const NETWORK: [&str; 7] =
    ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "ALL_PROXY"];

/// What the whole build needs to see of this machine.
pub(super) struct ContainedBuild<'a> {
    image: &'a str,
    engine: Option<&'a str>,
    cache_dir: Option<&'a Path>,
    offline: bool,
    /// The project and all other files and directories that the command names.
    paths: Vec<PathBuf>,
    /// Those that only variables name, to be read.
    read_only: Vec<PathBuf>,
}

impl<'a> ContainedBuild<'a> {
    pub(super) fn new(image: &'a str, options: &'a BuildOptions) -> Self {
        let mut paths = vec![options.project.clone()];
        let inputs = options.inputs.requirements.iter().chain(&options.inputs.lock);
        paths.extend(inputs.chain(&options.static_directories).cloned());
        let links = options.index.find_links.iter().map(PathBuf::from);
        paths.extend(links.filter(|path| path.is_dir()));
        paths.extend(options.output.parent().map(Path::to_path_buf));
        let pythons = options.pythons.iter().chain(&options.extra_pythons);
        paths.extend(pythons.filter_map(|python| installation(python)));
        paths.extend(options.collect.iter().filter_map(|collect| collect.environment_file.clone()));
        let engine = options.container_engine.as_deref();
        let offline = options.index.offline;
        let mut read_only = options.index.indexes().directories();
        read_only.extend(named_files());
        Self { image, engine, cache_dir: options.cache_dir.as_deref(), offline, paths, read_only }
    }
}

pub(super) fn run(build: &ContainedBuild<'_>) -> CommandResult<()> {
    if !HAS_TARGETS {
        let message = "--in-container runs this program in the container, and this one does not run on Linux";
        let hint = "build out here, and only sources in a container: `--target SYSTEM --container IMAGE`";
        return Err(Refusal::usage(message, hint).into());
    }
    let engine = Engine::find(build.engine).map_err(wheelbarrow_build::BuildError::from)?;
    let own = Program::find()?;
    own.starts(&engine, build.image)?;
    let here = env::current_dir().context(|| "cannot find the current directory".to_owned())?;
    let cache = Cache::open(build.cache_dir).map_err(wheelbarrow_build::BuildError::from)?;
    let mut run = ContainerRun {
        image: build.image,
        directory: Some(&here),
        network: !build.offline,
        ..ContainerRun::default()
    };
    run.mounts = mounts(build, &here, cache.root())?;
    run.mounts.extend(own.mounts.clone());
    run.environment =
        vec![("HOME", "/tmp".to_owned()), ("WHEELBARROW_CACHE_DIR", cache.root().display().to_string())];
    if let Some(uv) = Uv::find().and_then(|uv| uv.single_program()) {
        run.mounts.push((uv, format!("{UV}:ro")));
        run.environment.push(("UV", UV.to_owned()));
    }
    if let Some(netrc) = netrc() {
        run.mounts.push((netrc, format!("{NETRC}:ro")));
        run.environment.push(("NETRC", NETRC.to_owned()));
    }
    // The image need not have any, nor those of a private network.
    if let Some(certificates) = certificates() {
        run.mounts.push((certificates, format!("{CERTIFICATES}:ro")));
        run.environment.push(("SSL_CERT_FILE", CERTIFICATES.to_owned()));
    }
    run.inherited = inherited();
    run.command = own.command.iter().cloned().chain(without_flag(env::args_os().skip(1))).collect();
    let status = engine.run(&run).status().context(|| "cannot run the container engine".to_owned())?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(CommandError::Reported(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
    }
}

/// Where an interpreter that is named by its path lies; those of the system are the image's own.
fn installation(python: &str) -> Option<PathBuf> {
    let path = Path::new(python).parent()?.parent().filter(|path| path.is_absolute())?;
    (path != Path::new("/") && path != Path::new("/usr")).then(|| path.to_path_buf())
}

/// This program, for other systems of the same CPU.
struct Program {
    mounts: Vec<(PathBuf, String)>,
    /// What starts it there.
    command: Vec<OsString>,
}

impl Program {
    fn find() -> CommandResult<Self> {
        let own = env::current_exe().context(|| "cannot find this program".to_owned())?;
        // What ldd(1) does: the loader lists what it would load, and the program does not run. A static one has no loader,
        // and runs; then it says its version.
        let output = std::process::Command::new(&own)
            .arg("--version")
            .env("LD_TRACE_LOADED_OBJECTS", "1")
            .output()
            .context(|| "cannot start this program again".to_owned())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let libraries: Vec<PathBuf> = text.lines().filter_map(library).collect();
        let loader = libraries.iter().find(|path| name(path).starts_with("ld-")).map(|path| name(path));
        let mut mounts = vec![(own, format!("{PROGRAM}:ro"))];
        let command = match loader {
            None => vec![PROGRAM.into()],
            Some(loader) => {
                let loader = format!("{LIBRARIES}/{loader}");
                [&loader, "--library-path", LIBRARIES, PROGRAM].map(OsString::from).to_vec()
            }
        };
        mounts.extend(libraries.iter().map(|path| (path.clone(), format!("{LIBRARIES}/{}:ro", name(path)))));
        Ok(Self { mounts, command })
    }

    fn starts(&self, engine: &Engine, image: &str) -> CommandResult<()> {
        let command = self.command.iter().cloned().chain(["--version".into()]).collect();
        let run = ContainerRun { image, mounts: self.mounts.clone(), command, ..ContainerRun::default() };
        let output = engine.run(&run).output().context(|| "cannot run the container engine".to_owned())?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.trim().lines().last().unwrap_or("no reason");
        let hint = start_hint(message);
        Err(Refusal::project(format!("this wheelbarrow does not start in {image}: {message}"), hint).into())
    }
}

/// By what the engine prints.
fn start_hint(message: &str) -> &'static str {
    match message.contains("short-name") {
        true => "give the full name of the image; names of local images begin with localhost/",
        false => {
            "name an image of this CPU; or build on this machine, for that system: --target SYSTEM --container IMAGE"
        }
    }
}

/// The file in a line of ldd(1): `NAME => FILE (ADDRESS)`, or `FILE (ADDRESS)`.
fn library(line: &str) -> Option<PathBuf> {
    let line = line.rsplit_once(" (0x")?.0;
    let file = line.rsplit_once(" => ").map_or(line, |(_, file)| file).trim();
    file.starts_with('/').then(|| PathBuf::from(file))
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Each directory that is named, under its own path; of two where one is in the other, the outer.
fn mounts(build: &ContainedBuild<'_>, here: &Path, cache: &Path) -> CommandResult<Vec<(PathBuf, String)>> {
    let mut directories = BTreeSet::from([here.to_path_buf(), cache.to_path_buf()]);
    for path in &build.paths {
        let path = path.canonicalize().context(|| format!("cannot find {}", path.display()))?;
        let parent = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        directories.extend(parent.map(Path::to_path_buf));
    }
    let outer = |path: &&PathBuf| !directories.iter().any(|other| other != *path && path.starts_with(other));
    let mut mounts: Vec<_> =
        directories.iter().filter(outer).map(|path| (path.clone(), path.display().to_string())).collect();
    let read_only: BTreeSet<_> =
        build.read_only.iter().filter_map(|path| std::path::absolute(path).ok()).collect();
    let is_hidden = |path: &&PathBuf| !directories.iter().any(|directory| path.starts_with(directory));
    mounts.extend(
        read_only.iter().filter(is_hidden).map(|path| (path.clone(), format!("{}:ro", path.display()))),
    );
    Ok(mounts)
}

/// Constraints and the like, and uv's own settings.
fn named_files() -> Vec<PathBuf> {
    const LISTS: [&str; 5] =
        ["UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_BUILD_CONSTRAINT", "PIP_CONSTRAINT"];
    let lists = LISTS.iter().filter_map(|name| env::var(name).ok());
    let lists: Vec<_> =
        lists.flat_map(|list| list.split_whitespace().map(PathBuf::from).collect::<Vec<_>>()).collect();
    let settings = env::var_os("UV_CONFIG_FILE").map(PathBuf::from);
    lists.into_iter().chain(settings).filter(|path| path.is_file()).collect()
}

fn netrc() -> Option<PathBuf> {
    let named = env::var_os("NETRC").map(PathBuf::from);
    let usual = || Some(PathBuf::from(env::var_os("HOME")?).join(".netrc"));
    named.or_else(usual).filter(|path| path.is_file())
}

/// By name only: values with passwords must be in no command line.
fn inherited() -> Vec<String> {
    let is_wanted = |name: &String| {
        NETWORK.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let set_anew =
        ["UV", "UV_CACHE_DIR", "WHEELBARROW_CACHE_DIR", "WHEELBARROW_CONTAINER_ENGINE", "PIP_CERT"];
    env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| is_wanted(name) && !set_anew.contains(&name.as_str()))
        .collect()
}

fn without_flag(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut rest = Vec::new();
    let mut skips = false;
    for argument in arguments {
        let text = argument.to_string_lossy();
        if std::mem::take(&mut skips) || text.starts_with("--in-container=") {
            continue;
        }
        if text == "--in-container" {
            skips = true;
            continue;
        }
        rest.push(argument);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_as_ldd_lists_them() {
        let file = |line| library(line).map(|path| path.display().to_string());
        assert_eq!(file("\tlinux-vdso.so.1 (0x00007ffd)"), None);
        assert_eq!(file("\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)").as_deref(), Some("/lib/x/libc.so.6"));
        assert_eq!(file("\t/lib64/ld-linux.so.2 (0x00007f)").as_deref(), Some("/lib64/ld-linux.so.2"));
        assert_eq!(file("wheelbarrow 0.1.0"), None);
    }

    #[test]
    fn an_image_that_does_not_exist_has_a_hint_of_its_own() {
        let message = "Error: short-name \"nope\" did not resolve to an alias";
        assert!(start_hint(message).contains("names of local images begin with localhost/"));
        assert!(start_hint("exec format error").contains("of this CPU"));
    }

    #[test]
    fn interpreters_of_the_system_are_the_images_own() {
        assert_eq!(installation("/opt/python3.12/bin/python3"), Some("/opt/python3.12".into()));
        for python in ["/usr/bin/python3", "/bin/python3", "3.12", "python3.12"] {
            assert_eq!(installation(python), None, "{python}");
        }
    }

    #[test]
    fn what_only_variables_name_is_read_only() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let [project, cache, links] = ["project", "cache", "links"].map(|name| place.join(name));
        [&project, &cache, &links].iter().for_each(|path| fs_err::create_dir(path).unwrap());
        fs_err::create_dir(project.join("wheels")).unwrap();
        let build = ContainedBuild {
            image: "",
            engine: None,
            cache_dir: None,
            offline: false,
            paths: vec![project.clone()],
            read_only: vec![links.clone(), project.join("wheels"), links.clone()],
        };
        let mounts = mounts(&build, &project, &cache).unwrap();
        let shown: Vec<_> =
            mounts.iter().map(|(_, there)| there.replace(&*place.to_string_lossy(), "")).collect();
        assert_eq!(shown, ["/cache", "/project", "/links:ro"]);
    }

    #[test]
    fn the_same_command_without_the_flag() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for text in ["build --in-container a:1 p -o x.zip", "build --in-container=a:1 p -o x.zip"] {
            assert_eq!(without_flag(words(text).into_iter()), words("build p -o x.zip"));
        }
    }
}
