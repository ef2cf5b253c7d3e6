//! Errors of reading wheels.

use wheelbarrow_artifact::wheel::WheelError;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Wheel(#[from] WheelError),
    #[error("cannot keep a large member of {wheel} for looking at it")]
    Spool { wheel: String, source: std::io::Error },
    #[error("stopped, and nothing was changed")]
    Cancelled,
}
