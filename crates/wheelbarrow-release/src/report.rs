//! Reports on a site root: its releases, its state, its health, and the changes of an operation.

pub(crate) mod bundled_python;
pub(crate) mod changes;
pub(crate) mod health;
pub(crate) mod rule;
pub(crate) mod status;
pub(crate) mod text;
