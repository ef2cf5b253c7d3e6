//! Stage: installs at the final path.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::bundled::placed;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::INTERPRETER_FACTS;
use wheelbarrow_install::store::{LinkMode, StoreOptions};
use wheelbarrow_install::{Compile, Existing, Options, Pip, install, virtualenv};

use crate::ReleaseError;
use crate::root::journal::Phase;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::root::{trash, trusted_python};
use crate::stage::rebuilt_artifact::{project_pack, remake};
use crate::stage::relabel::relabel;
use crate::stage::restore::restore;
use crate::steps::{Fault, Job, NOTHING, Step, UndoResult};

pub(crate) struct Stage<'s> {
    /// None once it is installed.
    pub(crate) source: Option<ReleaseSource<'s>>,
    /// The Python that the site will run on.
    pub(crate) python: PathBuf,
    /// Without which that does not start, beside those of this process.
    pub(crate) variables: &'s BTreeMap<String, String>,
    pub(crate) pip: Pip,
    /// What the Python has said, and of which virtualenv. Of another it is asked.
    pub(crate) known: Option<(PathBuf, Interpreter)>,
}

/// What a release is installed from.
pub(crate) enum ReleaseSource<'s> {
    /// Whole or thin.
    Artifact(Box<Artifact>),
    /// Another release, of the same artifact.
    Release(&'s CompleteRelease),
}

impl Stage<'_> {
    fn install(
        &self,
        artifact: Artifact,
        interpreter: &Interpreter,
        job: &mut Job<'_>,
    ) -> Result<(), ReleaseError> {
        let root = job.locked.root;
        let options = Options {
            destination: root.release(&job.id),
            existing: Existing::Refuse,
            pip: self.pip,
            store: Some(StoreOptions { path: root.store(), link_mode: LinkMode::default() }),
            compile: Compile::Auto,
        };
        job.done.pack = project_pack(&artifact, interpreter)?;
        install(artifact, interpreter, &options, job.progress())?;
        if let Some(problem) = relabel(Path::new("/"), &options.destination, job.progress()) {
            job.progress().note(&problem);
        }
        Ok(())
    }
}

/// The interpreter that a release brings, as it will be in another.
fn bundled_in(release: &CompleteRelease, destination: &Path) -> Result<Option<Interpreter>, ReleaseError> {
    if release.site()?.interpreter.is_none() {
        return Ok(None);
    }
    let path = release.path().join(INTERPRETER_FACTS);
    let text = release.read(INTERPRETER_FACTS)?;
    placed(&text, destination).map(Some).map_err(ReleaseError::io("understand", &path))
}

impl Step for Stage<'_> {
    fn phase(&self) -> Phase {
        Phase::Stage
    }

    fn describe(&self, _settings: &Settings) -> String {
        match &self.source {
            Some(ReleaseSource::Release(live)) => format!("install the artifact of {}", live.id()),
            _ => "install the artifact".to_owned(),
        }
    }

    fn run(&mut self, job: &mut Job<'_>) -> Result<(), ReleaseError> {
        let root = job.locked.root;
        let destination = root.release(&job.id);
        let virtualenv = virtualenv(&destination);
        let own = match &self.source {
            Some(ReleaseSource::Artifact(artifact)) => artifact.bundled(&destination)?,
            Some(ReleaseSource::Release(live)) => bundled_in(live, &destination)?,
            None => None,
        };
        let known = self.known.take().filter(|(path, _)| *path == virtualenv);
        let interpreter = match own.or_else(|| known.map(|(_, interpreter)| interpreter)) {
            Some(interpreter) => interpreter,
            None => {
                let probed = trusted_python::probe(&self.python, Some(&virtualenv), self.variables);
                probed.map_err(|error| match (&self.source, error) {
                    // No flag names another.
                    (Some(ReleaseSource::Release(live)), ReleaseError::Interpreter(error)) => {
                        let (id, python) = (live.id().clone(), self.python.clone());
                        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                        ReleaseError::CannotStart { id, python, reason }
                    }
                    (_, error) => error,
                })?
            }
        };
        match self.source.take() {
            Some(ReleaseSource::Artifact(artifact)) => {
                let path = artifact.path().to_path_buf();
                restore(root, *artifact, &interpreter)
                    .and_then(|artifact| self.install(artifact, &interpreter, job))
                    .map_err(|error| error.of_restored(&path))
            }
            Some(ReleaseSource::Release(live)) => remake(root, live, &interpreter)
                .and_then(|artifact| self.install(artifact, &interpreter, job))
                .map_err(|error| error.of_remade(live.id())),
            None => Ok(()),
        }
    }

    /// What did not become a release is removed. What cannot be removed now, the next command removes.
    fn undo(&self, job: &mut Job<'_>, fault: &Fault) -> UndoResult {
        if fault.phase <= Phase::Configure {
            job.release = None;
            if trash::throw(job.locked, &job.id).is_ok() {
                let _ = trash::empty(job.locked, trash::AT_FIRST);
            }
        }
        NOTHING
    }
}
