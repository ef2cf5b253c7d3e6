//! What the index reports of a project: PEP 792.

use crate::finding::{Finding, Rule};
use crate::status::{ProjectStatus, StatusMarker};
use crate::subject::Subject;

pub(crate) fn judge(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for wheel in &subject.wheels {
        let Some(status) = subject.statuses.get(&wheel.open.filename().name) else { continue };
        let ProjectStatus { marker, reason } = status;
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let is = |marker: &str| format!("the project is {marker} on its index{why}");
        findings.push(match marker {
            StatusMarker::Archived => Finding::warning(Rule::ProjectStatus, wheel, is("archived"))
                .hint("no security updates are expected: look for a maintained project"),
            StatusMarker::Deprecated => Finding::warning(Rule::ProjectStatus, wheel, is("deprecated"))
                .hint("look for the project that replaces it"),
            StatusMarker::Quarantined => Finding::error(Rule::ProjectStatus, wheel, is("quarantined"))
                .hint("the index considers it unsafe, as malware is: remove it, and read the project's page on the index"),
        });
    }
}
