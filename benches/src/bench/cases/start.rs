//! What it costs to start: the program, and an artifact that says what this machine is.

use std::process::Command;

use anyhow::Result;

use crate::measure::{self, Contender, Table};
use crate::setup::Setup;
use crate::site::Site;

pub(crate) fn start(setup: &Setup, site: &Site, rounds: usize) -> Result<Table> {
    let command = |program: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments);
        vec![command]
    };
    let mut probe = Command::new(&setup.python);
    probe.arg(&site.artifact).arg("--probe");
    let contenders = vec![
        Contender::new("`python3 site.zip --probe`", vec![probe]),
        Contender::new("`python3 -c pass`", command(&setup.python, &["-c", "pass"])),
        Contender::new("`wheelbarrow --version`", command(&setup.wheelbarrow, &["--version"])),
        Contender::new("`uv --version`", command(&setup.tool("uv"), &["--version"])),
    ];
    // One takes milliseconds.
    measure::interleave(&format!("Start, artifact of {}", site.name), contenders, rounds * 5, || Ok(()))
}
