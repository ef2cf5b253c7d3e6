//! Installs, through real artifacts: of the wheels that other tools are tested with, of hostile ones, of a large site.

#![allow(clippy::print_stdout, reason = "tests say what they skip")]
mod both_ways;
mod changing;
mod checking;
mod compiling;
mod conformance;
mod corpus;
mod exchanged;
mod faults;
mod filesystems;
mod heads;
mod hostile_artifacts;
mod hostile_wheels;
mod pip;
mod preflight;
mod readers;
mod released;
mod site;
mod site106;
mod store;
mod store_owner;
mod stored_statics;
mod strace;
mod verifying;
mod zips;

use wheelbarrow_testing::mounts;
