//! Downloads files over HTTP with the machine's configuration: proxies, certificates, logins, retries,
//! resumption.
//!
//! This crate does not depend on wheels, locks or the cache. A [`Transfer`] fills a [`PartialFile`], and a
//! hash decides whether the file is complete. A [`PageRequest`] gives the beginning of a page.

mod client;
mod credentials;
mod encoded;
mod error;
mod names;
mod page;
mod partial;
mod patience;
mod transfer;

pub use client::{Client, certificates, text};
pub use credentials::{Credentials, has_secret, is_keyring, redact, unescape, without_logins};
pub use error::HttpError;
pub use page::{Page, PageRequest};
pub use partial::PartialFile;
pub use patience::Patience;
pub use transfer::{Ended, Transfer};
