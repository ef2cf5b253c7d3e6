//! The rules of `docs/reference/audit.md`, as functions from facts to findings.

pub(crate) mod collisions;
pub(crate) mod elf;
pub(crate) mod python;
pub(crate) mod requirements;
pub(crate) mod status;
pub(crate) mod wheel;

/// `a.so`, `a.so and 2 more files`.
pub(crate) fn and_more(first: &str, count: usize) -> String {
    match count {
        0 | 1 => first.to_owned(),
        2 => format!("{first} and 1 more file"),
        count => format!("{first} and {} more files", count - 1),
    }
}
