//! The options of an install.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wheelbarrow_artifact::interpreter::Interpreter;

/// What an install is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Absolute.
    pub destination: PathBuf,
    pub existing: Existing,
    pub pip: Pip,
    /// Where wheels are unpacked to and linked from; without it they are unpacked into the destination.
    pub store: Option<StoreOptions>,
    pub compile: Compile,
}

impl Options {
    /// Whether the install is on the Python that the artifact brings.
    pub(crate) fn brings_python(&self, interpreter: &Interpreter) -> bool {
        interpreter.is_bundled(&self.destination)
    }

    /// For an install on the Python that the artifact brings: it is not there yet, so nothing is compiled by it.
    pub(crate) fn with(&self, bundled: Option<&Interpreter>) -> Self {
        let compile = if bundled.is_some() { Compile::Never } else { self.compile };
        Self { compile, ..self.clone() }
    }
}

/// What to do with a destination that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    /// Exchange an install that holds nothing else.
    Replace,
    /// Exchange an install with all that was written into it.
    ReplaceData,
}

/// Whether pip goes into the virtualenv.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pip {
    With,
    Without,
}

/// Whether modules are compiled where the artifact carries no bytecode for the interpreter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compile {
    #[default]
    Auto,
    Never,
}

/// How files come from the store into an install.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkMode {
    /// One file under two names: no space, read-only.
    #[default]
    Hardlink,
    /// Files of their own that share their blocks until one is written to.
    Reflink,
    /// Files of their own.
    Copy,
}

/// The store that an install takes its wheels from.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Absolute.
    pub path: PathBuf,
    pub link_mode: LinkMode,
}
