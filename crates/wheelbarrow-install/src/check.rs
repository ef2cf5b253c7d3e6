//! Finds everything that would refuse an install, without writing anything.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{INTERPRETER, Target};
use wheelbarrow_artifact::{Artifact, Trust, VerifiedArtifact};
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_wheel::order;

use crate::needs::needs_errors;
use crate::store::{
    Access, Store, StoredPart, StoredWheel, lacking_files, lacking_wheels, refuse_exposed, wanted,
};
use crate::target::choose_target;
use crate::{InstallError, Options, planner, policy, preflight};

/// Why an install would be refused, or what people would like to know before it is done.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    pub what: String,
    pub why: Option<String>,
    pub hint: Option<String>,
    /// With which the install would end, `docs/reference/exit-codes.md`; 0 where it is not refused for that.
    pub exit_code: u8,
}

/// What an install would say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The site and its version, where the artifact could be opened.
    pub site: String,
    /// How many would be installed, pip not counted.
    pub wheels: usize,
    /// The Python that the artifact brings for this machine.
    pub interpreter: Option<CheckedInterpreter>,
    /// By exit code, the lowest first; what refuses nothing comes last.
    pub findings: Vec<Finding>,
}

/// A Python that would be installed with the site.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CheckedInterpreter {
    /// `3.12.11`
    pub version: String,
    /// Its directory: `DEST/python`.
    pub path: PathBuf,
}

impl Checked {
    /// What an install would write, for `ok: SITE can be installed in DEST`: `3 wheels, Python 3.12.11`.
    pub fn contents(&self) -> String {
        let wheels = format!("{} wheel{}", self.wheels, if self.wheels == 1 { "" } else { "s" });
        match &self.interpreter {
            Some(own) => format!("{wheels}, Python {} in {}", own.version, own.path.display()),
            None => wheels,
        }
    }

    /// Whether an install would be done.
    pub fn is_ok(&self) -> bool {
        self.exit_code() == 0
    }

    /// 0, or that of the first finding.
    pub fn exit_code(&self) -> u8 {
        self.findings.first().map_or(0, |finding| finding.exit_code)
    }

    /// For `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut told = serde_json::json!({ "ok": self.is_ok(), "findings": self.findings });
        if let Some(own) = &self.interpreter {
            told["interpreter"] = serde_json::json!(own);
        }
        told
    }
}

impl Finding {
    /// Of a file system that lets no program run. Much of a virtualenv works there all the same: `bin/python` is a link
    /// to a program elsewhere.
    pub(crate) fn of_noexec(destination: &Path) -> Option<Self> {
        preflight::is_noexec(destination).then(|| Self {
            what: format!(
                "nothing in {} can be run: its file system is mounted noexec",
                destination.display()
            ),
            why: None,
            hint: Some(
                "name a destination on another file system, or mount it without noexec: the scripts of the virtualenv \
                 and extension modules need it"
                    .to_owned(),
            ),
            exit_code: 0,
        })
    }
}

impl Finding {
    /// Of a Python that starts only with variables, which services do not have by themselves.
    pub(crate) fn of_environment(interpreter: &Interpreter) -> Option<Self> {
        let named: Vec<_> =
            interpreter.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!named.is_empty()).then(|| Self {
            what: format!("this Python does not start without {}", named.join(" ")),
            why: None,
            hint: Some(
                "whatever starts the site's Python must set that: services, cron jobs; `wheelbarrow unit` prints it"
                    .to_owned(),
            ),
            exit_code: 0,
        })
    }
}

impl From<&InstallError> for Finding {
    fn from(error: &InstallError) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        Self {
            what: error.to_string(),
            why: (!causes.is_empty()).then(|| causes.join(": ")),
            hint: error.hint(),
            exit_code: error.exit_code(),
        }
    }
}

/// One line.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(": ", &self.why), ("; hint: ", &self.hint)];
        let parts: String =
            parts.iter().filter_map(|(mark, part)| Some(format!("{mark}{}", part.as_ref()?))).collect();
        formatter.write_str(&format!("{}{parts}", self.what).replace(['\n', '\r'], " "))
    }
}

/// Goes through all that [`crate::install`] checks, to the end. Errors are those that say nothing of an install: that
/// somebody asked to stop.
pub fn check(
    artifact: &Path,
    trust: &dyn Trust,
    interpreter: &Interpreter,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Checked, InstallError> {
    let mut checked = Checked::default();
    let mut errors = Vec::new();
    let own =
        Artifact::open_thin(artifact, trust).and_then(|artifact| artifact.bundled(&options.destination));
    let own = own.ok().flatten();
    let (interpreter, options) = (own.as_ref().unwrap_or(interpreter), &options.with(own.as_ref()));
    let verified = open(artifact, trust, interpreter, options, (&mut checked, &mut errors), progress)?;
    errors.extend(preflight::destination_errors(&options.destination, artifact, options.existing));
    if let Some(artifact) = verified {
        errors.extend(plan_errors(&artifact, interpreter, options));
    }
    checked.findings = errors.iter().map(Finding::from).collect();
    order::sort_by_key(&mut checked.findings, |finding| finding.exit_code);
    checked.findings.extend(Finding::of_noexec(&options.destination));
    let standing = preflight::standing_above(&options.destination);
    let refused = policy::notes(Path::new("/"), &policy::KernelLabels, standing, &options.destination);
    let refused = refused.into_iter();
    checked.findings.extend(refused.map(|(what, hint)| Finding {
        what,
        why: None,
        hint: Some(hint),
        exit_code: 0,
    }));
    checked.findings.extend(Finding::of_environment(interpreter));
    Ok(checked)
}

/// The artifact, if it is whole and fits.
fn open(
    path: &Path,
    trust: &dyn Trust,
    interpreter: &Interpreter,
    options: &Options,
    (checked, errors): (&mut Checked, &mut Vec<InstallError>),
    progress: &dyn Progress,
) -> Result<Option<VerifiedArtifact>, InstallError> {
    let opened = match options.store {
        Some(_) => Artifact::open_thin(path, trust),
        None => Artifact::open_trusted(path, trust),
    };
    let artifact = match opened {
        Ok(artifact) => artifact,
        Err(error) => {
            errors.push(error.into());
            return Ok(None);
        }
    };
    let manifest = artifact.manifest();
    if interpreter.is_bundled(&options.destination) {
        checked.interpreter = manifest.interpreter.as_ref().map(|own| CheckedInterpreter {
            version: own.version.clone(),
            path: options.destination.join(INTERPRETER),
        });
    }
    let version = manifest.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    checked.site = format!("{}{version}", manifest.name);
    match choose_target(manifest, interpreter) {
        Ok(target) => {
            checked.wheels = target.wheels.len();
            errors.extend(needs_errors(manifest, target, interpreter));
        }
        Err(source) => errors.push(InstallError::Target { path: path.to_path_buf(), source }),
    }
    let fits = errors.is_empty();
    match artifact.verify(progress).map_err(InstallError::from) {
        Ok(artifact) => Ok(fits.then_some(artifact)),
        Err(InstallError::Artifact(wheelbarrow_artifact::ArtifactError::Cancelled)) => {
            Err(InstallError::Cancelled)
        }
        Err(error) => {
            errors.push(error);
            Ok(None)
        }
    }
}

/// What a plan for an artifact that fits shows: wheels that cannot be installed, too little space.
fn plan_errors(
    artifact: &VerifiedArtifact,
    interpreter: &Interpreter,
    options: &Options,
) -> Vec<InstallError> {
    let Ok(target) = choose_target(artifact.manifest(), interpreter) else { return Vec::new() };
    if let Some(store) = options.store.as_ref().filter(|_| !artifact.left_out().is_empty()) {
        return thin_errors(artifact, target, interpreter, options, &store.path)
            .unwrap_or_else(|error| vec![error]);
    }
    let exposed = options.store.as_ref().and_then(|store| refuse_exposed(&store.path).err());
    let errors = planner::open_wheels(artifact, target, options.pip).and_then(|wheels| {
        let wheels = planner::Wheels::Artifact(&wheels);
        let plan = planner::plan(artifact, target, interpreter, options, &wheels)?;
        Ok(preflight::space_errors(&options.destination, &plan))
    });
    let errors = errors.unwrap_or_else(|error| vec![error]);
    exposed.into_iter().chain(errors).collect()
}

/// The same for a thin artifact: what it leaves out that is not here, else what is not linked and finds no space.
fn thin_errors(
    artifact: &VerifiedArtifact,
    target: &Target,
    interpreter: &Interpreter,
    options: &Options,
    store: &Path,
) -> Result<Vec<InstallError>, InstallError> {
    let mut members = lacking_files(artifact, interpreter);
    members.extend(lacking_wheels(artifact, target, interpreter, options.pip, Some(store))?);
    if !members.is_empty() {
        return Ok(vec![InstallError::Lacking { path: artifact.path().to_path_buf(), members }]);
    }
    let store = Store::open(store, Access::Shared)?;
    let wanted = wanted(artifact, target, interpreter, options.pip);
    let mut stored = Vec::new();
    for (having, wanted) in StoredPart::read(&store, &wanted)?.into_iter().zip(&wanted) {
        // What the artifact brings goes to the store first, which an install looks at itself.
        let Some(wheel) = having.wheel else { continue };
        stored.push(StoredWheel { wanted, wheel, bytecode: having.bytecode });
    }
    let statics = Default::default();
    let project = planner::StoredProject { python: None, statics: &statics };
    let wheels = planner::Wheels::Store(&store, &stored, project);
    let plan = planner::plan(artifact, target, interpreter, options, &wheels)?;
    Ok(preflight::space_errors(&options.destination, &plan))
}
