//! `cargo xtask bare`: README's two commands as a new user runs them, in a container with nothing but what README names.
//!
//! The container sees a clean clone in the place of this checkout, with this checkout's target directory, so what is compiled in
//! there serves here as well. It has this machine's Rust, network and certificates; the rest is Debian's. For the tests, which
//! take more than an hour there, root has the rights of a machine's root. A container cannot show how Rust itself is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::{cargo, run as run_child, target_directory, unavailable, workspace};
use crate::containers::images::Images;

const SUITE: &str = "bookworm";
const IMAGE: &str = "localhost/wheelbarrow-test-bare:bookworm";
/// What README asks for, beside Rust: a C compiler, Python with pip.
const PACKAGES: &str = "gcc,libc6-dev,python3,python3-pip,python3-venv,ca-certificates";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What a private network needs.
const PASSED: [&str; 9] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PIP_INDEX_URL",
    "UV_INDEX_URL",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "CARGO_HTTP_CAINFO",
];
/// Directories below the target directory that hold virtualenvs of the container's Python.
const OF_ITS_PYTHON: [&str; 2] = ["demo", "tools"];

/// What README's commands do, of which some may be named.
const COMMANDS: [&str; 2] = ["demo", "test"];

pub(crate) fn run(named: &[String]) -> Result<()> {
    if let Some(other) = named.iter().find(|name| !COMMANDS.contains(&name.as_str())) {
        bail!("README has no `cargo xtask {other}`");
    }
    let place = target_directory().join("bare");
    fs::create_dir_all(&place)?;
    let place = fs::canonicalize(place)?;
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("bare", &reason),
    };
    images.make_system(&place, SUITE, IMAGE, PACKAGES)?;
    let clone = clean_clone(&place)?;
    let is_wanted = |name: &&str| named.is_empty() || named.iter().any(|wanted| wanted == name);
    let result = COMMANDS
        .into_iter()
        .filter(is_wanted)
        .try_for_each(|command| run_child(&mut container(&images, &clone, command)?));
    // It has no compiler for another CPU, so its release lacks that installer. Cargo would not notice that there is one here. CI
    // removes it where it needs that installer.
    if std::env::var_os("CI").is_none() {
        let clean = ["clean", "--quiet", "--release", "--package", "wheelbarrow"];
        run_child(cargo().args(clean).current_dir(workspace()))?;
    }
    for name in OF_ITS_PYTHON {
        let directory = target_directory().join(name);
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
    }
    result
}

fn clean_clone(place: &Path) -> Result<PathBuf> {
    let clone = place.join("checkout");
    if clone.exists() {
        fs::remove_dir_all(&clone)?;
    }
    run_child(Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(workspace()).arg(&clone))?;
    fs::create_dir(clone.join("target"))?;
    Ok(clone)
}

/// Runs one of README's commands in the clone.
fn container(images: &Images, clone: &Path, command: &str) -> Result<Command> {
    let here = workspace();
    let (cargo, rustup) = (home("CARGO_HOME", ".cargo")?, home("RUSTUP_HOME", ".rustup")?);
    let mut engine = images.engine();
    engine.args(["run", "--rm"]);
    let mut mount = |from: &Path, to: &Path, how: &str| {
        engine.arg(format!("--volume={}:{}{how}", from.display(), to.display()));
    };
    mount(clone, &here, "");
    mount(&fs::canonicalize(target_directory())?, &here.join("target"), "");
    mount(&cargo, &cargo, "");
    mount(&rustup, &rustup, ":ro");
    if command == "test" {
        // As on a machine, where root may mount, and temporary files are on a disk.
        let temporary = clone.with_file_name("tmp");
        fs::create_dir_all(&temporary)?;
        fs::set_permissions(&temporary, std::os::unix::fs::PermissionsExt::from_mode(0o1777))?;
        engine.args(["--privileged".to_owned(), format!("--volume={}:/tmp", temporary.display())]);
    }
    let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", cargo.display());
    engine.arg(format!("--env=PATH={path}"));
    engine.arg(format!("--env=CARGO_HOME={}", cargo.display()));
    engine.arg(format!("--env=RUSTUP_HOME={}", rustup.display()));
    if std::env::var_os("CARGO_INCREMENTAL").is_some() {
        // With another value here, what is compiled there would be compiled again.
        engine.arg("--env=CARGO_INCREMENTAL");
    }
    give_network(&mut engine);
    engine.arg(format!("--workdir={}", here.display())).arg(IMAGE);
    engine.args(["cargo", "xtask", command]);
    Ok(engine)
}

/// This machine's network, certificates and package indexes, for a container that `engine` runs.
pub(crate) fn give_network(engine: &mut Command) {
    engine.args(["--network=host", &format!("--volume={CERTIFICATES}:{CERTIFICATES}:ro")]);
    for name in ["PIP_CERT", "SSL_CERT_FILE"] {
        engine.arg(format!("--env={name}={CERTIFICATES}"));
    }
    for name in PASSED.iter().filter(|name| std::env::var_os(name).is_some()) {
        engine.arg(format!("--env={name}"));
    }
}

/// Where rustup and cargo are, which `variable` may say.
fn home(variable: &str, usual: &str) -> Result<PathBuf> {
    let set = std::env::var_os(variable).map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(usual));
    set.or_else(home).context("HOME is not set")
}
