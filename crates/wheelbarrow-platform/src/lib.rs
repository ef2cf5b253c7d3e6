//! Platforms of wheels: compatibility tags, C libraries, named systems, and tables of their libraries,
//! packages and symbols.
//!
//! This crate is pure: text in, values out; nothing is read or written. Each table exists once; the Python
//! modules in artifacts have copies of two tables, which a test generates.

mod compatible;
mod facts;
mod packages;
mod platform;
mod profile;
pub mod python_symbols;
mod tag;

pub use compatible::{CompatibleTags, Unfit, required_platform};
pub use facts::{AbiTag, FactError, MinorVersion, RequiredPlatform};
pub use packages::{PACKAGES, package_hint};
pub use platform::{Libc, Platform};
pub use profile::{
    CompilerSymbols, Cpu, MACHINES, PythonVersion, SpecError, System, TargetSpec, base_libraries,
    is_of_glibc, is_of_libc, is_of_musl, promised_compilers,
};
pub use tag::Tag;
