//! Releases, as the binary makes them.

mod apart;
mod back;
mod checks;
mod compatible;
mod data;
mod environment;
mod faults;
mod fleet;
mod full;
mod health;
mod identity;
mod inherited;
mod layers;
mod lock;
mod model;
mod model_fs;
mod model_kill;
mod moved;
mod needy;
mod powercut;
pub(crate) mod root;
mod running;
mod server;
mod server_log;
mod settings;
mod startable;
mod story;
pub(crate) mod strace;
mod strangers;
mod stubborn;
mod systemd;
mod terminal;
pub(crate) mod thin;
mod times;
mod told;

use wheelbarrow_testing::{mounts, site};
