//! The page of one artifact.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::bytecode::BYTECODE;
use wheelbarrow_artifact::manifest::{Allowed, Manifest, NATIVE, Needs};
use wheelbarrow_artifact::thin::is_of_project;
use wheelbarrow_audit::Report;

use super::html::Html;
use super::parts::{Column, facts, page as whole, section, table};
use super::treemap::{Area, squarify};
use crate::text::{bytes, count};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;

/// What a part of an artifact is, which is its colour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pure,
    Compiled,
    Code,
    Bytecode,
    Other,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Pure, Self::Compiled, Self::Code, Self::Bytecode, Self::Other];

    fn class(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Compiled => "compiled",
            Self::Code => "code",
            Self::Bytecode => "bytecode",
            Self::Other => "other",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pure => "wheels of Python only",
            Self::Compiled => "wheels with compiled modules",
            Self::Code => "code and static files",
            Self::Bytecode => "bytecode",
            Self::Other => "installer and lists",
        }
    }
}

/// What is told apart in the picture.
struct Part {
    name: String,
    kind: Kind,
    /// In the artifact, compressed.
    bytes: u64,
}

/// The page. `sbom` is the artifact's own, `reports` are what an audit of it says.
pub(crate) fn page(artifact: &Artifact, sbom: Option<&Value>, reports: &[Report]) -> String {
    let manifest = artifact.manifest();
    let version = manifest.version.as_deref().unwrap_or("without a version");
    let title = format!("{} {version}", manifest.name);
    let parts = [
        overview(artifact),
        section("Size by distribution", treemap(&parts(artifact))),
        section("Targets and wheels", matrix(manifest)),
        section("What the audit says", findings(reports)),
        section("What was allowed at the build", allowed(&manifest.allowed)),
        section("Licences", licences(sbom)),
    ];
    whole(&title, parts)
}

fn overview(artifact: &Artifact) -> Html {
    let manifest = artifact.manifest();
    let mut rows = vec![
        ("file", format!("{}, {}", artifact.path().display(), bytes(artifact.size()))),
        ("built by", manifest.built_by.clone()),
        ("code", format!("{}, SHA-256 {}", manifest.project.directory, manifest.project.digest)),
    ];
    for target in &manifest.targets {
        let (python, abi, platform) = (&target.python, &target.abi, &target.platform);
        let (wheels, unpacked) = (count(target.wheels.len(), "wheel"), bytes(target.unpacked.bytes));
        rows.push((
            "target",
            format!("Python {python} ({abi}) on {platform}: {wheels}, {unpacked} installed"),
        ));
        if !target.needs.is_empty() {
            rows.push(("needs", needs(&target.needs)));
        }
    }
    if !artifact.left_out().is_empty() {
        rows.push(("left out", count(artifact.left_out().len(), "file")));
    }
    facts(rows)
}

/// `glibc 2.28, libz.so.1`
pub(crate) fn needs(needs: &Needs) -> String {
    let glibc = needs.glibc.as_ref().map(|version| format!("glibc {version}"));
    let cpu = needs.cpu.map(|cpu| cpu.to_string());
    cpu.into_iter().chain(glibc).chain(needs.libraries.iter().cloned()).collect::<Vec<_>>().join(", ")
}

/// The largest first.
fn parts(artifact: &Artifact) -> Vec<Part> {
    let manifest = artifact.manifest();
    let wheels = manifest.wheels_by_path();
    let mut found: BTreeMap<(String, Kind), u64> = BTreeMap::new();
    for entry in artifact.archive().entries() {
        let path = entry.name.as_str();
        let part = match wheels.get(path) {
            Some(wheel) => {
                let is_pure = path.ends_with("-none-any.whl");
                (wheel.name.clone(), if is_pure { Kind::Pure } else { Kind::Compiled })
            }
            None if path.starts_with(BYTECODE) => ("bytecode".to_owned(), Kind::Bytecode),
            None if path.starts_with("static.in/") => ("static files".to_owned(), Kind::Code),
            None if is_of_project(path) => (manifest.project.directory.clone(), Kind::Code),
            None if path.starts_with(NATIVE) => ("standalone installer".to_owned(), Kind::Other),
            None => ("everything else".to_owned(), Kind::Other),
        };
        *found.entry(part).or_default() += entry.data.len() as u64;
    }
    let mut parts: Vec<Part> =
        found.into_iter().map(|((name, kind), bytes)| Part { name, kind, bytes }).collect();
    parts.sort_by_key(|part| Reverse(part.bytes));
    parts
}

fn treemap(parts: &[Part]) -> Html {
    let sizes: Vec<u64> = parts.iter().map(|part| part.bytes).collect();
    let total: u64 = sizes.iter().sum();
    let areas = squarify(&sizes, Area { x: 0.0, y: 0.0, width: WIDTH, height: HEIGHT });
    let cells =
        parts.iter().zip(areas).filter(|(part, _)| part.bytes > 0).map(|(part, area)| cell(part, area));
    let view = format!("0 0 {WIDTH} {HEIGHT}");
    let label = format!("{} in {}", bytes(total), count(parts.len(), "part"));
    let picture =
        Html::element("svg", &[("viewBox", &view), ("role", "img"), ("aria-label", &label)], cells.collect());
    let key = Kind::ALL.into_iter().map(|kind| {
        let size = parts.iter().filter(|part| part.kind == kind).map(|part| part.bytes).sum();
        let mark = Html::element("span", &[("class", kind.class())], Html::default());
        let text = Html::text(format!("{}, {}", kind.name(), bytes(size)));
        Html::element("li", &[], [mark, text].into_iter().collect())
    });
    [picture, Html::element("ul", &[("class", "key")], key.collect())].into_iter().collect()
}

fn cell(part: &Part, area: Area) -> Html {
    let Area { x, y, width, height } = area;
    let [left, top, wide, high] = [x, y, width, height].map(|number| format!("{number:.2}"));
    let rectangle = Html::element(
        "rect",
        &[("x", &left), ("y", &top), ("width", &wide), ("height", &high), ("class", part.kind.class())],
        Html::default(),
    );
    let size = bytes(part.bytes);
    let mut inner = vec![Html::tag("title", format!("{}, {size}", part.name)), rectangle];
    // About 7 units a character; what does not fit is in the tables and in the title.
    let fits = |text: &str| text.chars().count() as f64 * 7.0 + 8.0 < width;
    if fits(&part.name) && height > 18.0 {
        inner.push(label(&part.name, x, y + 15.0));
        if fits(&size) && height > 34.0 {
            inner.push(label(&size, x, y + 30.0));
        }
    }
    Html::element("g", &[], inner.into_iter().collect())
}

fn label(text: &str, x: f64, y: f64) -> Html {
    let [left, base] = [x + 5.0, y].map(|number| format!("{number:.2}"));
    Html::element("text", &[("x", &left), ("y", &base)], Html::text(text))
}

/// Which target has which wheel, the largest first.
fn matrix(manifest: &Manifest) -> Html {
    let members = manifest.members_by_path();
    let size = |path: &str| members.get(path).map_or(0, |member| member.size);
    let mut wheels: Vec<_> = manifest.wheels.iter().collect();
    wheels.sort_by_key(|wheel| (Reverse(size(&wheel.path)), &wheel.path));
    let all = manifest.targets_of_wheels();
    let mut rows = Vec::new();
    for wheel in wheels {
        let targets = all.get(&*wheel.path).into_iter().flatten();
        let targets: Vec<_> =
            targets.map(|target| format!("{} on {}", target.python, target.platform)).collect();
        let is_everywhere = targets.len() == manifest.targets.len();
        rows.push(vec![
            Html::text(&wheel.name),
            Html::text(&wheel.version),
            Html::text(bytes(size(&wheel.path))),
            Html::text(if is_everywhere { "every target".to_owned() } else { targets.join(", ") }),
            Html::text(needs(&wheel.needs)),
            Html::text(if wheel.built { "built from source" } else { "" }),
        ]);
    }
    use Column::{Number, Text};
    let columns =
        [Text("distribution"), Text("version"), Number("size"), Text("targets"), Text("needs"), Text("")];
    table(&columns, rows)
}

fn findings(reports: &[Report]) -> Html {
    let rows: Vec<_> = reports
        .iter()
        .flat_map(|report| {
            report.findings.iter().map(|finding| {
                let severity = match &finding.allowed {
                    Some(reason) => format!("allowed: {reason}"),
                    None => finding.severity.to_string(),
                };
                let cells = [&severity, finding.rule.id(), &finding.name, &finding.what, &report.target];
                cells.map(Html::text).to_vec()
            })
        })
        .collect();
    if rows.is_empty() {
        return Html::tag("p", "Nothing is wrong.");
    }
    let columns = ["severity", "rule", "distribution", "what", "target"].map(Column::Text);
    table(&columns, rows)
}

fn allowed(allowed: &[Allowed]) -> Html {
    if allowed.is_empty() {
        return Html::tag("p", "Nothing.");
    }
    let rows = allowed.iter().map(|Allowed { rule, name, reason }| {
        let reason = reason.as_deref().unwrap_or("no reason given");
        [rule, name.as_str(), reason].map(Html::text).to_vec()
    });
    table(&["rule", "name", "reason"].map(Column::Text), rows)
}

/// By the SBOM: each licence with the distributions under it.
fn licences(sbom: Option<&Value>) -> Html {
    let Some(components) = sbom.and_then(|sbom| sbom["components"].as_array()) else {
        return Html::tag(
            "p",
            "The artifact has no SBOM, or one that is too large for a page (`wheelbarrow sbom`).",
        );
    };
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for component in components {
        let name = component["name"].as_str().unwrap_or_default();
        found.entry(licence(component)).or_default().push(name);
    }
    let rows =
        found.iter().map(|(licence, names)| [licence.clone(), names.join(", ")].map(Html::text).to_vec());
    table(&["licence", "distributions"].map(Column::Text), rows)
}

/// CycloneDX 1.6, `component.licenses`.
fn licence(component: &Value) -> String {
    let licences = component["licenses"].as_array();
    let texts = licences.into_iter().flatten().filter_map(|choice| {
        let licence = &choice["license"];
        choice["expression"].as_str().or_else(|| licence["id"].as_str()).or_else(|| licence["name"].as_str())
    });
    let texts: Vec<_> = texts.collect();
    if texts.is_empty() { "not said".to_owned() } else { texts.join(", ") }
}
