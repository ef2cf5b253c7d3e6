//! Links whose targets are not packed: in a release they lead to nothing.

use std::collections::BTreeSet;

use super::commands::below;
use super::{FileContent, ProjectFile};

/// How many of them a note names.
const NAMED: usize = 5;

/// One note for all of them.
pub(super) fn note(found: &[ProjectFile]) -> Option<String> {
    let paths: BTreeSet<&str> = found.iter().map(|file| file.path.as_str()).collect();
    let links: BTreeSet<&str> =
        found.iter().filter(|file| is_link(file)).map(|file| file.path.as_str()).collect();
    let is_packed = |path: &str| {
        let inside = format!("{path}/");
        let is_directory =
            paths.range(inside.as_str()..).next().is_some_and(|next| next.starts_with(&inside));
        // A way through another link is that link's.
        let mut above = path.match_indices('/').map(|(end, _)| &path[..end]);
        path.is_empty() || paths.contains(path) || is_directory || above.any(|above| links.contains(above))
    };
    let broken: Vec<String> = found
        .iter()
        .filter_map(|file| match &file.content {
            FileContent::Link { target } => Some((file.path.as_str(), target.as_str())),
            FileContent::File { .. } => None,
        })
        .filter(|(path, target)| {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            // One that leads out of the project is another error.
            below(directory, target).is_some_and(|target| !is_packed(&target))
        })
        .map(|(path, target)| format!("{path} -> {target}"))
        .collect();
    let more = broken.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let named = broken.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    (!broken.is_empty()).then(|| {
        format!(
            "the targets of links are not packed, so these lead to nothing in a release if neither `shared` nor `prepare` makes \
             the targets: {named}{more}; `\"!/PATH\"` in `exclude` keeps what an ignore rule leaves out"
        )
    })
}

fn is_link(file: &ProjectFile) -> bool {
    matches!(file.content, FileContent::Link { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_what_is_not_packed_are_noted() {
        let file = |(path, target): &(&str, Option<&str>)| ProjectFile {
            path: (*path).to_owned(),
            source: path.into(),
            content: match target {
                Some(target) => FileContent::Link { target: (*target).to_owned() },
                None => FileContent::File { size: 0, executable: false },
            },
        };
        let noted = |files: &[(&str, Option<&str>)]| note(&files.iter().map(file).collect::<Vec<_>>());
        let files = [
            ("app/a.css", None),
            ("app/b.css", Some("a.css")),
            ("static/all", Some("../app")),
            ("static/c.css", Some("all/a.css")),
            ("static/here", Some(".")),
            ("top", Some("./")),
        ];
        assert_eq!(noted(&files), None);
        let mut more = files.to_vec();
        more.extend([("static/x", Some("../node_modules/x/dist")), ("static/y", Some("../ap"))]);
        let note = noted(&more).unwrap();
        assert!(note.contains(": static/x -> ../node_modules/x/dist, static/y -> ../ap;"), "{note}");
    }
}
