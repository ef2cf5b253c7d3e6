//! The whole build: lock, gather, walk the project, check, pack.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_artifact::zip::DosTime;
use wheelbarrow_audit::{BundledPython, Finding};
use wheelbarrow_base::progress::{Progress, Silent};

use crate::above;
use crate::build_error::BuildError;
use crate::build_options::BuildOptions;
use crate::bundled::Bundled;
use crate::bytecode::{self, BytecodeMode, CompileRequest, CompiledBytecode};
use crate::cache::Cache;
use crate::check::{self, CheckRequest, PackedTarget, PackedWheel, ServiceProgram, check};
use crate::collect::{self, CollectJob, Collected};
use crate::fetch::FetchOptions;
use crate::gather::{GatherRequest, Gathered, gather};
use crate::inputs::{self, Inputs, NamedInputs, is_same_file};
use crate::lock::{self, LockRequest, ReadRequest};
use crate::own::{self, OwnDistribution, SiteCode};
use crate::pack::{self, ArtifactContents, Packed, Plan};
use crate::project::{self, ProjectError, ProjectFile, Walk, WalkNotes, WalkRules};
use crate::target::BuildTarget;

mod targets;

use targets::{find_targets, unused_pin};

/// A build that only has to be written.
#[derive(Clone, Debug)]
pub struct PreparedBuild {
    pub plan: Plan,
    /// The artifact.
    pub output: PathBuf,
    /// Whence the wheels are.
    pub lock: PathBuf,
    /// Whether the lock was made just now.
    pub resolved: bool,
    /// What the audit has found and let pass: warnings, and what is allowed.
    pub findings: Vec<Finding>,
    /// Where the wheels are until they are packed.
    pub cache: Cache,
    /// Where collected static files are until then.
    _scratch: Option<Arc<TempDir>>,
}

/// Does all but writing the artifact. The lock and the cache are written.
pub fn prepare(options: &BuildOptions, progress: &dyn Progress) -> Result<PreparedBuild, BuildError> {
    let time = pack::source_date(options.source_date_epoch.as_deref())?;
    // Looked at before anything slow, since this is where most people's mistakes are.
    pack::check_shebang(&options.shebang)?;
    if !options.default_output {
        pack::check_output(&options.output)?;
    }
    check::refuse_unfit_services(options.release.as_ref())?;
    above::check(&options.project)?;
    let code = read_project(options)?;
    let bundled = take_python(options, progress)?;
    let (targets, inputs, found) = find_targets_and_inputs(options, bundled.as_ref())?;
    code.check_logins(&found.files().collect::<Vec<_>>())?;
    let interpreters: Vec<_> = targets.iter().map(|target| target.interpreter.clone()).collect();
    unused_pin(options).iter().for_each(|note| progress.note(note));
    progress.note(&format!("dependencies: {}", inputs.describe()));
    let others = inputs.other_dependencies(&options.project);
    let previous = lock::PreviousLock::of(lock_out(options), progress);
    // Held from here on. A cache of uv may be in it.
    let cache = Cache::open(options.cache_dir.as_deref())?;
    let lock = lock::resolve(&lock_request(options, inputs, &targets), found, progress)?;
    lock.left_out(&others).iter().for_each(|note| progress.note(note));
    let own = find_own(options, progress)?;
    let gather_request = GatherRequest {
        project: options.project.clone(),
        targets,
        own: own.clone(),
        index: options.index.clone(),
        cache_dir: options.cache_dir.clone(),
        container_engine: options.container_engine.clone(),
        fetch: FetchOptions::default(),
    };
    let gathered = gather(&lock, &gather_request, progress)?;
    let own_missing = own.as_ref().filter(|_| gathered.own.is_none());
    own_missing.and_then(OwnDistribution::missing_entry_points).iter().for_each(|note| progress.note(note));
    // And again, since the lock may be among the files.
    let mut code = read_project(options)?;
    code.notes.tell(&options.name, progress);

    let (own, statuses) = (own.zip(gathered.own.clone()), gathered.statuses.clone());
    let mut targets = packed_targets(gathered, progress);
    let mut version = options.version.clone();
    if let Some((own, name)) = &own {
        let built = install_own(own, name, &mut targets, &mut code, &cache, progress)?;
        version = version.or(built);
    }
    let modules = own::modules(code.site(&[]));
    let mut contents = contents(options, code, targets, bundled, time);
    contents.version = version;
    if options.collect.is_none() {
        let paths = contents.code.iter().map(|file| file.path.as_str());
        collected_before(options.release.as_ref(), paths).iter().for_each(|note| progress.note(note));
    }
    let pth = format!("{}.pth", contents.directory);
    let checked = check(
        &CheckRequest {
            targets: &contents.targets,
            name: &contents.name,
            version: contents.version.as_deref(),
            pth: &pth,
            modules: &modules,
            programs: &ServiceProgram::all(options.release.as_ref()),
            interpreter: contents.interpreter.as_ref().map(|own| &own.described),
            cache: Some(cache.root()),
            allowances: &options.allow,
            yanked: &lock.pylock.yanked(),
            statuses: &statuses,
            time,
        },
        progress,
    )?;
    let mut findings = checked.findings.clone();
    findings.extend(tell_age(contents.interpreter.as_ref(), options, progress));
    let compiled = compile(options.bytecode, &cache, &interpreters, &contents, progress)?;
    let mut plan = pack::plan(&contents, &checked, &compiled)?;
    let mut scratch = None;
    if let Some(request) = &options.collect {
        let job = CollectJob {
            request,
            plan: &plan,
            targets: &gather_request.targets,
            epoch: options.source_date_epoch.as_deref(),
            engine: options.container_engine.as_deref(),
            offline: options.index.offline,
            cache: &cache,
            progress,
        };
        let collected = collect::collect(&job)?;
        scratch = Some(Arc::new(take_collected(options, &mut contents, collected)?));
        // What stood in STATIC_ROOT may have been among the modules.
        let compiled = compile(options.bytecode, &cache, &interpreters, &contents, &Silent)?;
        plan = pack::plan(&contents, &checked, &compiled)?;
    }
    previous.replace();
    let output = options.output_of(contents.version.as_deref());
    Ok(PreparedBuild {
        plan,
        output,
        lock: lock.path,
        resolved: lock.resolved,
        findings,
        cache,
        _scratch: scratch,
    })
}

/// What to note of files of the project in the directory where a command of `prepare` collects static files: it compares
/// times, and all files of a release have the same.
fn collected_before<'p>(
    release: Option<&ReleaseSettings>,
    paths: impl Iterator<Item = &'p str>,
) -> Option<String> {
    let root = release?.static_root.as_ref()?.trim_end_matches('/');
    let mut commands = release?.prepare.iter().flatten();
    commands
        .find(|words| words.collects_static() && !words.as_slice().iter().any(|word| word == "--clear"))?;
    let files = paths.filter(|path| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')));
    let files = Some(files.count()).filter(|files| *files > 0)?;
    Some(format!(
        "{root} has files of the project ({files}), which collectstatic does not replace on the server: `exclude = [\"/{root}/\"]` \
         leaves them out, if it makes them all"
    ))
}

/// Puts collected static files in the place of what the project has in their directory.
fn take_collected(
    options: &BuildOptions,
    contents: &mut ArtifactContents,
    collected: Collected,
) -> Result<TempDir, BuildError> {
    let Collected { root, files, scratch } = collected;
    let shared = options.release.as_ref().and_then(|release| release.shared.as_deref());
    project::check_shared(shared.unwrap_or_default(), &files)?;
    let below = format!("{root}/");
    contents.code.retain(|file| !file.path.starts_with(&below));
    contents.code.extend(files);
    contents.code.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    contents.static_root = Some(root);
    Ok(scratch)
}

/// The Python to bundle, if there is to be one.
fn take_python(options: &BuildOptions, progress: &dyn Progress) -> Result<Option<Bundled>, BuildError> {
    let Some(source) = &options.with_python else { return Ok(None) };
    let cache = Cache::open(options.cache_dir.as_deref())?;
    Ok(Some(Bundled::take(source, &options.project, &cache, options.index.offline, progress)?))
}

/// The age is of today, and so no part of what is remembered of a check.
fn tell_age(own: Option<&Bundled>, options: &BuildOptions, progress: &dyn Progress) -> Option<Finding> {
    let own = BundledPython::of(&own?.described, SystemTime::now());
    let finding = own.finding(&options.allow)?;
    if finding.allowed.is_none() {
        progress.note(&format!("{}:{}: {}", finding.rule, finding.name, finding.what));
    }
    Some(finding)
}

fn contents(
    options: &BuildOptions,
    code: SiteFiles,
    targets: Vec<PackedTarget>,
    interpreter: Option<Bundled>,
    time: DosTime,
) -> ArtifactContents {
    ArtifactContents {
        name: options.name.clone(),
        version: None,
        directory: code.directory,
        import_path: code.import_path,
        code: code.files,
        static_root: None,
        static_directories: code.static_directories,
        targets,
        environment: options.environment.clone(),
        release: options.release.clone(),
        shebang: options.shebang.clone(),
        installers: options.installers.clone(),
        interpreter,
        time,
    }
}

/// Compiles what every target will import. Nothing of a site imports the bundled pip.
fn compile(
    mode: BytecodeMode,
    cache: &Cache,
    interpreters: &[Option<Interpreter>],
    contents: &ArtifactContents,
    progress: &dyn Progress,
) -> Result<CompiledBytecode, BuildError> {
    let targets: Vec<CompileRequest<'_>> = contents
        .targets
        .iter()
        .zip(interpreters)
        .map(|(target, interpreter)| CompileRequest {
            python: &target.python,
            interpreter: interpreter.as_ref(),
            wheels: target.wheels.iter().collect(),
        })
        .collect();
    let modules = if mode == BytecodeMode::Never { Vec::new() } else { pack::modules(contents)? };
    Ok(bytecode::compile_all(mode, cache, &targets, &modules, progress)?)
}

/// Builds the artifact.
pub fn build(options: &BuildOptions, progress: &dyn Progress) -> Result<(PreparedBuild, Packed), BuildError> {
    let prepared = prepare(options, progress)?;
    let packed = pack::write(&prepared.plan, &prepared.output, progress)?;
    Ok((prepared, packed))
}

/// A Python takes its time to say what it is; the inputs are read meanwhile.
fn find_targets_and_inputs(
    options: &BuildOptions,
    bundled: Option<&Bundled>,
) -> Result<(Vec<BuildTarget>, Inputs, lock::FoundLock), BuildError> {
    std::thread::scope(|scope| {
        let targets = scope.spawn(|| find_targets(options, bundled));
        let inputs = read_inputs(options);
        let targets = targets.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        let (inputs, found) = inputs?;
        Ok((targets, inputs, found))
    })
}

fn read_inputs(options: &BuildOptions) -> Result<(Inputs, lock::FoundLock), BuildError> {
    let lock_out = lock_out(options);
    // `--upgrade` makes the lock again, so the existing one is not read.
    let is_input =
        |lock: &PathBuf| !(options.upgrade && is_same_file(lock, &lock_out) && inputs::written_by_us(lock));
    let mut named = options.inputs.clone();
    named.lock = named.lock.filter(is_input);
    let inputs = match &named {
        named if *named == NamedInputs::default() => Inputs::discover(&options.project, &options.name)?,
        named => Inputs::named(named)?,
    };
    let found = lock::read(&ReadRequest {
        project: &options.project,
        inputs: &inputs,
        with: &options.with,
        lock_out: &lock_out,
        offline: options.index.offline,
        upgrade: options.upgrade,
    })?;
    Ok((inputs, found))
}

/// In the project, if it is there; else beside the artifact.
fn lock_out(options: &BuildOptions) -> PathBuf {
    let name = format!("pylock.{}.toml", options.name);
    let own = options.project.join(&name);
    if own.is_file() { own } else { options.output.with_file_name(name) }
}

fn lock_request(options: &BuildOptions, inputs: Inputs, targets: &[BuildTarget]) -> LockRequest {
    LockRequest {
        project: options.project.clone(),
        inputs,
        with: options.with.clone(),
        name: options.name.clone(),
        targets: targets.to_vec(),
        index: options.index.clone(),
        wanted: options.wanted.clone(),
        upgrade: options.upgrade,
        frozen: options.frozen,
        lock_out: lock_out(options),
    }
}

/// The site's own files.
struct SiteFiles {
    directory: String,
    import_path: String,
    files: Vec<ProjectFile>,
    static_directories: Vec<Vec<ProjectFile>>,
    notes: WalkNotes,
}

fn read_project(options: &BuildOptions) -> Result<SiteFiles, BuildError> {
    let walk = |root: &Path, rules| {
        let artifact = Some(options.output.clone());
        let cache = Some(Cache::place(options.cache_dir.as_deref()));
        project::walk(&Walk { root: root.to_path_buf(), rules, artifact, cache })
    };
    let (files, mut notes) = walk(&options.project, WalkRules::Project { exclude: options.exclude.clone() })?;
    if files.is_empty() {
        return Err(ProjectError::Empty { root: options.project.clone() }.into());
    }
    let shared = options.release.as_ref().and_then(|release| release.shared.as_deref());
    project::check_shared(shared.unwrap_or_default(), &files)?;
    let mut static_directories = Vec::new();
    for directory in &options.static_directories {
        let (files, more) = walk(directory, WalkRules::Static)?;
        static_directories.push(files);
        notes.add(more);
    }
    let inputs = &options.inputs;
    let inputs: Vec<_> = inputs.requirements.iter().chain(&inputs.lock).map(PathBuf::as_path).collect();
    let mut code = SiteFiles {
        // Not the directory's own name: a checkout may be called anything, and must give the same artifact.
        directory: project::directory_name(Path::new(&options.name)),
        import_path: project::find_import_path(&options.project, &files, options.import_path.as_deref())?,
        files,
        static_directories,
        notes,
    };
    let mut notes = code.check_logins(&inputs)?;
    notes.extend(project::check_commands(options.release.as_ref(), &code.files, &code.import_path));
    code.notes.notes.extend(notes);
    Ok(code)
}

impl SiteFiles {
    /// Refuses logins in those of its files that are `inputs`, or look as if they were; gives notes of others.
    fn check_logins(&self, inputs: &[&Path]) -> Result<Vec<String>, ProjectError> {
        let mut notes = Vec::new();
        for files in [&self.files].into_iter().chain(&self.static_directories) {
            notes.extend(project::check_logins(files, inputs)?);
        }
        Ok(notes)
    }

    fn site<'a>(&'a self, built_from: &'a [ProjectFile]) -> SiteCode<'a> {
        SiteCode { import_path: &self.import_path, files: &self.files, built_from }
    }
}

/// The project's own distribution. It is built without the setting `exclude`, which may name what only a build needs.
fn find_own(options: &BuildOptions, progress: &dyn Progress) -> Result<Option<OwnDistribution>, BuildError> {
    if options.install_project == Some(false) {
        return Ok(None);
    }
    let walk = |exclude| {
        let (root, artifact) = (options.project.clone(), Some(options.output.clone()));
        let cache = Some(Cache::place(options.cache_dir.as_deref()));
        project::walk(&Walk { root, rules: WalkRules::Project { exclude }, artifact, cache })
    };
    // What cannot be packed may be excluded just for that.
    let (files, _) = walk(Vec::new()).or_else(|_| walk(options.exclude.clone()))?;
    let mut notes = Vec::new();
    let own = OwnDistribution::find(&options.project, files, options.install_project, &mut notes)?;
    notes.iter().for_each(|note| progress.note(note));
    Ok(Some(own))
}

/// So many of the files that a build generated are named in its note.
const GENERATED: usize = 5;

/// Leaves in the project's own wheels what the code does not have, and adds to the code what their build generated.
/// Returns the version of the wheels.
fn install_own(
    own: &OwnDistribution,
    name: &str,
    targets: &mut [PackedTarget],
    code: &mut SiteFiles,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Option<String>, BuildError> {
    let mut told = BTreeSet::new();
    let mut version = None;
    let mut generated = BTreeMap::new();
    for wheel in targets.iter_mut().flat_map(|target| &mut target.wheels).filter(|wheel| wheel.name == name) {
        let reduced = own::reduce(wheel, code.site(&own.tree.files), cache)?;
        *wheel = reduced.wheel;
        version = Some(wheel.version.clone());
        told.insert(format!("installing the project's own distribution, {name} {}", wheel.version));
        told.extend(reduced.doubled.iter().map(|package| {
            format!("the package {package} is installed in site-packages too: its build makes files for one platform")
        }));
        generated.extend(reduced.generated.into_iter().map(|file| (file.path.clone(), file)));
    }
    let paths: Vec<&str> = generated.keys().map(String::as_str).collect();
    if let [first, others @ ..] = &paths[..] {
        let named = [&[*first], &others[..others.len().min(GENERATED - 1)]].concat().join(", ");
        let more = paths.len().saturating_sub(GENERATED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        told.insert(format!("packing {named}{more}, which the build of {name} generated"));
    }
    told.iter().for_each(|note| progress.note(note));
    code.files.extend(generated.into_values());
    code.files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(version)
}

/// A pure wheel that was built with one Python serves the others too, as its tags say; built again with another, it may
/// have other bytes under the same name. The first is taken for all.
fn packed_targets(gathered: Gathered, progress: &dyn Progress) -> Vec<PackedTarget> {
    let mut built: BTreeMap<String, PackedWheel> = BTreeMap::new();
    let mut targets = Vec::new();
    for target in gathered.targets {
        let mut wheels = Vec::new();
        for wheel in target.wheels {
            let wheel = if wheel.built && wheel.filename.ends_with("-none-any.whl") {
                let first = built.entry(wheel.filename.clone()).or_insert_with(|| wheel.clone());
                if first.sha256 != wheel.sha256 {
                    progress
                        .note(&format!("{} was built for one Python and is used for all", wheel.filename));
                }
                first.clone()
            } else {
                wheel
            };
            wheels.push(wheel);
        }
        let BuildTarget { python, abi, .. } = &target.target;
        targets.push(PackedTarget {
            python: python.clone(),
            abi: abi.clone(),
            floor: target.target.floor(),
            wheels,
            pip: target.pip,
        });
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They were collected in the checkout.
    #[test]
    fn files_that_collectstatic_would_not_replace_are_noted() {
        let noted = |static_root: Option<&str>, prepare: &str| {
            let release = ReleaseSettings {
                static_root: static_root.map(str::to_owned),
                prepare: Some(vec![prepare.parse().unwrap()]),
                ..ReleaseSettings::default()
            };
            let paths = ["mysite/a.py", "staticfiles.py", "staticfiles/a.css", "staticfiles/b/c.css"];
            collected_before(Some(&release), paths.into_iter())
        };
        let collect = "django-admin collectstatic --noinput";
        let note = noted(Some("staticfiles/"), collect).unwrap();
        assert!(note.starts_with("staticfiles has files of the project (2), which"), "{note}");
        assert!(note.contains("`exclude = [\"/staticfiles/\"]`"), "{note}");
        assert_eq!(noted(Some("static"), collect), None);
        assert_eq!(noted(None, collect), None);
        assert_eq!(noted(Some("staticfiles"), "django-admin migrate"), None);
        assert_eq!(noted(Some("staticfiles"), "django-admin collectstatic --clear --noinput"), None);
    }
}
