//! `env set`, `unset`, `apply`: a new release of the live one with another environment. Like any other
//! release it is checked before the switch and verified after it, and a rollback leaves it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use wheelbarrow_artifact::manifest::EnvironmentRules;

use crate::environment::shared_environment::{
    self as shared, EnvironmentDifference, VariableChange, Variables,
};
use crate::environment::{self, ENVIRONMENT, PRIVATE};
use crate::operation::{engine, plan, recovery};
use crate::root::journal::Operation;
use crate::root::locked_root::{LockedRoot, milliseconds};
use crate::root::operator::Operator;
use crate::root::receipt::Receipt;
use crate::root::release::CompleteRelease;
use crate::root::retention::Pruned;
use crate::root::settings::Settings;
use crate::root::{create, trusted};
use crate::serving::{services, unit_user};
use crate::stage::configure::ReleaseEnvironment;
use crate::steps::configure::Configure;
use crate::steps::prepare::Prepare;
use crate::steps::stage::{ReleaseSource, Stage};
use crate::steps::{Job, StepResults};
use crate::{ReleaseError, ReleaseId, Root};

/// What a change did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct ChangedEnvironment {
    pub root: PathBuf,
    /// The release with the new environment; none where nothing is live, or nothing differs.
    pub id: Option<ReleaseId>,
    /// What is, or was, live before.
    pub previous: Option<ReleaseId>,
    /// Of the shared file.
    pub difference: EnvironmentDifference,
    pub milliseconds: u64,
}

/// The environment that is to be.
struct NextEnvironment {
    text: Vec<u8>,
    difference: EnvironmentDifference,
    /// None where nothing is live, or it has this environment already.
    release: Option<CompleteRelease>,
}

/// Changes the shared environment and makes it live, or leaves all as it was. Where nothing is live, only the file is
/// changed. When that is done `answer` gets what was done; then old releases are removed, and what came of that is returned.
pub fn change_environment(
    root: &Root,
    change: &VariableChange,
    prepare: Prepare,
    operator: &Operator<'_>,
    answer: impl FnOnce(&ChangedEnvironment),
) -> Result<Pruned, ReleaseError> {
    let begun = Instant::now();
    let locked = recovery::begin(root, "environment", operator)?;
    let next = inspect(root, change)?;
    let mut changed = changed(root, &next)?;
    match &next.release {
        Some(live) => {
            return activate(&locked, live, next.text, prepare, begun, |id| {
                changed.id = Some(id);
                changed.milliseconds = milliseconds(begun.elapsed());
                answer(&changed);
            });
        }
        None if next.difference.is_empty() => {}
        None => {
            let identity = Settings::of_root(root)?.identity;
            shared::write(root, &next.text, identity.as_ref())?;
        }
    }
    changed.milliseconds = milliseconds(begun.elapsed());
    answer(&changed);
    Ok(Pruned::default())
}

/// Says what [`change_environment`] would do.
pub fn plan_change(root: &Root, change: &VariableChange) -> Result<ChangedEnvironment, ReleaseError> {
    let next = inspect(root, change)?;
    let mut changed = changed(root, &next)?;
    if let Some(live) = &next.release {
        changed.id = Some(ReleaseId::new(root.next_number()?, &live.record.manifest_sha256));
    }
    Ok(changed)
}

/// What a rewrite of the shared environment did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct RewrittenFile {
    pub root: PathBuf,
    pub path: PathBuf,
    /// By names.
    pub difference: EnvironmentDifference,
    /// Whether the file is another one, were it by order and spaces only.
    pub is_changed: bool,
    /// Whether the live release has another environment than the file.
    pub is_pending: bool,
}

/// Changes the shared file and nothing else: the next release takes it, or `env apply`. `root` becomes a site root.
pub fn rewrite_environment(
    root: &Path,
    change: &VariableChange,
    operator: &Operator<'_>,
) -> Result<RewrittenFile, ReleaseError> {
    let root = Root::create(root)?;
    let locked = recovery::begin(&root, "environment", operator)?;
    let (rewritten, text) = changed_file(locked.root, change)?;
    if rewritten.is_changed {
        let identity = Settings::of_root(&root)?.identity;
        shared::write(&root, &text, identity.as_ref())?;
    }
    Ok(rewritten)
}

/// Says what [`rewrite_environment`] would do; the root need not exist.
pub fn plan_rewrite(root: &Path, change: &VariableChange) -> Result<RewrittenFile, ReleaseError> {
    let root = Root::trusted_at(root)?;
    create::check_place(&root)?;
    changed_file(&root, change).map(|(rewritten, _)| rewritten)
}

fn changed_file(root: &Root, change: &VariableChange) -> Result<(RewrittenFile, Vec<u8>), ReleaseError> {
    let NextEnvironment { text, difference, release } = inspect(root, change)?;
    let is_changed = trusted::read(root, ENVIRONMENT)?.is_none_or(|(now, _)| now != text);
    let (path, is_pending) = (shared::path(root), release.is_some());
    Ok((RewrittenFile { root: root.path().to_path_buf(), path, difference, is_changed, is_pending }, text))
}

/// The names in the shared environment, or in that of a release.
pub fn environment_names(root: &Root, release: Option<&ReleaseId>) -> Result<Vec<String>, ReleaseError> {
    Ok(variables(root, release)?.names())
}

/// By which names the environments of two releases differ; none means the shared one.
pub fn environment_difference(
    root: &Root,
    one: Option<&ReleaseId>,
    other: Option<&ReleaseId>,
) -> Result<EnvironmentDifference, ReleaseError> {
    Ok(variables(root, one)?.difference(&variables(root, other)?))
}

fn variables(root: &Root, release: Option<&ReleaseId>) -> Result<Variables, ReleaseError> {
    match release {
        Some(id) => shared::of_release(&root.complete(id)?),
        None => Ok(shared_variables(root, &EnvironmentRules::default())?.0),
    }
}

/// The shared environment and the mode of its file, judged as loadenv would, but for what is required.
fn shared_variables(root: &Root, rules: &EnvironmentRules) -> Result<(Variables, u32), ReleaseError> {
    let path = shared::path(root);
    let (text, mode) = match trusted::read(root, ENVIRONMENT)? {
        Some((text, metadata)) => (text, metadata.mode()),
        None => (b"{}".to_vec(), PRIVATE),
    };
    let rules = EnvironmentRules { required: Vec::new(), ..rules.clone() };
    environment::check(&text, mode, &rules, |_| false)
        .map_err(|source| ReleaseError::Environment { path, source })?;
    Ok((Variables::parse(&text), mode))
}

fn inspect(root: &Root, change: &VariableChange) -> Result<NextEnvironment, ReleaseError> {
    match change {
        VariableChange::Nothing => {}
        VariableChange::Set { name, .. } | VariableChange::Unset { name } => shared::check_name(name)?,
        VariableChange::Replace { text } | VariableChange::Merge { text } => {
            // Who wrote it is not the file that is there.
            environment::check(text, PRIVATE, &EnvironmentRules::default(), |_| false)
                .map_err(|source| ReleaseError::Environment { path: "the new environment".into(), source })?;
            Variables::parse(text).names().iter().try_for_each(|name| shared::check_name(name))?;
        }
    }
    let live = root.live()?.map(|live| root.complete(&live)).transpose()?;
    let rules = live.as_ref().map(|live| Ok::<_, ReleaseError>(live.site()?.environment)).transpose()?;
    let rules = rules.unwrap_or_default();
    let (before, mode) = match shared_variables(root, &rules) {
        // What is replaced need not be whole.
        Err(ReleaseError::Environment { .. }) if matches!(change, VariableChange::Replace { .. }) => {
            (Variables::default(), PRIVATE)
        }
        read => read?,
    };
    let mut after = Variables::parse(&before.to_text());
    after.change(change);
    let text = after.to_text();
    environment::check(&text, mode, &rules, |key| std::env::var_os(key).is_some())
        .map_err(|source| ReleaseError::Environment { path: shared::path(root), source })?;
    let release = match live {
        Some(live) if shared::of_release(&live)?.difference(&after).is_empty() => None,
        live => live,
    };
    Ok(NextEnvironment { text, difference: before.difference(&after), release })
}

fn changed(root: &Root, next: &NextEnvironment) -> Result<ChangedEnvironment, ReleaseError> {
    Ok(ChangedEnvironment {
        root: root.path().to_path_buf(),
        id: None,
        previous: root.live()?,
        difference: next.difference.clone(),
        milliseconds: 0,
    })
}

/// Makes the release and makes it live.
fn activate(
    locked: &LockedRoot<'_>,
    live: &CompleteRelease,
    text: Vec<u8>,
    prepare: Prepare,
    begun: Instant,
    answer: impl FnOnce(ReleaseId),
) -> Result<Pruned, ReleaseError> {
    let root = locked.root;
    let settings = Settings::of(root, live, &Default::default())?;
    services::inspect(root, &settings, &live.site()?.project.import_path)?;
    unit_user::inspect(root, &settings, true)?;
    let receipt = Receipt::of(live)?;
    let stage = Stage {
        source: Some(ReleaseSource::Release(live)),
        python: receipt.python().to_path_buf(),
        variables: receipt.environment(),
        pip: receipt.pip(),
        known: None,
    };
    let configure = Configure {
        name: live.record.name.clone(),
        version: live.record.version.clone(),
        code: live.site()?.project.directory,
        digest: live.record.manifest_sha256,
        flags: &live.record.settings,
        environment: ReleaseEnvironment::New(text),
    };
    let steps = plan::make(stage, configure, &settings, Some(prepare));
    let id = ReleaseId::new(root.next_number()?, &live.record.manifest_sha256);
    let mut job = Job {
        locked,
        operation: Operation::Environment,
        id: id.clone(),
        settings: &settings,
        previous: Some(live.id().clone()),
        begun,
        release: None,
        done: StepResults::default(),
    };
    engine::begin(&job)?;
    let rest = engine::run(&mut job, steps)?;
    answer(id);
    Ok(engine::tidy(&mut job, rest))
}
