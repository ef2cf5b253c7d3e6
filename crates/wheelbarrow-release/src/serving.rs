//! Servers of a site: their settings, units, probes, and the release that their processes run.

mod addresses;
pub mod doctor;
pub(crate) mod probe;
pub(crate) mod probe_address;
pub(crate) mod programs;
pub mod proof;
pub(crate) mod server;
pub(crate) mod server_log;
pub(crate) mod service_state;
pub(crate) mod services;
pub(crate) mod systemd;
pub mod unit;
pub(crate) mod unit_user;
pub(crate) mod watchdog;
