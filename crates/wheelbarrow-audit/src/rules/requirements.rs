//! Checks the requirements of the wheels among each other, as `pip check` does, with the markers of the
//! target and the extras that the wheels require.
//! <https://packaging.python.org/en/latest/specifications/dependency-specifiers/>

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use pep508_rs::{ExtraName, MarkerEnvironment, Requirement, VersionOrUrl};
use wheelbarrow_wheel::name::has_whole_names;
use wheelbarrow_wheel::pep440_rs::Version;

use crate::finding::{Finding, Rule};
use crate::floor::Floor;
use crate::read::AuditedWheel;
use crate::subject::{Site, Subject};

pub(crate) fn judge(subject: &Subject<'_>, site: &Site<'_>, findings: &mut Vec<Finding>) {
    let wheels: Vec<_> = subject.wheels.iter().copied().chain(site.pip).collect();
    let graph = RequirementGraph::new(subject.floor, &wheels);
    for (place, text) in &graph.unreadable {
        let what = format!("METADATA has `Requires-Dist: {text}`, which cannot be read");
        findings.push(Finding::warning(Rule::Metadata, wheels[*place], what));
    }
    for edge in &graph.edges {
        if site.pip.is_some_and(|pip| std::ptr::eq(pip, wheels[edge.from])) {
            continue;
        }
        let what = match &edge.to {
            Provider::By(_) => continue,
            Provider::Missing => format!("it requires {}, which is not there", edge.text),
            Provider::Other(version) => format!("it requires {}; there is {version}", edge.text),
        };
        let hint = if site.name == Some(edge.name.as_str()) {
            "that is the site itself, whose own distribution is not installed; `install-project = true` in the settings installs it"
        } else {
            "add the missing distribution to the requirements, or lock again so that the versions agree"
        };
        findings.push(Finding::error(Rule::Requirement, wheels[edge.from], what).hint(hint));
    }
}

/// Who requires whom.
pub(crate) struct RequirementGraph {
    pub(crate) edges: Vec<RequirementEdge>,
    /// Places of wheels, and their requirements that cannot be read.
    unreadable: Vec<(usize, String)>,
}

/// A requirement that holds on the target.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequirementEdge {
    /// Its place among the wheels.
    pub(crate) from: usize,
    /// Of what is required.
    name: String,
    /// As METADATA has it, without the marker.
    text: String,
    pub(crate) to: Provider,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Provider {
    By(usize),
    Missing,
    /// There in this version, which does not do.
    Other(String),
}

struct ParsedRequirement {
    requirement: Requirement,
    text: String,
}

impl RequirementGraph {
    pub(crate) fn new(floor: &Floor, wheels: &[&AuditedWheel<'_>]) -> Self {
        let mut unreadable = Vec::new();
        let mut parsed = Vec::with_capacity(wheels.len());
        for (place, wheel) in wheels.iter().enumerate() {
            let mut of_wheel = Vec::new();
            for text in wheel.metadata.iter().flat_map(|metadata| &metadata.requires_dist) {
                match has_whole_names(text).then(|| Requirement::from_str(text)) {
                    Some(Ok(requirement)) => {
                        let text = text.split(';').next().unwrap_or(text).trim().to_owned();
                        of_wheel.push(ParsedRequirement { requirement, text });
                    }
                    _ => unreadable.push((place, text.clone())),
                }
            }
            parsed.push(of_wheel);
        }
        let places: BTreeMap<&str, usize> = wheels
            .iter()
            .enumerate()
            .map(|(place, wheel)| (wheel.open.filename().name.as_str(), place))
            .collect();
        let markers = floor.markers();
        let extras = extras(&parsed, &places, &markers);
        let mut edges = BTreeSet::new();
        for (from, of_wheel) in parsed.iter().enumerate() {
            for ParsedRequirement { requirement, text } in
                of_wheel.iter().filter(|it| holds(it, &markers, &extras[from]))
            {
                let to = match places.get(requirement.name.as_ref() as &str) {
                    None => Provider::Missing,
                    Some(&to) => met(requirement, &wheels[to].open.filename().version, to),
                };
                edges.insert(RequirementEdge {
                    from,
                    name: requirement.name.to_string(),
                    text: text.clone(),
                    to,
                });
            }
        }
        Self { edges: edges.into_iter().collect(), unreadable }
    }
}

/// What wheels ask of each other's extras, until nothing more comes of it.
fn extras(
    parsed: &[Vec<ParsedRequirement>],
    places: &BTreeMap<&str, usize>,
    markers: &[MarkerEnvironment; 2],
) -> Vec<Vec<ExtraName>> {
    let mut extras: Vec<Vec<ExtraName>> = vec![Vec::new(); parsed.len()];
    loop {
        let mut grown = false;
        for (from, of_wheel) in parsed.iter().enumerate() {
            for it in of_wheel.iter().filter(|it| !it.requirement.extras.is_empty()) {
                let Some(&to) = places.get(it.requirement.name.as_ref() as &str) else { continue };
                if !holds(it, markers, &extras[from]) {
                    continue;
                }
                for extra in &it.requirement.extras {
                    if !extras[to].contains(extra) {
                        extras[to].push(extra.clone());
                        grown = true;
                    }
                }
            }
        }
        if !grown {
            return extras;
        }
    }
}

/// Whether it holds in every version that the target may have.
fn holds(it: &ParsedRequirement, markers: &[MarkerEnvironment; 2], extras: &[ExtraName]) -> bool {
    markers.iter().all(|environment| it.requirement.evaluate_markers(environment, extras))
}

fn met(requirement: &Requirement, version: &Version, place: usize) -> Provider {
    match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) if !specifiers.contains(version) => {
            Provider::Other(version.to_string())
        }
        _ => Provider::By(place),
    }
}
