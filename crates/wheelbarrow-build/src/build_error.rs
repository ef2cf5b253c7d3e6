//! Errors of a build.

use wheelbarrow_base::{Exit, Explain};

use crate::check::CheckError;
use crate::pack::PackError;
use crate::project::ProjectError;

/// Whatever can go wrong in a build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Wheels(#[from] crate::Error),
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl Explain for BuildError {
    fn exit(&self) -> Exit {
        match self {
            Self::Wheels(error) => error.exit(),
            Self::Project(error) => error.exit(),
            Self::Check(error) => error.exit(),
            Self::Pack(error) => error.exit(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Wheels(error) => error.hint(),
            Self::Project(error) => error.hint(),
            Self::Check(error) => error.hint(),
            Self::Pack(error) => error.hint(),
        }
    }
}
