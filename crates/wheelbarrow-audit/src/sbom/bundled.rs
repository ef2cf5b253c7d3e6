//! SBOMs that wheels bring: <https://peps.python.org/pep-0770/>, `NAME.dist-info/sboms/`.
//!
//! Of a document of CycloneDX in JSON, the components become those of the wheel, with references that no other wheel has. Of
//! all others the file is named.

use serde_json::{Value, json};
use wheelbarrow_artifact::wheel::OpenWheel;

/// No document is larger, in bytes.
const LARGEST: u64 = 16 << 20;
/// Components may be in components.
const DEEPEST: usize = 16;

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
    let mut bundled = Bundled::default();
    for entry in wheel.archive().entries() {
        if entry.is_directory() || !entry.name.starts_with(&directory) {
            continue;
        }
        bundled.files.push(entry.name.clone());
        let Ok(text) = wheel.archive().read(entry, LARGEST) else { continue };
        let Ok(Value::Object(mut document)) = serde_json::from_slice(&text) else { continue };
        if document.get("bomFormat").and_then(Value::as_str) != Some("CycloneDX") {
            continue;
        }
        let prefix = format!("{path}!{}#", entry.name);
        if let Some(Value::Array(components)) = document.remove("components") {
            let named = components.into_iter().enumerate();
            let kept =
                named.filter_map(|(number, component)| of_wheel(component, &prefix, &number.to_string(), 0));
            bundled.components.extend(kept);
        }
    }
    bundled
}

/// A component with references below `prefix`, if it is one. Signatures would be of another document.
fn of_wheel(component: Value, prefix: &str, number: &str, depth: usize) -> Option<Value> {
    let Value::Object(mut component) = component else { return None };
    let is_text = |key: &str| component.get(key).is_some_and(Value::is_string);
    if !is_text("name") || !is_text("type") || depth > DEEPEST {
        return None;
    }
    let own = component.get("bom-ref").and_then(Value::as_str).unwrap_or(number);
    let reference = format!("{prefix}{own}");
    component.insert("bom-ref".to_owned(), json!(reference));
    component.remove("signature");
    if let Some(Value::Array(inner)) = component.remove("components") {
        let named = inner.into_iter().enumerate();
        let inner: Vec<_> = named
            .filter_map(|(place, inner)| of_wheel(inner, prefix, &format!("{number}.{place}"), depth + 1))
            .collect();
        if !inner.is_empty() {
            component.insert("components".to_owned(), inner.into());
        }
    }
    Some(component.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_of_the_wheel() {
        let component = json!({
            "type": "library", "name": "zlib", "bom-ref": "z", "signature": {"value": "x"},
            "components": [{ "type": "file", "name": "a" }, { "name": "no type" }, 7],
        });
        assert_eq!(
            of_wheel(component, "wheels/a.whl!s.json#", "0", 0),
            Some(json!({
                "type": "library", "name": "zlib", "bom-ref": "wheels/a.whl!s.json#z",
                "components": [{ "type": "file", "name": "a", "bom-ref": "wheels/a.whl!s.json#0.0" }],
            }))
        );
        assert_eq!(of_wheel(json!("text"), "", "0", 0), None);
    }
}
