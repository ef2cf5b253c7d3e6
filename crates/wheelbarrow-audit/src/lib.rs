//! Will these wheels run there? And what are they made of.
//!
//! [`read()`] takes every wheel apart once, on all cores: each member is compared with RECORD, each ELF file gives its
//! [`elf::ElfFile`]. What it finds depends on the wheel's bytes alone, and is kept by their hash. [`audit()`] then judges
//! that against the [`Floor`] of a target, by the rules of `docs/reference/audit.md`: pure functions from facts to findings.
//! [`sbom`] writes down the same facts as CycloneDX.
//!
//! Nothing here prints, and nothing is run or loaded: an ELF file is data.

mod allow;
mod audit;
mod bundled;
pub mod elf;
mod facts;
mod files;
mod finding;
mod floor;
mod needs;
mod read;
mod rules;
pub mod sbom;
mod status;
mod subject;

pub use allow::{Allowance, AllowanceError};
pub use audit::{Audited, Report, audit};
pub use bundled::BundledPython;
pub use facts::WheelFacts;
pub use files::{AuditError, audit_artifact, audit_wheels};
pub use finding::{Finding, Rule, Severity};
pub use floor::{Floor, NoFloor};
pub use needs::needs;
pub use read::{AuditedWheel, Modules, ReadError, Source, facts_of, read, read_ahead, wheel_of_facts};
pub use status::{ProjectStatus, StatusMarker, Statuses};
pub use subject::{Site, Subject};
