//! From inputs to wheels, with a real uv, the real index and a server that misbehaves.

#![allow(clippy::print_stdout, reason = "tests say what they skip")]

mod fetching;
mod gathering;
mod hashes;
mod inputs;
mod markers;
mod selecting;
mod server;
mod statuses;
mod support;
mod surroundings;
