//! How large an artifact is, and the standalone binary in it, each with the size that it must not pass.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use wheelbarrow_artifact::manifest::NATIVE;
use wheelbarrow_artifact::zip::Archive;

use crate::site::Site;

/// Bytes of the standalone binary for x86_64, linked with musl.
const BINARY: u64 = 3_000_000;
/// Bytes of it in an artifact.
const DEFLATED: u64 = 1_415_000;

/// How many times its wheels the artifact of a site may be, bytecode included.
fn times_wheels(site: &str) -> f64 {
    if site == "site106" { 1.33 } else { 1.35 }
}

/// A table; an error, after it is shown, if something is larger than its budget.
pub(crate) fn sizes(site: &Site) -> Result<()> {
    let artifact = fs::read(&site.artifact)?;
    let archive = Archive::parse(&artifact[..])?;
    let name = format!("{NATIVE}linux-x86_64");
    let binary = archive.find(&name).with_context(|| format!("the artifact has no {name}"))?;
    let wheels = directory_size(&site.wheels)?;
    let times = |bytes: usize| bytes as f64 / wheels as f64;
    let plain = fs::metadata(&site.artifact_without_bytecode)?.len();
    println!("Sizes of {}, {wheels} bytes of wheels\n", site.name);
    println!("| what | bytes | budget |\n|---|---|---|");
    let (size, deflated) = (binary.size, binary.data.len() as u64);
    println!("| the standalone binary for x86_64 | {size} | {BINARY} |");
    println!("| the same in an artifact, deflated | {deflated} | {DEFLATED} |");
    let (most, bytes) = (times_wheels(site.name), artifact.len());
    println!("| the artifact, {:.3} times its wheels | {bytes} | {most} times |", times(bytes));
    println!("| without bytecode | {plain} | |\n");
    if let Some(date) = other_date(&archive.read(binary, 2 * BINARY)?) {
        bail!(
            "the standalone binary names the day of its compilation, {date}: other builds of the source differ"
        );
    }
    if size > BINARY || deflated > DEFLATED || times(bytes) > most {
        bail!("something of {} is larger than its budget", site.name);
    }
    Ok(())
}

/// What `__DATE__` of a C compiler was, but for the day that all builds name.
fn other_date(program: &[u8]) -> Option<String> {
    const LENGTH: usize = "Jan  1 1980".len();
    let is_date = |text: &&[u8]| {
        let (month, rest) = text.split_at(3);
        let is_month = "JanFebMarAprMayJunJulAugSepOctNovDec".as_bytes().chunks(3).any(|name| name == month);
        is_month
            && rest[0] == b' '
            && rest[2].is_ascii_digit()
            && rest[3] == b' '
            && rest[4..].iter().all(u8::is_ascii_digit)
    };
    let mut dates = program.windows(LENGTH).filter(is_date).filter(|date| *date != b"Jan  1 1980");
    dates.next().map(|date| String::from_utf8_lossy(date).into_owned())
}

fn directory_size(directory: &Path) -> Result<u64> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
