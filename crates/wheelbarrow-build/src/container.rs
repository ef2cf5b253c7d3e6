//! Containers for builds: an image of the target's system, run by podman or docker.
//!
//! A build runs third-party code, so the container has no network. It may write to one directory of this
//! machine, and read a few. It runs as the calling user, who owns its files.

mod engine;
mod room;

pub use engine::{ContainerRun, Engine};
pub(crate) use room::{BuildRoom, BuildRooms, GIVEN, SOURCE_DATE_EPOCH, WORK};
