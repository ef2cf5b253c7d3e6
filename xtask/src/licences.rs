//! What `deny.toml` says of dependencies, where `cargo deny` is not installed: their licences, whence they come, and which are
//! banned. Of `deny.toml` only the keys that it has are understood.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use serde_json::Value;

use crate::children::{cargo, workspace};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Fails with all that is not allowed, a line each.
pub(crate) fn check() -> Result<()> {
    let rules: toml::Table = fs::read_to_string(workspace().join("deny.toml"))?.parse()?;
    let allowed = strings(&rules["licenses"]["allow"])?;
    let banned = rules["bans"]["deny"].as_array().context("`bans.deny` is no array")?;
    let banned: BTreeSet<&str> = banned.iter().filter_map(|ban| ban["crate"].as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages()? {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let what = format!("{} {}", text("name"), text("version"));
        if banned.contains(text("name").as_str()) {
            wrong.push(format!("{what} is banned"));
        }
        if let Some(source) = package["source"].as_str().filter(|source| *source != CRATES_IO) {
            wrong.push(format!("{what} comes from {source}"));
        }
        let licence = text("license");
        if !is_allowed(&licence, &allowed) {
            wrong.push(format!("{what} has the licence {licence:?}"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if package["source"].is_null() && dependency["req"] == "*" && dependency["path"].is_null() {
                wrong.push(format!("{what} takes any version of {}", dependency["name"]));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("deny.toml does not allow:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

/// All that the workspace is made of, as `cargo metadata` has it.
fn packages() -> Result<Vec<Value>> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]).current_dir(workspace());
    let output = metadata.output()?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut found: Value = serde_json::from_slice(&output.stdout)?;
    Ok(found["packages"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// An SPDX expression; a slash between licences is the old way to write OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX);
    parsed.is_ok_and(|parsed| parsed.evaluate(|licence| allowed.contains(&licence.to_string())))
}

fn strings(list: &toml::Value) -> Result<BTreeSet<String>> {
    let list = list.as_array().context("`licenses.allow` is no array")?;
    Ok(list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_allowed_by_one_of_its_choices() {
        let allowed = BTreeSet::from(["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()]);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only OR MIT", true),
            ("MIT/GPL-3.0", true),
            ("MIT AND Unlicense", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("", false),
            ("of my own", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
    }
}
