//! Makes a release: installs it at its final path, links shared paths, or reuses an existing release.

pub(crate) mod configure;
pub(crate) mod fingerprint;
pub(crate) mod not_shared;
pub(crate) mod rebuilt_artifact;
pub(crate) mod relabel;
pub(crate) mod restore;
pub(crate) mod reusable_release;
pub(crate) mod static_files;
pub(crate) mod statics;
