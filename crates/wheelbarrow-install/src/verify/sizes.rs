//! The sizes of the files of an install. A file of another size is a changed file and is not read: the site's
//! user may own it, and can make it many terabytes large without writing a byte.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::read_limited;
use wheelbarrow_wheel::record;

use super::claims::Claims;

/// Bytes of a file of which neither the manifest nor a RECORD has the size: as many as a zip can say of a member, without zip64.
const LARGEST: u64 = u32::MAX as u64;

/// Bytes of a RECORD.
const LARGEST_RECORD: u64 = 32 << 20;

/// By the path below the destination.
pub(super) struct FileSizes(HashMap<String, u64>);

impl FileSizes {
    /// The manifest has the sizes of the files of the project. RECORD has those of a wheel; one that was changed is not used.
    pub(super) fn read(root: &Directory, claims: &Claims) -> Self {
        let mut sizes = claims.sizes.clone();
        for (path, sha256) in claims.files.iter().filter(|(path, _)| path.ends_with(".dist-info/RECORD")) {
            let read = root.file(path).and_then(|file| read_limited(file, LARGEST_RECORD));
            let Some(text) = read.ok().filter(|text| Sha256::of(text) == *sha256) else { continue };
            let site_packages = Path::new(path).ancestors().nth(2).unwrap_or(Path::new(""));
            for row in record::parse(&text).unwrap_or_default() {
                let path = plain(&site_packages.join(row.path)).into_os_string().into_string();
                let (Ok(path), Some((_, digest)), Some(size)) = (path, row.hash, row.size) else { continue };
                if claims.files.get(&path).copied() == Sha256::from_record(&digest) {
                    sizes.insert(path, size);
                }
            }
        }
        Self(sizes)
    }

    /// Whether a file of so many bytes may be the one that was installed.
    pub(super) fn may_be(&self, path: &str, size: u64) -> bool {
        self.0.get(path).map_or(size <= LARGEST, |expected| size == *expected)
    }
}

/// Without `.` and `..`, as text.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}
