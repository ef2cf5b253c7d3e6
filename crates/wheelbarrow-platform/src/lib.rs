//! What wheels run on: compatibility tags, C libraries, systems by name, and the tables of what each of them has.
//!
//! Everything here is pure: text in, values out, nothing is read or written. Each table has one place; the Python that is in
//! artifacts has copies of two, which a test makes from the tables here.

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
