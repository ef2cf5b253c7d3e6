//! What builds a source in a container may be hostile: an engine that does what such code can do, in the directory that it may
//! write.

use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_http::Credentials;

use super::super::builder::BuiltWheel;
use super::super::git::Checkouts;
use super::*;
use crate::bootstrap::pip_for;
use crate::cache::Cache;
use crate::container::BuildRooms;
use crate::fetch::{Download, FetchOptions, Place};
use crate::python;
use crate::uv::{IndexOptions, Uv};

static PYTHON: LazyLock<BuildTarget> = LazyLock::new(|| python::find_default().unwrap());

/// Answers as podman does. `unpack` and `build` run the code of the test, which knows `work`, `outside` and `step`.
const ENGINE: &str = r#"
import json, os, platform, subprocess, sys
here, arguments = os.path.dirname(os.path.abspath(__file__)), sys.argv[1:]
outside = os.path.join(here, "outside")
if arguments[0] == "--version":
    print("podman version 5.0.0")
elif arguments[0] == "info":
    print("false")
elif arguments[0] == "image":
    print("image", {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()))
else:
    command = arguments[arguments.index("image") + 1:]
    if command[0] == "sh":
        sys.exit(subprocess.call(command))
    mounts = [value for option, value in zip(arguments, arguments[1:]) if option == "--volume"]
    with open(os.path.join(here, "mounts"), "a") as file:
        print(*mounts, sep="\n", file=file)
    work = [mount for mount in mounts if mount.endswith(":/wheelbarrow")][0].rpartition(":")[0]
    step = command[3]
    def link(name, target="made"):
        if os.path.lexists(os.path.join(work, name)):
            os.rename(os.path.join(work, name), os.path.join(work, "moved-" + name))
        os.symlink(os.path.join(outside, target), os.path.join(work, name))
    def answer(**answer):
        with open(os.path.join(work, "answer.json"), "w") as file:
            json.dump(answer, file)
    def wheel():
        os.makedirs(os.path.join(work, "out"), exist_ok=True)
        with open(os.path.join(work, "out", "a-1-py3-none-any.whl"), "w") as file:
            file.write("wheel")
        answer(wheel="a-1-py3-none-any.whl")
    if step == "unpack":
        os.makedirs(os.path.join(work, "source", "a-1"))
    with open(os.path.join(here, "code.py")) as file:
        exec(file.read())
    pyproject = os.path.join(work, "source", "a-1", "pyproject.toml")
    if not os.path.lexists(pyproject):
        with open(pyproject, "w") as file:
            file.write("[build-system]\nrequires = []\n")
"#;

const HOSTILE: &str = r#"
for name in ["request.json", "backend.py", "pyproject.toml", "pylock.requires.toml"]:
    if step == "unpack":
        link(name, "made-" + name)
"#;

/// A directory with an engine, and one that no build may change.
struct Scene {
    place: tempfile::TempDir,
}

impl Scene {
    fn new(code: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        for directory in ["outside", "links"] {
            fs::create_dir(place.path().join(directory)).unwrap();
        }
        write("outside/kept", "secret = ");
        write(
            "podman",
            &format!("#!{} -IS{ENGINE}", PYTHON.interpreter.as_ref().unwrap().executable.display()),
        );
        write("code.py", code);
        write("a-1.tar.gz", "");
        let executable = PermissionsExt::from_mode(0o755);
        fs::set_permissions(place.path().join("podman"), executable).unwrap();
        Self { place }
    }

    fn build(&self) -> Result<BuiltWheel> {
        let path = |name: &str| self.place.path().join(name);
        let cache = Cache::open(Some(&path("cache"))).unwrap();
        let mut target = PYTHON.clone();
        target.container = Some(ContainerRequest { image: "some".to_owned(), packages: Vec::new() });
        put_pip(&cache, &target);
        let find_links = vec![path("links").display().to_string()];
        let index = IndexOptions { offline: true, no_index: true, find_links, ..IndexOptions::default() };
        let engine = path("podman").display().to_string();
        let builder = Builder {
            cache: &cache,
            project: self.place.path(),
            index: &index,
            fetch: &FetchOptions::default(),
            credentials: &Credentials::default(),
            engine: Some(&engine),
            rooms: BuildRooms::default(),
            stop: AtomicBool::new(false),
            checkouts: Checkouts::default(),
            progress: &Silent,
        };
        let archive = cache.put(&path("a-1.tar.gz")).unwrap();
        let download = Download {
            filename: "a-1.tar.gz".to_owned(),
            place: Place::Local(path("a-1.tar.gz")),
            sha256: archive.sha256,
            size: None,
        };
        let chosen = ChosenDistribution {
            name: "a".to_owned(),
            version: Some("1".to_owned()),
            source: DistributionSource::Archive { download, subdirectory: None },
            required: Vec::new(),
            direct_url: None,
        };
        let built = builder.wheel(&chosen, Some(&archive), &target);
        let names: Vec<_> =
            fs::read_dir(path("outside")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"], "written outside of the directory of the build");
        assert_eq!(fs::read(path("outside/kept")).unwrap(), b"secret = ");
        let mounts = fs::read_to_string(path("mounts")).unwrap();
        assert!(!mounts.contains("outside"), "{mounts}");
        for mount in mounts.lines() {
            let cache = path("cache").display().to_string();
            assert!(
                mount.starts_with(&cache) && (mount.ends_with(":/wheelbarrow") || mount.ends_with(":ro")),
                "{mount}"
            );
        }
        built
    }
}

/// An entry of the cache that counts as pip.
fn put_pip(cache: &Cache, target: &BuildTarget) {
    let hex = pip_for(target.version()).sha256().to_string();
    let path = cache.root().join("sha256").join(&hex[..2]).join(&hex);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "pip").unwrap();
    let compared = SystemTime::UNIX_EPOCH + Duration::from_secs(315_532_800 + 3);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(compared).unwrap();
}

#[test]
fn nothing_is_written_where_a_link_leads_and_no_more_is_mounted() {
    // Beside two entries, the source is not the directory in it.
    let git = "os.symlink(outside, work + '/source/.git'); open(work + '/source/pyproject.toml', 'w').write('[build-system]')";
    let code =
        format!("{HOSTILE}\nif step == 'unpack':\n    {git}\n    link('wheels', '')\nelse:\n    wheel()");
    let built = Scene::new(&code).build().unwrap();
    assert_eq!(built.entry.sha256, Sha256::of(b"wheel"));
    // The requirements of a build, as the backend has them.
    let line = "answer(requires=['SHELL=/bin/sh'])";
    let code = format!("{HOSTILE}\nif step == 'build':\n    {line}");
    assert!(Scene::new(&code).build().is_err());
}

#[test]
fn files_of_a_build_are_neither_waited_for_nor_read_elsewhere() {
    let pyproject = "os.path.join(work, 'source', 'a-1', 'pyproject.toml')";
    for (code, reason) in [
        (format!("if step == 'unpack': os.mkfifo({pyproject})"), "cannot read"),
        (format!("if step == 'unpack': os.symlink(os.path.join(outside, 'kept'), {pyproject})"), "cannot read"),
        (format!("if step == 'unpack': os.symlink('/dev/zero', {pyproject})"), "cannot read"),
        ("if step == 'build': os.mkfifo(os.path.join(work, 'answer.json'))".to_owned(), "cannot read"),
        ("if step == 'build': os.symlink('/dev/zero', os.path.join(work, 'answer.json'))".to_owned(), "cannot read"),
        (
            "if step == 'build':\n    wheel()\n    os.rename(work + '/out', outside + '/../out')\n    os.symlink(outside + '/../out', work + '/out')"
                .to_owned(),
            "cannot copy",
        ),
    ] {
        let error = Scene::new(&code).build().unwrap_err().to_string();
        assert!(error.contains(reason), "{code}: {error}");
    }
}

#[test]
fn no_code_of_a_build_requirement_runs_outside_of_the_container() {
    let build = |requirement: &str| {
        let scene = Scene::new(&format!("if step == 'build': answer(requires=[{requirement:?}])"));
        let source = scene.place.path().join("b-1");
        fs::create_dir(&source).unwrap();
        let ran = scene.place.path().join("outside/ran");
        let system = "[build-system]\nrequires = []\nbuild-backend = 'c'\nbackend-path = ['.']\n";
        fs::write(source.join("pyproject.toml"), system).unwrap();
        fs::write(source.join("c.py"), format!("open({ran:?}, 'w')\n")).unwrap();
        let mut tar = std::process::Command::new("tar");
        tar.arg("-czf").arg(scene.place.path().join("links/b-1.tar.gz"));
        assert!(tar.arg("-C").arg(scene.place.path()).arg("b-1").status().unwrap().success());
        scene.build().unwrap_err().to_string()
    };
    for (requirement, reason) in [
        ("b @ file:///links/b-1.tar.gz", "a URL is compared with no hash"),
        ("-e b-1", "that is not a requirement (PEP 508)"),
        ("--index-url https://example.org", "that is not a requirement (PEP 508)"),
        ("b\n-e b-1", "that is not a requirement (PEP 508)"),
        ("./links/b-1.tar.gz", "that is not a requirement (PEP 508)"),
        ("b ; os_name == \"posix' \n-e ./b-1\n#\"", "that is not a requirement (PEP 508)"),
        ("b ; os_name == \"posix' \r-e ./b-1\r#\"", "that is not a requirement (PEP 508)"),
    ] {
        let shown = requirement.replace('\n', "\\x0a").replace('\r', "\\x0d");
        let error = format!("cannot build a, which requires {shown} for its build: {reason}");
        assert_eq!(build(requirement), error);
    }
    if let Some(uv) = std::env::var_os("WHEELBARROW_UV") {
        // SAFETY: nothing in this process reads the environment other than through `std::env`, which has a lock of its own.
        unsafe { std::env::set_var("UV", uv) };
    }
    if Uv::find().is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have a uv on PATH or in UV");
        println!("skipped: no uv on PATH or in UV");
        return;
    }
    let error = build("b");
    assert!(
        error.contains("which requires b for its build: uv could not resolve that with wheels alone:"),
        "{error}"
    );
}
