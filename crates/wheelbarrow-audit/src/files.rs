//! Audits files: an artifact, or wheels.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::manifest::{Manifest, Target};
use wheelbarrow_base::progress::Progress;
use wheelbarrow_base::{Exit, Explain, MappedFile};
use wheelbarrow_platform::TargetSpec;

use crate::allow::Allowance;
use crate::audit::{Report, audit};
use crate::bundled::BundledPython;
use crate::finding::{Finding, Rule};
use crate::floor::{Floor, NoFloor};
use crate::read::{AuditedWheel, Modules, ReadError, Source, read};
use crate::subject::{Site, Subject};

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Wheel(#[from] ReadError),
    #[error(transparent)]
    NoFloor(#[from] NoFloor),
    #[error("{} is not for {wanted}, but for {}", path.display(), has.join(", "))]
    NotFor { path: PathBuf, wanted: String, has: Vec<String> },
}

impl Explain for AuditError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } => Exit::Failed,
            Self::Wheel(ReadError::Spool { source, .. }) => Exit::of_io(source),
            Self::NoFloor(_) => Exit::Usage,
            Self::Wheel(ReadError::Wheel(_) | ReadError::TooMuch { .. }) => Exit::Broken,
            Self::NotFor { .. } => Exit::Unfit,
            Self::Wheel(ReadError::Cancelled) => Exit::Stopped,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoFloor(_) => Some(
                "name the target: `--target debian-12`, `--target 3.11@manylinux_2_28_x86_64`".to_owned(),
            ),
            Self::NotFor { .. } => Some(
                "an artifact can be judged for other systems, but not for other Pythons than it has"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Judges each target of an artifact by what it says itself, or by `targets` where there are some. What was let pass when
/// it was built passes again.
pub fn audit_artifact(
    artifact: &Artifact,
    targets: &[TargetSpec],
    allowances: &[Allowance],
    progress: &dyn Progress,
) -> Result<Vec<Report>, AuditError> {
    let manifest = artifact.manifest();
    let mut sources = Vec::new();
    for wheel in &manifest.wheels {
        if let Some(entry) = artifact.archive().find(&wheel.path) {
            let filename = filename(&wheel.path).to_owned();
            let (map, range) = (artifact.archive().map(), entry.data.clone());
            sources.push(Source { filename, map, range, sha256: None });
        }
    }
    let read = read(&sources, None, progress)?;
    let allowed = manifest.allowed.iter().filter_map(Allowance::from_manifest);
    let allowances: Vec<_> = allowances.iter().cloned().chain(allowed).collect();
    let modules = code_modules(manifest);
    let pth = format!("{}.pth", manifest.project.directory);
    let own = manifest.interpreter.as_ref().map(|own| BundledPython::of(own, SystemTime::now()));
    let mut reports = Vec::new();
    for (target, floor) in floors(artifact, targets)? {
        let subject = Subject {
            floor: &floor,
            wheels: target.wheels.iter().filter_map(|path| read.get(filename(path))).collect(),
            site: Some(Site {
                name: Some(&manifest.name),
                pip: read.get(filename(&target.pip)),
                pth: Some(pth.clone()),
                modules: &modules,
            }),
            yanked: &BTreeMap::new(),
            statuses: &BTreeMap::new(),
        };
        let mut report = audit(&subject, &allowances).into_report(&floor.name);
        report.findings.iter_mut().for_each(|finding| hint_of_accepted(finding, target));
        report.findings.extend(own.as_ref().and_then(|own| own.finding(&allowances)));
        report.interpreter.clone_from(&own);
        reports.push(report);
    }
    Ok(reports)
}

/// The build may have accepted a library because `libraries` of its target names it. The manifest has what the servers are
/// checked for, and not why it was accepted, so another target is judged without it.
fn hint_of_accepted(finding: &mut Finding, target: &Target) {
    let library = finding.library.as_ref().filter(|library| target.needs.libraries.contains(library));
    if let (Rule::ElfLibrary, Some(library)) = (finding.rule, library) {
        finding.hint = Some(format!(
            "the build accepted it, and each install checks the server for it; if the servers of this target have it: `--allow \
             elf-library:{library}=REASON`"
        ));
    }
}

/// Names of the modules that the site's code has on `sys.path`.
fn code_modules(manifest: &Manifest) -> Modules {
    let import_path = format!("{}/", manifest.project.import_path);
    let below = manifest.members.iter().filter_map(|member| member.path.strip_prefix(&import_path));
    Modules::of_paths(below)
}

fn filename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The artifact's targets, and what each is judged by.
fn floors<'a>(artifact: &'a Artifact, specs: &[TargetSpec]) -> Result<Vec<(&'a Target, Floor)>, AuditError> {
    let targets = &artifact.manifest().targets;
    if specs.is_empty() {
        return Ok(targets.iter().map(|target| (target, own_floor(target))).collect());
    }
    let mut floors = Vec::new();
    for spec in specs {
        let target = targets.iter().find(|target| target.abi == spec.python.abi()).ok_or_else(|| {
            AuditError::NotFor {
                path: artifact.path().to_path_buf(),
                wanted: format!("Python {}", spec.python),
                has: targets.iter().map(|target| format!("Python {}", target.python)).collect(),
            }
        })?;
        floors.push((target, Floor::from(spec)));
    }
    Ok(floors)
}

/// The narrowest system that it says it is for. Which one it was built for it does not say: the libraries that it needs
/// were found there, or the build would have been refused, and servers are asked for them.
fn own_floor(target: &Target) -> Floor {
    let mut floor = Floor::new(target.python.numbers(), &target.abi, target.platform.platform());
    floor.libraries.extend(target.needs.libraries.iter().cloned());
    floor.compilers = None;
    floor
}

/// Judges wheels by what their names promise, or by `targets`. Several are judged as one set.
pub fn audit_wheels(
    paths: &[PathBuf],
    targets: &[TargetSpec],
    allowances: &[Allowance],
    progress: &dyn Progress,
) -> Result<Vec<Report>, AuditError> {
    let maps: Vec<_> = paths.iter().map(|path| map(path)).collect::<Result<_, _>>()?;
    let source = |(path, map)| -> Source<'_> {
        let (path, map): (&PathBuf, &MappedFile) = (path, map);
        let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let range = 0..map.len();
        Source { filename, map, range, sha256: None }
    };
    let sources: Vec<_> = paths.iter().zip(&maps).map(source).collect();
    let read = read(&sources, None, progress)?;
    let wheels: Vec<&AuditedWheel<'_>> = read.values().collect();
    let floors = if targets.is_empty() {
        let names: Vec<_> = wheels.iter().map(|wheel| wheel.open.filename()).collect();
        vec![Floor::promised(&names)?]
    } else {
        targets.iter().map(Floor::from).collect()
    };
    let judge = |floor: &Floor| {
        static NOTHING: Modules = Modules::NONE;
        let site = (wheels.len() > 1).then_some(Site { name: None, pip: None, pth: None, modules: &NOTHING });
        let subject = Subject {
            floor,
            wheels: wheels.clone(),
            site,
            yanked: &BTreeMap::new(),
            statuses: &BTreeMap::new(),
        };
        audit(&subject, allowances).into_report(&floor.name)
    };
    Ok(floors.iter().map(judge).collect())
}

fn map(path: &Path) -> Result<MappedFile, AuditError> {
    MappedFile::open(path).map_err(|source| AuditError::Read { path: path.to_path_buf(), source })
}
