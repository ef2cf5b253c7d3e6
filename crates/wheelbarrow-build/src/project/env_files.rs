//! Files of variables, `.env`, which are in no artifact: the names of their variables.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;

use super::ProjectFile;
use super::settings::ancestors;

const NAME: &str = ".env";

/// The `.env` at the top of the project and one directory below, each with the names of its variables.
pub fn env_files(root: &Path, found: &[ProjectFile]) -> Vec<(String, BTreeSet<String>)> {
    let directories: BTreeSet<String> = found.iter().flat_map(|file| ancestors(&file.path)).collect();
    let tops = directories.iter().filter(|directory| !directory.contains('/'));
    let read = |directory: &String| {
        let path = if directory.is_empty() { NAME.to_owned() } else { format!("{directory}/{NAME}") };
        let names = names(&fs::read_to_string(root.join(&path)).ok()?);
        (!names.is_empty()).then_some((path, names))
    };
    tops.filter_map(read).collect()
}

/// A note for each of them but those that `is_meant` names: servers need the variables too.
pub(super) fn notes(root: &Path, found: &[ProjectFile], is_meant: &dyn Fn(&str) -> bool) -> Vec<String> {
    let others = env_files(root, found).into_iter().filter(|(path, _)| !is_meant(path));
    let note = |(path, names): (String, BTreeSet<String>)| {
        let names: Vec<_> = names.into_iter().collect();
        format!(
            "left out {path}: on servers its variables belong into environment.json: {}",
            names.join(", ")
        )
    };
    others.map(note).collect()
}

/// Whether the text sets variables of a process.
pub(super) fn sets_variables(text: &str) -> bool {
    !names(text).is_empty()
}

/// The variables that the text sets. Names in capitals only: nothing of a value over several lines is taken for a name.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut open = None;
    for line in text.lines() {
        if let Some(quote) = open {
            open = open.filter(|_| !line.contains(quote));
            continue;
        }
        let line = line.trim_start();
        let Some((name, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim_start());
        open = ['"', '\'']
            .into_iter()
            .find(|quote| value.strip_prefix(*quote).is_some_and(|rest| !rest.contains(*quote)));
        let is_of_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.bytes().all(is_of_name) && name.starts_with(|first: char| !first.is_ascii_digit()) {
            names.insert(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_no_values() {
        let text = "# A=1\nexport SECRET_KEY='x=Y=Z'\nDEBUG = 1\nPEM=\"-----BEGIN\nABCD==\nQQ=\n-----END\"\nlower=1\n=x\n9A=1\nLAST=\n";
        let found: Vec<_> = names(text).into_iter().collect();
        assert_eq!(found, ["DEBUG", "LAST", "PEM", "SECRET_KEY"]);
    }
}
