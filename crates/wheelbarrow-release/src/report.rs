//! What a root is found to be: its releases, its state, its health.

pub(crate) mod health;
pub(crate) mod rule;
pub(crate) mod status;
pub(crate) mod text;
