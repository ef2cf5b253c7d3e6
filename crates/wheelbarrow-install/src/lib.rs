//! Installs a verified artifact: a virtualenv with wheels, the site's code and static files.
//!
//! First everything is planned, as plain data: directories, files, and the places of their bytes. Then the
//! destination and the disk are checked. Then the plan is executed in a staged directory by one thread for
//! each core, and the directory is renamed into place. `docs/reference/format.md`, "What an install leaves",
//! is the specification.

mod check;
mod compile;
mod cpu;
mod engine;
mod error;
mod layout;
mod member;
mod needs;
mod options;
mod plan;
mod planner;
pub mod policy;
mod preflight;
mod receipt;
pub mod store;
mod sums;
mod target;
mod verify;
mod writer;

use std::path::PathBuf;

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Target;
use wheelbarrow_artifact::{Artifact, ArtifactError, VerifiedArtifact};
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_base::{Commit, Staged};

use crate::plan::Plan;
use crate::planner::{StoredProject, Wheels};
use crate::store::Store;
use crate::writer::WriteOptions;

pub use check::{Checked, CheckedInterpreter, Finding, check};
pub use error::InstallError;
pub use layout::virtualenv;
pub use options::{Compile, Existing, Options, Pip};
pub use plan::Bytecode;
pub use preflight::refuse_mount;
pub use target::choose_target;
pub use verify::{
    ForeignData, KnownFiles, Verification, changed_databases, data, data_files, made_files, verify,
    verify_but,
};

/// What was installed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Installed {
    pub destination: PathBuf,
    pub name: String,
    pub version: Option<String>,
    /// How many, pip not counted.
    pub wheels: usize,
    pub bytecode: Bytecode,
    /// `native`.
    pub method: &'static str,
}

/// What to install.
pub enum InstallSource {
    /// It is verified before anything is written; with a store, as far as the store does not have it.
    Opened(Artifact),
    Verified(VerifiedArtifact),
}

impl From<Artifact> for InstallSource {
    fn from(artifact: Artifact) -> Self {
        Self::Opened(artifact)
    }
}

impl InstallSource {
    fn artifact(&self) -> &Artifact {
        match self {
            Self::Opened(artifact) => artifact,
            Self::Verified(artifact) => artifact,
        }
    }
}

/// Verifies the artifact and installs it for the Python that it brings, else for `interpreter`, whose facts must be those for `DEST/venv`. Nothing is written
/// before all that can be known beforehand was checked, but for what a store takes; whatever fails later, the
/// destination stays as it was.
pub fn install(
    source: impl Into<InstallSource>,
    interpreter: &Interpreter,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Installed, InstallError> {
    let source = source.into();
    let artifact = source.artifact();
    let own = artifact.bundled(&options.destination)?;
    let (interpreter, options) = (own.as_ref().unwrap_or(interpreter), &options.with(own.as_ref()));
    let target = choose_target(artifact.manifest(), interpreter)
        .map_err(|source| InstallError::Target { path: artifact.path().to_path_buf(), source })?
        .clone();
    if let Some(error) = needs::needs_errors(artifact.manifest(), &target, interpreter).into_iter().next() {
        return Err(error);
    }
    wheelbarrow_base::put_right(&options.destination)?;
    preflight::inspect(&options.destination, artifact.path(), options.existing)?;
    let job = InstallJob { target: &target, interpreter, options, progress };
    let (artifact, bytecode) = match (source, &options.store) {
        (InstallSource::Opened(artifact), Some(asked)) => job.write_from_store(artifact, asked)?,
        (InstallSource::Verified(artifact), Some(asked)) => job.write_from_store(artifact.into(), asked)?,
        (InstallSource::Opened(artifact), None) => job.write_from_artifact(artifact.verify(progress)?)?,
        (InstallSource::Verified(artifact), None) => job.write_from_artifact(artifact)?,
    };
    let manifest = artifact.manifest();
    Ok(Installed {
        destination: options.destination.clone(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        wheels: target.wheels.len(),
        bytecode,
        method: "native",
    })
}

struct InstallJob<'j> {
    target: &'j Target,
    interpreter: &'j Interpreter,
    options: &'j Options,
    progress: &'j dyn Progress,
}

impl InstallJob<'_> {
    fn write_from_artifact(
        &self,
        artifact: VerifiedArtifact,
    ) -> Result<(VerifiedArtifact, Bytecode), InstallError> {
        if !artifact.left_out().is_empty() {
            let (path, count) = (artifact.path().to_path_buf(), artifact.left_out().len());
            return Err(ArtifactError::Thin { path, count }.into());
        }
        let wheels = planner::open_wheels(&artifact, self.target, self.options.pip)?;
        let bytecode = self.write(&artifact, &Wheels::Artifact(&wheels))?;
        drop(wheels);
        Ok((artifact, bytecode))
    }

    /// Refuses a thin artifact that leaves out what is not here, `wheels` and more.
    fn refuse_lacking(&self, artifact: &Artifact, wheels: Vec<String>) -> Result<(), InstallError> {
        let mut members = store::lacking_files(artifact, self.interpreter);
        members.extend(wheels);
        match members.is_empty() {
            true => Ok(()),
            false => Err(InstallError::Lacking { path: artifact.path().to_path_buf(), members }),
        }
    }

    /// Has the store unpack what it lacks, and links. What is found altered on the way is unpacked anew.
    fn write_from_store(
        &self,
        artifact: Artifact,
        asked: &store::StoreOptions,
    ) -> Result<(VerifiedArtifact, Bytecode), InstallError> {
        let store = Store::open_or_make(&asked.path)?;
        let wanted = store::wanted(&artifact, self.target, self.interpreter, self.options.pip);
        let having = store::StoredPart::read(&store, &wanted)?;
        self.refuse_lacking(&artifact, store::lacking(&artifact, having.iter().zip(&wanted)))?;
        let python = self.options.brings_python(self.interpreter);
        let python = python.then(|| store::WantedPython::of(artifact.manifest())).flatten();
        let mut unread = store::unread_members(&artifact, &having, &wanted);
        if let Some(python) = &python
            && python.find(&store, self.progress)?.is_some()
        {
            unread.extend(store::WantedPython::unread(&artifact));
        }
        let statics = store::WantedStatics::of(artifact.manifest());
        let found = statics.find(&store, self.progress)?;
        unread.extend(statics.unread(&found));
        let mut artifact = artifact.verify_but(unread, self.progress)?;
        store.keep_program(&artifact, &self.interpreter.machine)?;
        let (mut having, mut found) = (Some(having), Some(found));
        // Each time the entries that were altered are dropped: that ends, unless somebody alters them all the time.
        for _ in 0..=wanted.len() + 1 {
            let stored = store::ensure(&store, &mut artifact, &wanted, having.take(), self.progress)?;
            let python = python
                .as_ref()
                .map(|python| python.ensure(&store, &mut artifact, self.progress))
                .transpose()?;
            let statics = statics.ensure(&store, &mut artifact, found.take(), self.progress)?;
            let project = StoredProject { python: python.as_ref(), statics: &statics };
            match self.write(&artifact, &Wheels::Store(&store, &stored, project)) {
                Err(InstallError::AlteredStore { entries }) => {
                    drop(stored);
                    store.drop_altered(&entries, self.progress)?;
                }
                result => return result.map(|bytecode| (artifact, bytecode)),
            }
        }
        Err(InstallError::RestlessStore { path: asked.path.clone() })
    }

    /// Plans, and carries it out beside the destination.
    fn write(&self, artifact: &VerifiedArtifact, wheels: &Wheels<'_>) -> Result<Bytecode, InstallError> {
        let Self { target, interpreter, options, progress } = *self;
        let mut plan = planner::plan(artifact, target, interpreter, options, wheels)?;
        preflight::check_space(&options.destination, &plan)?;

        let mut staged = Staged::begin(&options.destination)?;
        // Again: it may have put back what a run that was killed had moved aside.
        let found = preflight::inspect(&options.destination, artifact.path(), options.existing)?;
        let kept = preflight::keep_environment(&found, &options.destination, staged.directory())?;
        let notes = [Finding::of_noexec(&options.destination), Finding::of_environment(interpreter)];
        notes.iter().flatten().for_each(|finding| progress.note(&finding.to_string()));
        compile::say(&plan, target, interpreter, progress);
        let last = plan.split_last();
        let bytecode = plan.bytecode;
        let stored = wheels.stored();
        let about = receipt::ReceiptFacts {
            artifact,
            target,
            interpreter,
            options,
            stored: stored.as_ref(),
            bytecode,
        };
        let (root, destination) = (staged.directory(), &options.destination);
        engine::prepare(&plan, root, destination)?;
        let write = |plan: &Plan<'_>| {
            engine::execute(plan, artifact, root, destination, &WriteOptions::INSTALL, &NotesOnly(progress))
        };
        if plan.batches.is_empty() {
            // What is told of the files is known before they are there.
            both(|| write(&last.plan(&plan, &[], about)?), || self.carry_out(&plan, artifact, wheels, root))?;
        } else {
            self.carry_out(&plan, artifact, wheels, root)?;
            let failed = compile::CompileJob { interpreter, root, destination, progress }.run(&plan)?;
            write(&last.plan(&plan, &failed, about)?)?;
        }
        // Last: until then nobody else may write in it.
        if let Some(stat) = kept {
            staged.give(stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
        }
        let commit =
            if found == preflight::FoundDestination::Directory { Commit::Replace } else { Commit::New };
        staged.commit(commit)?;
        Ok(bytecode)
    }

    /// Writes the files of a plan, and links what comes out of the store.
    fn carry_out(
        &self,
        plan: &Plan<'_>,
        artifact: &VerifiedArtifact,
        wheels: &Wheels<'_>,
        root: &Directory,
    ) -> Result<(), InstallError> {
        let Options { destination, store: asked, .. } = self.options;
        let write = |options: &WriteOptions<'_>, progress: &dyn Progress| {
            engine::execute(plan, artifact, root, destination, options, progress)
        };
        match (wheels, asked) {
            (Wheels::Store(store, ..), Some(asked)) => {
                let transfer = store::Transfer::new(asked.link_mode);
                let statics = store::StaticLinks::open(store, &transfer)?;
                let options = WriteOptions { statics: Some(&statics), ..WriteOptions::INSTALL };
                both(
                    || write(&options, &NotesOnly(self.progress)),
                    || store::link(store, &plan.linked, &transfer, (root, destination), self.progress),
                )
            }
            _ => write(&WriteOptions::INSTALL, self.progress),
        }
    }
}

/// Does both at once. Of two errors it gives the other's.
fn both(
    one: impl FnOnce() -> Result<(), InstallError> + Send,
    other: impl FnOnce() -> Result<(), InstallError>,
) -> Result<(), InstallError> {
    let (one, other) = wheelbarrow_artifact::both(one, other);
    other.and(one)
}

/// The small part of a task of which the large one is shown.
struct NotesOnly<'p>(&'p dyn Progress);

impl Progress for NotesOnly<'_> {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}

    fn note(&self, message: &str) {
        self.0.note(message);
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
