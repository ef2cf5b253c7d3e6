//! A root, and the verbs on it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wheelbarrow_artifact::progress::Silent;
use wheelbarrow_install::Pip;
use wheelbarrow_release::{
    Activated, DeployOptions, Deployed, Existing, Listed, Operator, Prepare, Pruned, ReleaseError, ReleaseId,
    RollbackOptions, Root, State, Until, Wait, activate, deploy, list, prune, rollback,
};

use crate::site::{self, Site};

/// A directory with a root in it, `site`, and a clock that the test sets.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: AtomicU64,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: site::place(), clock: AtomicU64::new(1_800_000_000) }
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
        work(&Operator { by: "tester".to_owned(), wait: Wait::No, deploy: None, clock, progress: &Silent })
    }

    pub(crate) fn deploy(&self, artifact: &Path) -> Result<Deployed, ReleaseError> {
        self.deploy_until(artifact, Until::Live)
    }

    pub(crate) fn deploy_until(&self, artifact: &Path, until: Until) -> Result<Deployed, ReleaseError> {
        let options = DeployOptions {
            trust: std::sync::Arc::new(wheelbarrow_artifact::Anybody),
            artifact: artifact.to_path_buf(),
            python: "python3".into(),
            settings: Default::default(),
            pip: Pip::Without,
            until,
            prepare: Prepare::Run,
            existing: Existing::Remade,
        };
        self.operator(|operator| deploy(&self.path(), &options, operator))
    }

    pub(crate) fn rollback(&self) -> Result<Activated, ReleaseError> {
        self.operator(|operator| rollback(&self.root(), &RollbackOptions::default(), operator))
    }

    pub(crate) fn prune(&self, keep: usize) -> Result<Pruned, ReleaseError> {
        self.operator(|operator| prune(&self.root(), Some(keep), operator))
    }

    pub(crate) fn activate(&self, id: &ReleaseId) -> Result<Activated, ReleaseError> {
        self.operator(|operator| activate(&self.root(), id, &Default::default(), Prepare::Run, operator))
    }

    pub(crate) fn list_ids(&self) -> Vec<String> {
        list(&self.root()).unwrap().into_iter().map(|listed| listed.id.to_string()).collect()
    }

    /// Numbers and states.
    pub(crate) fn list(&self) -> Vec<(u64, State)> {
        let listed = list(&self.root()).unwrap();
        listed.into_iter().map(|Listed { id, state, .. }| (id.number(), state)).collect()
    }
}
