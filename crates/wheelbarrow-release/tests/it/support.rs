//! A root, and the verbs on it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_install::Pip;
use wheelbarrow_release::{
    Activated, ChangedEnvironment, DeployExtent, DeployOptions, Deployed, ExistingRelease, ListedRelease,
    Operator, Prepare, Probing, PruneOptions, Pruned, Recovered, ReleaseError, ReleaseId, ReleaseState,
    RewrittenFile, RollbackOptions, Root, SiteData, VariableChange, Wait, activate, change_environment,
    deploy, list, prune, recover, remove_release, rewrite_environment, rollback,
};

use crate::site::{self, Site};

/// A directory with a root in it, `site`, and a clock that the test sets.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: AtomicU64,
    pub(crate) notes: Notes,
}

/// What was noted.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}

    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: site::place(), clock: AtomicU64::new(1_800_000_000), notes: Notes::default() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("site")
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(&self.path()).unwrap()
    }

    pub(crate) fn artifact(&self, version: &str, settings: &str) -> PathBuf {
        self.artifact_in(self.directory.path(), version, settings)
    }

    pub(crate) fn artifact_in(&self, directory: &Path, version: &str, settings: &str) -> PathBuf {
        let code = vec![("app.py", format!("VERSION = {version:?}\n"))];
        Site { version, release: site::settings(settings), code }.write(directory)
    }

    fn operator<T>(&self, work: impl FnOnce(&Operator<'_>) -> T) -> T {
        let clock = || UNIX_EPOCH + Duration::from_secs(self.clock.load(Ordering::Relaxed));
        let clock: &(dyn Fn() -> SystemTime + Sync) = &clock;
        work(&Operator {
            by: "tester".to_owned(),
            wait: Wait::No,
            deploy: None,
            probing: Probing::Asked,
            clock,
            progress: &self.notes,
        })
    }

    pub(crate) fn deploy(&self, artifact: &Path) -> Result<Deployed, ReleaseError> {
        self.deploy_until(artifact, DeployExtent::Live)
    }

    pub(crate) fn deploy_until(
        &self,
        artifact: &Path,
        until: DeployExtent,
    ) -> Result<Deployed, ReleaseError> {
        self.deploy_by(artifact, Path::new("python3"), until)
    }

    pub(crate) fn deploy_on(&self, artifact: &Path, python: &Path) -> Result<Deployed, ReleaseError> {
        self.deploy_by(artifact, python, DeployExtent::Live)
    }

    fn deploy_by(
        &self,
        artifact: &Path,
        python: &Path,
        until: DeployExtent,
    ) -> Result<Deployed, ReleaseError> {
        let options = DeployOptions {
            trust: std::sync::Arc::new(wheelbarrow_artifact::Anybody),
            artifact: artifact.to_path_buf(),
            python: Some(python.to_path_buf()),
            settings: Default::default(),
            pip: Pip::Without,
            until,
            prepare: Prepare::Run,
            existing: ExistingRelease::Remade,
        };
        let mut answer = None;
        let answered = |deployed: &Deployed| answer = Some(deployed.clone());
        self.operator(|operator| deploy(&self.path(), &options, operator, answered))?;
        Ok(answer.unwrap())
    }

    pub(crate) fn rollback(&self) -> Result<Activated, ReleaseError> {
        self.operator(|operator| rollback(&self.root(), &RollbackOptions::default(), operator))
    }

    pub(crate) fn prune(&self, keep: usize) -> Result<Pruned, ReleaseError> {
        let options = PruneOptions { keep: Some(keep), written: SiteData::Discarded };
        self.operator(|operator| prune(&self.root(), &options, operator))
    }

    pub(crate) fn activate(&self, id: &ReleaseId) -> Result<Activated, ReleaseError> {
        self.operator(|operator| activate(&self.root(), id, Prepare::Run, operator))
    }

    pub(crate) fn remove(&self, id: &ReleaseId) -> Result<(), ReleaseError> {
        self.operator(|operator| remove_release(&self.root(), id, SiteData::Discarded, operator))
    }

    pub(crate) fn recover(&self) -> Result<Recovered, ReleaseError> {
        self.operator(|operator| recover(&self.root(), operator))
    }

    pub(crate) fn change(&self, change: &VariableChange) -> Result<ChangedEnvironment, ReleaseError> {
        self.change_by(change, Prepare::Run)
    }

    pub(crate) fn change_without_commands(
        &self,
        change: &VariableChange,
    ) -> Result<ChangedEnvironment, ReleaseError> {
        self.change_by(change, Prepare::Skip)
    }

    fn change_by(
        &self,
        change: &VariableChange,
        prepare: Prepare,
    ) -> Result<ChangedEnvironment, ReleaseError> {
        let mut answer = None;
        let answered = |changed: &ChangedEnvironment| answer = Some(changed.clone());
        self.operator(|operator| change_environment(&self.root(), change, prepare, operator, answered))?;
        Ok(answer.unwrap())
    }

    pub(crate) fn rewrite(&self, change: &VariableChange) -> Result<RewrittenFile, ReleaseError> {
        self.operator(|operator| rewrite_environment(&self.path(), change, operator))
    }

    /// What was noted so far, a line each.
    pub(crate) fn notes(&self) -> String {
        self.notes.0.lock().unwrap().join("\n")
    }

    pub(crate) fn list_ids(&self) -> Vec<String> {
        list(&self.root()).unwrap().into_iter().map(|listed| listed.id.to_string()).collect()
    }

    /// Numbers and states.
    pub(crate) fn list(&self) -> Vec<(u64, ReleaseState)> {
        let listed = list(&self.root()).unwrap();
        listed.into_iter().map(|ListedRelease { id, state, .. }| (id.number(), state)).collect()
    }
}
