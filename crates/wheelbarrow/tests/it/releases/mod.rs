//! Releases, as the binary makes them.

mod faults;
mod lock;
mod model;
mod root;
mod server;
#[path = "../../../../wheelbarrow-release/tests/it/site.rs"]
mod site;
mod story;
mod strace;
