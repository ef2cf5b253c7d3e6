//! The crate against what other tools say: the tags of each interpreter found on this machine.

mod packaging;
