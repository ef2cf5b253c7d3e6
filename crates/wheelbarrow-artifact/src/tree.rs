//! The tree that an install makes of members: which paths are directories, and the targets of links.
//! `exact.py` and `artifact.py` have the same rules.
//!
//! A link is checked along the path that a kernel follows: through other links, and up from their targets.
//! The text of a link alone does not show that path.

use std::collections::{BTreeMap, HashMap};

use crate::manifest::MemberKind;

/// No site has as many files and directories.
const MOST_PLACES: usize = 500_000;
/// Bytes of the target of a link: of any path (`PATH_MAX` in linux/limits.h, less the NUL).
const LONGEST_TARGET: usize = 4095;
/// The links that a kernel follows on the way of one path (`MAXSYMLINKS`, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Members by their places. The first place is the top.
pub struct Tree<'a> {
    places: Vec<Node>,
    /// By the directory and the name in it.
    below: HashMap<(usize, &'a str), usize>,
    /// The places of links, by their paths.
    links: BTreeMap<&'a str, usize>,
}

struct Node {
    above: usize,
    kind: NodeKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeKind {
    Directory,
    File,
    Link,
}

/// A link that is refused.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} -> {target}: {reason}")]
pub struct BadLink {
    pub path: String,
    pub target: String,
    pub reason: &'static str,
}

wheelbarrow_base::debug_error!(BadLink);

/// The member that a path leads to, by its place in the tree (none if there is no such member), and how many links are on the way.
type LinkedPath = (Option<usize>, usize);

/// Finds where links lead, each once.
struct LinkWalk<'t, 'a> {
    tree: &'t Tree<'a>,
    /// By the places of the links.
    targets: HashMap<usize, &'t str>,
    known: HashMap<usize, LinkedPath>,
}

impl<'a> Tree<'a> {
    /// Refuses members that cannot be installed together, and says why.
    pub fn new(members: impl IntoIterator<Item = (&'a str, MemberKind)>) -> Result<Self, String> {
        let top = Node { above: 0, kind: NodeKind::Directory };
        let mut tree = Self { places: vec![top], below: HashMap::new(), links: BTreeMap::new() };
        for (path, kind) in members {
            tree.add(path, kind)?;
        }
        Ok(tree)
    }

    fn add(&mut self, path: &'a str, kind: MemberKind) -> Result<(), String> {
        let (mut at, mut end) = (0, 0);
        for part in path.split('/') {
            let is_last = end + part.len() == path.len();
            let next = self.places.len();
            let place = *self.below.entry((at, part)).or_insert(next);
            if place == next {
                if next > MOST_PLACES {
                    return Err(format!("it has more than {MOST_PLACES} files and directories"));
                }
                self.places.push(Node { above: at, kind: NodeKind::Directory });
            }
            if (is_last && place != next) || self.places[place].kind != NodeKind::Directory {
                let path = &path[..end + part.len()];
                return Err(format!("{path} is both a directory and a file or link"));
            }
            (at, end) = (place, end + part.len() + 1);
        }
        self.places[at].kind = if kind == MemberKind::Link { NodeKind::Link } else { NodeKind::File };
        if kind == MemberKind::Link {
            self.links.insert(path, at);
        }
        Ok(())
    }

    /// Refuses a link that leads out of the first part of its path. `targets` are those of all links, by their paths.
    pub fn check_links(&self, targets: &BTreeMap<&str, &[u8]>) -> Result<(), BadLink> {
        let target_of = |path: &str| targets.get(path).copied().unwrap_or_default();
        let bad = |path: &str, reason| {
            let target = String::from_utf8_lossy(target_of(path)).into_owned();
            BadLink { path: path.to_owned(), target, reason }
        };
        let mut walk = LinkWalk { tree: self, targets: HashMap::new(), known: HashMap::new() };
        for (path, place) in &self.links {
            walk.targets.insert(*place, text_of(target_of(path)).map_err(|reason| bad(path, reason))?);
        }
        for (path, place) in &self.links {
            walk.follow(*place, 0).map_err(|reason| bad(path, reason))?;
        }
        Ok(())
    }
}

impl LinkWalk<'_, '_> {
    /// Where a link leads. What it leads to may be a link again.
    fn follow(&mut self, link: usize, depth: usize) -> Result<LinkedPath, &'static str> {
        const LOOP: &str = "the link leads through more than 40 links";
        if let Some(way) = self.known.get(&link) {
            return Ok(*way);
        }
        let target = self.targets.get(&link).copied().unwrap_or_default();
        let (mut at, mut links) = (Some(self.tree.places[link].above), 0);
        for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
            while let Some(link) = at.filter(|at| self.tree.places[*at].kind == NodeKind::Link) {
                if depth + links >= MOST_LINKS {
                    return Err(LOOP);
                }
                let (place, more) = self.follow(link, depth + 1)?;
                (at, links) = (place, links + 1 + more);
            }
            if links > MOST_LINKS {
                return Err(LOOP);
            }
            at = self.step(at, part)?;
        }
        self.known.insert(link, (at, links));
        Ok((at, links))
    }

    /// From a file, a directory or nothing to what `part` names there.
    fn step(&self, at: Option<usize>, part: &str) -> Result<Option<usize>, &'static str> {
        let directory = at.filter(|at| self.tree.places[*at].kind == NodeKind::Directory);
        match (directory, part) {
            // What will be there later is not known: a link, for example.
            (None, "..") => Err("the link has `..` behind a name that is not a directory of the project"),
            (None, _) => Ok(None),
            (Some(at), "..") => match self.tree.places[at].above {
                0 => Err("the link leads out of the project"),
                above => Ok(Some(above)),
            },
            (Some(at), part) => Ok(self.tree.below.get(&(at, part)).copied()),
        }
    }
}

fn text_of(target: &[u8]) -> Result<&str, &'static str> {
    match std::str::from_utf8(target) {
        Err(_) => Err("the target of the link is not UTF-8"),
        Ok("") => Err("the link has no target"),
        Ok(text) if text.len() > LONGEST_TARGET => Err("the target of the link has more than 4095 bytes"),
        Ok(text) if text.starts_with('/') => Err("the link leads out of the project"),
        Ok(text) if text.contains('\0') => Err("the target of the link has a NUL in it"),
        Ok(text) => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason for which a tree of these links, the file `site/d/f` and the directory `site/e` is refused.
    fn refused(links: &[(&str, &str)]) -> Option<&'static str> {
        let files = ["site/d/f", "site/e/g"].map(|path| (path, MemberKind::File));
        let paths = links.iter().map(|(path, _)| (*path, MemberKind::Link));
        let tree = Tree::new(files.into_iter().chain(paths)).unwrap();
        let targets = links.iter().map(|(path, target)| (*path, target.as_bytes())).collect();
        tree.check_links(&targets).err().map(|bad| bad.reason)
    }

    #[test]
    fn links_go_the_way_of_a_kernel() {
        let taken: [&[(&str, &str)]; 10] = [
            &[("site/l", "d/f")],
            &[("site/l", "d/../e/g")],
            &[("site/d/l", "../e/./g/")],
            &[("site/d/l", "..")],
            &[("site/l", "gone/for/now")],
            &[("site/l", "m"), ("site/m", "l")],
            &[("site/l", "d/m/g"), ("site/d/m", "../e")],
            &[("site/l", "m/../d/f"), ("site/m", "e")],
            &[("site/l", "m/n"), ("site/m", "e"), ("site/e/n", "../d")],
            &[("site/l", "m/n/f"), ("site/m", "e"), ("site/e/n", "../d")],
        ];
        for links in taken {
            assert_eq!(refused(links), None, "{links:?}");
        }
        let out: [&[(&str, &str)]; 6] = [
            &[("site/l", "..")],
            &[("site/l", "/etc")],
            &[("site/l", "d/../../x")],
            &[("site/s", "."), ("site/t", "s/s/../etc")],
            &[("site/s", "."), ("site/t", "s/s/s/s/../../../../etc")],
            &[("site/d/up", ".."), ("site/t", "d/up/../x")],
        ];
        for links in out {
            assert_eq!(refused(links), Some("the link leads out of the project"), "{links:?}");
        }
        let name = "the link has `..` behind a name that is not a directory of the project";
        assert_eq!(refused(&[("site/l", "gone/../d")]), Some(name));
        assert_eq!(refused(&[("site/l", "d/f/../f")]), Some(name));
        assert_eq!(refused(&[("site/l", "m/../d"), ("site/m", "gone")]), Some(name));
    }

    #[test]
    fn a_way_has_at_most_40_links() {
        let chain = |length: usize, first: usize| -> Option<&'static str> {
            // Each leads through the one before it; named so that the order of the paths is that of the chain or its reverse.
            let name = |number: usize| format!("site/l{:02}", number.abs_diff(first));
            let links: Vec<(String, String)> = (0..=length)
                .map(|number| match number {
                    0 => (name(0), "d".to_owned()),
                    _ => (name(number), format!("{}/../d", &name(number - 1)["site/".len()..])),
                })
                .collect();
            let links: Vec<_> = links.iter().map(|(path, target)| (path.as_str(), target.as_str())).collect();
            refused(&links)
        };
        for first in [0, 99] {
            assert_eq!(chain(40, first), None);
            assert_eq!(chain(41, first), Some("the link leads through more than 40 links"));
        }
        assert!(refused(&[("site/a", "b/x"), ("site/b", "a/x")]).is_some());
        // Each doubles the way of the one before it.
        let names: Vec<_> = (0..30).map(|number| format!("site/n{number}")).collect();
        let doubled = (1..30).map(|number| format!("n{0}/n{0}/d/..", number - 1));
        let targets: Vec<_> = std::iter::once(".".to_owned()).chain(doubled).collect();
        let links: Vec<_> =
            names.iter().map(String::as_str).zip(targets.iter().map(String::as_str)).collect();
        assert!(refused(&links).is_some());
    }

    #[test]
    fn a_path_is_a_directory_or_a_file() {
        let all =
            |paths: &[&'static str]| Tree::new(paths.iter().map(|path| (*path, MemberKind::File))).map(drop);
        assert_eq!(all(&["a/b", "a/c", "b", "ab/c"]), Ok(()));
        for paths in [["a/b", "a/b/c/d"], ["a/b/c/d", "a/b"]] {
            assert_eq!(all(&paths), Err("a/b is both a directory and a file or link".to_owned()));
        }
        let deep = (0..1000).map(|number| format!("{number}{}", "/d".repeat(1000))).collect::<Vec<_>>();
        assert!(Tree::new(deep.iter().map(|path| (path.as_str(), MemberKind::File))).is_err());
    }
}
