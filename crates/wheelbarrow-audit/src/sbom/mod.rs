//! The SBOM of an artifact, as CycloneDX 1.6: <https://cyclonedx.org/docs/1.6/json/>.
//!
//! The document is made from the wheels alone, without random numbers or the current time. Its serial number
//! is a UUID (RFC 9562, version 8) of the SHA-256 of the rest. Every wheel is a component, with the shared
//! libraries in it as its own components.

mod bundled;
mod licences;
mod purl;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use wheelbarrow_artifact::manifest::{BundledInterpreter, INTERPRETER, Sha256};

use crate::elf::Kind;
use crate::read::AuditedWheel;
use crate::rules::requirements::{Provider, RequirementGraph};
use crate::subject::Subject;

/// Where the document stands in an artifact.
pub const PATH: &str = ".wheelbarrow/sbom.cdx.json";

/// No document of wheels comes near so many bytes.
pub const LARGEST: u64 = 64 << 20;

/// The site's own `bom-ref`; wheels have their paths.
const SITE: &str = "site";

/// What the document is made of.
pub struct Bill<'a> {
    /// Of the site, normalised.
    pub name: &'a str,
    pub version: Option<&'a str>,
    /// `2026-02-28T12:00:00Z`, where the artifact has a time.
    pub timestamp: Option<String>,
    /// Each target with all its wheels.
    pub subjects: &'a [Subject<'a>],
    /// The targets for people, as the manifest has them: nothing of the machine that built it.
    pub targets: Vec<String>,
    /// Of every wheel, by file name.
    pub origins: BTreeMap<&'a str, Origin<'a>>,
    /// The bundled Python.
    pub interpreter: Option<&'a BundledInterpreter>,
}

/// Where a wheel is from.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub sha256: Sha256,
    /// PEP 610, where it is not from an index.
    pub direct_url: Option<&'a Value>,
    /// Made from a source by whoever built the artifact.
    pub built: bool,
}

/// The document, as UTF-8 with a line end.
pub fn write(bill: &Bill<'_>) -> Vec<u8> {
    let mut wheels: BTreeMap<String, (&AuditedWheel<'_>, bool)> = BTreeMap::new();
    for subject in bill.subjects {
        for wheel in &subject.wheels {
            wheels.insert(reference(wheel, false), (wheel, false));
        }
        if let Some(pip) = subject.site.as_ref().and_then(|site| site.pip) {
            wheels.insert(reference(pip, true), (pip, true));
        }
    }
    let components = wheels.iter().map(|(path, (wheel, _))| component(path, wheel, bill));
    let components = components.chain(bill.interpreter.map(interpreter));
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata(bill),
        "components": components.collect::<Vec<_>>(),
        "dependencies": dependencies(bill, &wheels),
    });
    let digest = Sha256::of(document.to_string().as_bytes());
    document["serialNumber"] = Value::from(urn(digest));
    let mut text = serde_json::to_vec_pretty(&document).unwrap_or_default();
    text.push(b'\n');
    text
}

/// The interpreter, by the names that databases of vulnerabilities know it by.
fn interpreter(own: &BundledInterpreter) -> Value {
    let BundledInterpreter { version, machine, digest, .. } = own;
    json!({
        "type": "platform",
        "bom-ref": INTERPRETER,
        "name": "cpython",
        "version": version,
        "cpe": format!("cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"),
        "purl": format!("pkg:generic/cpython@{version}"),
        "licenses": [{ "license": { "id": "Python-2.0.1" } }],
        "properties": [property("machine", machine), property("digest", &digest.to_string())],
    })
}

fn reference(wheel: &AuditedWheel<'_>, bootstrap: bool) -> String {
    let directory = if bootstrap { "bootstrap_wheels" } else { "wheels" };
    format!("{directory}/{}", wheel.open.filename())
}

fn metadata(bill: &Bill<'_>) -> Value {
    let mut site = json!({ "type": "application", "bom-ref": SITE, "name": bill.name });
    if let Some(version) = bill.version {
        site["version"] = version.into();
    }
    let program =
        json!({ "type": "application", "name": "wheelbarrow", "version": env!("CARGO_PKG_VERSION") });
    let targets = bill.targets.iter().map(|target| property("target", target));
    let mut metadata = json!({
        "tools": { "components": [program] },
        "component": site,
        "properties": targets.collect::<Vec<_>>(),
    });
    if let Some(timestamp) = &bill.timestamp {
        metadata["timestamp"] = timestamp.as_str().into();
    }
    metadata
}

/// <https://github.com/CycloneDX/cyclonedx-property-taxonomy>: names of properties begin with that of the program.
fn property(name: &str, value: &str) -> Value {
    json!({ "name": format!("wheelbarrow:{name}"), "value": value })
}

fn component(path: &str, wheel: &AuditedWheel<'_>, bill: &Bill<'_>) -> Value {
    let filename = wheel.open.filename();
    let mut component = Map::new();
    let version = filename.version.to_string();
    component.insert("type".to_owned(), "library".into());
    component.insert("bom-ref".to_owned(), path.into());
    component.insert("name".to_owned(), filename.name.as_str().into());
    component.insert("version".to_owned(), version.as_str().into());
    let mut properties = vec![property("file", path)];
    let mut direct_url = None;
    if let Some(origin) = bill.origins.get(filename.to_string().as_str()) {
        direct_url = origin.direct_url;
        component.insert("hashes".to_owned(), hashes(origin.sha256));
        if origin.built {
            properties.push(property("built", "from source"));
        }
    }
    component.insert("purl".to_owned(), purl::of(&filename.name, &version, direct_url).into());
    let licences = wheel.metadata.as_ref().map(licences::of).unwrap_or_default();
    if !licences.is_empty() {
        component.insert("licenses".to_owned(), licences.into());
    }
    if let Some((kind, url)) = direct_url.and_then(purl::reference) {
        component.insert("externalReferences".to_owned(), json!([{ "type": kind, "url": url }]));
    }
    let bundled = bundled::of(path, &wheel.open);
    properties.extend(bundled.files.iter().map(|file| property("sbom", file)));
    component.insert("properties".to_owned(), properties.into());
    let mut libraries = libraries(path, wheel);
    libraries.extend(bundled.components);
    if !libraries.is_empty() {
        component.insert("components".to_owned(), libraries.into());
    }
    component.into()
}

fn hashes(sha256: Sha256) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256.to_string() }])
}

/// Shared libraries that the wheel brings, extension modules not among them.
fn libraries(path: &str, wheel: &AuditedWheel<'_>) -> Vec<Value> {
    let files = wheel.facts.elf.iter().filter(|file| file.facts.kind == Kind::Library);
    let library = |file: &crate::elf::ElfFile| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let mut properties = vec![property("file", &file.path)];
        properties.extend(file.facts.soname.as_ref().map(|soname| property("soname", soname)));
        json!({
            "type": "library",
            "bom-ref": format!("{path}!{}", file.path),
            "name": name,
            "hashes": hashes(file.sha256),
            "properties": properties,
        })
    };
    files.map(library).collect()
}

/// Who needs whom on any of the targets. The site needs what nothing else does.
fn dependencies(bill: &Bill<'_>, wheels: &BTreeMap<String, (&AuditedWheel<'_>, bool)>) -> Vec<Value> {
    let mut graph: BTreeMap<String, BTreeSet<String>> =
        wheels.keys().map(|path| (path.clone(), BTreeSet::new())).collect();
    for subject in bill.subjects {
        for edge in RequirementGraph::new(subject.floor, &subject.wheels).edges {
            if let Provider::By(to) = edge.to
                && edge.from != to
            {
                let [from, to] = [edge.from, to].map(|place| reference(subject.wheels[place], false));
                graph.entry(from).or_default().insert(to);
            }
        }
    }
    let site = roots(&graph);
    let all = std::iter::once((SITE.to_owned(), site)).chain(graph);
    all.map(|(from, to)| json!({ "ref": from, "dependsOn": to })).collect()
}

/// What nothing needs, and of each circle that nobody else needs the first.
fn roots(graph: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let needed: BTreeSet<&String> =
        graph.iter().flat_map(|(from, to)| to.iter().filter(move |to| *to != from)).collect();
    let mut roots: BTreeSet<String> = graph.keys().filter(|path| !needed.contains(path)).cloned().collect();
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    roots.iter().for_each(|root| reach(root_of(graph, root), graph, &mut reached));
    for path in graph.keys() {
        if !reached.contains(path.as_str()) {
            reach(path, graph, &mut reached);
            roots.insert(path.clone());
        }
    }
    roots
}

fn root_of<'g>(graph: &'g BTreeMap<String, BTreeSet<String>>, root: &str) -> &'g str {
    graph.get_key_value(root).map_or("", |(path, _)| path)
}

fn reach<'g>(from: &'g str, graph: &'g BTreeMap<String, BTreeSet<String>>, reached: &mut BTreeSet<&'g str>) {
    let mut waiting = vec![from];
    while let Some(path) = waiting.pop() {
        if reached.insert(path) {
            waiting.extend(graph.get(path).into_iter().flatten().map(String::as_str));
        }
    }
}

/// RFC 9562, version 8: the bits are ours to choose, but six.
fn urn(digest: Sha256) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.0[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("urn:uuid:{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_needs_what_nothing_else_does() {
        let graph = [("a", vec!["b"]), ("b", vec![]), ("c", vec!["d"]), ("d", vec!["c", "b"])];
        let graph = graph.map(|(from, to)| (from.to_owned(), to.into_iter().map(str::to_owned).collect()));
        let roots: Vec<_> = roots(&graph.into_iter().collect()).into_iter().collect();
        assert_eq!(roots, ["a", "c"]);
    }

    #[test]
    fn serial_numbers_are_uuids() {
        assert_eq!(urn(Sha256([0xff; 32])), "urn:uuid:ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}
