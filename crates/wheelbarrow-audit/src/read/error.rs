//! Errors of reading wheels.

use wheelbarrow_artifact::wheel::WheelError;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Wheel(#[from] WheelError),
    #[error("cannot keep a large member of {wheel} for looking at it")]
    Spool { wheel: String, source: std::io::Error },
    #[error(
        "RECORD, METADATA, entry points and names in ELF files of the wheels have more than {megabytes} MB"
    )]
    TooMuch { megabytes: usize },
    #[error("stopped, and nothing was changed")]
    Cancelled,
}
