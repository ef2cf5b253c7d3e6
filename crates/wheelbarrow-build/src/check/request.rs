//! The request of a check and its result.

use std::collections::BTreeMap;
use std::path::Path;

use wheelbarrow_artifact::manifest::{Allowed, BundledInterpreter, Collision, Needs, Unpacked};
use wheelbarrow_artifact::zip::DosTime;
use wheelbarrow_audit::{Allowance, Finding, Floor, Modules, Statuses};
use wheelbarrow_platform::{AbiTag, MinorVersion, RequiredPlatform};

use super::programs::ServiceProgram;

/// A wheel that goes into the artifact.
pub use crate::gather::GatheredWheel as PackedWheel;

/// What the artifact is for, and which wheels that takes.
#[derive(Clone, Debug, Hash)]
pub struct PackedTarget {
    /// `3.12`.
    pub python: MinorVersion,
    /// `cp312`.
    pub abi: AbiTag,
    /// The system that the wheels were chosen for.
    pub floor: Floor,
    pub wheels: Vec<PackedWheel>,
    pub pip: PackedWheel,
}

/// What [`check`](super::check) needs to know of the site. Which check this is, is the hash of all of it.
#[derive(Debug, Hash)]
pub struct CheckRequest<'a> {
    pub targets: &'a [PackedTarget],
    /// Of the site, normalised.
    pub name: &'a str,
    pub version: Option<&'a str>,
    /// The file that puts the code on `sys.path`.
    pub pth: &'a str,
    /// Names of the modules of the site's code.
    pub modules: &'a Modules,
    /// What the services of the site run.
    pub programs: &'a [ServiceProgram],
    /// The bundled Python.
    pub interpreter: Option<&'a BundledInterpreter>,
    /// Remembers what need not be looked at twice.
    pub cache: Option<&'a Path>,
    pub allowances: &'a [Allowance],
    /// The reasons for which versions were yanked, by distribution and version.
    pub yanked: &'a BTreeMap<(String, String), String>,
    /// What indexes report of projects.
    pub statuses: &'a Statuses,
    /// Of the artifact.
    pub time: DosTime,
}

/// What the check found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// In the order of the request.
    pub targets: Vec<CheckedTarget>,
    /// By the file names of wheels.
    pub needs: BTreeMap<String, Needs>,
    /// What was let pass.
    pub allowed: Vec<Allowed>,
    /// What was found and let pass, each once for all targets.
    pub findings: Vec<Finding>,
    /// CycloneDX.
    pub sbom: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckedTarget {
    /// The narrowest tag that its wheels need.
    pub platform: RequiredPlatform,
    /// The wheels alone.
    pub unpacked: Unpacked,
    pub needs: Needs,
    pub collisions: Vec<Collision>,
}
