//! The crate against what starts scripts: the kernel.

mod scripts;
