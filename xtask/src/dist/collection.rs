//! The Ansible collection, as `ansible-galaxy collection build` makes it, with the same bytes each time.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use flate2::read::GzDecoder;
use fs_err as fs;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::archive::Tree;
use super::release::Release;
use crate::ansible::{self, Controller};

const FILES: &str = "FILES.json";
const MANIFEST: &str = "MANIFEST.json";

pub(super) fn make(release: &Release, place: &Path) -> Result<()> {
    let Some(controller) = Controller::newest()? else {
        println!("skipped: the Ansible collection, which needs a Python for ansible-core");
        return Ok(());
    };
    let built = ansible::build_file(&controller)?;
    let name = built.file_name().context("the collection has a name")?;
    fs::write(place.join(name), sorted(&fs::read(&built)?)?.tar_gz(release.time)?)?;
    Ok(())
}

/// ansible-galaxy lists files in the order of the directory, and MANIFEST.json has the hash of that list.
fn sorted(archive: &[u8]) -> Result<Tree> {
    let mut tree = Tree::default();
    let (mut files, mut manifest) = (Value::Null, Value::Null);
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mode = entry.header().mode()?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        match path.as_str() {
            FILES => files = serde_json::from_slice(&bytes)?,
            MANIFEST => manifest = serde_json::from_slice(&bytes)?,
            _ if entry.header().entry_type().is_dir() => {
                tree.directory(path.trim_end_matches('/').to_owned())
            }
            _ => tree.add(path, mode & 0o755, bytes),
        }
    }
    let list = files["files"].as_array_mut().context("FILES.json lists no files")?;
    list.sort_by_key(|file| file["name"].as_str().unwrap_or_default().to_owned());
    let files = serde_json::to_vec_pretty(&files)?;
    manifest["file_manifest_file"]["chksum_sha256"] = HEXLOWER.encode(&Sha256::digest(&files)).into();
    tree.add(FILES.to_owned(), 0o644, files);
    tree.add(MANIFEST.to_owned(), 0o644, serde_json::to_vec_pretty(&manifest)?);
    Ok(tree)
}
