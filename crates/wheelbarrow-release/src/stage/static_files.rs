//! Lists the files of a directory in which the site's user may write: no link is followed, and there is a
//! limit.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::FileType;
use wheelbarrow_base::beneath::Directory;

/// A directory that holds more is not counted.
const MOST: usize = 50_000;
/// Bytes of all paths.
const PATHS: usize = 16 << 20;
const DEEPEST: usize = 30;

/// Paths of all regular files below the directory; none if there are too many.
pub(crate) fn files(directory: &Directory) -> Option<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut left = (MOST, PATHS);
    add(directory, Path::new(""), 0, &mut left, &mut files).then_some(files)
}

/// Whether all were added. What cannot be read counts as empty.
fn add(
    directory: &Directory,
    path: &Path,
    depth: usize,
    left: &mut (usize, usize),
    files: &mut BTreeSet<String>,
) -> bool {
    let Ok((entries, are_more)) = directory.first_entries(left.0) else { return true };
    if are_more || depth > DEEPEST {
        return false;
    }
    left.0 -= entries.len();
    entries.into_iter().all(|(name, kind)| {
        let path = path.join(&name);
        match (kind, path.to_str()) {
            (FileType::Directory, _) => match directory.sub(&name) {
                Ok(below) => add(&below, &path, depth + 1, left, files),
                Err(_) => true,
            },
            (FileType::RegularFile, Some(text)) => {
                files.insert(text.to_owned());
                left.1.checked_sub(text.len()).inspect(|paths| left.1 = *paths).is_some()
            }
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn regular_files_are_counted_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("css/deep")).unwrap();
        for name in ["a.css", "css/b.css", "css/deep/c.css"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        fs::os::unix::fs::symlink("/etc", place.path().join("etc")).unwrap();
        fs::os::unix::fs::symlink("..", place.path().join("css/up")).unwrap();
        let found = files(&Directory::open(place.path()).unwrap()).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a.css", "css/b.css", "css/deep/c.css"]);
        let deep = "d/".repeat(DEEPEST + 2);
        fs::create_dir_all(place.path().join(deep)).unwrap();
        assert_eq!(files(&Directory::open(place.path()).unwrap()), None);
    }
}
