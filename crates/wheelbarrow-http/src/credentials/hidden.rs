//! Passwords that are hidden in all output: an index may repeat them in its answers, where no URL shows what they are.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use data_encoding::BASE64;
use url::Url;

use super::login::{Login, escape, is_token};

/// Shorter passwords would hide parts of words.
const SHORTEST: usize = 6;

static HIDDEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Hides the password as it is, escaped for a URL, and as it is sent to an index.
pub(super) fn hide(login: &Login) {
    let Login { user, password } = login;
    let secret = if password.is_empty() && is_token(user) { user } else { password };
    if secret.len() < SHORTEST {
        return;
    }
    let mut url = Url::parse("http://h/").ok();
    let as_in_url = url.as_mut().and_then(|url| {
        url.set_password(Some(secret)).ok()?;
        url.password().map(str::to_owned)
    });
    let sent = BASE64.encode(format!("{user}:{password}").as_bytes());
    let mut hidden = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner);
    hidden.extend([secret.clone(), escape(secret), sent].into_iter().chain(as_in_url));
}

/// `text` with `****` in place of each, the longest first: one may be a part of another.
pub(super) fn without(text: &str) -> String {
    let hidden = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found: Vec<&String> = hidden.iter().filter(|secret| text.contains(secret.as_str())).collect();
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "****"))
}
