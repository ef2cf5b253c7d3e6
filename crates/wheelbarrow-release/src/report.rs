//! What a root is found to be: its releases, its state, its health; what an operation has changed.

pub(crate) mod bundled_python;
pub(crate) mod changes;
pub(crate) mod health;
pub(crate) mod rule;
pub(crate) mod status;
pub(crate) mod text;
