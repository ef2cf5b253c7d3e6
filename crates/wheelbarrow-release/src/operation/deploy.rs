//! `deploy`: from an artifact to a live release.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::process::getuid;
use serde::Serialize;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::release::{ReleaseSettings, Server};
use wheelbarrow_artifact::{Artifact, Trust};
use wheelbarrow_install::{InstallError, Pip, choose_target, virtualenv};

use crate::environment::shared_environment::EnvironmentDifference;
use crate::operation::activate::{activate_in, plan_activation};
use crate::operation::change_environment::environment_difference;
use crate::operation::{engine, plan, recovery};
use crate::report::changes::{Changes, VersionChange, python_change, python_of, shown_python};
use crate::root::journal::{JournalEvent, Operation, Phase};
use crate::root::locked_root::{LockedRoot, milliseconds};
use crate::root::operator::Operator;
use crate::root::release::{CompleteRelease, ReleaseRecord};
use crate::root::retention::Pruned;
use crate::root::settings::Settings;
use crate::root::shared::SharedPath;
use crate::root::trusted_python;
use crate::root::{compatible, create, shared};
use crate::serving::doctor::{self, Finding};
use crate::serving::{programs, services, unit_user};
use crate::stage::configure::{self, ReleaseEnvironment};
use crate::stage::not_shared;
use crate::stage::restore::lacking;
use crate::stage::reusable_release::reusable;
use crate::steps::configure::Configure;
use crate::steps::prepare::Prepare;
use crate::steps::stage::{ReleaseSource, Stage};
use crate::steps::{Job, StepResults, Steps};
use crate::{ReleaseError, ReleaseId, Root};

/// What a deploy is asked for.
#[derive(Clone, Debug)]
pub struct DeployOptions {
    pub artifact: PathBuf,
    /// Who decides whether it is used at all.
    pub trust: Arc<dyn Trust>,
    /// The Python that the site will run on, instead of the one that the artifact names.
    pub python: Option<PathBuf>,
    /// What flags say.
    pub settings: ReleaseSettings,
    pub pip: Pip,
    pub until: DeployExtent,
    pub prepare: Prepare,
    pub existing: ExistingRelease,
}

impl DeployOptions {
    fn python_for(&self, artifact: &Artifact) -> PathBuf {
        self.python.clone().unwrap_or_else(|| trusted_python::of_artifact(artifact))
    }
}

/// What a deploy does where there is a good release of the same artifact already, with the same environment and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingRelease {
    /// It is taken; where it is live, nothing is done.
    Taken,
    /// Another one is made.
    Remade,
}

/// How far a deploy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeployExtent {
    /// The release is there, complete, and nothing else happens.
    Staged,
    Live,
}

/// What a deploy would do.
#[derive(Clone, Debug, Serialize)]
pub struct DeployPlan {
    pub root: PathBuf,
    pub id: ReleaseId,
    /// False for one that is there.
    pub is_new: bool,
    pub name: String,
    pub version: Option<String>,
    /// Who vouches for the artifact, where that was asked.
    pub signed_by: Option<String>,
    pub live: Option<ReleaseId>,
    /// None if it is the Python of the live release, or nothing is live.
    pub python: Option<VersionChange>,
    /// From the environment of the live release to `shared/environment.json`.
    pub environment: EnvironmentDifference,
    pub shared: Vec<String>,
    pub prepare: Vec<String>,
    pub server: String,
    /// Names of `[[release.service]]`.
    pub services: Vec<String>,
    pub probe: Option<String>,
    pub keep: usize,
    /// What it does, in order.
    pub steps: Vec<String>,
    /// What a thin artifact leaves out and the root has not: the deploy would be refused for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
    /// A sentence for each service whose program is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What may be a mistake about the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// What only the settings of the live release have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

/// What a deploy did.
#[derive(Clone, Debug, Serialize)]
pub struct Deployed {
    pub root: PathBuf,
    pub id: ReleaseId,
    pub path: PathBuf,
    pub name: String,
    pub version: Option<String>,
    /// Who vouches for the artifact, where that was asked.
    pub signed_by: Option<String>,
    /// What was live before.
    pub previous: Option<ReleaseId>,
    pub is_live: bool,
    /// Whether it was made now.
    pub is_new: bool,
    pub changes: Changes,
    /// As of [`Activated`].
    ///
    /// [`Activated`]: crate::Activated
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproved: Option<String>,
    pub milliseconds: u64,
}

/// An artifact that can become a release of this root, as far as that can be known beforehand.
struct PreparedDeploy {
    artifact: Artifact,
    settings: Settings,
    /// Of the manifest.
    digest: Sha256,
    interpreter: Interpreter,
    /// The virtualenv that it was asked about: that of the release, unless another one is made first.
    virtualenv: PathBuf,
    /// Members that a thin artifact leaves out and the root has not.
    lacking: Vec<String>,
    /// Whether another release becomes live.
    is_switched: bool,
}

impl PreparedDeploy {
    fn host_python(&self) -> Option<&Path> {
        host_python(&self.interpreter, &self.virtualenv)
    }
}

/// The Python of the host that the release will run on; none if the artifact brings its own.
fn host_python<'p>(interpreter: &'p Interpreter, virtualenv: &Path) -> Option<&'p Path> {
    let is_bundled = virtualenv.parent().is_some_and(|release| interpreter.is_bundled(release));
    (!is_bundled).then_some(&*interpreter.executable)
}

/// Says what [`deploy`] would do; nothing is written. The root need not exist.
pub fn plan(root: &Path, options: &DeployOptions) -> Result<DeployPlan, ReleaseError> {
    let root = Root::trusted_at(root)?;
    let prepared = inspect(&root, options)?;
    let found = reused(&root, &prepared.digest, prepared.host_python(), options)?;
    if prepared.is_switched {
        services::plan(&root, &prepared.settings, &prepared.artifact.manifest().project.import_path)?;
    }
    let id = match &found {
        Some(found) => found.id().clone(),
        None => ReleaseId::new(root.next_number()?, &prepared.digest),
    };
    let PreparedDeploy { artifact, settings, digest, interpreter, virtualenv, lacking, is_switched } =
        prepared;
    let manifest = artifact.manifest();
    let live = root.live()?;
    let complete = live.as_ref().and_then(|live| root.complete_or_none(live).ok().flatten());
    let lost = complete.map_or_else(Vec::new, |live| {
        let mut lost = lost_settings(&root, &live, &settings, &options.settings);
        lost.extend(older(&live, manifest.version.as_deref()));
        lost
    });
    let python = match &found {
        Some(found) => python_of(found),
        None => {
            let [major, minor, micro] = interpreter.version;
            let is_bundled = host_python(&interpreter, &virtualenv).is_none();
            Some(shown_python(&format!("{major}.{minor}.{micro}"), is_bundled))
        }
    };
    let before = live.as_ref().and_then(|live| root.complete_or_none(live).ok().flatten());
    let environment = live.as_ref().and_then(|live| environment_difference(&root, Some(live), None).ok());
    let mut deploy_plan = DeployPlan {
        environment: environment.unwrap_or_default(),
        root: root.path().to_path_buf(),
        id,
        is_new: found.is_none(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        signed_by: artifact.vouched_by().map(str::to_owned),
        live,
        python: before.zip(python).and_then(|(before, python)| python_change(&before, python)),
        shared: settings.shared.iter().map(|shared| shared.path.to_string()).collect(),
        prepare: settings.prepare.iter().map(ToString::to_string).collect(),
        server: settings.server.to_string(),
        services: settings.services.iter().map(|service| service.name.to_string()).collect(),
        probe: settings.probe.as_ref().map(|probe| probe.url.clone()),
        keep: settings.keep,
        steps: Vec::new(),
        lacking,
        missing: programs::missing(&settings, &programs::of_wheels(&artifact)),
        doubt: create::doubt(&root),
        lost,
    };
    let (steps, settings) = match found {
        None => (steps(artifact, digest, &settings, (virtualenv, interpreter), options), settings),
        Some(_) if !is_switched => return Ok(deploy_plan),
        Some(found) => {
            let (settings, steps) = plan_activation(&root, &found, &options.settings, options.prepare)?;
            (steps, settings)
        }
    };
    deploy_plan.steps = plan::describe(&steps, &settings);
    Ok(deploy_plan)
}

/// Makes a release of the artifact and makes it live, or leaves what was live before. `root` becomes a site root.
/// When that is done `answer` gets what was done; then old releases are removed, and what came of that is returned.
pub fn deploy(
    root: &Path,
    options: &DeployOptions,
    operator: &Operator<'_>,
    answer: impl FnOnce(&Deployed),
) -> Result<Pruned, ReleaseError> {
    let begun = Instant::now();
    operator.progress.phase(&Phase::Preflight.to_string());
    let prepared = inspect(&Root::trusted_at(root)?, options)?;
    if !prepared.lacking.is_empty() {
        let (path, members) = (options.artifact.clone(), prepared.lacking);
        return Err(InstallError::Lacking { path, members }.into());
    }
    if prepared.is_switched {
        let code = &prepared.artifact.manifest().project.import_path;
        services::inspect(&Root::at(root), &prepared.settings, code)?;
    }
    let doubt = create::doubt(&Root::at(root));
    let root = Root::create(root)?;
    let locked = recovery::begin(&root, "deploy", operator)?;
    doubt.iter().for_each(|doubt| operator.progress.note(&format!("made {doubt}")));
    let previous = root.live()?;
    note_doubts(&root, previous.as_ref(), &prepared, &options.settings, operator);
    let signed_by = prepared.artifact.vouched_by().map(str::to_owned);
    let reused = reused(&root, &prepared.digest, prepared.host_python(), options)?;
    let (is_new, is_live) = (reused.is_none(), options.until == DeployExtent::Live);
    let deployed = |release: CompleteRelease, changes, unproved| {
        let CompleteRelease { path, record: ReleaseRecord { id, name, version, .. } } = release;
        Deployed {
            root: root.path().to_path_buf(),
            is_live: is_live || previous.as_ref() == Some(&id),
            id,
            path,
            name,
            version,
            signed_by,
            previous: previous.clone(),
            is_new,
            changes,
            unproved,
            milliseconds: milliseconds(begun.elapsed()),
        }
    };
    let Some(release) = reused else {
        return make(&locked, prepared, options, begun, |release, changes, unproved| {
            answer(&deployed(release, changes, unproved))
        });
    };
    let (mut changes, mut unproved) = (Changes::default(), None);
    if is_live && previous.as_ref() != Some(release.id()) {
        let activated = activate_in(&locked, release.clone(), &options.settings, options.prepare)?;
        (changes, unproved) = (activated.changes, activated.unproved);
    }
    answer(&deployed(release, changes, unproved));
    Ok(Pruned::default())
}

/// Notes what may be a mistake: another site than the one that is live, settings that only the live release has, shared
/// paths that the site cannot use.
fn note_doubts(
    root: &Root,
    live: Option<&ReleaseId>,
    prepared: &PreparedDeploy,
    flags: &ReleaseSettings,
    operator: &Operator<'_>,
) {
    let name = &prepared.artifact.manifest().name;
    let live = live.and_then(|live| root.complete_or_none(live).ok().flatten());
    for lost in live.iter().flat_map(|live| lost_settings(root, live, &prepared.settings, flags)) {
        operator.progress.note(&lost);
    }
    let version = prepared.artifact.manifest().version.as_deref();
    if let Some(older) = live.as_ref().and_then(|live| older(live, version)) {
        operator.progress.note(&older);
    }
    if let Some(live) = live.filter(|live| live.record().name != *name) {
        let (id, other) = (live.id(), &live.record().name);
        operator
            .progress
            .note(&format!("{id}, which is live, is of the site {other}; this is an artifact of {name}"));
    }
    for Finding { place, what, hint, .. } in doctor::unusable_shared(root, &prepared.settings) {
        operator.progress.note(&format!("{place}: {what}; {hint}"));
    }
}

/// A note on an older version than the live one, where both are nothing but numbers.
fn older(live: &CompleteRelease, next: Option<&str>) -> Option<String> {
    let numbers = |version: &str| {
        let mut numbers = Vec::new();
        for part in version.split('.') {
            numbers.push(part.parse::<u64>().ok()?);
        }
        Some(numbers)
    };
    let (next, version) = (next?, live.record().version.as_deref()?);
    let (mut one, mut other) = (numbers(next)?, numbers(version)?);
    let length = one.len().max(other.len());
    one.resize(length, 0);
    other.resize(length, 0);
    let id = live.id();
    (one < other).then(|| {
        format!("{id}, which is live, has the version {version}; this artifact has {next}, an older one")
    })
}

/// What the live release has by settings that the next one lacks, and no flag says otherwise: often they were not committed,
/// or stand in another table.
fn lost_settings(
    root: &Root,
    live: &CompleteRelease,
    next: &Settings,
    flags: &ReleaseSettings,
) -> Vec<String> {
    let Ok(own) = Settings::of(root, live, &Default::default()) else { return Vec::new() };
    let is_lost = |shared: &&SharedPath| {
        let path = shared.path.as_str();
        !next.shared.iter().any(|kept| Path::new(path).starts_with(kept.path.as_str()))
            && !shared::is_missing(root, Path::new(path))
    };
    let paths: Vec<&str> = own.shared.iter().filter(is_lost).map(|shared| shared.path.as_str()).collect();
    let mut lost = Vec::new();
    if !paths.is_empty() {
        lost.push((format!("`shared` {}", paths.join(", ")), "the site does not see what is there"));
    }
    if next.identity.is_none() && own.identity.is_some() && getuid().is_root() {
        lost.push(("`owner`".to_owned(), "the commands of the site run as root"));
    }
    let has_none = next.server == Server::None && next.services.is_empty() && flags.server.is_none();
    if has_none && own.server != Server::None {
        lost.push(("a server".to_owned(), "it is not restarted"));
    }
    let id = live.id();
    let note = |(what, effect)| format!("the settings of {id} have {what}; this artifact has not: {effect}");
    lost.into_iter().map(note).collect()
}

/// Makes a release, and makes it live if it is to be; `answer` gets it before old releases are removed.
fn make(
    locked: &LockedRoot<'_>,
    prepared: PreparedDeploy,
    options: &DeployOptions,
    begun: Instant,
    answer: impl FnOnce(CompleteRelease, Changes, Option<String>),
) -> Result<Pruned, ReleaseError> {
    let PreparedDeploy { artifact, settings, digest, interpreter, virtualenv, .. } = prepared;
    let steps = steps(artifact, digest, &settings, (virtualenv, interpreter), options);
    let mut job = Job {
        locked,
        operation: Operation::Deploy,
        id: ReleaseId::new(locked.root.next_number()?, &digest),
        settings: &settings,
        previous: locked.root.live()?,
        begun,
        release: None,
        done: StepResults::default(),
    };
    engine::begin(&job)?;
    // With the wait for the lock, and what was recovered.
    let looked = milliseconds(begun.elapsed());
    locked.record(JournalEvent::Phase { phase: Phase::Preflight, milliseconds: looked, problem: None })?;
    job.progress().phase_ended(&Phase::Preflight.to_string(), looked);
    job.done.phases.push((Phase::Preflight.to_string(), looked));
    let rest = engine::run(&mut job, steps)?;
    answer(job.release()?.clone(), job.changes(), job.done.unproved.clone());
    if options.until == DeployExtent::Live {
        not_shared::note_written(locked.root, job.previous.as_ref(), &job.id)
            .inspect(|note| job.progress().note(note));
    }
    Ok(engine::tidy(&mut job, rest))
}

/// Variables without which the Python does not start: none, beside those of this process.
static NO_VARIABLES: BTreeMap<String, String> = BTreeMap::new();

/// The steps of a deploy that makes a release.
fn steps<'o>(
    artifact: Artifact,
    digest: Sha256,
    settings: &Settings,
    known: (PathBuf, Interpreter),
    options: &'o DeployOptions,
) -> Steps<'o> {
    let manifest = artifact.manifest();
    let python = options.python_for(&artifact);
    let configure = Configure {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        code: manifest.project.directory.clone(),
        digest,
        flags: &options.settings,
        environment: ReleaseEnvironment::Shared,
    };
    let stage = Stage {
        source: Some(ReleaseSource::Artifact(Box::new(artifact))),
        python,
        variables: &NO_VARIABLES,
        pip: options.pip,
        known: Some(known),
    };
    let prepare = (options.until == DeployExtent::Live).then_some(options.prepare);
    plan::make(stage, configure, settings, prepare)
}

/// The release that is there already and need not be made.
fn reused(
    root: &Root,
    digest: &Sha256,
    python: Option<&Path>,
    options: &DeployOptions,
) -> Result<Option<CompleteRelease>, ReleaseError> {
    match (options.existing, root.releases().is_dir()) {
        (ExistingRelease::Taken, true) => reusable(root, digest, &options.settings, python),
        _ => Ok(None),
    }
}

/// All that can be known before anything is written.
fn inspect(root: &Root, options: &DeployOptions) -> Result<PreparedDeploy, ReleaseError> {
    create::check_place(root)?;
    root.live()?;
    compatible::check(root)?;
    let standing = root.path().ancestors().find(|path| path.is_dir());
    standing.map_or(Ok(()), wheelbarrow_base::check_links).map_err(InstallError::from)?;
    let artifact = Artifact::open_thin(&options.artifact, &*options.trust)?;
    let manifest = artifact.manifest();
    let settings = Settings::of_manifest(root, &manifest.name, manifest.release.as_ref(), &options.settings)?
        .with_collected(&manifest.project)?;
    configure::inspect(root, artifact.manifest(), &settings)?;
    not_shared::refuse(root, &settings)?;
    let digest = Sha256::of(artifact.manifest_bytes());
    let release = root.release(&ReleaseId::new(root.next_number()?, &digest));
    let virtualenv = virtualenv(&release);
    let interpreter = match artifact.bundled(&release)? {
        Some(own) => own,
        None => trusted_python::probe(&options.python_for(&artifact), Some(&virtualenv), &NO_VARIABLES)?,
    };
    choose_target(artifact.manifest(), &interpreter)
        .map_err(|source| InstallError::Target { path: options.artifact.clone(), source })?;
    let reused = reused(root, &digest, host_python(&interpreter, &virtualenv), options)?;
    let lacking = match reused {
        Some(_) => Vec::new(),
        None => lacking(root, &artifact, &interpreter, options.pip)?,
    };
    let is_new = reused.is_none();
    let is_live =
        reused.is_some_and(|reused| root.live().is_ok_and(|live| live.as_ref() == Some(reused.id())));
    let is_switched = options.until == DeployExtent::Live && !is_live;
    if is_switched && is_new {
        unit_user::inspect(root, &settings, false)?;
    }
    Ok(PreparedDeploy { artifact, settings, digest, interpreter, virtualenv, lacking, is_switched })
}
