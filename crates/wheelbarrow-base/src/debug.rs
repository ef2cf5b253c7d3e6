//! `Debug` of errors: the message and its causes, as users see them.
//!
//! Derived code prints each field of each variant. Nothing needs that code, but every `dyn Error` keeps it in
//! the program.

use std::error::Error;
use std::fmt;

/// Writes the message of `error` and the messages of its causes, separated by `: `.
///
/// # Errors
/// Errors of `formatter`.
pub fn write_chain(error: &dyn Error, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(formatter, "{error}")?;
    let mut next = error.source();
    while let Some(cause) = next {
        write!(formatter, ": {cause}")?;
        next = cause.source();
    }
    Ok(())
}

/// Implements `Debug` for a type that implements [`std::error::Error`], by [`write_chain`].
#[macro_export]
macro_rules! debug_error {
    ($error:ty) => {
        impl ::std::fmt::Debug for $error {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $crate::write_chain(self, formatter)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use crate::FsError;

    #[test]
    fn the_message_and_its_causes_are_written() {
        let error = FsError::Io {
            action: "read",
            path: PathBuf::from("/srv/site"),
            source: io::Error::other("the disk is gone"),
        };
        assert_eq!(format!("{error:?}"), "cannot read /srv/site: the disk is gone");
    }
}
