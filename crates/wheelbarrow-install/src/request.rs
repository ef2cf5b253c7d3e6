//! What `__main__.py` asks of the native installer, as JSON on its standard input.

use std::path::PathBuf;

use serde::Deserialize;
use wheelbarrow_artifact::interpreter::Interpreter;

use crate::store::{LinkMode, StoreOptions};
use crate::{Existing, Options, Pip};

#[derive(Debug, Deserialize)]
pub struct Request {
    /// Absolute path of the artifact.
    pub artifact: PathBuf,
    pub interpreter: Interpreter,
    pub options: RequestOptions,
}

#[derive(Debug, Deserialize)]
pub struct RequestOptions {
    /// Absolute.
    pub destination: PathBuf,
    #[serde(default)]
    pub replace: bool,
    pub pip: bool,
    /// Look at everything, write nothing, and tell what would refuse the install.
    #[serde(default)]
    pub check: bool,
    /// Absolute.
    #[serde(default)]
    pub store: Option<PathBuf>,
    #[serde(default)]
    pub link_mode: LinkMode,
    #[serde(default)]
    pub quiet: bool,
    #[serde(default)]
    pub json: bool,
}

impl RequestOptions {
    pub fn to_options(&self) -> Options {
        Options {
            destination: self.destination.clone(),
            existing: if self.replace { Existing::Replace } else { Existing::Refuse },
            pip: if self.pip { Pip::With } else { Pip::Without },
            store: self.store.clone().map(|path| StoreOptions { path, link_mode: self.link_mode }),
        }
    }
}
