//! SBOMs in wheels: <https://peps.python.org/pep-0770/>, `NAME.dist-info/sboms/`.
//!
//! The components of a CycloneDX document in JSON become components of the wheel. Of other documents only the
//! file is named.
//!
//! The author of the wheel wrote the document. So a component gets a unique reference of ours, and keeps only
//! values that can be checked here: an invalid value would invalidate the whole document, and a reference of
//! another wheel would be ambiguous.

use serde_json::{Map, Value, json};
use wheelbarrow_artifact::wheel::OpenWheel;

/// Bytes of all documents of a wheel. What comes after that is named only.
const LARGEST: u64 = 4 << 20;
/// Of a wheel, in all its documents.
const MOST_COMPONENTS: usize = 10_000;
/// Of a wheel.
const MOST_FILES: usize = 100;
/// Components may be in components.
const DEEPEST: usize = 16;

/// CycloneDX 1.6, `component.type`.
const TYPES: [&str; 13] = [
    "application",
    "container",
    "cryptographic-asset",
    "data",
    "device",
    "device-driver",
    "file",
    "firmware",
    "framework",
    "library",
    "machine-learning-model",
    "operating-system",
    "platform",
];
/// Of a component, with a text that may be any.
const TEXTS: [&str; 8] =
    ["name", "version", "group", "description", "author", "publisher", "copyright", "purl"];
/// CycloneDX 1.6, `hash-alg`, and how many hexadecimal digits each has.
const HASHES: [(&str, usize); 12] = [
    ("MD5", 32),
    ("SHA-1", 40),
    ("SHA-256", 64),
    ("SHA-384", 96),
    ("SHA-512", 128),
    ("SHA3-256", 64),
    ("SHA3-384", 96),
    ("SHA3-512", 128),
    ("BLAKE2b-256", 64),
    ("BLAKE2b-384", 96),
    ("BLAKE2b-512", 128),
    ("BLAKE3", 64),
];

/// What the SBOMs of a wheel give.
#[derive(Default)]
pub(super) struct Bundled {
    pub(super) components: Vec<Value>,
    /// Paths in the wheel.
    pub(super) files: Vec<String>,
}

/// `path` is that of the wheel in the artifact, which its references begin with.
pub(super) fn of(path: &str, wheel: &OpenWheel<'_>) -> Bundled {
    let directory = format!("{}/sboms/", wheel.dist_info());
    let entries = wheel.archive().entries().iter();
    let files = entries.filter(|entry| !entry.is_directory() && entry.name.starts_with(&directory));
    let mut bundled = Bundled::default();
    let (mut bytes_left, mut components_left) = (LARGEST, MOST_COMPONENTS);
    for entry in files.take(MOST_FILES) {
        bundled.files.push(entry.name.clone());
        let Ok(text) = wheel.archive().read(entry, bytes_left) else { continue };
        bytes_left -= text.len() as u64;
        let Ok(Value::Object(mut document)) = serde_json::from_slice(&text) else { continue };
        if document.get("bomFormat").and_then(Value::as_str) != Some("CycloneDX") {
            continue;
        }
        let prefix = format!("{path}!{}#", entry.name);
        bundled.components.extend(all(document.remove("components"), &prefix, 0, &mut components_left));
    }
    bundled
}

/// The components of a list, with references that begin with `prefix`.
fn all(list: Option<Value>, prefix: &str, depth: usize, left: &mut usize) -> Vec<Value> {
    let Some(Value::Array(list)) = list else { return Vec::new() };
    let mut components = Vec::new();
    for (number, component) in list.into_iter().enumerate() {
        components.extend(one(component, &format!("{prefix}{number}"), depth, left));
    }
    components
}

/// What is kept of a component; none of what is no component, or one too many.
fn one(component: Value, reference: &str, depth: usize, left: &mut usize) -> Option<Value> {
    let Value::Object(mut component) = component else { return None };
    let said = component.get("type")?.as_str()?;
    let kind = TYPES.into_iter().find(|kind| *kind == said)?;
    if depth > DEEPEST || *left == 0 || !component.get("name")?.is_string() {
        return None;
    }
    *left -= 1;
    let mut kept = Map::new();
    kept.insert("type".to_owned(), kind.into());
    kept.insert("bom-ref".to_owned(), reference.into());
    let inner = all(component.remove("components"), &format!("{reference}."), depth + 1, left);
    let texts = TEXTS.map(|key| (key, component.remove(key).filter(Value::is_string)));
    let lists = [
        ("hashes", list(&component, "hashes", hash)),
        ("licenses", list(&component, "licenses", licence)),
        ("components", (!inner.is_empty()).then(|| inner.into())),
    ];
    for (key, value) in texts.into_iter().chain(lists) {
        kept.extend(value.map(|value| (key.to_owned(), value)));
    }
    Some(kept.into())
}

fn list(component: &Map<String, Value>, key: &str, of: fn(&Value) -> Option<Value>) -> Option<Value> {
    let kept: Vec<Value> = component.get(key)?.as_array()?.iter().filter_map(of).collect();
    (!kept.is_empty()).then(|| kept.into())
}

fn hash(hash: &Value) -> Option<Value> {
    let (algorithm, content) = (hash["alg"].as_str()?, hash["content"].as_str()?);
    let is_hexadecimal = content.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_known = HASHES.contains(&(algorithm, content.len())) && is_hexadecimal;
    is_known.then(|| json!({ "alg": algorithm, "content": content }))
}

/// By its name: CycloneDX allows only identifiers of SPDX that it knows, and one expression alone.
fn licence(choice: &Value) -> Option<Value> {
    let licence = &choice["license"];
    let name =
        [&choice["expression"], &licence["id"], &licence["name"]].into_iter().find_map(Value::as_str)?;
    Some(json!({ "license": { "name": name } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(components: Value) -> Vec<Value> {
        all(Some(components), "wheels/a.whl!s.json#", 0, &mut 5)
    }

    #[test]
    fn references_are_of_the_wheel() {
        let component = json!({
            "type": "library", "name": "zlib", "bom-ref": "wheels/other.whl", "signature": {"value": "x"},
            "components": [{ "type": "file", "name": "a", "bom-ref": "site" }, { "name": "no type" }, 7],
        });
        assert_eq!(
            kept(json!([component, "text"])),
            [json!({
                "type": "library", "name": "zlib", "bom-ref": "wheels/a.whl!s.json#0",
                "components": [{ "type": "file", "name": "a", "bom-ref": "wheels/a.whl!s.json#0.0" }],
            })]
        );
    }

    #[test]
    fn only_valid_values_are_kept() {
        let component = json!({
            "type": "library", "name": "a", "version": 1, "purl": "pkg:generic/a", "scope": "none", "cpe": "no",
            "hashes": [{ "alg": "MD5", "content": "x" }, { "alg": "SHA-1", "content": "0".repeat(40) }],
            "licenses": [{ "license": { "id": "no SPDX" } }, { "expression": "MIT" }, "MIT"],
            "pedigree": { "ancestors": [{ "type": "library", "name": "b", "bom-ref": "site" }] },
        });
        let [kept] = &kept(json!([component, { "type": "program", "name": "b" }]))[..] else { panic!() };
        assert_eq!(
            *kept,
            json!({
                "type": "library", "name": "a", "purl": "pkg:generic/a", "bom-ref": "wheels/a.whl!s.json#0",
                "hashes": [{ "alg": "SHA-1", "content": "0".repeat(40) }],
                "licenses": [{ "license": { "name": "no SPDX" } }, { "license": { "name": "MIT" } }],
            })
        );
    }

    #[test]
    fn components_have_a_limit() {
        let one = json!({ "type": "file", "name": "a", "components": [{ "type": "file", "name": "b" }] });
        let kept = kept(json!([one, one, one, one]));
        let count = |component: &Value| 1 + component["components"].as_array().map_or(0, Vec::len);
        assert_eq!(kept.iter().map(count).sum::<usize>(), 5);
    }
}
