//! Containers to build in: an image of the target's system, run by podman or docker.
//!
//! What is built runs the code of strangers, so the container gets no network and sees nothing of this machine but one
//! directory to work in. It works as the calling user, and what it leaves there is theirs.

mod engine;
mod room;

pub use engine::{ContainerRun, Engine};
pub(crate) use room::{BuildRoom, BuildRooms, SOURCE_DATE_EPOCH, WORK};
