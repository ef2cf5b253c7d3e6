//! Errors in the texts of a wheel.

/// One enum for the crate: each variant names the text that was refused.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("`{filename}` is not the name of a wheel: {reason}")]
    Filename { filename: String, reason: String },
    #[error("`{filename}` has no .dist-info directory")]
    NoDistInfo { filename: String },
    #[error("`{filename}` has several .dist-info directories: {}", found.join(", "))]
    SeveralDistInfo { filename: String, found: Vec<String> },
    #[error("`{filename}` has the .dist-info directory of another distribution: `{found}`")]
    OtherDistInfo { filename: String, found: String },
    #[error("the member `{member}` cannot be installed: {reason}")]
    Member { member: String, reason: &'static str },
    #[error("the member `{member}` is of the unknown scheme `{scheme}`")]
    Scheme { member: String, scheme: String },
    #[error("entry_points.txt: `{line}`: {reason}")]
    EntryPoint { line: String, reason: &'static str },
    #[error("RECORD, line {line}: {reason}")]
    Record { line: u64, reason: String },
    #[error("RECORD is not true of `{path}`: {what}")]
    Untrue { path: String, what: &'static str },
    #[error("{file} is not UTF-8")]
    Encoding { file: &'static str },
    #[error("{file} has no `{field}`")]
    Missing { file: &'static str, field: &'static str },
    #[error("{file} has more than {most} values of one field")]
    Most { file: &'static str, most: usize },
    #[error("{file} has a value of more than {most} bytes")]
    Longest { file: &'static str, most: usize },
    #[error("WHEEL: `{value}` is not a Wheel-Version")]
    WheelVersion { value: String },
    #[error("WHEEL: Wheel-Version {value} is newer than the supported version (1.0)")]
    NewerWheel { value: String },
}

/// The message, as `debug_error` of the base crate has it: derived code would be in the standalone binary.
impl std::fmt::Debug for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}
