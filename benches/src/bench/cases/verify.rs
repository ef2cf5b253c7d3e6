//! Looking at every file of an install.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::empty;
use crate::measure::{self, Contender, Table};
use crate::setup::{Setup, is_on_path, succeed};
use crate::site::Site;

pub(crate) fn verify(setup: &Setup, site: &Site, disk: &str, place: &Path, rounds: usize) -> Result<Table> {
    empty(place)?;
    let destination = place.join("site");
    let mut install = Command::new(&setup.python);
    succeed(install.arg(&site.artifact).arg("-d").arg(&destination).arg("--quiet"))?;
    let mut ours = Command::new(&setup.wheelbarrow);
    ours.arg("verify").arg(&destination).arg("--quiet");
    // What `verify` hashes: bytecode is not among it.
    let by = |program: &str| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!(
            "find . -type f ! -name '*.pyc' -print0 | xargs -0 -n 256 -P \"$(nproc)\" {program} >/dev/null"
        ));
        shell.current_dir(&destination);
        vec![shell]
    };
    let mut contenders = vec![
        Contender::new("`wheelbarrow verify DEST`", vec![ours]),
        Contender::new("`sha256sum` of its files, by `xargs` on all cores", by("sha256sum")),
    ];
    for program in ["b3sum", "openssl"].into_iter().filter(|program| is_on_path(program)) {
        let (name, command) = match program {
            "b3sum" => ("`b3sum`", "b3sum --num-threads 1"),
            _ => ("`openssl dgst -sha256`", "openssl dgst -sha256"),
        };
        contenders
            .push(Contender::new(&format!("{name} of its files, by `xargs` on all cores"), by(command)));
    }
    let title = format!("Verifying an install of {} on {disk}, in the page cache", site.name);
    measure::interleave(&title, contenders, rounds, || Ok(()))
}
