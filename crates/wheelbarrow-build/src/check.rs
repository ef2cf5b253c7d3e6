//! Checks the wheels before an artifact is written: the audit of every target.
//!
//! [`wheelbarrow_audit`] has the rules; here the wheels of the cache are mapped and read, refused findings
//! become an error, and the facts go into the manifest and the SBOM.

pub(crate) mod memory;
mod programs;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use fs_err as fs;
use memmap2::Mmap;
use wheelbarrow_artifact::manifest::{Allowed, Needs};
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_artifact::wheel::WheelError;
use wheelbarrow_artifact::zip::DosTime;
use wheelbarrow_audit::{
    Allowance, Audited, AuditedWheel, Finding, ReadError, Report, Rule, Site, Source, Subject, audit, needs,
    sbom,
};
use wheelbarrow_base::progress::Progress;
use wheelbarrow_platform::{Libc, Platform, RequiredPlatform, required_platform};
use wheelbarrow_wheel::name;

use memory::{CheckMemory, RecordingProgress};
use wheelbarrow_base::{Exit, Explain, SITE};

pub use programs::ServiceProgram;
pub use request::{CheckRequest, Checked, CheckedTarget, PackedTarget, PackedWheel};

/// Warnings of one build that are told one by one.
const MOST_WARNINGS: usize = 10;

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("cannot read the wheel {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Wheel(#[from] ReadError),
    #[error("the audit found errors:{}", each_refused(reports))]
    Refused { reports: Vec<Report> },
    #[error("two different wheels are called {filename}")]
    TwoOfOneName { filename: String },
    #[error(
        "the service {service} cannot run {word:?}: systemd and the shell would each read its characters in their own way"
    )]
    Run { service: String, word: String },
    #[error("the times `{schedule}` of the service `{service}` are not a calendar of systemd")]
    Schedule { service: String, schedule: String },
}

fn each_refused(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports.iter().filter(|report| !report.is_ok()) {
        let _ = write!(text, "\n  for {}", report.target);
        for finding in report.findings.iter().filter(|finding| finding.refuses()) {
            let _ = write!(text, "\n    {}:{}  {}", finding.rule, finding.name, finding.what);
            if let Some(hint) = &finding.hint {
                let _ = write!(text, "\n      {hint}");
            }
        }
    }
    text
}

impl Explain for CheckError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } => Exit::Failed,
            Self::Wheel(ReadError::Spool { source, .. }) => Exit::of_io(source),
            Self::Wheel(ReadError::Cancelled) => Exit::Stopped,
            Self::Wheel(ReadError::Wheel(_) | ReadError::TooMuch { .. }) => Exit::Broken,
            Self::Refused { reports } if reports.iter().any(Report::is_broken) => Exit::Broken,
            _ => Exit::Project,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { reports } => {
                let mut refused = reports.iter().flat_map(|report| &report.findings);
                // Their own hints name what can be allowed.
                let named = [Rule::Collision, Rule::ElfLibrary];
                let unnamed = refused.find(|finding| finding.refuses() && !named.contains(&finding.rule));
                match unnamed {
                    Some(Finding { rule, name, .. }) => format!(
                        "`--allow {rule}:{name}=REASON` accepts a finding; the rules are in {SITE}reference/audit/"
                    ),
                    None => {
                        format!("the rules, and how to fix or allow a finding, are in {SITE}reference/audit/")
                    }
                }
            }
            Self::TwoOfOneName { .. } => {
                "they were built for different systems: build one artifact for each".to_owned()
            }
            Self::Run { .. } => {
                "put the command into a script of the project, and run that: `run = \"sh run.sh\"`".to_owned()
            }
            Self::Schedule { .. } => format!(
                "write {}, or times such as `Mon..Fri 02:30`; `systemd-analyze calendar` checks them",
                programs::CALENDARS.join(", ")
            ),
            _ => return None,
        })
    }
}

impl From<WheelError> for CheckError {
    fn from(error: WheelError) -> Self {
        Self::Wheel(error.into())
    }
}

/// A wheel, mapped.
struct MappedWheel<'a> {
    wheel: &'a PackedWheel,
    map: Mmap,
}

/// Refuses a service whose command no unit can hold, or whose times no timer can.
pub(crate) fn refuse_unfit_services(release: Option<&ReleaseSettings>) -> Result<(), CheckError> {
    let owned = |(service, word): (&str, &str)| (service.to_owned(), word.to_owned());
    if let Some((service, word)) = programs::unfit(release).map(owned) {
        return Err(CheckError::Run { service, word });
    }
    match programs::unfit_schedule(release).map(owned) {
        Some((service, schedule)) => Err(CheckError::Schedule { service, schedule }),
        None => Ok(()),
    }
}

/// Audits every target. What was found good before, by this program, is not looked at again.
pub fn check(request: &CheckRequest<'_>, progress: &dyn Progress) -> Result<Checked, CheckError> {
    let memory = CheckMemory::of(request);
    if let Some(checked) = memory.recall(progress) {
        return Ok(checked);
    }
    let listening = RecordingProgress::to(progress);
    let checked = run_check(request, &listening)?;
    memory.keep(&checked, request, listening.into_notes());
    Ok(checked)
}

fn run_check(request: &CheckRequest<'_>, progress: &dyn Progress) -> Result<Checked, CheckError> {
    let mapped = map_wheels(request.targets)?;
    let sources: Vec<_> = mapped.values().map(source).collect();
    let read = wheelbarrow_audit::read(&sources, request.cache, progress)?;
    let subjects: Vec<_> = request.targets.iter().map(|target| subject(target, &read, request)).collect();
    let audited: Vec<_> = subjects.iter().map(|subject| audit(subject, request.allowances)).collect();
    if !audited.iter().all(Audited::is_ok) {
        let reports = audited.into_iter().zip(request.targets);
        let reports = reports.map(|(audited, target)| audited.into_report(&target.floor.name)).collect();
        return Err(CheckError::Refused { reports });
    }
    tell_warnings(&audited, progress);
    programs::missing(request.programs, &subjects).iter().for_each(|warning| progress.note(warning));
    let targets = subjects.iter().zip(&audited).map(|(subject, audited)| CheckedTarget {
        platform: platform(subject, &audited.needs),
        unpacked: audited.unpacked,
        needs: audited.needs.clone(),
        collisions: audited.collisions.clone(),
    });
    let targets: Vec<_> = targets.collect();
    let bill = bill(request, &targets, &mapped, &subjects);
    Ok(Checked {
        needs: each_needs(&subjects, request.allowances),
        allowed: used(&audited, request, progress),
        findings: each_once(&audited),
        sbom: sbom::write(&bill),
        targets,
    })
}

/// Each wheel once, by its name in the artifact.
fn map_wheels(targets: &[PackedTarget]) -> Result<BTreeMap<&str, MappedWheel<'_>>, CheckError> {
    let mut mapped: BTreeMap<&str, MappedWheel<'_>> = BTreeMap::new();
    for wheel in targets.iter().flat_map(|target| target.wheels.iter().chain([&target.pip])) {
        if let Some(other) = mapped.get(wheel.filename.as_str()) {
            if other.wheel.sha256 != wheel.sha256 {
                return Err(CheckError::TwoOfOneName { filename: wheel.filename.clone() });
            }
            continue;
        }
        let read_error = |source| CheckError::Read { path: wheel.path.clone(), source };
        let file = fs::File::open(&wheel.path).map_err(read_error)?;
        // SAFETY: the map is read-only, and files of the cache are replaced by renaming, never written to in place.
        let map = unsafe { Mmap::map(file.file()) }.map_err(read_error)?;
        mapped.insert(&wheel.filename, MappedWheel { wheel, map });
    }
    Ok(mapped)
}

fn source<'m>(mapped: &'m MappedWheel<'_>) -> Source<'m> {
    Source {
        filename: mapped.wheel.filename.clone(),
        map: &mapped.map,
        range: 0..mapped.map.len(),
        sha256: Some(mapped.wheel.sha256),
    }
}

fn subject<'a>(
    target: &'a PackedTarget,
    read: &'a BTreeMap<String, AuditedWheel<'a>>,
    request: &CheckRequest<'a>,
) -> Subject<'a> {
    Subject {
        floor: &target.floor,
        wheels: target.wheels.iter().map(|wheel| &read[&wheel.filename]).collect(),
        site: Some(Site {
            name: Some(request.name),
            pip: Some(&read[&target.pip.filename]),
            pth: Some(request.pth.to_owned()),
            modules: request.modules,
        }),
        yanked: request.yanked,
        statuses: request.statuses,
    }
}

/// The narrowest that the names of the wheels promise, or what their files really need where that is more.
fn platform(subject: &Subject<'_>, needs: &Needs) -> RequiredPlatform {
    let named = subject.floor.tags().zip(subject.floor.libc()).and_then(|(tags, libc)| {
        let wheels = subject.wheels.iter().map(|wheel| wheel.open.filename().tags.as_slice());
        required_platform(wheels.filter(|wheel| tags.rank(wheel).is_some()), &tags, libc)
    });
    let named = named.unwrap_or_else(RequiredPlatform::any);
    let least = named.platform().map(|platform| platform.libc());
    let Some(Libc::Glibc(..)) = least else { return named };
    let (Some(&[major, minor]), Some(floor)) = (needs.glibc_version().as_deref(), &subject.floor.platform)
    else {
        return named;
    };
    // More than the target has was let in by hand; the server then says which wheel that is.
    let libc = Libc::Glibc(major, minor);
    if Some(libc) > least && libc <= floor.libc() {
        return Platform::Linux { machine: floor.machine().to_owned(), libc }.into();
    }
    named
}

fn each_needs(subjects: &[Subject<'_>], allowances: &[Allowance]) -> BTreeMap<String, Needs> {
    let mut each: BTreeMap<String, Needs> = BTreeMap::new();
    for subject in subjects {
        for (wheel, needs) in subject.wheels.iter().zip(needs(subject, allowances)) {
            each.entry(wheel.open.filename().to_string()).or_default().add(&needs);
        }
    }
    each
}

/// The allowances without which something would have been refused or told.
fn used(audited: &[Audited], request: &CheckRequest<'_>, progress: &dyn Progress) -> Vec<Allowed> {
    let found = |allowance: &&Allowance| {
        let findings = audited.iter().flat_map(|audited| &audited.findings);
        findings.into_iter().any(|finding| allowance.allows(finding))
    };
    // A library that is promised needs no allowance to go in, but one not to be looked for on the server.
    // A Python gets old after the build. An index need not answer, and the artifact must not depend on that.
    let stays = |allowance: &&Allowance| match allowance.rule {
        Rule::ElfLibrary => true,
        Rule::PythonAge => request.interpreter.is_some(),
        Rule::ProjectStatus => {
            let mut wheels = request.targets.iter().flat_map(|target| &target.wheels);
            wheels.any(|wheel| wheel.name == name::normalise(&allowance.name))
        }
        _ => false,
    };
    let (used, unused): (Vec<_>, Vec<_>) =
        request.allowances.iter().partition(|allowance| found(allowance) || stays(allowance));
    for allowance in unused {
        progress.note(&format!("the allowance {}:{} matches no finding", allowance.rule, allowance.name));
    }
    used.into_iter().map(Allowance::to_manifest).collect()
}

fn each_once(audited: &[Audited]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for finding in audited.iter().flat_map(|audited| &audited.findings) {
        if !findings.contains(finding) {
            findings.push(finding.clone());
        }
    }
    findings
}

fn tell_warnings(audited: &[Audited], progress: &dyn Progress) {
    let mut told = BTreeSet::new();
    let mut warnings: Vec<_> = audited.iter().flat_map(Audited::warnings).collect();
    // An audit of the artifact does not ask an index, so these are reported here or nowhere.
    warnings.sort_by_key(|finding| !matches!(finding.rule, Rule::Yanked | Rule::ProjectStatus));
    let warnings: Vec<_> = warnings
        .into_iter()
        .map(|finding| format!("{}:{}: {}", finding.rule, finding.name, finding.what))
        .filter(|text| told.insert(text.clone()))
        .collect();
    warnings.iter().take(MOST_WARNINGS).for_each(|warning| progress.note(warning));
    if warnings.len() > MOST_WARNINGS {
        let more = warnings.len() - MOST_WARNINGS;
        progress.note(&format!("{more} more warnings; `wheelbarrow audit ARTIFACT` lists all"));
    }
}

fn bill<'a>(
    request: &CheckRequest<'a>,
    targets: &[CheckedTarget],
    mapped: &'a BTreeMap<&str, MappedWheel<'_>>,
    subjects: &'a [Subject<'a>],
) -> sbom::Bill<'a> {
    let files = mapped.iter().map(|(filename, mapped)| {
        let wheel = mapped.wheel;
        let origin =
            sbom::Origin { sha256: wheel.sha256, direct_url: wheel.direct_url.as_ref(), built: wheel.built };
        (*filename, origin)
    });
    let targets = request.targets.iter().zip(targets);
    let targets = targets.map(|(target, found)| {
        let system = if found.platform == "any" { "any system" } else { &found.platform };
        format!("Python {} on {system}", target.python)
    });
    sbom::Bill {
        targets: targets.collect(),
        name: request.name,
        version: request.version,
        timestamp: (request.time != DosTime::FIRST).then(|| request.time.to_string()),
        subjects,
        origins: files.collect(),
        interpreter: request.interpreter,
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
