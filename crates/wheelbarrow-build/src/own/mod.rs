//! The project's own distribution: metadata, entry points and console scripts, without a second copy of the code.
//!
//! `uv sync` installs a project that has a build system as an editable distribution: metadata in site-packages, code in
//! the working tree. An artifact does the same. The wheel is built from the project's files, and [`reduce`] then leaves
//! out every module that the site's code directory has, since Python imports those from there.

mod project_tree;
mod reduce;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use fs_err as fs;
use wheelbarrow_wheel::name;

use crate::project::ProjectFile;
use crate::select::{ChosenDistribution, DistributionSource};
use crate::{Error, Result};

pub use project_tree::ProjectTree;
pub use reduce::{ReducedWheel, SiteCode, modules, reduce};

/// The project's own distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnDistribution {
    /// Normalised; nothing if it is only installed where the requirements name the project's directory.
    pub name: Option<String>,
    pub tree: Arc<ProjectTree>,
}

/// What pyproject.toml says about the project as a distribution.
struct DeclaredProject {
    name: Option<String>,
    /// As uv decides it: `tool.uv.package`, else whether there is a build system; and as Poetry and PDM do.
    packaged: bool,
    /// Whether there are scripts or entry points.
    has_entry_points: bool,
    /// The build backend determines the version.
    is_version_dynamic: bool,
}

impl OwnDistribution {
    /// The distribution of the project at `root`. With `wanted` it must have one; otherwise pyproject.toml decides. Adds to `notes` what a person may have expected.
    pub fn find(
        root: &Path,
        files: Vec<ProjectFile>,
        wanted: Option<bool>,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let declared = declared(root);
        let packaged = wanted.unwrap_or(declared.packaged);
        if packaged && declared.name.is_none() {
            if wanted.is_some() {
                return Err(Error::NoDistribution { project: root.to_path_buf() });
            }
            notes.push(
                "the project is not installed as a distribution: pyproject.toml does not give its name"
                    .into(),
            );
        }
        if !packaged && declared.has_entry_points {
            notes.push(
                "the project's scripts and entry points are not installed: pyproject.toml has no [build-system] \
                 (`install-project = true` installs them)"
                    .into(),
            );
        }
        let tree = ProjectTree { root: root.to_path_buf(), files, revision: revision(root) };
        Ok(Self { name: declared.name.filter(|_| packaged), tree: Arc::new(tree) })
    }

    /// A note if setup.py or setup.cfg has entry points, for a project that no requirement and no [build-system] installs.
    pub(crate) fn missing_entry_points(&self) -> Option<String> {
        const SETUP: [(&str, &[&str]); 2] =
            [("setup.cfg", &["[options.entry_points]"]), ("setup.py", &["entry_points", "console_scripts"])];
        let root = &self.tree.root;
        let has = |(name, marks): &(&str, &[&str])| {
            let text = fs::read_to_string(root.join(name)).unwrap_or_default();
            let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            lines.any(|line| marks.iter().any(|mark| line.contains(mark)))
        };
        let (file, _) = SETUP.iter().find(|setup| has(setup)).filter(|_| self.name.is_none())?;
        Some(format!(
            "the entry points in {file} are not installed: `-e .` in the requirements, or [project] and [build-system] \
             in pyproject.toml install the project as a distribution"
        ))
    }

    /// Adds the distribution to what is chosen for a target, in place of a requirement that names the project's
    /// directory. A distribution of the same name from elsewhere stays: the lock has decided.
    pub(crate) fn put_among(&self, chosen: &mut Vec<ChosenDistribution>) {
        let source = || DistributionSource::Project(Arc::clone(&self.tree));
        let root = self.tree.root.canonicalize().unwrap_or_default();
        for one in chosen.iter_mut() {
            let is_root = match &one.source {
                DistributionSource::Directory { path, subdirectory: None } => {
                    path.canonicalize().is_ok_and(|path| path == root)
                }
                _ => false,
            };
            if is_root {
                one.source = source();
            }
        }
        let Some(name) = &self.name else { return };
        if chosen.iter().all(|one| one.name != *name) {
            chosen.push(ChosenDistribution {
                name: name.clone(),
                version: None,
                source: source(),
                required: Default::default(),
                direct_url: None,
            });
        }
    }
}

/// The normalised name of the project at `root`, if it is a distribution: also that of Poetry's table and of setup.cfg.
pub fn declared_name(root: &Path) -> Option<String> {
    let DeclaredProject { name, packaged, .. } = declared(root);
    name.filter(|_| packaged)
}

fn declared(root: &Path) -> DeclaredProject {
    let text = fs::read_to_string(root.join("pyproject.toml")).unwrap_or_default();
    let document: toml::Table = text.parse().unwrap_or_default();
    let project = document.get("project");
    let tool = |name: &str| document.get("tool").and_then(|tool| tool.get(name));
    let named = |table: Option<&toml::Value>| Some(table?.get("name")?.as_str()?.to_owned());
    let given = named(project).or_else(|| named(tool("poetry"))).or_else(|| setup_cfg_name(root));
    let uv = tool("uv").and_then(|uv| uv.get("package")?.as_bool());
    // Poetry and PDM have words of their own for a project that is no distribution.
    let is_false = |name, key: &str| tool(name).and_then(|tool| tool.get(key)?.as_bool()) == Some(false);
    let turned_off = is_false("poetry", "package-mode") || is_false("pdm", "distribution");
    let filled = |key: &str| {
        project.and_then(|project| project.get(key)?.as_table()).is_some_and(|table| !table.is_empty())
    };
    let dynamic = project.and_then(|project| project.get("dynamic")?.as_array());
    let dynamic = dynamic.is_some_and(|keys| keys.iter().any(|key| key.as_str() == Some("version")));
    DeclaredProject {
        name: given.filter(|name| name::is_valid(name)).map(|name| name::normalise(&name)),
        packaged: uv.unwrap_or_else(|| document.contains_key("build-system") && !turned_off),
        has_entry_points: ["scripts", "gui-scripts", "entry-points"].into_iter().any(filled),
        is_version_dynamic: dynamic || project.is_none(),
    }
}

/// `name` in `[metadata]`, as setuptools reads it.
fn setup_cfg_name(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("setup.cfg")).ok()?;
    let metadata = text.lines().map(str::trim).skip_while(|line| *line != "[metadata]").skip(1);
    metadata
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "name")
        .map(|(_, value)| value.trim().to_owned())
}

/// What the version of the source in `root` depends on beside its files, if its build backend determines the version.
pub(crate) fn revision(root: &Path) -> String {
    if declared(root).is_version_dynamic { describe(root) + &given_version() } else { String::new() }
}

/// What variables give as the version in place of git's: those of setuptools-scm and hatch-vcs (with the name of a distribution
/// behind), pbr, PDM and poetry-dynamic-versioning.
fn given_version() -> String {
    const NAMES: [&str; 4] = [
        "SETUPTOOLS_SCM_PRETEND_VERSION",
        "PBR_VERSION",
        "PDM_BUILD_SCM_VERSION",
        "POETRY_DYNAMIC_VERSIONING_BYPASS",
    ];
    let all: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| NAMES.iter().any(|known| name.starts_with(known)))
        .collect();
    all.iter().map(|(name, value)| format!(" {name}={}", value.display())).collect()
}

/// The commit, counted from the last tag. Empty if git does not know.
fn describe(root: &Path) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(["describe", "--tags", "--long", "--always", "--dirty"]);
    let output = command.output().ok().filter(|output| output.status.success());
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pyproject: &str, wanted: Option<bool>) -> (Option<String>, Vec<String>) {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("pyproject.toml"), pyproject).unwrap();
        let mut notes = Vec::new();
        let own = OwnDistribution::find(place.path(), Vec::new(), wanted, &mut notes).unwrap();
        (own.name, notes)
    }

    #[test]
    fn a_build_system_makes_the_project_a_distribution() {
        let project = "[project]\nname = \"My.Shop\"\n[project.scripts]\nshop = \"shop:main\"\n";
        let with = |more: &str| format!("{project}{more}");
        let built = with("[build-system]\nrequires = []\n");
        let shop = Some("my-shop".to_owned());
        assert_eq!(find(&built, None), (shop.clone(), vec![]));
        assert_eq!(find(&with("[tool.uv]\npackage = true\n"), None), (shop.clone(), vec![]));
        assert_eq!(find(project, Some(true)), (shop, vec![]));
        let (name, notes) = find(&with("[build-system]\nrequires = []\n[tool.uv]\npackage = false\n"), None);
        assert_eq!((name, notes.len()), (None, 1));
        assert!(find(project, None).1[0].contains("scripts and entry points are not installed"));
        for off in ["[tool.poetry]\npackage-mode = false\n", "[tool.pdm]\ndistribution = false\n"] {
            assert_eq!(find(&format!("{built}{off}"), None).0, None, "{off}");
        }
        let poetry = "[build-system]\nrequires = []\n[tool.poetry]\nname = \"p\"\n";
        assert_eq!(find(poetry, None).0.as_deref(), Some("p"));
        assert!(find("[build-system]\nrequires = []\n", None).1[0].contains("does not give its name"));
    }
}
