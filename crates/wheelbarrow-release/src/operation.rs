//! What can be done to a root, each as one function: it looks, takes the lock, and carries out its phases.

pub(crate) mod activate;
pub(crate) mod change_environment;
pub(crate) mod deploy;
pub(crate) mod prune;
pub(crate) mod recovery;
pub(crate) mod steps;
