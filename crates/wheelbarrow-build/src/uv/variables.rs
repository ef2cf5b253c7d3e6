//! Indexes in variables of uv and pip, and their logins.

use url::Url;
use wheelbarrow_base::variable;

/// Variables with an index, and with further ones.
pub(super) const DEFAULT_INDEXES: [&str; 3] = ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"];
pub(super) const EXTRA_INDEXES: [&str; 3] = ["UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"];

/// An index as it is given, a URL or `NAME=URL`. If its URL has no password, with the login of a variable that has an index of
/// the same scheme, host and port: a login must not be in the settings, and an index of the settings wins over variables.
pub(super) fn with_login(index: String) -> String {
    let Some((name, mut url)) = named_url(&index) else { return index };
    if url.password().is_some() {
        return index;
    }
    let texts = DEFAULT_INDEXES.iter().chain(&EXTRA_INDEXES).filter_map(|name| variable(&[name]));
    let texts: Vec<String> = texts.collect();
    let mut known = texts.iter().flat_map(|text| text.split_whitespace()).filter_map(named_url);
    let is_for_it = |known: &Url| {
        known.origin() == url.origin()
            && known.password().is_some()
            && (url.username().is_empty() || url.username() == known.username())
    };
    let Some((_, login)) = known.find(|(_, known)| is_for_it(known)) else { return index };
    let is_set = url.set_username(login.username()).and_then(|()| url.set_password(login.password()));
    match is_set {
        Ok(()) => format!("{name}{url}"),
        Err(()) => index,
    }
}

/// The URL, and `NAME=` before it.
fn named_url(index: &str) -> Option<(&str, Url)> {
    let (name, url) = match (Url::parse(index), index.find('=')) {
        (Ok(url), _) => ("", url),
        (_, Some(end)) => (&index[..=end], Url::parse(&index[end + 1..]).ok()?),
        _ => return None,
    };
    Some((name, url))
}
