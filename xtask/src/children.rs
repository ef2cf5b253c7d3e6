//! Starting other programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What a private network needs, of the variables that are dropped otherwise.
const KEPT: [&str; 3] = ["PIP_CERT", "PIP_INDEX_URL", "UV_INDEX_URL"];

/// A command that does not heed what this machine happens to have set for Python and its tools.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // The last two cargo has set for this program; build scripts look at them, and would run again.
        let drops = [
            "PIP_",
            "UV_",
            "PYTHON",
            "WHEELBARROW_",
            "DJANGO_",
            "VIRTUAL_ENV",
            "CARGO_MANIFEST_",
            "CARGO_PKG_",
        ];
        if !KEPT.contains(&text.as_ref()) && drops.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    // uv has its own name for the index that pip was given.
    if let (Some(index), None) = (std::env::var_os("PIP_INDEX_URL"), std::env::var_os("UV_INDEX_URL")) {
        command.env("UV_INDEX_URL", index);
    }
    command
}

/// Cargo for the tests, which heeds a native installer that is ready: without it the build would make another.
pub(crate) fn cargo_for_tests() -> Command {
    const INSTALLER: &str = "WHEELBARROW_NATIVE_INSTALLER";
    let mut command = cargo();
    command.envs(std::env::var_os(INSTALLER).map(|path| (INSTALLER, path)));
    command
}

pub(crate) fn cargo() -> Command {
    clean(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Says what it runs, and runs it; an error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", show(command));
    let status = command.status().with_context(|| format!("cannot run {}", show(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", show(command));
    }
    Ok(())
}

/// Whether it runs and succeeds, silently.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// `target/`, wherever it is.
pub(crate) fn target_directory() -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.map_or_else(|| workspace().join("target"), |path| workspace().join(path))
}

/// Builds `wheelbarrow` as its users have it, and gives its path. For a quick try `WHEELBARROW_PROGRAM` names another build, but not
/// in CI.
pub(crate) fn wheelbarrow() -> Result<PathBuf> {
    if let Some(program) =
        std::env::var_os("WHEELBARROW_PROGRAM").filter(|_| std::env::var_os("CI").is_none())
    {
        return Ok(fs_err::canonicalize(PathBuf::from(program))?);
    }
    run(cargo()
        .args(["build", "--quiet", "--release", "--package", "wheelbarrow"])
        .current_dir(workspace()))?;
    Ok(fs_err::canonicalize(target_directory().join("release/wheelbarrow"))?)
}

/// What cannot run on this machine is skipped with the reason, and fails in CI.
pub(crate) fn unavailable(what: &str, reason: &anyhow::Error) -> Result<()> {
    if std::env::var_os("CI").is_some_and(|ci| !ci.is_empty()) {
        bail!("{what} cannot run here, and CI is set: {reason:#}");
    }
    println!("skipped: {what} cannot run here: {reason:#}");
    Ok(())
}

/// The benchmarks are a program of their own. They run `wheelbarrow` and the programs beside themselves, so all are built first.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    let packages = ["--package", "wheelbarrow", "--package", "wheelbarrow-benches"];
    run(cargo().args(["build", "--quiet", "--release"]).args(packages).current_dir(workspace()))?;
    run(clean(target_directory().join("release/bench")).args(arguments).current_dir(workspace()))
}

/// Sizes are those of the release, whoever measures them: the program that does is not compiled for speed.
pub(crate) fn sizes(arguments: &[String]) -> Result<()> {
    wheelbarrow()?;
    let build = ["build", "--quiet", "--package", "wheelbarrow-benches", "--bin", "bench"];
    run(cargo().args(build).current_dir(workspace()))?;
    let mut bench = clean(target_directory().join("debug/bench"));
    bench.env("WHEELBARROW_PROGRAMS", target_directory().join("release"));
    run(bench.args(["--only", "sizes"]).args(arguments).current_dir(workspace()))
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let here = format!("{}/", workspace().display());
    words.map(|word| word.to_string_lossy().replace(&here, "")).collect::<Vec<_>>().join(" ")
}
