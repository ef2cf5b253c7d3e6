//! Logins of the indexes that uv's settings and variables name.
//! <https://docs.astral.sh/uv/concepts/indexes/#providing-credentials-directly>

use std::env;
use std::path::Path;

use toml::Value;
use url::Url;

use super::login::Login;
use super::{Credentials, keyring, origin};

impl Credentials {
    /// Takes the logins of the indexes in uv's settings: in their URLs, or in the variables `UV_INDEX_NAME_USERNAME` and
    /// `UV_INDEX_NAME_PASSWORD`. Settings are `[tool.uv]` and uv.toml of the project and of the directories above it
    /// (a workspace's are in its root), of the user and of the system.
    /// Where they name keyring and no variable does, it is asked for the passwords that are lacking.
    pub fn add_uv_indexes(&mut self, project: &Path) {
        let mut provider = None;
        for settings in crate::uv::settings::all(project) {
            for table in
                [Some(&settings), settings.get("pip").and_then(Value::as_table)].into_iter().flatten()
            {
                let own = table.get("keyring-provider").and_then(Value::as_str).map(keyring::is_keyring);
                provider = provider.or(own);
                let one = table.get("index-url").into_iter();
                let more = table.get("extra-index-url").and_then(Value::as_array).into_iter().flatten();
                one.chain(more).filter_map(Value::as_str).for_each(|url| self.add(url));
            }
            for index in settings.get("index").and_then(Value::as_array).into_iter().flatten() {
                let text = |key: &str| index.get(key).and_then(Value::as_str).unwrap_or_default();
                self.add_named(text("name"), text("url"));
            }
        }
        let unanswered = std::mem::take(&mut self.unanswered);
        for url in unanswered.iter().filter(|_| provider == Some(true)) {
            self.ask_keyring(url);
        }
    }

    /// The URL's own login, and that of the variables for an index of this name.
    pub(super) fn add_named(&mut self, name: &str, url: &str) {
        let Ok(url) = Url::parse(url) else { return };
        self.add_url(&url);
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = name.chars().map(upper).collect();
        let variable = |what: &str| env::var(format!("UV_INDEX_{name}_{what}")).ok();
        if let Some(password) = variable("PASSWORD") {
            let user = variable("USERNAME").unwrap_or_default();
            self.origins.entry(origin(&url)).or_insert(Login { user, password });
        }
    }
}
