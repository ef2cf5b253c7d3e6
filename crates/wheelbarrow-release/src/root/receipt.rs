//! The receipt of an install: `.wheelbarrow/receipt.json`, which `wheelbarrow-install` writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wheelbarrow_artifact::format;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_install::Pip;

use crate::ReleaseError;
use crate::root::release::CompleteRelease;

pub(crate) const RECEIPT_PATH: &str = ".wheelbarrow/receipt.json";
pub(crate) const RECEIPT_FORMAT: u32 = 1;

/// How a release was installed, as its receipt says.
#[derive(Debug, Deserialize)]
pub(crate) struct Receipt {
    interpreter: ReceiptInterpreter,
    pip: bool,
    /// Paths in the artifact.
    pub(crate) wheels: Vec<String>,
    pub(crate) target: ReceiptTarget,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReceiptTarget {
    /// `3.12`.
    pub(crate) python: String,
}

#[derive(Debug, Deserialize)]
struct ReceiptInterpreter {
    executable: PathBuf,
    #[serde(default)]
    version: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

impl Receipt {
    pub(crate) fn of(release: &CompleteRelease) -> Result<Self, ReleaseError> {
        Self::in_install(release.path())
    }

    pub(crate) fn in_install(install: &Path) -> Result<Self, ReleaseError> {
        let path = install.join(RECEIPT_PATH);
        let text = Directory::open(install).and_then(|install| install.read(RECEIPT_PATH));
        let text = text.map_err(ReleaseError::io("read", &path))?;
        format::read(&path, &text, RECEIPT_FORMAT).map_err(ReleaseError::misread(&path))
    }

    pub(crate) fn python(&self) -> &Path {
        &self.interpreter.executable
    }

    /// `3.12.11`
    pub(crate) fn python_version(&self) -> &str {
        &self.interpreter.version
    }

    /// Variables without which that does not start.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.interpreter.environment
    }

    pub(crate) fn pip(&self) -> Pip {
        if self.pip { Pip::With } else { Pip::Without }
    }
}

/// Variables without which the Python of an install does not start; none where its receipt cannot be read.
pub(crate) fn needed_variables(install: &Path) -> BTreeMap<String, String> {
    Receipt::in_install(install).map(|receipt| receipt.environment().clone()).unwrap_or_default()
}
