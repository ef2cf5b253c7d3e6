//! The release build of `wheelbarrow` in place of the libraries: `WHEELBARROW_PROGRAM` names it, as `cargo xtask conformance` does.
//!
//! The tests that heed it give it the same files and expect the same of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::json;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::zip::Archive;
use wheelbarrow_base::Explain;
use wheelbarrow_install::Pip;

use crate::site::{self, told};

/// The program, if it is to be tested.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::var_os("WHEELBARROW_PROGRAM").map(PathBuf::from)
}

/// A CPython 3.12, for which the wheels of other projects were installed by pip.
pub(crate) fn python() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let versions = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
        let entries = std::fs::read_dir(versions).into_iter().flatten().flatten();
        let pyenv = entries.map(|entry| entry.path().join("bin/python3.12"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|directory| directory.join("python3.12"));
        let found = pyenv.chain(on_path).find(|python| python.exists());
        if found.is_none() {
            println!("skipped: no wheel is installed by the release, there is no Python 3.12");
        }
        found
    });
    FOUND.get().and_then(Option::as_deref)
}

/// What a program said; an error if it failed.
pub(crate) fn run(program: &Path, words: &[&str]) -> Result<Output, (u8, String)> {
    let mut command = Command::new(program);
    // uv is needed for the pip that an artifact bundles.
    command.args(words).env_remove("WHEELBARROW_PROGRAM");
    command.envs(std::env::var_os("WHEELBARROW_UV").map(|uv| ("UV", uv)));
    judge(command.output().unwrap())
}

fn judge(output: Output) -> Result<Output, (u8, String)> {
    let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if code == 0 { Ok(output) } else { Err((code, said)) }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Packs a project, and a wheel if there is one.
pub(crate) fn build(program: &Path, wheel: Option<&Path>, artifact: &Path) -> Result<(), (u8, String)> {
    let place = tempfile::tempdir().unwrap();
    let (project, lock) = (place.path().join("project"), place.path().join("pylock.one.toml"));
    fs_err::create_dir(&project).unwrap();
    fs_err::write(project.join("app.py"), "x = 1\n").unwrap();
    fs_err::write(project.join("wheelbarrow.toml"), "name = 'site'\n[release]\ncheck = false\n").unwrap();
    let mut locked = "lock-version = \"1.0\"\ncreated-by = \"test\"\n".to_owned();
    let mut allowed = String::new();
    match wheel {
        None => locked.push_str("packages = []\n"),
        Some(wheel) => {
            let mut parts = wheel.file_name().unwrap().to_str().unwrap().split('-');
            let name = parts.next().unwrap().to_ascii_lowercase().replace(['_', '.'], "-");
            let (version, path) = (parts.next().unwrap_or("1"), text(wheel));
            let sha256 = Sha256::of(&fs_err::read(wheel).unwrap());
            locked.push_str(&format!(
                "[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n[[packages.wheels]]\npath = \"{path}\"\n\
                 hashes = {{sha256 = \"{sha256}\"}}\n"
            ));
            // It is installed alone.
            allowed = format!("--allow=requirement:{name}=it is alone");
        }
    }
    fs_err::write(&lock, locked).unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("released/cache");
    let mut words = vec!["build", "--quiet", text(&project), "--lock", text(&lock), "-o", text(artifact)];
    words.extend([
        "--python",
        text(python().unwrap_or(Path::new("python3"))),
        "--bytecode",
        "never",
        "--cache-dir",
        text(&cache),
    ]);
    words.extend((!allowed.is_empty()).then_some(allowed.as_str()));
    run(program, &words).map(drop)
}

/// The installer that artifacts of the program carry, if the program is to be tested.
fn installer() -> Option<&'static Path> {
    static INSTALLER: OnceLock<Option<PathBuf>> = OnceLock::new();
    INSTALLER.get_or_init(|| program().map(|program| take_installer(&program))).as_deref()
}

fn take_installer(program: &Path) -> PathBuf {
    let place = tempfile::tempdir().unwrap();
    let artifact = place.path().join("site.zip");
    build(program, None, &artifact).unwrap();
    let bytes = fs_err::read(&artifact).unwrap();
    let archive = Archive::parse(&bytes[..]).unwrap();
    let name = format!(".wheelbarrow/native/linux-{}", std::env::consts::ARCH);
    let entry = archive.entries().iter().find(|entry| entry.name == name).expect(&name);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("released");
    fs_err::create_dir_all(&kept).unwrap();
    let path = kept.join("installer");
    wheelbarrow_base::write_atomic(&path, &archive.read(entry, entry.size).unwrap(), 0o755).unwrap();
    path
}

/// Installs by the native installer: that of the release build if there is one to test. An error is the exit code and what is said.
pub(crate) fn install(artifact: &Path, destination: &Path, pip: Pip) -> Result<(), (u8, String)> {
    let result = match installer() {
        Some(installer) => start(installer, artifact, destination, pip),
        None => {
            site::try_install(artifact, destination, pip).map_err(|error| (error.exit_code(), told(&error)))
        }
    };
    site::check_left(destination, result.is_err());
    result
}

/// As `__main__.py` starts it, with the facts of the tests' interpreter.
fn start(installer: &Path, artifact: &Path, destination: &Path, pip: Pip) -> Result<(), (u8, String)> {
    let options = json!({"destination": destination, "pip": pip == Pip::With, "compile": "never", "quiet": true, "json": false});
    let request = json!({"artifact": artifact, "options": options});
    let facts = json!(site::interpreter(destination));
    let mut command = Command::new(installer);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without reading all; its exit code says why.
    let _ = child.stdin.take().unwrap().write_all(format!("{request}\n{facts}\n").as_bytes());
    judge(child.wait_with_output().unwrap()).map(drop)
}
