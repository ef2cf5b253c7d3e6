//! The crate against what other programs say: interpreters, and the kernel that starts scripts.

mod packaging;
mod scripts;
