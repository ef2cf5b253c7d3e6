//! The git repository of a source that is built from a copy: backends make versions of its tags.

use std::ffi::OsStr;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use wheelbarrow_base::open_no_link;

use crate::above::{COMMON, DOT_GIT, common, repository};
use crate::{Error, Result};

/// Makes `to` for a copy of `from`, with the repository that `from` lies in. Gives the directory of the copy: as far below `to`
/// as `from` is below the top of its repository.
pub(super) fn place(from: &Path, to: &Path) -> Result<PathBuf> {
    fs::create_dir_all(to).map_err(Error::io("make", to))?;
    let from = fs::canonicalize(from).map_err(Error::io("find", from))?;
    let Some((top, repository)) = find(&from) else { return Ok(to.to_path_buf()) };
    stand_in(&repository, &to.join(DOT_GIT))?;
    let place = to.join(from.strip_prefix(&top).unwrap_or(Path::new("")));
    fs::create_dir_all(&place).map_err(Error::io("make", &place))?;
    Ok(place)
}

/// The directory outside of `to` that git needs for the copy in there. No other directory is shown to a build.
pub(super) fn needed(to: &Path) -> Option<PathBuf> {
    let repository = fs::canonicalize(to.join(DOT_GIT)).ok()?;
    let common = common(&repository)?;
    (common != repository && common.join("objects").is_dir() && common.join("HEAD").exists())
        .then_some(common)
}

/// The repository that `from` lies in, unless it is another user's: git would look at the owner of the copy. None that ignores `from`.
fn find(from: &Path) -> Option<(PathBuf, PathBuf)> {
    repository(from).filter(|(top, _)| !is_ignored(top, from))
}

/// Whether the repository ignores `from`, which then has no version there.
fn is_ignored(top: &Path, from: &Path) -> bool {
    let mut git = Command::new("git");
    git.arg("-C").arg(top).args(["check-ignore", "--quiet", "--"]).arg(from);
    git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    from != top && git.status().is_ok_and(|status| status.success())
}

/// Marks what the copy `to` does not have of `from`'s repository, such as logins, in the index of the copy: git passes over it.
/// Otherwise a version made of a tag would end in `.dirty`. What the work tree does not have either stays missing.
pub(super) fn pass_over_missing(from: &Path, to: &Path) {
    let Some((top, _)) = fs::canonicalize(from).ok().and_then(|from| repository(&from)) else { return };
    let Some(missing) = to.join(DOT_GIT).is_dir().then(|| index(to, &["ls-files", "-z", "--deleted"], &[]))
    else {
        return;
    };
    let mut left_out = Vec::new();
    for path in missing.split_inclusive(|byte| *byte == 0) {
        let name = OsStr::from_bytes(path.strip_suffix(b"\0").unwrap_or(path));
        if top.join(name).symlink_metadata().is_ok() {
            left_out.extend_from_slice(path);
        }
    }
    if !left_out.is_empty() {
        index(to, &["update-index", "-z", "--skip-worktree", "--stdin"], &left_out);
    }
}

/// The output of a command on the index of the copy. Nothing, if git is missing or fails: then no version can be made either.
fn index(to: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let run = || {
        let mut given = tempfile::tempfile()?;
        given.write_all(input)?;
        given.rewind()?;
        let mut git = Command::new("git");
        // As in a hook of git.
        for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_PREFIX"] {
            git.env_remove(name);
        }
        git.arg("-C").arg(to).args(["-c", "core.fsmonitor=false"]).args(arguments);
        git.stdin(given).stderr(Stdio::null()).output()
    };
    run().map(|output| output.stdout).unwrap_or_default()
}

/// A git directory with an index of its own, as of a worktree of `repository`: git ignores the work tree that the
/// configuration of a submodule's repository names.
fn stand_in(repository: &Path, link: &Path) -> Result<()> {
    fs::create_dir(link).map_err(Error::io("make", link))?;
    let entries = fs::read_dir(repository).map_err(Error::io("read", repository))?;
    for name in entries.filter_map(|entry| Some(entry.ok()?.file_name())) {
        // A split index has its entries in a second file.
        if name != "HEAD" && name != "index" && !name.as_bytes().starts_with(b"sharedindex.") {
            continue;
        }
        let (file, copy) = (repository.join(&name), link.join(&name));
        let Ok(mut file) = open_no_link(&file) else { continue };
        let mut written = fs::File::create(&copy).map_err(Error::io("write", &copy))?;
        std::io::copy(&mut file, &mut written).map_err(Error::io("write", &copy))?;
    }
    let Some(target) = common(repository) else { return Ok(()) };
    let common = link.join(COMMON);
    let text = format!("{}\n", target.display());
    fs::write(&common, text).map_err(Error::io("write", &common))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(directory: &Path, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(directory);
        for setting in ["user.name=Somebody", "user.email=somebody@example.org", "protocol.file.allow=always"]
        {
            git.args(["-c", setting]);
        }
        let output = git.args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn repository(directory: &Path, tag: &str) {
        fs::create_dir_all(directory.join("backend")).unwrap();
        fs::write(directory.join("backend/app.py"), tag).unwrap();
        git(directory, &["init", "--quiet"]);
        git(directory, &["add", "."]);
        git(directory, &["commit", "--quiet", "-m", tag]);
        git(directory, &["tag", tag]);
    }

    /// The top of the work tree as git sees it from the copy, whether it is clean, and its tag.
    fn seen(from: &Path, to: &Path) -> (PathBuf, String) {
        let place = place(from, to).unwrap();
        fs::write(place.join("app.py"), fs::read(from.join("app.py")).unwrap()).unwrap();
        assert!(needed(to).unwrap().join("objects").is_dir());
        let top = git(&place, &["rev-parse", "--show-toplevel"]);
        (PathBuf::from(top), git(&place, &["describe", "--tags", "--dirty"]))
    }

    #[test]
    fn a_copy_has_the_tags_of_its_repository() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let all = fs::canonicalize(directory.path()).unwrap();
        let (main, other, outer) = (all.join("main"), all.join("other"), all.join("outer"));
        repository(&main, "v1");
        git(&main, &["worktree", "add", "--quiet", "../other"]);
        repository(&outer, "v2");
        git(&outer, &["submodule", "--quiet", "add", "../main", "inner"]);
        git(&outer.join("inner"), &["fetch", "--quiet", "--tags"]);
        for (number, top) in [main, other, outer.join("inner")].into_iter().enumerate() {
            let to = all.join(format!("copy-{number}"));
            assert_eq!(seen(&top.join("backend"), &to), (to.clone(), "v1".to_owned()), "{}", top.display());
        }
        let to = all.join("copy");
        assert_eq!(seen(&outer.join("backend"), &to), (to.clone(), "v2".to_owned()));
    }

    #[test]
    fn tracked_files_that_a_copy_does_not_have_leave_it_clean() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let all = fs::canonicalize(directory.path()).unwrap();
        let main = all.join("main");
        fs::create_dir(&main).unwrap();
        fs::write(main.join(".npmrc"), "login").unwrap();
        fs::write(main.join("gone.txt"), "").unwrap();
        repository(&main, "v1");
        let described = |name: &str| {
            let to = all.join(name);
            let place = place(&main.join("backend"), &to).unwrap();
            fs::copy(main.join("backend/app.py"), place.join("app.py")).unwrap();
            pass_over_missing(&main.join("backend"), &to);
            git(&place, &["describe", "--tags", "--dirty"])
        };
        assert_eq!(described("clean"), "v1");
        fs::remove_file(main.join("gone.txt")).unwrap();
        assert_eq!(described("dirty"), "v1-dirty");
        fs::write(main.join("gone.txt"), "").unwrap();
        assert_eq!(git(&main, &["status", "--porcelain"]), "");
        assert!(!git(&main, &["ls-files", "-t"]).contains("S "));
    }

    #[test]
    fn what_a_repository_ignores_is_not_in_it() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let all = fs::canonicalize(directory.path()).unwrap();
        let main = all.join("main");
        repository(&main, "v1");
        fs::write(main.join(".gitignore"), "/made/\n").unwrap();
        fs::create_dir_all(main.join("made/site")).unwrap();
        let to = all.join("copy");
        assert_eq!(place(&main.join("made/site"), &to).unwrap(), to);
        assert_eq!(needed(&to), None);
    }

    /// As `/tmp/.git`, which any user can make above what is built in there.
    #[test]
    fn a_repository_of_another_user_is_not_used() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: only root has files of several users");
        }
        let directory = tempfile::tempdir().unwrap();
        let all = fs::canonicalize(directory.path()).unwrap();
        let (top, source) = (all.join("top"), all.join("top/backend"));
        repository(&top, "v1");
        let is_used = |to: &str| {
            let to = all.join(to);
            place(&source, &to).unwrap();
            to.join(".git").exists()
        };
        assert!(is_used("own"));
        std::os::unix::fs::chown(top.join(".git"), Some(4321), None).unwrap();
        assert!(!is_used("directory"));
        std::os::unix::fs::chown(&source, Some(4321), None).unwrap();
        assert!(is_used("owner of the source"));
        std::os::unix::fs::chown(&source, Some(0), None).unwrap();
        fs::rename(top.join(".git"), all.join("theirs")).unwrap();
        fs::write(top.join(".git"), "gitdir: ../theirs\n").unwrap();
        assert!(!is_used("file"));
        fs::remove_file(top.join(".git")).unwrap();
        fs::create_dir(top.join(".git")).unwrap();
        fs::write(top.join(".git/commondir"), "../../theirs\n").unwrap();
        assert!(!is_used("common"));
    }

    /// A vendored source could name a private repository of who builds it.
    #[test]
    fn a_repository_that_does_not_name_the_source_is_not_used() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let all = fs::canonicalize(directory.path()).unwrap();
        let (private, source) = (all.join("private"), all.join("source"));
        repository(&private, "v1");
        fs::create_dir_all(source.join("backend")).unwrap();
        let (named, fake) = (source.join(".git"), source.join("fake"));
        let is_used = |to: &str| {
            let to = all.join(to);
            place(&source.join("backend"), &to).unwrap();
            needed(&to).is_some() || to.join(".git").exists()
        };
        fs::write(&named, "gitdir: ../private/.git\n").unwrap();
        assert!(!is_used("file"));
        fs::create_dir(&fake).unwrap();
        fs::write(&named, "gitdir: fake\n").unwrap();
        fs::write(fake.join("gitdir"), "../.git\n").unwrap();
        fs::write(fake.join("commondir"), "../../private/.git\n").unwrap();
        assert!(!is_used("worktree"));
        fs::remove_file(&named).unwrap();
        fs::os::unix::fs::symlink("../private/.git", &named).unwrap();
        assert!(!is_used("link"));
        fs::remove_file(&named).unwrap();
        fs::rename(&fake, &named).unwrap();
        assert!(!is_used("common"));
    }

    #[test]
    fn a_source_without_a_repository_has_none() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join(".git"), "nothing that git knows").unwrap();
        assert_eq!(place(&from, &to).unwrap(), to);
        assert!(to.is_dir() && needed(&to).is_none());
    }
}
