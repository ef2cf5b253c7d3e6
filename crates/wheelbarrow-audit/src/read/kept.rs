//! A limit for what is kept in memory of all wheels.
//!
//! Texts deflate a thousand times, so wheels of some kilobytes each could take any amount of memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_wheel::metadata::Metadata;

use super::error::ReadError;

/// A site with half a million files has RECORDs of 100 MB, and everything else is small.
const MEGABYTES: usize = 256;

/// Counts the bytes.
pub(super) struct Kept {
    left: AtomicUsize,
}

impl Kept {
    pub(super) fn new() -> Self {
        Self { left: AtomicUsize::new(MEGABYTES << 20) }
    }

    pub(super) fn add(&self, size: usize) -> Result<(), ReadError> {
        let less = |left: usize| left.checked_sub(size);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Ok(()),
            Err(_) => Err(ReadError::TooMuch { megabytes: MEGABYTES }),
        }
    }

    pub(super) fn add_entry_points(&self, wheel: &OpenWheel<'_>) -> Result<(), ReadError> {
        let points = wheel.entry_points();
        let points = points.console.iter().chain(&points.gui);
        self.add(
            points.flat_map(|point| [&point.name, &point.module, &point.object]).map(|text| size(text)).sum(),
        )
    }

    pub(super) fn add_metadata(&self, metadata: &Metadata) -> Result<(), ReadError> {
        let lists = [&metadata.requires_dist, &metadata.provides_extra, &metadata.classifiers];
        let ones = [&metadata.requires_python, &metadata.license_expression, &metadata.license];
        let names = [&metadata.name, &metadata.version];
        let ones = ones.into_iter().flatten().chain(names);
        self.add(lists.into_iter().flatten().chain(ones).map(|text| size(text)).sum())
    }
}

/// Of a text, with what it takes itself.
pub(super) fn size(text: &str) -> usize {
    size_of::<String>() + text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_counted_until_there_is_too_much() {
        let text =
            format!("Name: a\nVersion: 1\n{}", format!("Requires-Dist: {}\n", "b".repeat(60_000)).repeat(16));
        let metadata = Metadata::parse(text.as_bytes()).unwrap();
        let kept = Kept::new();
        let count = (0..).take_while(|_| kept.add_metadata(&metadata).is_ok()).count();
        assert_eq!(
            count,
            (MEGABYTES << 20) / (16 * (60_000 + size_of::<String>()) + 2 + 2 * size_of::<String>())
        );
        let error = kept.add(1 << 20).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"RECORD, METADATA, entry points and names in ELF files of the wheels have more than 256 MB");
    }
}
