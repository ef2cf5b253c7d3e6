//! The licences of the crates in a program, with their texts, which the programs must be given with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;

use super::crates::Contained;

pub(super) const NAME: &str = "LICENSES-THIRD-PARTY";
/// How the files begin that have such texts.
const BEGINNINGS: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// Each text once, below the crates that have it.
pub(super) fn make(crates: &BTreeMap<String, Contained>) -> Result<String> {
    let mut list = String::from("This program contains the following crates.\n\n");
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Contained { package, .. } in crates.values().filter(|one| !one.package["source"].is_null()) {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let name = format!("{} {}", text("name"), text("version"));
        writeln!(list, "{name}: {}", text("license"))?;
        let directory = Path::new(text("manifest_path")).parent().context("a manifest is in a directory")?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().to_uppercase();
            if BEGINNINGS.iter().any(|beginning| file.starts_with(beginning)) && entry.file_type()?.is_file()
            {
                let text = String::from_utf8_lossy(&fs::read(entry.path())?).replace("\r\n", "\n");
                texts.entry(text.trim().to_owned()).or_default().insert(name.clone());
            }
        }
    }
    let mut texts: Vec<(String, BTreeSet<String>)> = texts.into_iter().collect();
    texts.sort_by(|one, other| (&one.1, &one.0).cmp(&(&other.1, &other.0)));
    for (text, names) in texts {
        let names: Vec<String> = names.into_iter().collect();
        write!(list, "\n{}\n{}\n\n{text}\n", "-".repeat(72), names.join(", "))?;
    }
    Ok(list)
}
