//! `cargo xtask docs`: the documentation site. Zensical builds it with `--strict`, which fails for a page or an anchor that
//! does not exist. What Zensical does not check is checked here: pages that are missing from the navigation, and links of
//! pages outside `docs/`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fs_err as fs;
use walkdir::WalkDir;

use crate::children::{clean, run as run_child, target_directory, workspace};
use crate::tools;

/// Another version may find other faults.
const ZENSICAL: &str = "zensical==0.0.73";
/// The oldest Python that Zensical runs on, 3.x.
const OLDEST: u32 = 10;
/// Where pages are that GitHub shows and the site does not.
const OTHERS: [&str; 4] = [".", ".github", "ansible", "crates"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let serve = match arguments {
        [] => false,
        [flag] if flag == "--serve" => true,
        _ => bail!("usage: cargo xtask docs [--serve]"),
    };
    let problems = check_pages()?;
    if !problems.is_empty() {
        bail!("links and pages:\n  {}", problems.join("\n  "));
    }
    let zensical = tools::of_pypi("docs", &[ZENSICAL], OLDEST)?.join("zensical");
    let mut command = clean(&zensical);
    command.current_dir(workspace());
    run_child(command.args(if serve { ["serve"].as_slice() } else { &["build", "--clean", "--strict"] }))?;
    let lost = if serve { Vec::new() } else { lost_anchors()? };
    if !lost.is_empty() {
        bail!("anchors that the built page lacks:\n  {}", lost.join("\n  "));
    }
    Ok(())
}

/// Addresses that errors print, and that lead nowhere on the built page.
fn lost_anchors() -> Result<Vec<String>> {
    let source = fs::read_to_string(workspace().join("docs/troubleshooting.md"))?;
    let built = fs::read_to_string(target_directory().join("docs/site/troubleshooting/index.html"))?;
    let anchors = source.split("<a id=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    Ok(anchors
        .map(|(anchor, _)| format!("id=\"{anchor}\""))
        .filter(|id| built.matches(id).count() != 1)
        .collect())
}

fn check_pages() -> Result<Vec<String>> {
    let navigation = fs::read_to_string(workspace().join("mkdocs.yml"))?;
    let mut problems = Vec::new();
    for page in tracked(&["docs"])? {
        let name = page.strip_prefix("docs").unwrap_or(&page).display().to_string();
        if !navigation.lines().any(|line| line.ends_with(&format!(": {name}"))) {
            problems.push(format!("{}: not in the navigation of mkdocs.yml", page.display()));
        }
    }
    for page in tracked(&OTHERS)?.iter().filter(|page| !page.starts_with("docs")) {
        let text = fs::read_to_string(workspace().join(page))?;
        let directory = page.parent().unwrap_or(Path::new(""));
        for link in links(&text).filter(|link| !link.contains(':') && !link.starts_with('#')) {
            let path = link.split('#').next().unwrap_or_default();
            if !workspace().join(directory).join(path).exists() {
                problems.push(format!("{}: the link {link} leads nowhere", page.display()));
            }
        }
    }
    Ok(problems)
}

/// The pages below these directories; of `.` those beside Cargo.toml.
fn tracked(directories: &[&str]) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for directory in directories {
        let depth = if *directory == "." { 1 } else { usize::MAX };
        let path = workspace().join(directory);
        for entry in WalkDir::new(&path).max_depth(depth).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(_) if !path.exists() => break,
                Err(error) => return Err(error.into()),
            };
            if entry.path().extension().is_some_and(|extension| extension == "md") {
                pages.push(entry.path().strip_prefix(workspace())?.components().collect());
            }
        }
    }
    Ok(pages)
}

/// The targets of Markdown's inline links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found() {
        let text = "See [one](docs/one.md#part) and [two](https://example.org).";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/one.md#part", "https://example.org"]);
    }

    #[test]
    fn every_page_is_in_the_navigation_and_every_link_leads_somewhere() {
        assert_eq!(check_pages().unwrap(), Vec::<String>::new());
    }
}
