//! Errors of reading and writing zips.

use std::io;

/// Why a zip was refused.
#[derive(thiserror::Error)]
pub enum ZipError {
    #[error("not a zip file, or cut off: no end of central directory")]
    NoEnd,
    #[error("the zip is cut off or damaged: {what} reaches outside the file")]
    Outside { what: String },
    #[error("it has another form than artifacts have: {what}")]
    Form { what: String },
    #[error("the zip is damaged: {what}")]
    Damaged { what: String },
    #[error("member {name:?} is encrypted, or a patch")]
    Encrypted { name: String },
    #[error(
        "member {name:?} is compressed by method {method}, which is not read (only stored and deflated are)"
    )]
    Method { name: String, method: u16 },
    #[error("member {name:?} appears twice")]
    Duplicate { name: String },
    #[error("members {first:?} and {second:?} overlap")]
    Overlap { first: String, second: String },
    #[error("member {name:?}: its local header and the central directory disagree on {what}")]
    Disagree { name: String, what: &'static str },
    #[error("member {name:?} claims {size} bytes, more than its compressed bytes can hold")]
    Bomb { name: String, size: u64 },
    #[error("member {name:?} does not inflate to the {size} bytes it claims")]
    Inflate { name: String, size: u64 },
    #[error("member {name:?} has the wrong CRC-32: {found:08x}, the directory says {expected:08x}")]
    Crc { name: String, expected: u32, found: u32 },
    #[error("member {name:?} is {size} bytes, too large for what it is")]
    TooLarge { name: String, size: u64 },
}

wheelbarrow_base::debug_error!(ZipError);

#[derive(thiserror::Error)]
pub enum WriteError {
    #[error("cannot write the artifact")]
    Write(#[source] io::Error),
    #[error("cannot read the contents of {path}")]
    Read { path: String, source: io::Error },
    #[error(
        "the artifact would need zip64 at {path}: more than 65,535 members or 4 GiB, which Python before 3.13 cannot \
         import from"
    )]
    TooLarge { path: String },
}

wheelbarrow_base::debug_error!(WriteError);

/// A full disk stays known as one.
impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Write(source) => source,
            other => Self::other(other),
        }
    }
}
