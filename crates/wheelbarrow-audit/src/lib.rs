//! Checks whether wheels run on a target, and makes their SBOM.
//!
//! [`read()`] reads every wheel once, on all cores: each member is compared with RECORD, and each ELF file
//! gives its [`elf::ElfFile`]. The result depends on the wheel's bytes alone, and is cached by their hash.
//! [`audit()`] then checks the result against the [`Floor`] of a target, by the rules of
//! `docs/reference/audit.md`: pure functions from facts to findings. [`sbom`] writes the same facts as
//! CycloneDX.
//!
//! Nothing here prints, and no code is run or loaded: an ELF file is data.

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
