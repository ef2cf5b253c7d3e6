//! Builds on this machine, with `uv build` in an isolated environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use wheelbarrow_artifact::interpreter::Interpreter;

use super::builder::{Builder, only_directory, subdirectory_in};
use crate::cache::CacheEntry;
use crate::container::SOURCE_DATE_EPOCH;
use crate::select::{ChosenDistribution, DistributionSource};
use crate::target::BuildTarget;
use crate::uv::{self, Uv};
use crate::{Error, Result, stoppable};

impl Builder<'_> {
    /// The directory with the wheel that it gave.
    pub(super) fn build_here(
        &self,
        chosen: &ChosenDistribution,
        archive: Option<&CacheEntry>,
        target: &BuildTarget,
        interpreter: &Interpreter,
        workspace: &Path,
    ) -> Result<PathBuf> {
        let uv = Uv::needed(|| format!("the source of {}", chosen.name))?;
        let source = self.prepare(chosen, archive, &interpreter.executable, workspace)?;
        let out = workspace.join("out");
        let mut command = uv.with_indexes(&["build", "--wheel"], self.index);
        command.arg("--python").arg(&interpreter.executable).arg("--out-dir").arg(&out).arg(&source);
        command
            .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
            .env("PYTHONHASHSEED", "0")
            .current_dir(self.project);
        uv::clean_python(&mut command);
        let output = stoppable::run(&mut command, &self.stop)?;
        if !output.status.success() {
            return Err(self.failed(chosen, target, &[output.stdout, output.stderr].concat()));
        }
        name_platform(interpreter, &out)?;
        Ok(out)
    }

    /// What uv is to build: the archive itself, or a directory.
    fn prepare(
        &self,
        chosen: &ChosenDistribution,
        archive: Option<&CacheEntry>,
        python: &Path,
        workspace: &Path,
    ) -> Result<PathBuf> {
        let directory = match (&chosen.source, archive) {
            (DistributionSource::Archive { download, subdirectory }, Some(entry)) => {
                let file = workspace.join(download.filename.replace('/', "_"));
                fs::copy(&entry.path, &file).map_err(Error::io("copy", &entry.path))?;
                if subdirectory.is_none() {
                    return Ok(file);
                }
                unpack(python, &file, workspace)?
            }
            _ => self.directory(chosen, workspace)?,
        };
        subdirectory_in(directory, chosen)
    }
}

/// Puts this system's tag in the place of `linux_MACHINE`, where such a machine has tags.
fn name_platform(interpreter: &Interpreter, out: &Path) -> Result<()> {
    let system = BuildTarget::of(interpreter.clone());
    let platform = system.platform().to_string();
    if !system.tags().iter().any(|tag| tag.platform == platform) {
        return Ok(());
    }
    for entry in fs::read_dir(out).map_err(Error::io("read", out))?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "whl") {
            run_python(&interpreter.executable, wheelbarrow_artifact::python::BACKEND, |command| {
                command.arg("tag").arg(entry.path()).arg(&platform)
            })
            .map_err(Error::io("name the platform of", &entry.path()))?;
        }
    }
    Ok(())
}

/// Unpacks any archive that Python can, and gives the one directory in it, or where it was unpacked.
fn unpack(python: &Path, file: &Path, workspace: &Path) -> Result<PathBuf> {
    let directory = workspace.join("source");
    run_python(python, wheelbarrow_artifact::python::BACKEND, |command| {
        command.arg("unpack").arg(file).arg(&directory)
    })
    .map_err(Error::io("unpack", file))?;
    only_directory(&directory)
}

fn run_python(
    python: &Path,
    source: &str,
    with_arguments: impl FnOnce(&mut Command) -> &mut Command,
) -> std::io::Result<()> {
    let mut command = Command::new(python);
    let output = with_arguments(command.args(["-I", "-c", source])).output()?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = uv::stderr_of(&output);
    Err(std::io::Error::other(stderr.lines().last().unwrap_or_default().to_owned()))
}
