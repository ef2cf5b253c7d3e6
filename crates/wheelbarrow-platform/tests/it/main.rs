//! The crate against what other programs say, and what is made of its tables.

mod packaging;
mod tables;
