//! The part of the project's own wheel that is installed beside the site's code.
//!
//! This is decided for each name at the top of the wheel. If the code has a module or package of that name at
//! its import path, the wheel's files of it are left out: Python imports those of the code. Files that the
//! build generated inside such a package, such as `_version.py`, are added to the code. Files of a wheel for
//! one platform cannot be added, so a package with a generated file stays in such a wheel as a whole.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use fs_err as fs;
use wheelbarrow_artifact::manifest::MemberKind;
use wheelbarrow_artifact::wheel::{OpenWheel, WheelError, WheelFile};
use wheelbarrow_artifact::zip::{DosTime, WriteError, ZipWriter};
use wheelbarrow_audit::Modules;
use wheelbarrow_wheel::layout::Destination;
use wheelbarrow_wheel::record::{self, RecordRow};

use crate::cache::Cache;
use crate::gather::GatheredWheel;
use crate::project::{FileContent, ProjectFile};
use crate::{Error, Result};

/// A generated file that is larger is not source code.
const LARGEST_GENERATED: u64 = 64 << 20;

/// The site's code.
#[derive(Clone, Copy)]
pub struct SiteCode<'a> {
    /// Below the project; empty for the project itself.
    pub import_path: &'a str,
    /// What is packed.
    pub files: &'a [ProjectFile],
    /// What the wheel was built from.
    pub built_from: &'a [ProjectFile],
}

/// What became of the wheel.
pub struct ReducedWheel {
    pub wheel: GatheredWheel,
    /// To be packed with the code.
    pub generated: Vec<ProjectFile>,
    /// Packages that the wheel has beside the code, since they have files that were generated for one platform.
    pub doubled: Vec<String>,
}

impl SiteCode<'_> {
    /// Paths below the import path.
    fn below(self, files: &[ProjectFile]) -> impl Iterator<Item = &str> {
        files.iter().filter_map(move |file| below(self.import_path, &file.path))
    }
}

fn below<'p>(import_path: &str, path: &'p str) -> Option<&'p str> {
    match import_path {
        "" => Some(path),
        import_path => path.strip_prefix(import_path)?.strip_prefix('/'),
    }
}

/// Names of the modules that Python can import from the code.
pub fn modules(code: SiteCode<'_>) -> Modules {
    Modules::of_paths(code.below(code.files))
}

/// Leaves out of the project's own `wheel` what is imported from the code.
pub fn reduce(wheel: &GatheredWheel, code: SiteCode<'_>, cache: &Cache) -> Result<ReducedWheel> {
    let bytes = fs::read(&wheel.path).map_err(Error::io("read", &wheel.path))?;
    let broken = |error: WheelError| Error::BadBuild {
        name: wheel.name.clone(),
        version: wheel.version.clone(),
        result: format!("{}, which is broken: {error}", wheel.filename),
    };
    let open = OpenWheel::open(&wheel.filename, &bytes).map_err(broken)?;
    let is_pure = open.filename().tags.iter().all(|tag| tag.platform == "any");
    let known: HashSet<&str> = code.below(code.built_from).collect();
    // A build may have read through a link to a directory, and the code has the link.
    let is_known = |path: &str| {
        known.contains(path) || path.match_indices('/').any(|(end, _)| known.contains(&path[..end]))
    };
    let mut reduced = ReducedWheel { wheel: wheel.clone(), generated: Vec::new(), doubled: Vec::new() };
    let mut left_out: HashSet<usize> = HashSet::new();
    let workspace = cache.workspace()?;
    for (top, files) in shared_with_code(&open, code) {
        let is_generated = |file: &&&WheelFile| site_packages(file).is_some_and(|path| !is_known(path));
        let generated: Vec<_> = files.iter().filter(is_generated).collect();
        if !generated.is_empty() && !is_pure {
            reduced.doubled.push(top.to_owned());
            continue;
        }
        left_out.extend(files.iter().map(|file| file.entry));
        for file in generated {
            let contents = open.archive().read(open.entry(file), LARGEST_GENERATED);
            let contents = contents
                .map_err(|source| broken(WheelError::Zip { wheel: wheel.filename.clone(), source }))?;
            let path = site_packages(file).unwrap_or_default();
            reduced.generated.push(keep(path, &contents, file.executable, code, cache, workspace.path())?);
        }
    }
    if !left_out.is_empty() {
        let path = workspace.path().join(&wheel.filename);
        let rows = open.record().map_err(broken)?;
        write(&open, rows, &left_out, &path)?;
        let entry = cache.put(&path)?;
        reduced.wheel =
            GatheredWheel { path: entry.path, sha256: entry.sha256, size: entry.size, ..reduced.wheel };
    }
    Ok(reduced)
}

/// The wheel's modules and packages that the code has too, by their names, with their files.
fn shared_with_code<'w>(
    open: &'w OpenWheel<'_>,
    code: SiteCode<'_>,
) -> BTreeMap<&'w str, Vec<&'w WheelFile>> {
    let tops: HashSet<&str> = code.below(code.files).map(top).collect();
    let mut shared: BTreeMap<&str, Vec<&WheelFile>> = BTreeMap::new();
    for file in open.files() {
        if let Some(path) = site_packages(file)
            && top(path) != open.dist_info()
            && tops.contains(top(path))
        {
            shared.entry(top(path)).or_default().push(file);
        }
    }
    shared
}

fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn site_packages(file: &WheelFile) -> Option<&str> {
    match &file.destination {
        Destination::SitePackages(path) => Some(path),
        _ => None,
    }
}

/// Puts a generated file where the packing will read it.
fn keep(
    path: &str,
    contents: &[u8],
    executable: bool,
    code: SiteCode<'_>,
    cache: &Cache,
    workspace: &Path,
) -> Result<ProjectFile> {
    let file = workspace.join("generated");
    fs::write(&file, contents).map_err(Error::io("write", &file))?;
    let entry = cache.put(&file)?;
    let path = match code.import_path {
        "" => path.to_owned(),
        import_path => format!("{import_path}/{path}"),
    };
    Ok(ProjectFile { path, source: entry.path, content: FileContent::File { size: entry.size, executable } })
}

/// Writes the wheel again without some of its members.
fn write(open: &OpenWheel<'_>, rows: Vec<RecordRow>, left_out: &HashSet<usize>, path: &Path) -> Result<()> {
    let failed = |error: WriteError| Error::io("write", path)(error.into());
    let record_path = format!("{}/RECORD", open.dist_info());
    let entries = open.archive().entries();
    let gone: HashSet<&str> = left_out.iter().map(|&place| entries[place].name.as_str()).collect();
    let file = fs::File::create(path).map_err(Error::io("write", path))?.into_parts().0;
    let mut zip = ZipWriter::without_shebang(file, DosTime::FIRST);
    for entry in entries {
        let stays = !entry.is_directory() && entry.name != record_path && !gone.contains(entry.name.as_str());
        if stays {
            zip.copy(entry, open.archive().raw(entry)).map_err(failed)?;
        }
    }
    let rows = rows.into_iter().filter(|row| !gone.contains(row.path.as_str()));
    zip.add(&record_path, MemberKind::File, record::write(rows).as_bytes()).map_err(failed)?;
    zip.finish().map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::check::testing;

    fn code(paths: &[&str]) -> Vec<ProjectFile> {
        let file = |path: &&str| ProjectFile {
            path: (*path).to_owned(),
            source: path.into(),
            content: FileContent::File { size: 0, executable: false },
        };
        paths.iter().map(file).collect()
    }

    /// What is left in the wheel, what is added to the code, and what is doubled.
    fn reduced(
        filename: &str,
        wheel: &[&str],
        import_path: &str,
        packed: &[&str],
        excluded: &[&str],
    ) -> [Vec<String>; 3] {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&place.path().join("cache"))).unwrap();
        let files: Vec<_> = wheel.iter().map(|path| (*path, "text")).collect();
        let wheel = testing::wheel(place.path(), filename, &files);
        let (files, all) = (code(packed), code(&[packed, excluded].concat()));
        let code = SiteCode { import_path, files: &files, built_from: &all };
        let reduced = reduce(&wheel, code, &cache).unwrap();
        let bytes = fs::read(&reduced.wheel.path).unwrap();
        let open = OpenWheel::open(filename, &bytes).unwrap();
        let members: BTreeSet<_> = open.archive().entries().iter().map(|entry| entry.name.clone()).collect();
        let recorded: BTreeSet<_> = open.record().unwrap().into_iter().map(|row| row.path).collect();
        assert_eq!(members, recorded);
        let left = members.into_iter().filter(|path| !path.starts_with(open.dist_info())).collect();
        [left, reduced.generated.into_iter().map(|file| file.path).collect(), reduced.doubled]
    }

    const PURE: &str = "shop-1-py3-none-any.whl";

    #[test]
    fn code_is_imported_from_the_project() {
        let wheel =
            ["shop/__init__.py", "shop/_version.py", "tool.py", "shop-1.data/scripts/run", "lib/a.py"];
        let [left, generated, doubled] =
            reduced(PURE, &wheel, "src", &["src/shop/__init__.py", "src/tool.py", "lib/b.py"], &[]);
        assert_eq!(left, ["lib/a.py", "shop-1.data/scripts/run"]);
        assert_eq!(generated, ["src/shop/_version.py"]);
        assert!(doubled.is_empty());
    }

    #[test]
    fn excluded_files_are_not_packed_from_the_wheel() {
        let wheel = ["shop/__init__.py", "shop/tests.py"];
        let [left, generated, _] = reduced(PURE, &wheel, "", &["shop/__init__.py"], &["shop/tests.py"]);
        assert!(left.is_empty() && generated.is_empty());
    }

    #[test]
    fn a_package_with_generated_files_for_one_platform_stays_whole() {
        let wheel = ["shop/__init__.py", "shop/_fast.so", "tool.py"];
        let filename = "shop-1-cp312-cp312-manylinux_2_28_x86_64.whl";
        let [left, generated, doubled] = reduced(filename, &wheel, "", &["shop/__init__.py", "tool.py"], &[]);
        assert_eq!(
            (left.as_slice(), doubled.as_slice()),
            (&["shop/__init__.py".to_owned(), "shop/_fast.so".to_owned()][..], &["shop".to_owned()][..])
        );
        assert!(generated.is_empty());
    }

    #[test]
    fn modules_are_named_from_the_import_path() {
        let files = code(&["src/shop/cli.py", "manage.py", "src/readme.txt"]);
        let code = SiteCode { import_path: "src", files: &files, built_from: &files };
        let modules = modules(code);
        assert!(
            ["shop", "shop.cli"].iter().all(|name| modules.contains(name)) && !modules.contains("manage")
        );
    }
}
