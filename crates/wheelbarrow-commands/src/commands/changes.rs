//! Prints the changes of a deploy in a few lines.

use wheelbarrow_release::{Changes, EnvironmentDifference, ServiceChanges, VersionChange};

use crate::text::{Align, count, table};

/// How many names stand in a line.
const NAMES: usize = 12;

/// A line for each part that is not empty, indented.
pub(super) fn lines(changes: &Changes) -> String {
    let mut rows: Vec<_> = changes.python.iter().map(|python| ("python", between(python))).collect();
    let distributions = distributions(changes);
    if !distributions.is_empty() {
        rows.push(("distributions", distributions));
    }
    if !changes.migrations.is_empty() {
        rows.push(("migrations", few(&changes.migrations)));
    }
    if let Some(files) = &changes.static_files {
        let mut text = count(files.files, "file");
        for (number, what) in [(files.added, "added"), (files.removed, "removed")] {
            if number > 0 {
                text.push_str(&format!(", {number} {what}"));
            }
        }
        rows.push(("static files", text));
    }
    if !changes.services.is_empty() {
        let ServiceChanges { added, removed, changed } = &changes.services;
        rows.push(("services", differing([changed, added, removed])));
    }
    rows.extend(environment(&changes.environment).map(|text| ("environment", text)));
    rows.extend(changes.server.iter().map(|server| ("server", server.clone())));
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = rows.into_iter().map(|(what, text)| vec![format!("  {what}"), text]).collect();
    format!("\n{}", table(&[Align::Left; 2], &rows))
}

/// `3.12.3 -> 3.13.1 (bundled)`
pub(super) fn between(change: &VersionChange) -> String {
    format!("{} -> {}", change.from, change.to)
}

/// `django 5.1 -> 5.2, + httpx 0.27, - requests 2.31`
fn distributions(changes: &Changes) -> String {
    let difference = &changes.distributions;
    let changed = difference.changed.iter().map(|one| format!("{} {}", one.name, between(one)));
    let added = difference.added.iter().map(|one| format!("+ {} {}", one.name, one.version));
    let removed = difference.removed.iter().map(|one| format!("- {} {}", one.name, one.version));
    few(&changed.chain(added).chain(removed).collect::<Vec<_>>())
}

/// The names of variables; none if no variable differs.
pub(super) fn environment(difference: &EnvironmentDifference) -> Option<String> {
    let EnvironmentDifference { added, removed, changed } = difference;
    (!difference.is_empty()).then(|| differing([changed, added, removed]))
}

/// `beat changed, + worker, - timer`
fn differing(names: [&[String]; 3]) -> String {
    let marks = [("", " changed"), ("+ ", ""), ("- ", "")];
    let marked = names.iter().zip(marks).flat_map(|(names, (before, after))| {
        names.iter().map(move |name| format!("{before}{}{after}", name.escape_debug()))
    });
    few(&marked.collect::<Vec<_>>())
}

fn few(names: &[String]) -> String {
    match names.len().checked_sub(NAMES) {
        Some(more @ 1..) => format!("{} and {more} more", names[..NAMES].join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_parts_are_not_printed() {
        assert_eq!(lines(&Changes::default()), "");
        let migrations = (1..=14).map(|number| format!("shop.{number:04}")).collect();
        let changes =
            Changes { migrations, server: Some("systemctl restart x".to_owned()), ..Changes::default() };
        let text = lines(&changes);
        assert!(text.starts_with("\n  migrations  shop.0001, "), "{text}");
        assert!(text.contains("shop.0012 and 2 more\n  server      systemctl restart x"), "{text}");
    }

    #[test]
    fn services_have_a_line() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect();
        let services =
            ServiceChanges { added: names("worker"), removed: names("timer mail"), changed: names("beat") };
        let text = lines(&Changes { services, ..Changes::default() });
        assert_eq!(text, "\n  services  beat changed, + worker, - timer, - mail");
    }
}
