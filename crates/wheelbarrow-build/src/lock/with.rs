//! Adds requirements to a lock: new distributions are added, and locked ones stay as they are.

use std::path::Path;

use toml::{Table, Value};
use wheelbarrow_http::redact;
use wheelbarrow_wheel::name;

use super::paths::path_between;

/// Each package of a lock as a constraint, for uv.
pub(super) fn constraints(lock: &str) -> Result<String, String> {
    let document = parse(lock)?;
    let packages = packages(&document);
    let mut text = String::new();
    for package in &packages {
        let Some(version) = string(package, "version") else { continue };
        let name = string(package, "name").unwrap_or_default();
        let marker = string(package, "marker");
        let is_plain =
            marker.is_none_or(|marker| !marker.contains("extras") && !marker.contains("dependency_groups"));
        let is_alone = packages.iter().filter(|other| string(other, "name") == Some(name)).count() == 1;
        match marker.filter(|_| is_plain) {
            Some(marker) => text.push_str(&format!("{name}=={version} ; {marker}\n")),
            None if is_plain || is_alone => text.push_str(&format!("{name}=={version}\n")),
            // Which of several versions counts is settled by extras, of which a constraint knows nothing.
            None => {}
        }
    }
    Ok(text)
}

/// `base`, whose paths start at `from`, with the packages of `added`, whose paths start at `directory`, as a lock in
/// `directory`.
pub(super) fn merge(base: &str, from: &Path, added: &str, directory: &Path) -> Result<String, String> {
    let mut document = parse(base)?;
    // Of the lock that this one begins with; the new one has its own.
    if let Some(Value::Table(tool)) = document.get_mut("tool") {
        tool.remove("wheelbarrow");
    }
    let added = parse(added)?;
    let list = document.entry("packages").or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(list) = list else { return Err("`packages` is not a list".to_owned()) };
    if from != directory {
        list.iter_mut().filter_map(Value::as_table_mut).for_each(|package| rebase(package, from, directory));
    }
    for package in packages(&added) {
        let same_name = |other: &&mut Table| normalised(other) == normalised(package);
        let mut others = list.iter_mut().filter_map(Value::as_table_mut).filter(same_name).peekable();
        if others.peek().is_none() {
            drop(others);
            list.push(package.clone().into());
            continue;
        }
        let version = string(package, "version").map(str::to_owned);
        let same =
            |other: &Table| string(other, "version").is_none_or(|other| Some(other) == version.as_deref());
        match others.find(|other| same(other)) {
            Some(other) => either(other, package),
            None => {
                let (name, version) = (normalised(package), version.unwrap_or_default());
                return Err(format!(
                    "what is added needs {name} {version}, and the lock has another version"
                ));
            }
        }
    }
    toml::to_string(&document).map_err(|error| error.to_string())
}

/// It is installed where either marker holds.
fn either(package: &mut Table, other: &Table) {
    let markers = string(package, "marker").zip(string(other, "marker"));
    match markers.map(|(one, other)| format!("({one}) or ({other})")) {
        Some(marker) => package.insert("marker".to_owned(), marker.into()),
        None => package.remove("marker"),
    };
}

/// Paths of a package's files.
fn rebase(package: &mut Table, from: &Path, directory: &Path) {
    for key in ["vcs", "directory", "archive", "sdist", "wheels"] {
        let files = match package.get_mut(key) {
            Some(Value::Table(file)) => vec![file],
            Some(Value::Array(files)) => files.iter_mut().filter_map(Value::as_table_mut).collect(),
            _ => Vec::new(),
        };
        for file in files {
            if let Some(path) = string(file, "path").map(|path| path_between(directory, &from.join(path))) {
                file.insert("path".to_owned(), path.to_string_lossy().into_owned().into());
            }
        }
    }
}

fn parse(text: &str) -> Result<Table, String> {
    text.parse().map_err(|error: toml::de::Error| redact(error.message()))
}

fn packages(document: &Table) -> Vec<&Table> {
    let list = document.get("packages").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_table).collect()
}

fn string<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key).and_then(Value::as_str)
}

fn normalised(package: &Table) -> String {
    name::normalise(string(package, "name").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
lock-version = "1.0"
created-by = "x"
extras = ["web"]
[[packages]]
name = "a"
version = "1"
marker = "'web' in extras"
wheels = [{ path = "w/a-1-py3-none-any.whl", hashes = { sha256 = "00" } }]
[[packages]]
name = "b"
version = "1"
marker = "python_version < '3.9'"
[[packages]]
name = "c"
directory = { path = "c" }
"#;

    #[test]
    fn what_is_locked_stays() {
        assert_eq!(constraints(BASE).unwrap(), "a==1\nb==1 ; python_version < '3.9'\n");
        let added = "[[packages]]\nname = 'A'\nversion = '1'\nmarker = \"os_name == 'posix'\"\n\
                     [[packages]]\nname = 'b'\nversion = '1'\n[[packages]]\nname = 'c'\nversion = '9'\n\
                     [[packages]]\nname = 'd'\nversion = '4'\n";
        let merged = merge(BASE, Path::new("/p"), added, Path::new("/p/out")).unwrap();
        let document = parse(&merged).unwrap();
        let [a, b, c, d] = packages(&document)[..] else { panic!("{merged}") };
        assert_eq!(string(a, "marker"), Some("('web' in extras) or (os_name == 'posix')"));
        assert_eq!(a["wheels"][0]["path"].as_str(), Some("../w/a-1-py3-none-any.whl"));
        assert_eq!((string(b, "marker"), string(c, "version")), (None, None));
        assert_eq!((c["directory"]["path"].as_str(), string(d, "version")), (Some("../c"), Some("4")));
        let other = "[[packages]]\nname = 'b'\nversion = '2'\n";
        assert!(merge(BASE, Path::new("/p"), other, Path::new("/p")).unwrap_err().contains("b 2"));
    }
}
