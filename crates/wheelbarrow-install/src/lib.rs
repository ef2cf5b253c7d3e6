//! A virtualenv with wheels, the site's code and static files, out of a verified artifact.
//!
//! First everything is planned, as plain data: which directories, which files, and where their bytes are. Then the
//! destination and the disk are looked at, then the plan is executed in a staged directory by one thread a core, and
//! the directory is renamed into place. `docs/format.md`, "What an install leaves", is the specification.

mod check;
mod engine;
mod error;
mod plan;
mod preflight;
mod receipt;
pub mod request;
mod target;
mod verify;
mod writer;

use std::path::{Path, PathBuf};

use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::progress::Progress;
use wheelbarrow_fs::{Commit, Staged};

pub use check::{Checked, Finding, check};
pub use error::InstallError;
pub use target::choose_target;
pub use verify::{Verification, verify};

/// What an install is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Absolute.
    pub destination: PathBuf,
    pub existing: Existing,
    pub pip: Pip,
}

/// What to do with a destination that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    Replace,
}

/// Whether pip goes into the virtualenv.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pip {
    With,
    Without,
}

/// What was installed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Installed {
    pub destination: PathBuf,
    pub name: String,
    pub version: Option<String>,
    /// How many, pip not counted.
    pub wheels: usize,
    /// `native`.
    pub method: &'static str,
}

/// Installs `artifact` for `interpreter`, whose facts must be those for `DEST/venv`. Nothing is written before all that
/// can be known beforehand was checked; whatever fails later, the destination stays as it was.
pub fn install(
    artifact: &VerifiedArtifact,
    interpreter: &Interpreter,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Installed, InstallError> {
    let target = choose_target(artifact.manifest(), interpreter)
        .map_err(|source| InstallError::Target { path: artifact.path().to_path_buf(), source })?;
    preflight::look_at(&options.destination, options.existing)?;
    let wheels = plan::open_wheels(artifact, target, options.pip)?;
    let plan = plan::plan(artifact, target, interpreter, options, &wheels)?;
    preflight::check_space(&options.destination, &plan)?;

    let staged = Staged::begin(&options.destination)?;
    // Again: it may have put back what a run that was killed had moved aside.
    let found = preflight::look_at(&options.destination, options.existing)?;
    preflight::take_over(&found, &options.destination, staged.path())?;
    engine::execute(&plan, artifact, staged.path(), &options.destination, progress)?;
    let commit = if found == preflight::Found::Directory { Commit::Replace } else { Commit::New };
    staged.commit(commit)?;

    let manifest = artifact.manifest();
    Ok(Installed {
        destination: options.destination.clone(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        wheels: target.wheels.len(),
        method: "native",
    })
}

/// Where the virtualenv of an install is.
pub fn virtualenv(destination: &Path) -> PathBuf {
    destination.join("venv")
}
