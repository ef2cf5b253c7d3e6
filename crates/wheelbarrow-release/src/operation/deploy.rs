//! `deploy`: from an artifact to a live release.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use wheelbarrow_artifact::format::PROGRAM;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_artifact::{Artifact, Trust};
use wheelbarrow_install::store::{LinkMode, StoreOptions};
use wheelbarrow_install::{
    Existing as Destination, InstallError, Options, Pip, choose_target, install, virtualenv,
};

use crate::activation::prepare::Prepare;
use crate::activation::{Activation, fail};
use crate::operation::activate::activate_in;
use crate::operation::recovery;
use crate::root::journal::{Event, Operation, Outcome, Phase};
use crate::root::locked_root::{Fault, LockedRoot, milliseconds};
use crate::root::operator::Operator;
use crate::root::release::{CompleteRelease, FORMAT, ReleaseRecord};
use crate::root::retention::Pruned;
use crate::root::settings::Settings;
use crate::root::{compatible, trash};
use crate::serving::systemd;
use crate::stage::configure::{self, Environment, Extras, configure};
use crate::stage::remake::project_pack;
use crate::stage::restore::{lacking, restore};
use crate::stage::reuse::reusable;
use crate::{ReleaseError, ReleaseId, Root};

/// What a deploy is asked for.
#[derive(Clone, Debug)]
pub struct DeployOptions {
    pub artifact: PathBuf,
    /// Who decides whether it is used at all.
    pub trust: Arc<dyn Trust>,
    /// The Python that the site will run on.
    pub python: PathBuf,
    /// What flags say.
    pub settings: ReleaseSettings,
    pub pip: Pip,
    pub until: Until,
    pub prepare: Prepare,
    pub existing: Existing,
}

/// What a deploy does where there is a good release of the same artifact already, with the same environment and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is taken; where it is live, nothing is done.
    Taken,
    /// Another one is made.
    Remade,
}

/// How far a deploy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
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
    pub shared: Vec<String>,
    pub prepare: Vec<String>,
    pub server: String,
    pub probe: Option<String>,
    pub keep: usize,
    /// What a thin artifact leaves out and the root has not: the deploy would be refused for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
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
    pub pruned: Pruned,
    pub milliseconds: u64,
}

/// An artifact that can become a release of this root, as far as that can be known beforehand.
struct Ready {
    artifact: Artifact,
    settings: Settings,
    /// Of the manifest.
    digest: Sha256,
    /// The base interpreter.
    python: PathBuf,
    /// Members that a thin artifact leaves out and the root has not.
    lacking: Vec<String>,
    /// Whether another release becomes live.
    is_switched: bool,
}

/// Says what [`deploy`] would do; nothing is written. The root need not exist.
pub fn plan(root: &Path, options: &DeployOptions) -> Result<DeployPlan, ReleaseError> {
    let root = Root::trusted_at(root)?;
    let Ready { artifact, settings, digest, python, lacking, is_switched } = look_at(&root, options)?;
    let manifest = artifact.manifest();
    let found = taken(&root, &digest, &python, options)?;
    if is_switched {
        systemd::plan(&root, &settings.server)?;
    }
    let id = match &found {
        Some(found) => found.id().clone(),
        None => ReleaseId::new(root.next_number()?, &digest),
    };
    Ok(DeployPlan {
        root: root.path().to_path_buf(),
        id,
        is_new: found.is_none(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        signed_by: artifact.vouched_by().map(str::to_owned),
        live: root.live()?,
        shared: settings.shared.iter().map(ToString::to_string).collect(),
        prepare: settings.prepare.iter().map(ToString::to_string).collect(),
        server: settings.server.to_string(),
        probe: settings.probe.map(|probe| probe.url),
        keep: settings.keep,
        lacking,
    })
}

/// Makes a release of the artifact and makes it live, or leaves what was live before. `root` becomes a site root.
pub fn deploy(
    root: &Path,
    options: &DeployOptions,
    operator: &Operator<'_>,
) -> Result<Deployed, ReleaseError> {
    let begun = Instant::now();
    let ready = look_at(&Root::trusted_at(root)?, options)?;
    if !ready.lacking.is_empty() {
        let (path, members) = (options.artifact.clone(), ready.lacking);
        return Err(InstallError::Lacking { path, members }.into());
    }
    if ready.is_switched {
        systemd::look_at(&Root::at(root), &ready.settings.server)?;
    }
    let root = Root::create(root)?;
    let locked = recovery::begin(&root, "deploy", operator)?;
    let previous = root.live()?;
    if let Some(release) = taken(&root, &ready.digest, &ready.python, options)? {
        let signed_by = ready.artifact.vouched_by().map(str::to_owned);
        return take(&locked, release, options, begun).map(|taken| Deployed { signed_by, ..taken });
    }
    let id = ReleaseId::new(root.next_number()?, &ready.digest);
    locked.begin(Operation::Deploy, &id, previous.as_ref())?;
    // With the wait for the lock, and what was recovered.
    let looked = milliseconds(begun.elapsed());
    locked.record(Event::Phase { phase: Phase::Preflight, milliseconds: looked })?;

    let Ready { artifact, settings, digest, .. } = ready;
    let manifest = artifact.manifest().clone();
    let signed_by = artifact.vouched_by().map(str::to_owned);
    let making = Making {
        id: &id,
        site: Site {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            code: manifest.project.directory,
            digest,
        },
        python: &options.python,
        variables: &BTreeMap::new(),
        pip: options.pip,
        settings: &settings,
        flags: &options.settings,
        environment: Environment::Shared,
    };
    let release = match stage(&locked, &making, |interpreter| restore(&root, artifact, interpreter)) {
        Ok(release) => release,
        Err(mut fault) => {
            fault.cause = fault.cause.of_restored(&options.artifact);
            discard(&locked, &id);
            return Err(fail(&locked, &id, begun, fault, Outcome::Unchanged, None));
        }
    };
    let mut deployed = Deployed {
        root: root.path().to_path_buf(),
        path: release.path().to_path_buf(),
        name: manifest.name,
        version: manifest.version,
        signed_by,
        previous: previous.clone(),
        is_live: false,
        is_new: true,
        pruned: Pruned::default(),
        milliseconds: 0,
        id,
    };
    if options.until == Until::Live {
        let operation = Operation::Deploy;
        let activation = Activation { locked: &locked, operation, release, settings, previous, begun };
        deployed.pruned = activation.prepare_and_run(options.prepare)?;
        deployed.is_live = true;
    } else {
        locked.record(Event::Done { milliseconds: milliseconds(begun.elapsed()) })?;
    }
    deployed.milliseconds = milliseconds(begun.elapsed());
    Ok(deployed)
}

/// The release that is there already and need not be made.
fn taken(
    root: &Root,
    digest: &Sha256,
    python: &Path,
    options: &DeployOptions,
) -> Result<Option<CompleteRelease>, ReleaseError> {
    match (options.existing, root.releases().is_dir()) {
        (Existing::Taken, true) => reusable(root, digest, &options.settings, Some(python)),
        _ => Ok(None),
    }
}

/// Goes on with a release that is there.
fn take(
    locked: &LockedRoot<'_>,
    release: CompleteRelease,
    options: &DeployOptions,
    begun: Instant,
) -> Result<Deployed, ReleaseError> {
    let previous = locked.root.live()?;
    let mut deployed = Deployed {
        root: locked.root.path().to_path_buf(),
        id: release.id().clone(),
        path: release.path().to_path_buf(),
        name: release.record.name.clone(),
        version: release.record.version.clone(),
        signed_by: None,
        is_live: previous.as_ref() == Some(release.id()),
        is_new: false,
        previous,
        pruned: Pruned::default(),
        milliseconds: 0,
    };
    if options.until == Until::Live && !deployed.is_live {
        activate_in(locked, release, &options.settings, options.prepare)?;
        deployed.is_live = true;
    }
    deployed.milliseconds = milliseconds(begun.elapsed());
    Ok(deployed)
}

/// All that can be known before anything is written.
fn look_at(root: &Root, options: &DeployOptions) -> Result<Ready, ReleaseError> {
    root.live()?;
    compatible::check(root)?;
    let standing = root.path().ancestors().find(|path| path.is_dir());
    standing.map_or(Ok(()), wheelbarrow_fs::check_links).map_err(InstallError::from)?;
    let artifact = Artifact::open_thin(&options.artifact, &*options.trust)?;
    let settings = Settings::of_manifest(root, artifact.manifest().release.as_ref(), &options.settings)?;
    configure::look_at(root, artifact.manifest(), &settings)?;
    let interpreter = Interpreter::probe(&options.python, None)?;
    choose_target(artifact.manifest(), &interpreter)
        .map_err(|source| InstallError::Target { path: options.artifact.clone(), source })?;
    let digest = Sha256::of(artifact.manifest_bytes());
    let taken = taken(root, &digest, &interpreter.executable, options)?;
    let lacking = match taken {
        Some(_) => Vec::new(),
        None => lacking(root, &artifact, &interpreter, options.pip)?,
    };
    let is_live = taken.is_some_and(|taken| root.live().is_ok_and(|live| live.as_ref() == Some(taken.id())));
    let is_switched = options.until == Until::Live && !is_live;
    Ok(Ready { artifact, settings, digest, python: interpreter.executable, lacking, is_switched })
}

/// A release that is to be made.
pub(crate) struct Making<'m> {
    pub(crate) id: &'m ReleaseId,
    pub(crate) site: Site,
    /// The Python that the site will run on.
    pub(crate) python: &'m Path,
    /// Without which that does not start, beside those of this process.
    pub(crate) variables: &'m BTreeMap<String, String>,
    pub(crate) pip: Pip,
    pub(crate) settings: &'m Settings,
    /// What flags said.
    pub(crate) flags: &'m ReleaseSettings,
    pub(crate) environment: Environment,
}

/// What is made a release of.
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// The top directory of the code.
    pub(crate) code: String,
    /// Of the manifest.
    pub(crate) digest: Sha256,
}

/// Installs at the final path, and makes a release of it.
pub(crate) fn stage(
    locked: &LockedRoot<'_>,
    making: &Making<'_>,
    artifact: impl FnOnce(&Interpreter) -> Result<Artifact, ReleaseError>,
) -> Result<CompleteRelease, Fault> {
    let root = locked.root;
    let Making { id, site, python, variables, pip, settings, flags, environment } = making;
    let pack = locked.phase(Phase::Stage, || {
        let destination = root.release(id);
        let interpreter = Interpreter::probe_with(python, Some(&virtualenv(&destination)), variables)?;
        let store = StoreOptions { path: root.store(), link_mode: LinkMode::default() };
        let options = Options {
            destination,
            existing: Destination::Refuse,
            pip: *pip,
            store: Some(store),
            compile: wheelbarrow_install::Compile::Auto,
        };
        let artifact = artifact(&interpreter)?;
        let pack = project_pack(&artifact, &interpreter)?;
        install(artifact, &interpreter, &options, locked.operator.progress)?;
        Ok(pack)
    })?;
    locked.phase(Phase::Configure, || {
        let record = ReleaseRecord {
            format: FORMAT,
            program: Some(PROGRAM.to_owned()),
            id: (*id).clone(),
            name: site.name.clone(),
            version: site.version.clone(),
            manifest_sha256: site.digest,
            parent: root.live()?,
            environment_sha256: None,
            made_at: locked.operator.now(),
            settings: (*flags).clone(),
        };
        configure(root, &site.code, settings, &Extras { environment, pack: pack.as_ref() }, record)
    })
}

/// Removes what a failed staging has left. What cannot be removed now, the next command removes.
pub(crate) fn discard(locked: &LockedRoot<'_>, id: &ReleaseId) {
    if trash::throw(locked, id).is_ok() {
        let _ = trash::empty(locked, trash::AT_FIRST);
    }
}
