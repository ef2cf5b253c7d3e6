//! Stories told through the binary.
#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

mod audit;
mod bundled;
mod bytecode;
mod collected;
mod declared;
mod django;
mod django_forks;
mod django_hooks;
mod env;
mod errors;
mod guides;
mod help;
mod init;
mod interrupted;
mod keyring;
mod large;
mod locks;
mod machine;
mod memory;
mod other_uv;
mod own;
mod pages;
mod probing;
mod refused;
mod releases;
mod secrets;
mod signatures;
mod site;
mod statuses;
mod store;
mod support;
mod targets;
mod thin;
mod uninstallable;
mod wheels;
