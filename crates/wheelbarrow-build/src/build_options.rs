//! The options of a build.

use std::path::PathBuf;

use wheelbarrow_artifact::manifest::EnvironmentRules;
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_audit::Allowance;

use crate::bytecode::BytecodeMode;
use crate::collect::CollectRequest;
use crate::inputs::NamedInputs;
use crate::lock::WantedLock;
use crate::pack::Installer;
use crate::target::{ContainerRequest, TargetRequest};
use crate::uv::IndexOptions;

/// Everything that a build depends on but the environment's say on indexes, caches and the network.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    pub project: PathBuf,
    /// Normalised (PEP 503).
    pub name: String,
    pub version: Option<String>,
    /// The artifact; the lock goes beside it.
    pub output: PathBuf,
    /// Nobody named `output`, so a version that only the project's own distribution has goes into its name.
    pub default_output: bool,
    /// Requirements files or a lock; looked for in the project where there are none.
    pub inputs: NamedInputs,
    /// Requirements beside the inputs.
    pub with: Vec<String>,
    /// Extras and dependency groups.
    pub wanted: WantedLock,
    /// Versions or paths; the project's choice where there are neither these nor `targets`.
    pub pythons: Vec<String>,
    /// Beside `pythons`, or beside the project's choice.
    pub extra_pythons: Vec<String>,
    /// Systems asked for by name.
    pub targets: Vec<TargetRequest>,
    /// Where sources are built for `pythons`, if not here.
    pub container: Option<ContainerRequest>,
    /// podman or docker: a name or a path; looked for where there is none.
    pub container_engine: Option<String>,
    pub static_directories: Vec<PathBuf>,
    /// Patterns as in `.gitignore`.
    pub exclude: Vec<String>,
    /// Whether the project's own distribution is installed; as pyproject.toml says where nobody decided.
    pub install_project: Option<bool>,
    /// What goes on `sys.path`, below the project, where it is not to be found by looking.
    pub import_path: Option<String>,
    pub environment: EnvironmentRules,
    pub release: Option<ReleaseSettings>,
    pub shebang: String,
    /// A standalone Python to bundle: a directory, an archive, or the version of one that uv fetches.
    pub with_python: Option<PathBuf>,
    /// `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<String>,
    pub installers: Vec<Installer>,
    pub bytecode: BytecodeMode,
    pub index: IndexOptions,
    /// Where it is not the usual one.
    pub cache_dir: Option<PathBuf>,
    /// Lock anew, to the newest versions.
    pub upgrade: bool,
    /// Take a uv.lock that does not fit its project, or a lock of ours whose inputs changed.
    pub frozen: bool,
    /// Findings of the audit to let pass.
    pub allow: Vec<Allowance>,
    /// To collect a Django site's static files.
    pub collect: Option<CollectRequest>,
}

impl BuildOptions {
    /// The artifact of a site with this version.
    pub(crate) fn output_of(&self, version: Option<&str>) -> PathBuf {
        match version.filter(|_| self.default_output && self.version.is_none()) {
            Some(version) => self.output.with_file_name(format!("{}-{version}.zip", self.name)),
            None => self.output.clone(),
        }
    }
}
