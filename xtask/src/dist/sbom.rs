//! What a program is made of, as CycloneDX 1.6: the crates in it and in the standalone binary that it carries.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use fs_err as fs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::crates::Contained;
use super::program::Program;
use super::release::{LICENCE, NAME, REPOSITORY, Release};
use crate::children::{clean, run as run_child, workspace};
use crate::tools;

/// Compares documents with the schema of CycloneDX.
const VALIDATOR: &str = "cyclonedx-python-lib[json-validation]==11.12.0";
/// The oldest Python that it runs on, 3.x.
const OLDEST: u32 = 10;
const VALIDATE: &str = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for path in sys.argv[1:]:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(path, encoding='utf-8').read())
    if error:
        sys.exit('%s: %s' % (path, error))
";

/// Whether all of these are valid.
pub(super) fn validate(documents: &[PathBuf]) -> Result<()> {
    let programs = tools::of_pypi("cyclonedx", &[VALIDATOR], OLDEST)?;
    run_child(clean(programs.join("python")).args(["-c", VALIDATE]).args(documents))
}

pub(super) fn make(
    release: &Release,
    program: &Program,
    crates: &BTreeMap<String, Contained>,
) -> Result<Vec<u8>> {
    let checksums = checksums()?;
    let mut components = Vec::new();
    let mut dependencies = BTreeMap::new();
    for contained in crates.values() {
        if contained.package["name"] != NAME {
            components.push(component(&contained.package, &checksums));
        }
        let uses = contained.uses.iter().filter_map(|id| crates.get(id));
        let mut uses: Vec<String> = uses.map(|used| purl(&used.package)).collect();
        uses.sort_unstable();
        uses.dedup();
        dependencies.insert(purl(&contained.package), uses);
    }
    components.sort_by_key(|component| component["bom-ref"].as_str().unwrap_or_default().to_owned());
    let dependencies: Vec<Value> =
        dependencies.iter().map(|(purl, uses)| json!({ "ref": purl, "dependsOn": uses })).collect();
    let own = format!("pkg:cargo/{NAME}@{}", release.version);
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": own, "purl": own, "name": NAME, "version": release.version,
                "hashes": [hash(&HEXLOWER.encode(&Sha256::digest(&program.bytes)))],
                "licenses": [{ "expression": LICENCE }],
                "externalReferences": [{ "type": "vcs", "url": REPOSITORY }],
                "properties": [{ "name": "target", "value": program.target }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

fn component(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Value {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    let purl = purl(package);
    let mut component = json!({
        "type": "library", "bom-ref": purl, "purl": purl, "name": text("name"), "version": text("version"),
        // A slash between licences is the old way to write OR.
        "licenses": [{ "expression": text("license").replace('/', " OR ").replace("  ", " ") }],
    });
    if let Some(checksum) = checksums.get(&(text("name").to_owned(), text("version").to_owned())) {
        component["hashes"] = json!([hash(checksum)]);
    }
    component
}

fn hash(hexadecimal: &str) -> Value {
    json!({ "alg": "SHA-256", "content": hexadecimal })
}

/// <https://github.com/package-url/purl-spec>
fn purl(package: &Value) -> String {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    format!("pkg:cargo/{}@{}", text("name"), text("version").replace('+', "%2B"))
}

/// By name and version.
fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let lock: toml::Table = fs::read_to_string(workspace().join("Cargo.lock"))?.parse()?;
    let packages = lock["package"].as_array().context("Cargo.lock lists no packages")?;
    let text = |package: &toml::Value, key: &str| package.get(key)?.as_str().map(str::to_owned);
    let found = packages.iter().filter_map(|package| {
        Some(((text(package, "name")?, text(package, "version")?), text(package, "checksum")?))
    });
    Ok(found.collect())
}
