//! Man pages and completions, made from the definitions of the command line.

use anyhow::Result;
use fs_err as fs;
use walkdir::WalkDir;

use super::archive::Tree;
use crate::children::{cargo, run as run_child, target_directory, workspace};

/// `man/*.1` and `completions/*`.
pub(super) fn make(has_servers: bool) -> Result<Tree> {
    const INSTALLER: &str = "WHEELBARROW_NATIVE_INSTALLER";
    let place = target_directory().join("pages");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    let mut example = cargo();
    example.args(["run", "--quiet", "--package", "wheelbarrow", "--example", "pages", "--"]).arg(&place);
    example.args((!has_servers).then_some("--without-servers"));
    // The pages need no standalone binary, so any that is there saves compiling another.
    let target =
        format!("installer/{}-unknown-linux-musl/installer/wheelbarrow-native", std::env::consts::ARCH);
    let made = Some(target_directory().join(target)).filter(|path| path.exists());
    let ready = std::env::var_os(INSTALLER).or(made.map(Into::into));
    example.envs(ready.map(|path| (INSTALLER, path)));
    run_child(example.current_dir(workspace()))?;
    let mut tree = Tree::default();
    for entry in WalkDir::new(&place) {
        let entry = entry?;
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(&place)?.display().to_string();
            tree.add(path, 0o644, fs::read(entry.path())?);
        }
    }
    Ok(tree)
}
