//! Finds the index of a project.
//!
//! A lock may name it (`packages.index`); locks that uv makes of requirements do not. Then the addresses of
//! the files decide: an index mostly offers files on its own host. The name of a project is sent to no other
//! index, since names of private projects are confidential.

use std::path::Path;

use url::Url;

use crate::lock::Package;
use crate::uv::uv_settings::UvSettings;
use crate::uv::{IndexOptions, Indexes};

const PYPI: &str = "https://pypi.org/simple/";
const FILES_OF_PYPI: &str = "files.pythonhosted.org";

/// The indexes that this build may ask.
#[derive(Debug, Default)]
pub(super) struct KnownIndexes {
    /// Logins included.
    configured: Vec<Url>,
    /// Whether PyPI is one too, since no other index takes its place.
    has_pypi: bool,
}

impl KnownIndexes {
    /// Those of flags, variables and uv's settings.
    pub(super) fn of(options: &IndexOptions, project: &Path) -> Self {
        let Indexes { default, extra, .. } = options.indexes();
        let settings = UvSettings::read(project).indexes();
        let default = default.or(settings.default);
        // uv's form is `NAME=URL`.
        let url = |text: &str| {
            let parsed =
                Url::parse(text).or_else(|_| Url::parse(text.split_once('=').map_or("", |(_, url)| url)));
            parsed.ok().filter(is_remote)
        };
        let texts = default.iter().chain(&extra).chain(&settings.others);
        Self { configured: texts.filter_map(|text| url(text)).collect(), has_pypi: default.is_none() }
    }

    /// The page of the project that a package of the lock is of; nothing if no index has it, or none is known to.
    pub(super) fn page(&self, package: &Package) -> Option<Url> {
        let index = match &package.index {
            Some(index) => Url::parse(index).ok().filter(is_remote)?,
            None => self.index(package)?,
        };
        let mut page = index;
        page.set_fragment(None);
        page.path_segments_mut().ok()?.pop_if_empty().push(&package.name).push("");
        Some(page)
    }

    /// The one of the same host as the files whose path is most like theirs; else the only one.
    fn index(&self, package: &Package) -> Option<Url> {
        let mut files = package.wheels.iter().chain(&package.sdist).filter(|file| file.path.is_none());
        let file = Url::parse(files.next()?.url.as_deref()?).ok().filter(is_remote)?;
        if self.has_pypi && file.host_str() == Some(FILES_OF_PYPI) {
            return Url::parse(PYPI).ok();
        }
        let near = self.configured.iter().filter(|index| index.origin() == file.origin());
        // Of several, the first.
        let nearest = near.rev().max_by_key(|index| shared_parts(index, &file));
        let only = || self.configured.first().filter(|_| self.configured.len() == 1 && !self.has_pypi);
        nearest.or_else(only).cloned()
    }
}

fn is_remote(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// How many parts of two paths are the same, from their beginnings.
fn shared_parts(one: &Url, other: &Url) -> usize {
    let parts = one.path_segments().into_iter().flatten().zip(other.path_segments().into_iter().flatten());
    parts.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Pylock;

    fn package(text: &str) -> Package {
        let text = format!(
            "lock-version = '1.0'\ncreated-by = 'x'\n[[packages]]\nname = 'A_b'\nversion = '1'\n{text}"
        );
        Pylock::parse_unhashed(&text).unwrap().packages.remove(0)
    }

    fn file(url: &str) -> Package {
        package(&format!("wheels = [{{ url = '{url}/a_b-1-py3-none-any.whl' }}]"))
    }

    fn known(has_pypi: bool, configured: &[&str]) -> KnownIndexes {
        KnownIndexes { configured: configured.iter().map(|url| Url::parse(url).unwrap()).collect(), has_pypi }
    }

    #[test]
    fn the_index_is_found_by_the_lock_or_by_the_files() {
        let page = |known: &KnownIndexes, package: &Package| known.page(package).map(String::from);
        let pypi = "https://pypi.org/simple/a-b/";
        let of_pypi = file("https://files.pythonhosted.org/packages");
        assert_eq!(page(&known(true, &[]), &of_pypi).as_deref(), Some(pypi));
        assert_eq!(page(&known(true, &["https://other.example/simple"]), &of_pypi).as_deref(), Some(pypi));
        // A mirror that leads to the files of PyPI.
        let mirror = known(false, &["https://mirror.example/simple/"]);
        assert_eq!(page(&mirror, &of_pypi).as_deref(), Some("https://mirror.example/simple/a-b/"));
        let nexus = ["https://joe:x@n.example/repository/a/simple", "https://n.example/repository/b/simple"];
        let own = file("https://n.example/repository/b/packages");
        let known_nexus = known(true, &nexus);
        assert_eq!(page(&known_nexus, &own).as_deref(), Some("https://n.example/repository/b/simple/a-b/"));
        let said =
            "index = 'https://said.example/simple/'\nwheels = [{ url = 'https://x/a_b-1-py3-none-any.whl' }]";
        let said = page(&known_nexus, &package(said));
        assert_eq!(said.as_deref(), Some("https://said.example/simple/a-b/"));
    }

    #[test]
    fn no_index_learns_the_name_of_anothers_project() {
        let elsewhere = file("https://private.example/packages");
        for known in [
            known(true, &[]),
            known(true, &["https://other.example/simple"]),
            known(false, &["https://one.example/simple", "https://two.example/simple"]),
        ] {
            assert_eq!(known.page(&elsewhere), None, "{known:?}");
        }
        for local in [
            "wheels = [{ path = 'a_b-1-py3-none-any.whl' }]",
            "wheels = [{ url = 'file:///w/a_b-1-py3-none-any.whl' }]",
            "index = 'file:///w'\nwheels = [{ path = 'a_b-1-py3-none-any.whl' }]",
            "directory = { path = 'x' }",
            "archive = { url = 'https://files.pythonhosted.org/a.zip' }",
            "vcs = { type = 'git', url = 'https://files.pythonhosted.org/x', commit-id = 'c' }",
        ] {
            assert_eq!(known(true, &[]).page(&package(local)), None, "{local}");
        }
    }
}
