//! `docs/reference/ansible.md`: what ansible-doc says of modules, roles and filters, as one page. The page has the SHA-256 of
//! the files that it was made from, so that a stale one is found without Ansible.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use fs_err as fs;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::ansible::{Controller, NAME, NAMESPACE, collections, install};
use crate::children::workspace;
use crate::containers::images::output;

const PAGE: &str = "docs/reference/ansible.md";
const BEGIN: &str = "<!-- made by `cargo xtask ansible pages` from ";
/// What ansible-doc reads, and how headings call it.
const SOURCES: [(&str, &str, &str); 3] = [
    ("module", "Modules", "ansible/plugins/modules"),
    ("role", "Roles", "ansible/roles"),
    ("filter", "Filters", "ansible/plugins/filter"),
];
const COMMON: &str = "ansible/plugins/doc_fragments/common.py";

/// Fails if the page was made from other files.
pub(crate) fn check() -> Result<()> {
    let page = fs::read_to_string(workspace().join(PAGE))?;
    if !page.contains(&begin()?) {
        bail!("{PAGE} is stale: `cargo xtask ansible pages` makes it again");
    }
    Ok(())
}

/// Makes the page.
pub(crate) fn write() -> Result<()> {
    let controller = &Controller::newest()?.context("no Python here can have ansible-core")?;
    install(controller)?;
    let mut text = String::new();
    for (kind, title, directory) in SOURCES {
        let _ = write!(text, "\n## {title}\n");
        let names = names(directory)?;
        let mut doc = controller.command("ansible-doc")?;
        doc.args(["--json", "--type", kind])
            .args(names.iter().map(|name| format!("{NAMESPACE}.{NAME}.{name}")));
        let said: Value = serde_json::from_str(&output(&mut doc)?).context("the JSON of ansible-doc")?;
        for name in &names {
            let about = &said[format!("{NAMESPACE}.{NAME}.{name}")];
            if kind == "role" { role(&mut text, name, about) } else { plugin(&mut text, name, about) }
        }
    }
    let path = workspace().join(PAGE);
    let page = fs::read_to_string(&path)?;
    let (head, _) = page.split_once(BEGIN).with_context(|| format!("{PAGE} has no {BEGIN:?}"))?;
    fs::write(path, format!("{head}{}{text}", begin()?))?;
    println!("{PAGE} is made from {}", collections()?.display());
    Ok(())
}

fn begin() -> Result<String> {
    let mut hash = Sha256::new();
    for file in files()? {
        let text = fs::read_to_string(file)?;
        // Of a module, what it says of itself; not its code.
        let said: String =
            text.split("r\"\"\"").skip(1).filter_map(|rest| Some(rest.split_once("\"\"\"")?.0)).collect();
        hash.update(if said.is_empty() { text } else { said });
    }
    Ok(format!("{BEGIN}{} -->\n", &HEXLOWER.encode(&hash.finalize())[..16]))
}

/// In their order on the page.
fn files() -> Result<Vec<PathBuf>> {
    let mut files = vec![workspace().join(COMMON)];
    for (kind, _, directory) in SOURCES {
        for name in names(directory)? {
            let file =
                if kind == "role" { format!("{name}/meta/argument_specs.yml") } else { format!("{name}.py") };
            files.push(workspace().join(directory).join(file));
        }
    }
    Ok(files)
}

fn names(directory: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace().join(directory))? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        if !name.starts_with('_') {
            names.push(name.strip_suffix(".py").unwrap_or(&name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn plugin(text: &mut String, name: &str, about: &Value) {
    let doc = &about["doc"];
    head(text, name, doc);
    options(text, &doc["options"]);
    if let Some(values) = about["return"].as_object() {
        let _ = write!(text, "\n| returned | type | meaning |\n|---|---|---|\n");
        returned(text, "", values);
    }
    if let Some(examples) = about["examples"].as_str() {
        let _ = write!(text, "\n```yaml\n{}\n```\n", examples.trim());
    }
}

fn role(text: &mut String, name: &str, about: &Value) {
    let empty = Map::new();
    let points = about["entry_points"].as_object().unwrap_or(&empty);
    let main = &about["entry_points"]["main"];
    head(text, name, main);
    options(text, &main["options"]);
    let others: Vec<_> = points.iter().filter(|(point, _)| *point != "main").collect();
    if !others.is_empty() {
        let _ = write!(text, "\n| entry point | meaning |\n|---|---|\n");
    }
    for (point, about) in others {
        let what = [
            about["short_description"].as_str().unwrap_or_default().to_owned() + ".",
            sentences(&about["description"]),
        ];
        let _ = writeln!(text, "| `{point}` | {} |", what.join(" "));
    }
}

fn head(text: &mut String, name: &str, doc: &Value) {
    let short = doc["short_description"].as_str().unwrap_or_default();
    let _ = write!(text, "\n### {name}\n\n{}.\n", plain(short));
    for paragraph in lines(&doc["description"]) {
        let _ = write!(text, "\n{}\n", plain(&paragraph));
    }
}

fn options(text: &mut String, options: &Value) {
    let Some(options) = options.as_object() else { return };
    let _ = write!(text, "\n| option | type | default | meaning |\n|---|---|---|---|\n");
    for (name, option) in options {
        let default = match &option["default"] {
            _ if option["required"] == true => "required".to_owned(),
            Value::Null => String::new(),
            Value::String(default) if default.is_empty() => "empty".to_owned(),
            Value::String(default) => format!("`{default}`"),
            default => format!("`{default}`"),
        };
        let choices: Vec<String> =
            option["choices"].as_array().into_iter().flatten().filter_map(quoted).collect();
        let mut meaning = sentences(&option["description"]);
        if !choices.is_empty() {
            meaning += &format!(" Choices: {}.", choices.join(", "));
        }
        let kind = option["type"].as_str().unwrap_or_default();
        let _ = writeln!(text, "| `{name}` | {kind} | {default} | {} |", meaning.replace('|', "\\|"));
    }
}

fn quoted(value: &Value) -> Option<String> {
    value.as_str().map(|text| format!("`{text}`"))
}

fn returned(text: &mut String, above: &str, values: &Map<String, Value>) {
    for (name, value) in values {
        let when = value["returned"].as_str().filter(|when| !["success", "always"].contains(when));
        let when = when.map(|when| format!(" Returned {}.", plain(when))).unwrap_or_default();
        let kind = value["type"].as_str().unwrap_or_default();
        let _ = writeln!(text, "| `{above}{name}` | {kind} | {}{when} |", sentences(&value["description"]));
        if let Some(inside) = value["contains"].as_object() {
            returned(text, &format!("{above}{name}."), inside);
        }
    }
}

fn lines(value: &Value) -> Vec<String> {
    match value {
        Value::String(line) => vec![line.clone()],
        Value::Array(lines) => lines.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn sentences(value: &Value) -> String {
    lines(value).iter().map(|line| plain(line)).collect::<Vec<_>>().join(" ")
}

/// Ansible's marks, such as `C(code)` and `O(option=value)`, as Markdown.
fn plain(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('(') {
        let (before, inside) = rest.split_at(at);
        let name = before.rsplit(|letter: char| !letter.is_ascii_uppercase()).next().unwrap_or_default();
        let end = inside.find(')').filter(|_| ["C", "V", "O", "E", "M", "RV"].contains(&name));
        match end {
            Some(end) => {
                result += &before[..before.len() - name.len()];
                let named = &inside[1..end];
                let named = named
                    .rsplit_once(':')
                    .filter(|_| named.contains('#'))
                    .map_or(named, |(_, option)| option);
                result += &format!("`{named}`");
                rest = &inside[end + 1..];
            }
            None => {
                result += &rest[..=at];
                rest = &rest[at + 1..];
            }
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_not_stale() {
        check().unwrap();
    }

    #[test]
    fn marks_become_markdown() {
        assert_eq!(plain("by C(a b) (or O(c=d)), RV(e)"), "by `a b` (or `c=d`), `e`");
        assert_eq!(plain("O(x.y.z#module:m=false) of M(x.y.z)"), "`m=false` of `x.y.z`");
        assert_eq!(plain("no end C(a"), "no end C(a");
    }
}
