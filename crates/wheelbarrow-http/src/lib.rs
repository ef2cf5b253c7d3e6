//! Files over HTTP, as the machine is set up for it: proxies, certificates, logins, retries, resumption.
//!
//! Nothing here knows of wheels, locks or the cache. A [`Transfer`] fills a [`PartialFile`], and a hash decides whether
//! that is whole. A [`PageRequest`] gives the beginning of a page.

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
pub use credentials::{Credentials, has_password, is_keyring, redact, unescape, without_logins};
pub use error::HttpError;
pub use page::{Page, PageRequest};
pub use partial::PartialFile;
pub use patience::Patience;
pub use transfer::{Ended, Transfer};
