//! Which index a package comes from.
//!
//! uv takes a package from the first index that has its name, and asks extra indexes first:
//! <https://docs.astral.sh/uv/concepts/indexes/#searching-across-multiple-indexes>. pip takes the highest version
//! of all indexes.

use url::Url;
use wheelbarrow_base::variable;

use crate::uv::{IndexOptions, Indexes};

/// A note if PyPI comes before an index of one's own. `requirements` is the text for uv, with the indexes of
/// requirements files.
pub(super) fn note(options: &IndexOptions, requirements: &str) -> Option<String> {
    let Indexes { default, extra, none, .. } = options.indexes();
    if none || variable(&["UV_INDEX_STRATEGY"]).is_some() {
        return None;
    }
    let in_files = |option: &'static str| {
        requirements.lines().filter_map(move |line| line.strip_prefix(option)).map(str::to_owned)
    };
    let own = default.or_else(|| in_files("--index-url ").next_back()).and_then(|url| host(&url))?;
    let mut extra = extra.into_iter().chain(in_files("--extra-index-url "));
    (own != PYPI && extra.any(|url| host(&url).as_deref() == Some(PYPI))).then(|| {
        format!(
            "{PYPI} is asked before {own}: a package that both have is taken from {PYPI}; name {PYPI} in `index-url` \
             and {own} in `extra-index-url` to change that"
        )
    })
}

const PYPI: &str = "pypi.org";

/// The host of `URL` or `NAME=URL`.
fn host(index: &str) -> Option<String> {
    let url = index.split_once('=').filter(|(name, _)| !name.contains(':')).map_or(index, |(_, url)| url);
    Url::parse(url.trim()).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pypi_before_an_own_index_is_noted() {
        let options = |default: &str, extra: &str| IndexOptions {
            index_url: Some(default.to_owned()),
            extra_index_urls: vec![extra.to_owned()],
            ..IndexOptions::default()
        };
        let (own, pypi) = ("https://ci:secret@packages.example.org/simple", "https://pypi.org/simple");
        let expected = "pypi.org is asked before packages.example.org: a package that both have is taken from pypi.org; \
                        name pypi.org in `index-url` and packages.example.org in `extra-index-url` to change that";
        for extra in [pypi, "public=https://pypi.org/simple/"] {
            assert_eq!(note(&options(own, extra), "").as_deref(), Some(expected));
        }
        assert_eq!(note(&options(pypi, own), ""), None);
        let text = format!("--index-url {own}\n--extra-index-url {pypi}\nsix\n");
        assert_eq!(note(&IndexOptions::default(), &text).as_deref(), Some(expected));
        assert_eq!(note(&IndexOptions { no_index: true, ..options(own, pypi) }, ""), None);
        assert_eq!(note(&IndexOptions::default(), &format!("--extra-index-url {own}\n")), None);
    }
}
