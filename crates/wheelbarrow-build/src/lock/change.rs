//! The changes of a new lock against the previous one, in one sentence.

use std::collections::BTreeMap;
use std::path::Path;

use super::pylock::Pylock;

/// More are counted.
const NAMED: usize = 8;

/// None if the locks have the same versions for the same Pythons.
pub(super) fn describe(file: &Path, before: &Pylock, after: &Pylock) -> Option<String> {
    let (old, new) = (versions(before), versions(after));
    let changed = new.iter().filter(|(name, _)| old.get(*name).is_some_and(|version| *version != new[*name]));
    let mut changes: Vec<String> =
        changed.map(|(name, version)| format!("{name} {} -> {version}", old[name])).collect();
    changes
        .extend(new.iter().filter(|(name, _)| !old.contains_key(*name)).map(|(name, _)| format!("+{name}")));
    changes.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("-{name}")));
    let of = |lock: &Pylock| lock.requires_python.clone().unwrap_or_else(|| "any".to_owned());
    let is_for_others = before.requires_python != after.requires_python;
    if changes.is_empty() && !is_for_others {
        return None;
    }
    let file = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let mut text = format!("{file} is locked again");
    if is_for_others {
        text += &format!(", for Python {} (before: {})", of(after), of(before));
    }
    let more = changes.len().saturating_sub(NAMED);
    changes.truncate(NAMED);
    if !changes.is_empty() {
        text += &format!(": {}", changes.join(", "));
    }
    if more > 0 {
        text += &format!(", and {more} more");
    }
    if is_for_others {
        text +=
            ". Versions that were locked stay where they fit; `wheelbarrow build --upgrade` takes the newest";
    }
    Some(text)
}

/// A name that is there more than once, for several Pythons, has all its versions.
fn versions(lock: &Pylock) -> BTreeMap<&str, String> {
    let mut versions: BTreeMap<&str, String> = BTreeMap::new();
    for package in &lock.packages {
        let version = package.version.as_deref().unwrap_or("(source)");
        versions
            .entry(&package.name)
            .and_modify(|known| *known += &format!("|{version}"))
            .or_insert_with(|| version.to_owned());
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(python: &str, packages: &[(&str, &str)]) -> Pylock {
        let packages: String = packages
            .iter()
            .map(|(name, version)| {
                let url = format!("https://example.org/{name}-{version}-py3-none-any.whl");
                format!(
                    "[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n[[packages.wheels]]\nurl = \"{url}\"\nhashes = {{}}\n"
                )
            })
            .collect();
        let text = format!(
            "lock-version = \"1.0\"\ncreated-by = \"a test\"\nrequires-python = \"{python}\"\n{packages}"
        );
        Pylock::parse_unhashed(&text).unwrap()
    }

    #[test]
    fn changes_are_named() {
        let file = Path::new("/somewhere/pylock.shop.toml");
        let before = lock(">=3.11", &[("flask", "3.1.3"), ("blinker", "1.9"), ("click", "8.1")]);
        assert_eq!(describe(file, &before, &before), None);
        let same = lock(">=3.11", &[("flask", "3.1.4"), ("click", "8.1"), ("dataclasses", "0.8")]);
        insta::assert_snapshot!(describe(file, &before, &same).unwrap(), @"pylock.shop.toml is locked again: flask 3.1.3 -> 3.1.4, +dataclasses, -blinker");
        let older = lock(">=3.6", &[("flask", "2.0.3"), ("blinker", "1.9"), ("click", "8.1")]);
        insta::assert_snapshot!(describe(file, &before, &older).unwrap(), @"pylock.shop.toml is locked again, for Python >=3.6 (before: >=3.11): flask 3.1.3 -> 2.0.3. Versions that were locked stay where they fit; `wheelbarrow build --upgrade` takes the newest");
    }

    #[test]
    fn many_changes_are_counted() {
        let names: Vec<String> = (0..12).map(|number| format!("p{number}")).collect();
        let at = |version| names.iter().map(|name| (name.as_str(), version)).collect::<Vec<_>>();
        let text = describe(Path::new("l"), &lock(">=3.9", &at("1")), &lock(">=3.9", &at("2"))).unwrap();
        assert!(text.ends_with("p5 1 -> 2, and 4 more"), "{text}");
    }
}
