//! Pages about artifacts: one file each, which needs no network and runs no script, for a screen and for paper.

pub(crate) mod artifact;
pub(crate) mod difference;
mod html;
mod parts;
mod treemap;
