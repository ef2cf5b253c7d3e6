//! What serves a site: the settings of servers, units, probes, and which release the processes run.

pub mod doctor;
pub(crate) mod probe;
pub(crate) mod programs;
pub mod proof;
pub(crate) mod server;
pub(crate) mod server_log;
pub(crate) mod services;
pub(crate) mod systemd;
pub mod unit;
pub(crate) mod watchdog;
