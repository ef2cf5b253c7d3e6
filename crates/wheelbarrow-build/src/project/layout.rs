//! The code directory in the artifact, and the directory in it that is added to `sys.path`.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;

use super::{ProjectError, ProjectFile};

/// Names at the top of an artifact or an install that the code's directory cannot take.
pub const RESERVED: [&str; 12] = [
    "__main__.py",
    "__main__.pyc",
    "bootstrap_wheels",
    "environment.json",
    "loadenv",
    "loadenv-init",
    "loadenv-init.pth",
    "loadenv.py",
    "loadenv.start",
    "static.in",
    "venv",
    "wheels",
];

/// The name of the project's directory, made safe: letters, digits, `_`, `.` and `-`, nothing hidden, nothing taken.
/// It also names the `.pth` file.
pub fn directory_name(root: &Path) -> String {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let safe = |character: char| {
        if character.is_ascii_alphanumeric() || "_.-".contains(character) { character } else { '_' }
    };
    let name: String = name.chars().map(safe).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() || RESERVED.contains(&name) {
        format!("{name}_project").trim_start_matches('_').to_owned()
    } else {
        name.to_owned()
    }
}

/// The name of a site in `root`, where nothing else names it; none if the directory has no letter that a name may have.
pub fn site_name(root: &Path) -> Option<String> {
    let name = directory_name(root);
    let name = name.trim_matches(|character: char| !character.is_ascii_alphanumeric());
    (!name.is_empty()).then(|| name.to_owned())
}

/// The directory that goes on `sys.path`, below the project; empty for the project itself.
///
/// * The one with `manage.py`, at the top or one or two levels down.
/// * Without one, `src`, if pyproject.toml, setup.py or setup.cfg is beside it, and it is not a package.
/// * Otherwise the top.
pub fn find_import_path(
    root: &Path,
    files: &[ProjectFile],
    setting: Option<&str>,
) -> Result<String, ProjectError> {
    if let Some(import_path) = setting {
        return check(root, files, import_path);
    }
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    // A command line of Flask in a package may have that name too.
    let is_of_package = |directory: &str| {
        let manage = format!("{directory}/manage.py");
        let is_of_django = |file: &&ProjectFile| {
            file.path == manage
                && fs::read_to_string(&file.source).is_ok_and(|text| text.contains("DJANGO_SETTINGS_MODULE"))
        };
        paths.contains(format!("{directory}/__init__.py").as_str())
            && !files.iter().any(|file| is_of_django(&file))
    };
    for depth in 0..=2 {
        let found: Vec<&str> = paths
            .iter()
            .filter(|path| path.matches('/').count() == depth)
            .filter_map(|path| if *path == "manage.py" { Some("") } else { path.strip_suffix("/manage.py") })
            .filter(|directory| !is_of_package(directory))
            .collect();
        match found[..] {
            [] => {}
            [only] => return Ok(only.to_owned()),
            _ => {
                let found = found.iter().map(|directory| format!("{directory}/manage.py")).collect();
                return Err(ProjectError::SeveralManage { root: root.to_path_buf(), found });
            }
        }
    }
    let source_layout = ["pyproject.toml", "setup.py", "setup.cfg"].iter().any(|name| paths.contains(name))
        && !paths.contains("src/__init__.py")
        && paths.iter().any(|path| path.starts_with("src/") && path.ends_with(".py"));
    Ok(if source_layout { "src".to_owned() } else { String::new() })
}

/// A setting must name a directory of which something travels.
fn check(root: &Path, files: &[ProjectFile], import_path: &str) -> Result<String, ProjectError> {
    let relative = import_path.trim_end_matches('/');
    if matches!(relative, "" | ".") && !import_path.starts_with('/') {
        return Ok(String::new());
    }
    let inside = format!("{relative}/");
    if files.iter().any(|file| file.path.starts_with(&inside)) {
        return Ok(relative.to_owned());
    }
    Err(ProjectError::ImportPath { import_path: import_path.to_owned(), root: root.to_path_buf() })
}
