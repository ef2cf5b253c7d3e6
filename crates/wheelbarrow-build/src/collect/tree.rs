//! The files that commands of a site leave in STATIC_ROOT: the code of the site, or of a wheel, decides what
//! they are.
//!
//! In a container that code has fewer rights than this process, and the path of a link has another target
//! there. So nothing is removed through a link, and links are followed only to regular files of the installed
//! site.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use wheelbarrow_wheel::text::is_control;

use crate::Error;
use crate::build_error::BuildError;
use crate::project::{FileContent, ProjectError, ProjectFile};

/// As many as an artifact may have.
const MOST_PLACES: usize = 500_000;

/// STATIC_ROOT of an installed site.
pub(super) struct CollectedTree<'t> {
    /// What the site's code can put no link in the place of. Without links in it.
    pub(super) scratch: &'t Path,
    /// Below `scratch`, as `code`.
    pub(super) site: &'t Path,
    pub(super) code: &'t Path,
    /// A safe path below the code.
    pub(super) root: &'t str,
}

/// A walk through STATIC_ROOT.
struct TreeWalk<'t> {
    site: &'t Path,
    /// The device and the inode of the file with the variables of the build.
    environment: Option<(u64, u64)>,
    /// The directories that the walk is in.
    open: Vec<PathBuf>,
    /// Files and directories so far.
    places: usize,
    most: usize,
    files: Vec<ProjectFile>,
}

impl CollectedTree<'_> {
    /// Removes what the project has there, which is of an earlier run.
    pub(super) fn clear(&self) -> Result<(), BuildError> {
        let full = self.code.join(self.root);
        let above = full.ancestors().skip(1).take_while(|path| *path != self.scratch);
        if let Some(link) = above.filter(|path| path.is_symlink()).last() {
            let link = link.strip_prefix(self.scratch).unwrap_or(link).display();
            let reason = format!("is {} in the code, which leads through the link {link}", self.root);
            return Err(Error::StaticRoot { reason }.into());
        }
        match fs::remove_dir_all(&full) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &full)(error).into())
            }
            _ => Ok(()),
        }
    }

    /// All files there, ordered. A file that a link leads to is taken from where it is.
    pub(super) fn files(&self) -> Result<Vec<ProjectFile>, BuildError> {
        self.files_up_to(MOST_PLACES)
    }

    fn files_up_to(&self, most: usize) -> Result<Vec<ProjectFile>, BuildError> {
        let environment = fs::metadata(self.site.join("environment.json")).ok();
        let mut walk = TreeWalk {
            site: self.site,
            environment: environment.map(|metadata| (metadata.dev(), metadata.ino())),
            open: Vec::new(),
            places: 0,
            most,
            files: Vec::new(),
        };
        let full = self.code.join(self.root);
        match fs::metadata(&full) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            _ => walk.add(full, self.root.to_owned())?,
        }
        walk.files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        Ok(walk.files)
    }
}

impl TreeWalk<'_> {
    /// Adds what is at `source`. It is called `path` in the artifact.
    fn add(&mut self, source: PathBuf, path: String) -> Result<(), ProjectError> {
        self.places += 1;
        if self.places > self.most {
            return Err(ProjectError::TooMany { path: source, most: self.most });
        }
        let real = fs::canonicalize(&source).map_err(ProjectError::read(&source))?;
        if !real.starts_with(self.site) {
            return Err(ProjectError::LinkLeaves { link: path.into(), target: real });
        }
        let metadata = fs::symlink_metadata(&real).map_err(ProjectError::read(&source))?;
        if metadata.is_dir() {
            return self.add_directory(&source, real, &path);
        }
        if !metadata.is_file() {
            return Err(ProjectError::Special { path: source });
        }
        if self.environment == Some((metadata.dev(), metadata.ino())) {
            return Err(ProjectError::Environment { path });
        }
        let content = FileContent::File { size: metadata.len(), executable: false };
        self.files.push(ProjectFile { path, source: real, content });
        Ok(())
    }

    fn add_directory(&mut self, source: &Path, real: PathBuf, below: &str) -> Result<(), ProjectError> {
        if self.open.contains(&real) {
            let circle = std::io::Error::from(rustix::io::Errno::LOOP);
            return Err(ProjectError::Read { path: source.to_path_buf(), source: circle });
        }
        let entries = fs::read_dir(&real).map_err(ProjectError::read(source))?;
        self.open.push(real);
        for entry in entries {
            let source = entry.map_err(ProjectError::read(source))?.path();
            let name = source.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| ProjectError::Name { path: source.clone() })?;
            if name.contains(is_control) {
                return Err(ProjectError::Control { path: source });
            }
            let path = format!("{below}/{name}");
            self.add(source, path)?;
        }
        self.open.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use fs_err::os::unix::fs::symlink;

    use super::*;

    /// A site with an environment, code and a directory beside it, and STATIC_ROOT with one file.
    fn site() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().canonicalize().unwrap();
        for directory in ["site/code/static", "site/venv/packages/a", "outside/static"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        for file in
            ["site/environment.json", "site/code/static/a", "site/venv/packages/a/b", "outside/static/b"]
        {
            fs::write(path.join(file), "x").unwrap();
        }
        (place, path)
    }

    fn clear(path: &Path, root: &str) -> Result<(), BuildError> {
        let (site, code) = (path.join("site"), path.join("site/code"));
        CollectedTree { scratch: path, site: &site, code: &code, root }.clear()
    }

    fn found(path: &Path) -> Result<Vec<String>, String> {
        let (site, code) = (path.join("site"), path.join("site/code"));
        let files = CollectedTree { scratch: path, site: &site, code: &code, root: "static" }
            .files_up_to(5_000)
            .map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                format!("{error}: {}", cause.unwrap_or_default())
            })?;
        Ok(files.into_iter().map(|file| file.path).collect())
    }

    #[test]
    fn nothing_is_removed_through_a_link() {
        let (_place, path) = site();
        symlink(path.join("outside"), path.join("site/code/link")).unwrap();
        let error = clear(&path, "link/static").unwrap_err();
        assert!(error.to_string().contains("leads through the link"), "{error}");
        assert!(path.join("outside/static/b").exists());
        clear(&path, "static").unwrap();
        assert!(!path.join("site/code/static").exists());
        // A link in the place of STATIC_ROOT goes, and what it leads to stays.
        symlink(path.join("outside/static"), path.join("site/code/static")).unwrap();
        clear(&path, "static").unwrap();
        assert!(!path.join("site/code/static").is_symlink() && path.join("outside/static/b").exists());
        clear(&path, "absent/static").unwrap();
        // Code in a container can move the whole site.
        let kept = [path.join("outside/static/b"), path.join("outside/code/static/b")];
        fs::create_dir_all(path.join("outside/code/static")).unwrap();
        fs::write(&kept[1], "x").unwrap();
        for moved in ["site/code", "site"] {
            fs::rename(path.join(moved), path.join("old")).unwrap();
            symlink(path.join("outside"), path.join(moved)).unwrap();
            let error = clear(&path, "static").unwrap_err();
            assert!(error.to_string().contains(&format!("the link {moved}")), "{error}");
            assert!(found(&path).unwrap_err().contains("leads out of the project"));
            assert!(kept.iter().all(|path| path.exists()));
            fs::remove_file(path.join(moved)).unwrap();
            fs::rename(path.join("old"), path.join(moved)).unwrap();
        }
    }

    #[test]
    fn links_to_files_of_the_site_are_collected() {
        let (_place, path) = site();
        symlink(path.join("site/venv/packages/a/b"), path.join("site/code/static/b")).unwrap();
        symlink("../../venv/packages", path.join("site/code/static/c")).unwrap();
        assert_eq!(found(&path).unwrap(), ["static/a", "static/b", "static/c/a/b"]);
        symlink(path.join("outside/static/b"), path.join("site/code/static/d")).unwrap();
        assert!(found(&path).unwrap_err().contains("leads out of the project"));
    }

    #[test]
    fn the_environment_of_the_build_is_not_collected() {
        for is_link in [true, false] {
            let (_place, path) = site();
            let (environment, new) = (path.join("site/environment.json"), path.join("site/code/static/e"));
            if is_link { symlink(&environment, &new) } else { fs::hard_link(&environment, &new) }.unwrap();
            let error = found(&path).unwrap_err();
            assert!(error.contains("static/e is the environment of the build"), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let (_place, path) = site();
        let socket = path.join("site/code/static/s");
        let _listening = UnixListener::bind(&socket).unwrap();
        assert!(found(&path).unwrap_err().contains("s is neither a file nor a directory"));
        fs::remove_file(&socket).unwrap();
        let made =
            std::process::Command::new("mkfifo").arg(path.join("site/code/static/p")).status().unwrap();
        assert!(made.success());
        assert!(found(&path).unwrap_err().contains("p is neither a file nor a directory"));
    }

    #[test]
    fn links_in_circles_and_trees_of_links_have_an_end() {
        let (_place, path) = site();
        symlink(".", path.join("site/code/static/l")).unwrap();
        let error = found(&path).unwrap_err();
        assert!(error.contains("static/l`") || error.contains("static/l:"), "not the first link: {error}");

        // Two links in each of 40 directories: 2^40 paths.
        let (_place, path) = site();
        for number in 0..40 {
            let directory = path.join(format!("site/code/d{number}"));
            fs::create_dir(&directory).unwrap();
            for name in ["a", "b"] {
                symlink(path.join(format!("site/code/d{}", number + 1)), directory.join(name)).unwrap();
            }
        }
        fs::create_dir(path.join("site/code/d40")).unwrap();
        symlink(path.join("site/code/d0"), path.join("site/code/static/d")).unwrap();
        assert!(found(&path).unwrap_err().contains("more than 5000 files and directories"));
    }
}
