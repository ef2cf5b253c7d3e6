//! Passwords that are hidden in all output: an index may repeat them in its answers, where no URL shows what they are.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static HIDDEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Hides these texts.
pub(super) fn hide(secrets: impl IntoIterator<Item = String>) {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).extend(secrets);
}

/// `text` with `****` in place of each, the longest first: one may be a part of another.
pub(super) fn without(text: &str) -> String {
    let hidden = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found: Vec<&String> = hidden.iter().filter(|secret| text.contains(secret.as_str())).collect();
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "****"))
}
