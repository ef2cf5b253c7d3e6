//! How the standalone binary is linked: as small as LLVM's linker can make it, if that links it.
//!
//! `crates/wheelbarrow/build.rs` names that linker for musl targets, if rustc has it. Other builds of this crate, of tests say, are
//! linked as any program.
#![allow(clippy::print_stdout, reason = "this is how build scripts talk to cargo")]

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=discard.ld");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let is_linked_by_lld = Path::new(&variable("RUSTC_LINKER")).ends_with("rust-lld");
    if variable("CARGO_CFG_TARGET_ENV") != "musl" || !is_linked_by_lld {
        return;
    }
    let script = Path::new(&variable("CARGO_MANIFEST_DIR")).join("discard.ld");
    for argument in [
        // Functions that compile to the same code become one.
        "--icf=all".to_owned(),
        // Functions that are alike stand close together, so that they deflate better: 58 kB less in each artifact.
        "--bp-compression-sort=both".to_owned(),
        "-O2".to_owned(),
        // musl reads this compact form from 1.2.4 on; Rust has had 1.2.5 since 1.93.
        "--pack-dyn-relocs=relr".to_owned(),
        "--no-eh-frame-hdr".to_owned(),
        format!("--script={}", script.display()),
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
