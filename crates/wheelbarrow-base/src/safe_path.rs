//! Relative paths that cannot leave the directory they are joined to.

use std::fmt;
use std::path::Path;

/// A relative path with `/` between parts that are neither empty nor `.` nor `..`, and without NUL. In
/// whatever directory it is joined to, it names a place inside, as long as no part of it is a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafePath(String);

#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsafe path {path:?}: {reason}")]
pub struct UnsafePath {
    pub path: String,
    pub reason: &'static str,
}

crate::debug_error!(UnsafePath);

impl SafePath {
    pub fn new(path: &str) -> Result<Self, UnsafePath> {
        let refuse = |reason| Err(UnsafePath { path: path.to_owned(), reason });
        if path.is_empty() {
            return refuse("it is empty");
        }
        if path.starts_with('/') {
            return refuse("it is absolute");
        }
        if path.contains('\0') {
            return refuse("it has a NUL in it");
        }
        for part in path.split('/') {
            match part {
                "" => return refuse("it has an empty part"),
                "." => return refuse("it has a part '.'"),
                ".." => return refuse("it leads out by '..'"),
                _ => {}
            }
        }
        Ok(Self(path.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything up to the last `/`; none for a path of one part.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl AsRef<Path> for SafePath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl From<SafePath> for String {
    fn from(path: SafePath) -> Self {
        path.0
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_leads_out() {
        for path in ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b"] {
            assert!(SafePath::new(path).is_err(), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn accepted_paths_have_ordinary_parts_only(path in "[a./\0\\\\]{0,8}") {
            let ordinary = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
            if let Ok(safe) = SafePath::new(&path) {
                prop_assert!(ordinary);
                prop_assert_eq!(safe.as_str(), path);
            }
        }
    }
}
