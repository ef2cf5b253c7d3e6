//! `SHA256SUMS` over everything in the directory, and an SSH signature over that.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use data_encoding::HEXLOWER;
use fs_err as fs;
use sha2::{Digest, Sha256};

use crate::children::run as run_child;

const NAME: &str = "SHA256SUMS";
/// What `ssh-keygen -Y verify -n` must name too.
const NAMESPACE: &str = "file";

pub(super) fn write(place: &Path, key: Option<&Path>) -> Result<()> {
    let mut names: Vec<String> = fs::read_dir(place)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    let mut sums = String::new();
    for name in names {
        let bytes = fs::read(place.join(&name))?;
        println!("{:>11} bytes  {name}", bytes.len());
        sums += &format!("{}  {name}\n", HEXLOWER.encode(&Sha256::digest(&bytes)));
    }
    let path = place.join(NAME);
    fs::write(&path, sums)?;
    match key {
        Some(key) => {
            let mut sign = Command::new("ssh-keygen");
            sign.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key).arg(&path);
            run_child(&mut sign)
        }
        None => {
            println!("unsigned: {NAME} has no signature; `--key PATH` names an SSH key");
            Ok(())
        }
    }
}
