//! Adds missing SHA-256s of files to a lock.
//!
//! Some indexes have only MD5 or SHA-512. Only the files that a target uses are fetched for their hash. A
//! lock by Wheelbarrow records the hash, which is enforced from then on. A lock by another tool has at least
//! a SHA-384 or SHA-512 ([`super::Pylock::read`]), with which the file is compared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::Progress;

use super::{Lock, Package};
use crate::cache::Cache;
use crate::fetch::{FetchOptions, Unhashed, fetch_unhashed};
use crate::select::unhashed;
use crate::target::BuildTarget;
use crate::{Error, Result};

/// The lock, with the SHA-256 of every file that `targets` take.
pub(crate) fn complete<'l>(
    lock: &'l Lock,
    targets: &[BuildTarget],
    cache: &Cache,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Cow<'l, Lock>> {
    let mut wanted: BTreeMap<String, Unhashed> = BTreeMap::new();
    for target in targets {
        wanted.extend(unhashed(lock, target)?.into_iter().map(|file| (file.key.clone(), file)));
    }
    if wanted.is_empty() {
        return Ok(Cow::Borrowed(lock));
    }
    let wanted: Vec<Unhashed> = wanted.into_values().collect();
    let entries = fetch_unhashed(cache, &wanted, options, progress)?;
    let found: BTreeMap<&str, Sha256> =
        wanted.iter().zip(&entries).map(|(file, entry)| (file.key.as_str(), entry.sha256)).collect();
    let mut completed = lock.clone();
    completed.pylock.packages.iter_mut().for_each(|package| insert(package, &found));
    if lock.ours {
        write_down(&lock.path, &found)?;
    }
    Ok(Cow::Owned(completed))
}

fn insert(package: &mut Package, found: &BTreeMap<&str, Sha256>) {
    let files = package.sdist.iter_mut().chain(&mut package.wheels);
    let files = files.map(|file| (&file.path, &file.url, &mut file.hashes));
    let archive = package.archive.iter_mut().map(|it| (&it.path, &it.url, &mut it.hashes));
    for (path, url, hashes) in files.chain(archive) {
        let key = path.as_ref().or(url.as_ref()).and_then(|key| found.get(key.as_str()));
        if let Some(sha256) = key {
            hashes.insert("sha256".to_owned(), sha256.to_string());
        }
    }
}

/// Puts hashes into the text of a lock.
fn write_down(path: &Path, found: &BTreeMap<&str, Sha256>) -> Result<()> {
    let mut text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    for (key, sha256) in found {
        let value = toml::Value::String((*key).to_owned()).to_string();
        for name in ["url", "path"] {
            text = with_hash(&text, &format!("{name} = {value}"), *sha256);
        }
    }
    Ok(wheelbarrow_base::write_atomic(path, text.as_bytes(), 0o666)?)
}

/// uv writes each file as an inline table, on one line.
fn with_hash(text: &str, place: &str, sha256: Sha256) -> String {
    let mut whole = String::with_capacity(text.len() + 100);
    let mut rest = text;
    while let Some(at) = rest.find(place) {
        let (before, behind) = rest.split_at(at + place.len());
        whole.push_str(before);
        let end = behind.find('\n').unwrap_or(behind.len());
        let end = behind[..end].find("{ url").or_else(|| behind[..end].find("{ path")).unwrap_or(end);
        let (mut table, behind) = (behind[..end].to_owned(), &behind[end..]);
        match table.find("hashes = {") {
            Some(start) => table.insert_str(start + "hashes = {".len(), &format!(" sha256 = \"{sha256}\",")),
            None => table.insert_str(0, &format!(", hashes = {{ sha256 = \"{sha256}\" }}")),
        }
        whole.push_str(&table.replace(", }", " }"));
        rest = behind;
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_written_where_the_file_is_named() {
        let text = "wheels = [{ url = \"https://h/a.whl\", size = 3, hashes = { md5 = \"00\" } }, { url = \"https://h/b.whl\", size = 1 }]\n\
                    sdist = { url = \"https://h/a.zip\", hashes = {} }\n";
        let sha256 = Sha256([0x11; 32]);
        let mut done = text.to_owned();
        for file in ["a.whl", "b.whl", "a.zip"] {
            done = with_hash(&done, &format!("url = \"https://h/{file}\""), sha256);
        }
        let table: toml::Table = done.parse().unwrap();
        let hex = sha256.to_string();
        let hashes = |file: &toml::Value| file["hashes"]["sha256"].as_str() == Some(&*hex);
        assert!(table["wheels"].as_array().unwrap().iter().all(hashes) && hashes(&table["sdist"]), "{done}");
        assert_eq!(table["wheels"][0]["hashes"]["md5"].as_str(), Some("00"));
    }
}
