//! Checks wheels against a baseline.

use serde::Serialize;
use wheelbarrow_artifact::manifest::{Collision, Needs, Unpacked};

use crate::allow::{Allowance, NO_REASON};
use crate::bundled::BundledPython;
use crate::finding::{Finding, Rule, Severity};
use crate::needs::needs;
use crate::rules::{self, collisions::WrittenPaths};
use crate::subject::Subject;

/// What was found, of one floor.
pub struct Audited {
    /// Errors first; those that are allowed last.
    pub findings: Vec<Finding>,
    /// What the wheels write, for a whole site.
    pub unpacked: Unpacked,
    /// Paths that several wheels write, and that are allowed.
    pub collisions: Vec<Collision>,
    /// What the ELF files need of the system.
    pub needs: Needs,
    /// Wheels that were judged, pip not counted.
    pub wheels: usize,
    pub elf_files: usize,
}

/// What was found, for people and for `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The floor.
    pub target: String,
    pub wheels: usize,
    pub elf_files: usize,
    /// The bundled Python of an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<BundledPython>,
    pub needs: Needs,
    pub findings: Vec<Finding>,
}

/// Applies every rule.
pub fn audit(subject: &Subject<'_>, allowances: &[Allowance]) -> Audited {
    let (mut findings, written) = judge(subject, allowances);
    // The rule for collisions has looked for its allowances itself.
    for finding in findings.iter_mut().filter(|finding| finding.rule != Rule::Collision) {
        if let Some(allowance) = allowances.iter().find(|allowance| allowance.allows(finding)) {
            finding.allowed = Some(allowance.reason.clone().unwrap_or_else(|| NO_REASON.to_owned()));
        }
    }
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| {
            (
                finding.allowed.is_some(),
                finding.severity,
                finding.rule,
                finding.wheel.clone(),
                finding.file.clone(),
            )
        };
        key(one).cmp(&key(other))
    });
    Audited {
        findings,
        unpacked: written.unpacked,
        collisions: written.collisions,
        needs: total_needs(subject, allowances),
        wheels: subject.wheels.len(),
        elf_files: subject.wheels.iter().map(|wheel| wheel.facts.elf.len()).sum(),
    }
}

/// Every path of a site takes as long to compare as all the rest, so that has its own thread.
fn judge(subject: &Subject<'_>, allowances: &[Allowance]) -> (Vec<Finding>, WrittenPaths) {
    let mut findings = Vec::new();
    let site = subject.site.as_ref();
    let paths = || {
        let mut findings = Vec::new();
        let written = site.map(|site| rules::collisions::judge(subject, site, allowances, &mut findings));
        (findings, written.unwrap_or_default())
    };
    let ((together, written), ()) = wheelbarrow_artifact::both(paths, || {
        rules::elf::judge(subject, &mut findings);
        rules::python::judge(subject, &mut findings);
        rules::wheel::judge(subject, &mut findings);
        rules::status::judge(subject, &mut findings);
        if let Some(site) = site {
            rules::requirements::judge(subject, site, &mut findings);
        }
    });
    findings.extend(together);
    (findings, written)
}

fn total_needs(subject: &Subject<'_>, allowances: &[Allowance]) -> Needs {
    let (mut total, mut libraries) = (Needs::default(), Vec::new());
    // Sorted once: adding sorts all libraries anew.
    for mut needs in needs(subject, allowances) {
        libraries.append(&mut needs.libraries);
        total.add(&needs);
    }
    total.add(&Needs { libraries, ..Needs::default() });
    total
}

impl Audited {
    /// Whether the wheels may be packed.
    pub fn is_ok(&self) -> bool {
        !self.findings.iter().any(Finding::refuses)
    }

    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Warning && finding.allowed.is_none())
    }

    pub fn into_report(self, target: &str) -> Report {
        let Self { findings, needs, wheels, elf_files, .. } = self;
        Report { target: target.to_owned(), wheels, elf_files, interpreter: None, needs, findings }
    }
}

impl Report {
    pub fn is_ok(&self) -> bool {
        !self.findings.iter().any(Finding::refuses)
    }

    /// Whether a wheel is not what it says.
    pub fn is_broken(&self) -> bool {
        self.findings.iter().any(|finding| finding.refuses() && finding.rule == Rule::Record)
    }
}
