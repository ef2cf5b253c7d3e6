//! `wheelbarrow build`

mod collect;
mod contained;
mod target_options;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wheelbarrow_artifact::zip::Deflated;
use wheelbarrow_build::bytecode::BytecodeMode;
use wheelbarrow_build::cache::Cache;
use wheelbarrow_build::inputs::NamedInputs;
use wheelbarrow_build::lock::WantedLock;
use wheelbarrow_build::pack::{Installer, MemberSource, Packed, Plan, SHEBANG};
use wheelbarrow_build::project;
use wheelbarrow_build::uv::IndexOptions;
use wheelbarrow_build::{BuildError, BuildOptions, PreparedBuild};
use wheelbarrow_wheel::name;

use super::allowances::allowances;
use crate::failure::{CommandResult, Refusal, WithContext};
use crate::installers::{self, INSTALLERS};
use crate::printer::Printer;
use crate::progress::Bar;
use crate::settings::{Settings, misplaced};
use crate::text;

#[derive(Args)]
pub(crate) struct BuildArguments {
    /// The project directory
    #[arg(default_value = ".")]
    project: PathBuf,
    /// A requirements file, like -r
    #[arg(value_name = "REQUIREMENTS", requires = "basename", conflicts_with_all = ["requirements", "lock"])]
    requirements_file: Option<PathBuf>,
    /// The path of the artifact, without .zip
    #[arg(value_name = "BASENAME", conflicts_with = "output")]
    basename: Option<PathBuf>,
    /// A requirements file; may be repeated
    #[arg(short, long = "requirements", value_name = "FILE")]
    requirements: Vec<PathBuf>,
    /// A lock to use: pylock.toml or uv.lock
    #[arg(long, value_name = "FILE", conflicts_with = "requirements")]
    lock: Option<PathBuf>,
    /// A further requirement to lock, such as "gunicorn>=23"; may be repeated
    #[arg(long, value_name = "REQUIREMENT")]
    with: Vec<String>,
    /// Use a lock without checking that it matches its inputs
    #[arg(long)]
    frozen: bool,
    /// The artifact to write [default: NAME-VERSION.zip]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A Python to pack for: a version such as 3.12, or a path; may be repeated [default: as the project requires]
    #[arg(long, value_name = "X.Y|PATH")]
    python: Vec<String>,
    /// A further Python to pack for; may be repeated
    #[arg(long, value_name = "X.Y|PATH")]
    extra_python: Vec<String>,
    /// Bundle a standalone Python, for hosts without one: a version for uv to fetch, or an archive or directory of
    /// python-build-standalone
    #[arg(long, value_name = "X.Y|DIR|FILE", conflicts_with = "in_container")]
    with_python: Option<PathBuf>,
    /// A directory to bundle below static.in/; may be repeated
    #[arg(long = "static", visible_alias = "extra-static", value_name = "DIR")]
    static_directories: Vec<PathBuf>,
    /// A pattern of files to leave out, as in .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Leave out the project's own distribution: its metadata, entry points and scripts
    #[arg(long)]
    no_install_project: bool,
    /// The directory of the project to put on sys.path [default: found]
    #[arg(long, value_name = "DIR")]
    import_path: Option<String>,
    /// The name of the site [default: from the settings or the project]
    #[arg(long)]
    name: Option<String>,
    /// The version of the site [default: from the settings or the project]
    #[arg(long = "version", value_name = "V")]
    site_version: Option<String>,
    /// The first line of the artifact [default: #!/usr/bin/env python3]
    #[arg(long, value_name = "LINE")]
    shebang: Option<String>,
    /// Whether to bundle bytecode; `auto`: if this machine has the Python for it [default: auto]
    #[arg(long, value_name = "WHEN")]
    bytecode: Option<Bytecode>,
    /// Lock again, to the newest versions
    #[arg(long)]
    upgrade: bool,
    /// Allow a finding of the audit, and record the reason; may be repeated
    #[arg(long, value_name = "RULE:NAME[=REASON]")]
    allow: Vec<String>,
    /// List the members of the artifact and do not write it; the lock and the cache are written anyway
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    wanted: WantedArguments,
    #[command(flatten)]
    targets: target_options::TargetArguments,
    #[command(flatten)]
    index: IndexArguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Bytecode {
    Auto,
    Always,
    Never,
}

impl From<Bytecode> for BytecodeMode {
    fn from(bytecode: Bytecode) -> Self {
        match bytecode {
            Bytecode::Auto => Self::Auto,
            Bytecode::Always => Self::Always,
            Bytecode::Never => Self::Never,
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Extras and dependency groups")]
struct WantedArguments {
    /// An extra of the project; may be repeated
    #[arg(long, value_name = "NAME")]
    extra: Vec<String>,
    /// All extras
    #[arg(long, conflicts_with = "extra")]
    all_extras: bool,
    /// A dependency group, in addition to the default groups; may be repeated
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// All dependency groups
    #[arg(long)]
    all_groups: bool,
    /// A dependency group to leave out; may be repeated
    #[arg(long, value_name = "NAME")]
    no_group: Vec<String>,
    /// Leave out the default groups
    #[arg(long)]
    no_default_groups: bool,
}

impl WantedArguments {
    fn or(self, settings: (Vec<String>, Vec<String>)) -> WantedLock {
        let extras = if self.all_extras { Vec::new() } else { either(self.extra, settings.0) };
        WantedLock {
            extras,
            all_extras: self.all_extras,
            groups: either(self.group, settings.1),
            all_groups: self.all_groups,
            no_groups: self.no_group,
            no_default_groups: self.no_default_groups,
        }
    }
}

#[derive(Args)]
#[command(next_help_heading = "Indexes and the cache")]
struct IndexArguments {
    /// Use only the cache and local files, no network
    #[arg(long)]
    offline: bool,
    /// The package index, instead of PyPI
    #[arg(long, value_name = "URL")]
    index_url: Option<String>,
    /// Another index; may be repeated
    #[arg(long, value_name = "URL")]
    extra_index_url: Vec<String>,
    /// Use no index, only --find-links
    #[arg(long, conflicts_with_all = ["index_url", "extra_index_url"])]
    no_index: bool,
    /// A directory or page with wheels; may be repeated
    #[arg(long, value_name = "DIR|URL")]
    find_links: Vec<String>,
    /// The cache directory [default: $XDG_CACHE_HOME/wheelbarrow, else ~/.cache/wheelbarrow]
    #[arg(long, value_name = "DIR", env = "WHEELBARROW_CACHE_DIR", hide_env_values = true)]
    cache_dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: BuildArguments, printer: &Printer) -> CommandResult<()> {
    wheelbarrow_build::end_descendants_with_this_process();
    let (dry_run, json) = (arguments.dry_run, arguments.json);
    let project = arguments.project.clone();
    let settings = Settings::load(&project)?;
    misplaced(&project).iter().for_each(|note| printer.note(note));
    let image = arguments.targets.in_container.clone();
    let options = options(arguments, settings, printer)?;
    #[cfg(target_os = "linux")]
    options.release.as_ref().map_or(Ok(()), wheelbarrow_release::Settings::check_declared)?;
    if let Some(image) = image {
        return contained::run(&contained::ContainedBuild::new(&image, &options));
    }
    let progress = Bar::new(printer);
    if dry_run {
        let prepared = wheelbarrow_build::prepare(&options, &progress)?;
        return report_plan(&prepared, json, printer);
    }
    let (prepared, packed) = wheelbarrow_build::build(&options, &progress)?;
    report(&prepared, &packed, json, printer)
}

/// Flags win over settings; lists of flags replace lists of settings.
fn options(arguments: BuildArguments, settings: Settings, printer: &Printer) -> CommandResult<BuildOptions> {
    let name = site_name(&arguments, &settings)?;
    let version = arguments.site_version.or(settings.version);
    if let Some(version) = version.as_ref().filter(|version| !is_version(version)) {
        let message = format!("{version:?} cannot be the version of a site");
        let hint = "at most 100 letters, digits, `.`, `-`, `_`, `+` and `!`; in CI: `--version \"${REF//\\//-}\"` for a branch with a slash";
        return Err(Refusal::project(message, hint).into());
    }
    let basename = arguments.basename.map(|path| with_zip(&path));
    let output = arguments.output.or(basename).or(settings.output);
    let default_output = output.is_none();
    let output = output.unwrap_or_else(|| {
        let version = version.as_ref().map(|version| format!("-{version}")).unwrap_or_default();
        PathBuf::from(format!("{name}{version}.zip"))
    });
    let requirements = arguments.requirements.into_iter().chain(arguments.requirements_file).collect();
    let named = NamedInputs { requirements, lock: arguments.lock };
    let set = match settings.lock {
        Some(lock) => NamedInputs { requirements: Vec::new(), lock: Some(lock) },
        None => NamedInputs { requirements: settings.requirements, lock: None },
    };
    let index = arguments.index;
    let pythons_are_named = !arguments.python.is_empty() || !arguments.extra_python.is_empty();
    let targets = arguments.targets.resolve(&settings.target, &settings.build, pythons_are_named)?;
    if arguments.targets.in_container.is_none() {
        targets.notes.iter().for_each(|note| printer.note(note));
    }
    let allow = allowances(settings.audit.allow.iter().chain(&arguments.allow))?;
    if arguments.targets.in_container.is_none() {
        let without = allow.iter().filter(|allowance| allowance.reason.is_none());
        let names = without.map(|allowance| format!("{}:{}", allowance.rule.id(), allowance.name));
        names.for_each(|name| {
            printer.note(&format!("{name} is allowed without a reason: `{name}=REASON` records one"))
        });
    }
    let collect = collect::request(&settings.build, settings.release.as_ref())?;
    let set_pythons = if targets.targets.is_empty() { settings.python } else { Vec::new() };
    Ok(BuildOptions {
        project: arguments.project,
        name,
        version,
        output: std::path::absolute(&output).context(|| format!("cannot find {}", output.display()))?,
        default_output,
        inputs: if named == NamedInputs::default() { set } else { named },
        with: either(arguments.with, settings.with),
        wanted: arguments.wanted.or((settings.extras, settings.groups)),
        pythons: either(arguments.python, set_pythons),
        extra_pythons: arguments.extra_python,
        targets: targets.targets,
        container: targets.container,
        container_engine: targets.engine,
        static_directories: either(arguments.static_directories, settings.static_directories),
        exclude: settings.exclude.into_iter().chain(arguments.exclude).collect(),
        install_project: if arguments.no_install_project { Some(false) } else { settings.install_project },
        import_path: arguments.import_path.or(settings.import_path),
        environment: settings.environment,
        release: settings.release,
        shebang: arguments.shebang.or(settings.shebang).unwrap_or_else(|| SHEBANG.to_owned()),
        with_python: arguments.with_python,
        source_date_epoch: std::env::var("SOURCE_DATE_EPOCH").ok(),
        installers: INSTALLERS.iter().map(installer).collect(),
        index: IndexOptions {
            index_url: index.index_url.or(settings.index_url),
            extra_index_urls: either(index.extra_index_url, settings.extra_index_url),
            find_links: either(index.find_links, settings.find_links),
            no_index: index.no_index,
            offline: index.offline,
            uv_cache: Some(Cache::place(index.cache_dir.as_deref()).join("uv")),
        },
        cache_dir: index.cache_dir,
        bytecode: arguments.bytecode.map(BytecodeMode::from).or(settings.bytecode).unwrap_or_default(),
        upgrade: arguments.upgrade,
        frozen: arguments.frozen,
        allow,
        collect,
    })
}

fn installer(own: &installers::Installer) -> Installer {
    let installers::Installer { machine, deflated, size, crc32, sha256 } = *own;
    let program = Deflated { bytes: Cow::Borrowed(deflated), size, crc32, sha256 };
    Installer { machine: machine.to_owned(), program }
}

fn either<T>(flags: Vec<T>, settings: Vec<T>) -> Vec<T> {
    if flags.is_empty() { settings } else { flags }
}

/// Letters of a name or a version: names of files, of units and of sockets contain both.
const LONGEST: usize = 100;
const NAME_HINT: &str = "`--name NAME` gives another: letters, digits, -, _ and .";

/// Normalised. From the flag, the settings, the ancestor's BASENAME, or the directory's name.
fn site_name(arguments: &BuildArguments, settings: &Settings) -> CommandResult<String> {
    let basename = arguments.basename.as_ref().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let given = arguments.name.clone().or_else(|| settings.name.clone()).or(basename);
    let name = match given {
        Some(name) => name,
        None => {
            let directory = arguments.project.canonicalize().unwrap_or_default();
            let own = wheelbarrow_build::own::declared_name(&directory);
            own.or_else(|| project::site_name(&directory)).ok_or_else(|| {
                let message = format!(
                    "the site has no name: that of its directory, {}, has no letter that is allowed",
                    directory.display()
                );
                Refusal::project(message, NAME_HINT)
            })?
        }
    };
    let is_long = name.len() > LONGEST;
    if is_long || !name::is_valid(&name) {
        let message = match is_long {
            true => format!("the name of the site has {} letters, more than {LONGEST}", name.chars().count()),
            false => format!("{name:?} cannot be the name of a site"),
        };
        return Err(Refusal::project(message, NAME_HINT).into());
    }
    Ok(name::normalise(&name))
}

/// Whether a file can have it in its name.
fn is_version(version: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || ".-_+!~".contains(letter);
    version.len() <= LONGEST && version.starts_with(char::is_alphanumeric) && version.chars().all(is_plain)
}

fn with_zip(basename: &Path) -> PathBuf {
    let mut path = basename.as_os_str().to_owned();
    path.push(".zip");
    PathBuf::from(path)
}

fn report(prepared: &PreparedBuild, packed: &Packed, json: bool, printer: &Printer) -> CommandResult<()> {
    let manifest = &prepared.plan.manifest;
    if json {
        return printer.json(&json!({
            "path": packed.path,
            "size": packed.size,
            "sha256": packed.sha256().map_err(BuildError::from)?,
            "name": manifest.name,
            "version": manifest.version,
            "lock": prepared.lock,
            "targets": manifest.targets,
            "findings": prepared.findings,
        }));
    }
    if prepared.resolved {
        printer.note(&format!("locked in {}", prepared.lock.display()));
    }
    if printer.is_verbose() {
        printer.detail(&format!("SHA-256 {}", packed.sha256().map_err(BuildError::from)?));
    }
    printer.done(&format!(
        "built {} ({}; {})",
        packed.path.display(),
        text::bytes(packed.size),
        purpose(&prepared.plan)
    ));
    Ok(())
}

fn report_plan(prepared: &PreparedBuild, json: bool, printer: &Printer) -> CommandResult<()> {
    let plan = &prepared.plan;
    if json {
        let members: Vec<_> = plan
            .members
            .iter()
            .map(|member| json!({ "path": member.path, "kind": member.kind, "size": member.source.size() }))
            .collect();
        let lock = &prepared.lock;
        return printer.json(&json!({
            "path": prepared.output, "lock": lock, "targets": plan.manifest.targets, "members": members,
            "findings": prepared.findings,
        }));
    }
    for member in &plan.members {
        let size = text::bytes(member.source.size());
        let built = if matches!(member.source, MemberSource::Wheel { .. }) { " (as it is)" } else { "" };
        printer.result(&format!("{size:>10}  {}{built}", member.path));
    }
    printer.done(&format!("would write {} ({})", prepared.output.display(), purpose(plan)));
    Ok(())
}

/// `12 wheels; Python 3.11, 3.12`
fn purpose(plan: &Plan) -> String {
    let mut pythons: Vec<_> = plan.manifest.targets.iter().map(|target| target.python.as_str()).collect();
    pythons.dedup();
    let wheels = plan.manifest.wheels.iter().filter(|wheel| wheel.path.starts_with("wheels/")).count();
    format!("{}; Python {}", text::count(wheels, "wheel"), pythons.join(", "))
}
