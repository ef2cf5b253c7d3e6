//! Passwords out of the program `keyring`, as uv and pip take them with `--keyring-provider subprocess`.
//!
//! It is asked only for URLs that have a user name and no password, and only where `UV_KEYRING_PROVIDER` or
//! `PIP_KEYRING_PROVIDER` says so.

use std::process::{Command, Stdio};

use url::Url;

use super::{Login, without_logins};
use crate::uv::variable;

/// The password of `user` for `url`, or for its host.
pub(super) fn login(url: &Url, user: &str) -> Option<Login> {
    let provider = variable(&["UV_KEYRING_PROVIDER", "PIP_KEYRING_PROVIDER"])?;
    if provider.trim() != "subprocess" {
        return None;
    }
    let host = url.host_str()?;
    let password = [without_logins(url.as_str()).as_str(), host].into_iter().find_map(|service| {
        let mut keyring = Command::new("keyring");
        keyring.args(["get", service, user]).stdin(Stdio::null());
        let output = keyring.output().ok().filter(|output| output.status.success())?;
        let password = String::from_utf8(output.stdout).ok()?.trim_end_matches(['\r', '\n']).to_owned();
        Some(password).filter(|password| !password.is_empty())
    })?;
    Some(Login { user: user.to_owned(), password })
}
