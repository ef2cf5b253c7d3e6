//! Rules for the metadata of a wheel.

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};
use wheelbarrow_wheel::name;

use crate::finding::{Finding, Rule, cut};
use crate::read::{AuditedWheel, Modules, site_packages};
use crate::subject::Subject;

/// More are not worth the lines.
const MOST_LIES: usize = 3;

/// Bytes of one that are shown.
const LONGEST_LIE: usize = 500;

pub(crate) fn judge(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let tags = subject.floor.tags();
    for wheel in &subject.wheels {
        if let Some(why) = tags.as_ref().and_then(|tags| tags.explain(&wheel.open.filename().tags)) {
            let hint = "use another version, or build the wheel from its source for the target";
            findings.push(Finding::error(Rule::Tag, wheel, why.to_string()).hint(hint));
        }
        pure(wheel, findings);
        record(wheel, findings);
        metadata(wheel, subject, findings);
        yanked(wheel, subject, findings);
    }
    entry_points(subject, findings);
}

/// A wheel for any system that holds programs for one.
fn pure(wheel: &AuditedWheel<'_>, findings: &mut Vec<Finding>) {
    let all_any = wheel.open.filename().tags.iter().all(|tag| tag.platform == "any");
    if let (true, Some(first)) = (all_any, wheel.facts.elf.first()) {
        let what =
            format!("its name is for any system, but it contains a program for {}", first.facts.machine);
        findings.push(Finding::warning(Rule::Tag, wheel, what).file(&first.path));
    }
}

fn record(wheel: &AuditedWheel<'_>, findings: &mut Vec<Finding>) {
    let lies = &wheel.facts.record;
    if lies.is_empty() {
        return;
    }
    let more = match lies.len() {
        count if count > MOST_LIES => format!("; and {} more", count - MOST_LIES),
        _ => String::new(),
    };
    let shown: Vec<_> = lies.iter().take(MOST_LIES).map(|lie| cut(lie, LONGEST_LIE)).collect();
    let what = format!("its RECORD is not true: {}{more}", shown.join("; "));
    let hint = "the wheel was altered, or made by a broken tool: use another version";
    findings.push(Finding::error(Rule::Record, wheel, what).hint(hint));
}

fn metadata(wheel: &AuditedWheel<'_>, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let filename = wheel.open.filename();
    let mut wrong = |what: String| {
        let hint = "use another version, or build the wheel from its source";
        findings.push(Finding::error(Rule::Metadata, wheel, what).hint(hint));
    };
    let metadata = match &wheel.metadata {
        Ok(metadata) => metadata,
        Err(why) => return wrong(why.clone()),
    };
    if name::normalise(&metadata.name) != filename.name {
        wrong(format!("its METADATA has the name {}", metadata.name));
    }
    match Version::from_str(&metadata.version) {
        Ok(version) if version == filename.version => {}
        Ok(_) => wrong(format!("its METADATA has the version {}", metadata.version)),
        Err(_) => wrong(format!("METADATA has `{}`, which is no version", metadata.version)),
    }
    let Some(wanted) = &metadata.requires_python else { return };
    match VersionSpecifiers::from_str(wanted) {
        Err(_) => {
            let what = format!("METADATA has `Requires-Python: {wanted}`, which cannot be read");
            findings.push(Finding::warning(Rule::Metadata, wheel, what));
        }
        Ok(specifiers) => {
            if !subject.floor.versions().iter().any(|version| specifiers.contains(version)) {
                let (major, minor) = subject.floor.python;
                let what = format!("it requires Python {wanted}; the target is Python {major}.{minor}");
                let hint = "use a version for this Python";
                findings.push(Finding::error(Rule::RequiresPython, wheel, what).hint(hint));
            }
        }
    }
}

fn yanked(wheel: &AuditedWheel<'_>, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let filename = wheel.open.filename();
    let key = (filename.name.clone(), filename.version.to_string());
    let Some(reason) = subject.yanked.get(&key) else { return };
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    findings.push(Finding::warning(Rule::Yanked, wheel, format!("its authors took this version back{why}")));
}

/// A script may start another distribution's module.
fn entry_points(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let dead = subject.wheels.iter().any(|wheel| !wheel.facts.entry_points.is_empty());
    if !dead {
        return;
    }
    let paths = subject.wheels.iter().flat_map(|wheel| site_packages(&wheel.open).map(|(path, _)| path));
    let modules = Modules::of_paths(paths);
    let in_code = |module| subject.site.as_ref().is_some_and(|site| site.modules.contains(module));
    for wheel in &subject.wheels {
        for point in &wheel.facts.entry_points {
            let (script, module) = (&point.name, &point.module);
            let what = match &point.attribute {
                Some(attribute) => {
                    format!("the script {script} calls {module}:{attribute}, which is not in that module")
                }
                None if subject.site.is_none() || modules.contains(module) || in_code(module) => continue,
                None => format!("the script {script} calls {module}, a module that no wheel has"),
            };
            findings.push(Finding::warning(Rule::EntryPoint, wheel, what));
        }
    }
}
