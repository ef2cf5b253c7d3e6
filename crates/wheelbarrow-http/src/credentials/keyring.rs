//! Passwords from the program `keyring`, as uv and pip use it with `--keyring-provider subprocess`.
//!
//! It is called only for URLs with a user name and no password, and only if `UV_KEYRING_PROVIDER`,
//! `PIP_KEYRING_PROVIDER` or uv's setting `keyring-provider` enables it.

use std::process::{Command, Stdio};

use url::Url;
use wheelbarrow_base::variable;

use super::login::{Login, without_logins};

/// Whether it may be asked, as the variables say; nothing where they do not.
pub(super) fn is_asked_by_variables() -> Option<bool> {
    variable(&["UV_KEYRING_PROVIDER", "PIP_KEYRING_PROVIDER"]).map(|provider| is_keyring(&provider))
}

/// Whether this provider, as pip and uv name them, is the program.
pub fn is_keyring(provider: &str) -> bool {
    provider.trim() == "subprocess"
}

/// The password of `user` for `url`, for its host and port, or for its host.
pub(super) fn login(url: &Url, user: &str) -> Option<Login> {
    let host = url.host_str()?;
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    let services = [Some(without_logins(url.as_str())), with_port, Some(host.to_owned())];
    let password = services.iter().flatten().find_map(|service| {
        let mut keyring = Command::new("keyring");
        keyring.args(["get", service, user]).stdin(Stdio::null());
        let output = keyring.output().ok().filter(|output| output.status.success())?;
        let password = String::from_utf8(output.stdout).ok()?.trim_end_matches(['\r', '\n']).to_owned();
        Some(password).filter(|password| !password.is_empty())
    })?;
    Some(Login { user: user.to_owned(), password })
}
