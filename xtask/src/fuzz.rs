//! `cargo xtask fuzz`: the harness in `fuzz/`, optimised, with checks of overflow.

use anyhow::Result;

use crate::children;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words = ["run", "--quiet", "--profile", "fuzz", "--package", "wheelbarrow-fuzz", "--"];
    children::run(children::cargo().args(words).args(arguments))
}
