//! Logins of the indexes in uv's settings.
//! <https://docs.astral.sh/uv/concepts/indexes/#providing-credentials-directly>

use std::path::Path;

use toml::Value;
use wheelbarrow_base::variable;
use wheelbarrow_http::{Credentials, is_keyring};

use super::{IndexOptions, uv_settings};

/// Variables with the address of a proxy, which may have a login.
const PROXIES: [&str; 7] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "PIP_PROXY"];

/// Takes the logins of the indexes in uv's settings: in their URLs, or in the variables `UV_INDEX_NAME_USERNAME` and
/// `UV_INDEX_NAME_PASSWORD`. Settings are `[tool.uv]` and uv.toml of the project and of the directories above it
/// (a workspace's are in its root), of the user and of the system.
/// If they name keyring and no variable does, it is asked for the passwords that are missing.
pub fn add_logins(credentials: &mut Credentials, project: &Path) {
    let mut provider = None;
    for settings in uv_settings::all(project) {
        for table in [Some(&settings), settings.get("pip").and_then(Value::as_table)].into_iter().flatten() {
            let own = table.get("keyring-provider").and_then(Value::as_str).map(is_keyring);
            provider = provider.or(own);
            let one = table.get("index-url").into_iter();
            let more = table.get("extra-index-url").and_then(Value::as_array).into_iter().flatten();
            one.chain(more).filter_map(Value::as_str).for_each(|url| credentials.add(url));
        }
        for index in settings.get("index").and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| index.get(key).and_then(Value::as_str).unwrap_or_default();
            credentials.add_named(text("name"), text("url"));
        }
    }
    credentials.complete(provider == Some(true));
}

/// Hides in output the passwords of everything that uv may have asked: an index can repeat what it was sent.
pub(crate) fn hide_logins(project: &Path, index: &IndexOptions, more: &Credentials) {
    let mut credentials = Credentials::collect(index.indexes().urls());
    credentials.extend(more);
    add_logins(&mut credentials, project);
    credentials.hide();
    for proxy in PROXIES.iter().filter_map(|name| variable(&[name])) {
        let mut credentials = Credentials::default();
        // `USER:PASSWORD@HOST:PORT` will do.
        credentials.add(&if proxy.contains("://") { proxy } else { format!("http://{proxy}") });
        credentials.hide();
    }
}
