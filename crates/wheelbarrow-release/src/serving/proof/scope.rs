//! The processes to examine.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// Which processes to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessScope {
    /// Every process of this machine that may be looked at.
    All,
    /// Those that act as these users and nobody else.
    Users(BTreeSet<u32>),
    /// Those of a control group and the groups below it, as `systemctl show -p ControlGroup` names it.
    ControlGroup(PathBuf),
    /// Those that listen where a server is asked, and what they have started.
    Listener(Listener),
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// `host:port`, for TCP.
    Address(String),
    /// The path of a Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => formatter.write_str(address),
            Self::Socket(path) => path.display().fmt(formatter),
        }
    }
}
