//! What the stories share: a project in a temporary directory, requests with few words, and a uv if there is one.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fs_err as fs;
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_build::fetch::FetchOptions;
use wheelbarrow_build::gather::{GatherRequest, Gathered, gather};
use wheelbarrow_build::inputs::Inputs;
use wheelbarrow_build::lock::{Lock, LockRequest, ReadRequest, WantedLock, read, resolve};
use wheelbarrow_build::python;
use wheelbarrow_build::target::BuildTarget;
use wheelbarrow_build::uv::{IndexOptions, Uv};
use wheelbarrow_build::{Error, Result};

/// A project beside a cache and a place for the artifact.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    pub(crate) index: IndexOptions,
    pub(crate) targets: Vec<BuildTarget>,
    pub(crate) wanted: WantedLock,
    pub(crate) upgrade: bool,
    pub(crate) with: Vec<String>,
    pub(crate) frozen: bool,
    pub(crate) notes: Notes,
}

impl Site {
    /// With these files, for the Python on PATH.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        clean_environment();
        let directory = tempfile::tempdir().unwrap();
        let site = Self {
            directory,
            index: IndexOptions::default(),
            targets: vec![python::find_default().unwrap()],
            wanted: WantedLock::default(),
            upgrade: false,
            with: Vec::new(),
            frozen: false,
            notes: Notes::default(),
        };
        files.iter().for_each(|(name, text)| site.write(name, text));
        site
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.directory.path().join("out/pylock.site.toml")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.project().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn lock(&self) -> Result<Lock> {
        let request = LockRequest {
            project: self.project(),
            inputs: Inputs::discover(&self.project(), "site")?,
            name: "site".to_owned(),
            targets: self.targets.clone(),
            index: self.index.clone(),
            wanted: self.wanted.clone(),
            upgrade: self.upgrade,
            with: self.with.clone(),
            frozen: self.frozen,
            lock_out: self.lock_file(),
        };
        let found = read(&ReadRequest {
            project: &request.project,
            inputs: &request.inputs,
            with: &request.with,
            lock_out: &request.lock_out,
            offline: request.index.offline,
            upgrade: request.upgrade,
        })?;
        resolve(&request, found, &self.notes)
    }

    pub(crate) fn gather(&self) -> Result<Gathered> {
        self.gather_lock(&self.lock()?)
    }

    pub(crate) fn gather_lock(&self, lock: &Lock) -> Result<Gathered> {
        let request = GatherRequest {
            own: None,
            project: self.project(),
            targets: self.targets.clone(),
            index: self.index.clone(),
            cache_dir: Some(self.cache()),
            container_engine: None,
            fetch: FetchOptions::default(),
        };
        gather(lock, &request, &self.notes)
    }
}

/// File names of the first target's wheels.
pub(crate) fn filenames(gathered: &Gathered) -> Vec<&str> {
    gathered.targets[0].wheels.iter().map(|wheel| wheel.filename.as_str()).collect()
}

/// The message with its hint, the test's directory and hashes made short.
pub(crate) fn told(error: &Error, directory: &Path) -> String {
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{error}{hint}").replace(&*directory.to_string_lossy(), "[DIR]")
}

/// Tests see the machine's network, not its habits: what a machine sets for pip and uv beside proxies, certificates
/// and index goes; `WHEELBARROW_UV` names the uv to test with.
fn clean_environment() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: every test comes here before it does anything else, and nothing in this process reads the environment
        // other than through `std::env`, which has a lock of its own.
        unsafe {
            for name in
                ["PIP_FIND_LINKS", "UV_FIND_LINKS", "PIP_NO_INDEX", "UV_OFFLINE", "VIRTUAL_ENV", "NETRC"]
            {
                std::env::remove_var(name);
            }
            if let Some(uv) = std::env::var_os("WHEELBARROW_UV") {
                std::env::set_var("UV", uv);
            }
        }
    });
}

/// Whether uv is there. Prints why a test is skipped; fails where nothing may be.
pub(crate) fn has_uv() -> bool {
    clean_environment();
    let found = Uv::find().is_some();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "CI must have a uv on PATH or in UV");
        println!("skipped: no uv on PATH or in UV");
    }
    found
}

/// Keeps what a person would be told.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) notes: Mutex<Vec<String>>,
    pub(crate) details: Mutex<Vec<String>>,
    pub(crate) bytes: std::sync::atomic::AtomicU64,
}

impl Notes {
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }
}

impl Progress for Notes {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, amount: u64) {
        self.bytes.fetch_add(amount, std::sync::atomic::Ordering::Relaxed);
    }
    fn end(&self) {}
    fn note(&self, message: &str) {
        self.notes.lock().unwrap().push(message.to_owned());
    }
    fn detail(&self, message: &str) {
        self.details.lock().unwrap().push(message.to_owned());
    }
}
