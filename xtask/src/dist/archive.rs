//! Archives with the same bytes for the same files: sorted, owned by root, with one time.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

/// Files by path, with the directories above them.
#[derive(Default)]
pub(super) struct Tree(BTreeMap<String, Entry>);

enum Entry {
    Directory,
    File { mode: u32, bytes: Vec<u8> },
}

impl Tree {
    pub(super) fn add(&mut self, path: String, mode: u32, bytes: Vec<u8>) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above.to_owned());
        }
        self.0.insert(path, Entry::File { mode, bytes });
    }

    pub(super) fn directory(&mut self, path: String) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above.to_owned());
        }
        self.0.insert(path, Entry::Directory);
    }

    /// Adds the files of another tree below `prefix`.
    pub(super) fn take(&mut self, prefix: &str, other: &Tree) {
        for (path, entry) in &other.0 {
            if let Entry::File { mode, bytes } = entry {
                self.add(format!("{prefix}{path}"), *mode, bytes.clone());
            }
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files_with_modes().map(|(path, _, bytes)| (path, bytes))
    }

    pub(super) fn files_with_modes(&self) -> impl Iterator<Item = (&str, u32, &[u8])> {
        self.0.iter().filter_map(|(path, entry)| match entry {
            Entry::File { mode, bytes } => Some((path.as_str(), *mode, bytes.as_slice())),
            Entry::Directory => None,
        })
    }

    /// `time` in seconds since 1970.
    pub(super) fn tar_gz(&self, time: u32) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(encoder());
        for (path, entry) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(time.into());
            header.set_uid(0);
            header.set_gid(0);
            header.set_username("root")?;
            header.set_groupname("root")?;
            match entry {
                Entry::Directory => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(0o755);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{path}/"), &[][..])?;
                }
                Entry::File { mode, bytes } => {
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, path, bytes.as_slice())?;
                }
            }
        }
        Ok(archive.into_inner()?.finish()?)
    }
}

/// Without a name and a time in it.
pub(super) fn gz(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = encoder();
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn encoder() -> GzEncoder<Vec<u8>> {
    GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_adding_does_not_change_the_bytes() {
        let files = [("usr/bin/one", 0o755), ("usr/bin-two", 0o644), ("etc/three", 0o600)];
        let archive = |order: &[(&str, u32)]| {
            let mut tree = Tree::default();
            for (path, mode) in order {
                tree.add((*path).to_owned(), *mode, path.as_bytes().to_vec());
            }
            tree.tar_gz(1_700_000_000).unwrap()
        };
        let mut reversed = files;
        reversed.reverse();
        assert_eq!(archive(&files), archive(&reversed));

        let bytes = archive(&files);
        let mut unpacked = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let mut seen = Vec::new();
        for entry in unpacked.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 1_700_000_000));
            seen.push((entry.path().unwrap().display().to_string(), header.mode().unwrap()));
        }
        let expected = [
            ("etc/", 0o755),
            ("etc/three", 0o600),
            ("usr/", 0o755),
            ("usr/bin/", 0o755),
            ("usr/bin-two", 0o644),
            ("usr/bin/one", 0o755),
        ];
        assert_eq!(seen, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
