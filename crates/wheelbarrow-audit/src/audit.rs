//! Judging wheels against a floor.

use std::collections::BTreeMap;

use serde::Serialize;
use wheelbarrow_artifact::manifest::{Needs, Unpacked};

use crate::allow::Allowance;
use crate::finding::{Finding, Rule, Severity};
use crate::floor::Floor;
use crate::needs::needs;
use crate::read::AuditedWheel;
use crate::rules;

/// What is judged.
pub struct Subject<'a> {
    pub floor: &'a Floor,
    pub wheels: Vec<&'a AuditedWheel<'a>>,
    /// Whether these are all the wheels of a site, and what else is in it; otherwise what one wheel asks of others is
    /// not judged.
    pub site: Option<Site<'a>>,
    /// Why a version was taken back, by distribution and version, as far as somebody said.
    pub yanked: &'a BTreeMap<(String, String), String>,
}

/// What is in a virtualenv beside the wheels.
pub struct Site<'a> {
    /// Goes in too, unless one of the wheels is a pip.
    pub pip: Option<&'a AuditedWheel<'a>>,
    /// The file that puts the code on `sys.path`.
    pub pth: Option<String>,
}

/// What was found, of one floor.
pub struct Audited {
    /// Errors first; those that are allowed last.
    pub findings: Vec<Finding>,
    /// What the wheels write, for a whole site.
    pub unpacked: Unpacked,
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
    pub needs: Needs,
    pub findings: Vec<Finding>,
}

/// Applies every rule.
pub fn audit(subject: &Subject<'_>, allowances: &[Allowance]) -> Audited {
    let mut findings = Vec::new();
    rules::elf::judge(subject, &mut findings);
    rules::python::judge(subject, &mut findings);
    rules::wheel::judge(subject, &mut findings);
    let mut unpacked = Unpacked::default();
    if let Some(site) = &subject.site {
        rules::requirements::judge(subject, site, &mut findings);
        unpacked = rules::collisions::judge(subject, site, &mut findings);
    }
    for finding in findings.iter_mut().filter(|finding| finding.rule != Rule::Collision) {
        if let Some(allowance) = allowances.iter().find(|allowance| allowance.allows(finding)) {
            finding.allowed = Some(allowance.reason.clone().unwrap_or_else(|| "no reason given".to_owned()));
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
        unpacked,
        needs: total_needs(subject, allowances),
        wheels: subject.wheels.len(),
        elf_files: subject.wheels.iter().map(|wheel| wheel.facts.elf.len()).sum(),
    }
}

fn total_needs(subject: &Subject<'_>, allowances: &[Allowance]) -> Needs {
    let mut total = Needs::default();
    for wheel in &subject.wheels {
        total.add(&needs(wheel, subject, allowances));
    }
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
        Report { target: target.to_owned(), wheels, elf_files, needs, findings }
    }
}

impl Report {
    pub fn is_ok(&self) -> bool {
        !self.findings.iter().any(Finding::refuses)
    }
}
