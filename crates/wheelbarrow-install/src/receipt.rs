//! The receipt of an install, `DEST/.wheelbarrow/receipt.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use wheelbarrow_artifact::VerifiedArtifact;
use wheelbarrow_artifact::format::{self, Misread};
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{Manifest, Sha256, Target};
use wheelbarrow_platform::{AbiTag, MinorVersion, RequiredPlatform};
use wheelbarrow_wheel::order::Inserted;

use crate::InstallError;
use crate::layout::RECEIPT_PATH;
use crate::options::{Options, Pip};
use crate::plan::Bytecode;

/// The format of the receipt that this code writes, and the only one that it reads.
pub(crate) const FORMAT: u32 = 1;

/// What a receipt tells of.
#[derive(Clone, Copy)]
pub(crate) struct ReceiptFacts<'r> {
    pub artifact: &'r VerifiedArtifact,
    pub target: &'r Target,
    pub interpreter: &'r Interpreter,
    pub options: &'r Options,
    /// What is linked from the store of the options.
    pub stored: Option<&'r ReceiptStore>,
    pub bytecode: Bytecode,
}

/// Keys sorted, two spaces of indentation, a line end: as `docs/reference/format.md` wants it from both ways of installing.
pub(crate) fn receipt(about: ReceiptFacts<'_>, sums: Sha256) -> serde_json::Result<Vec<u8>> {
    let ReceiptFacts { artifact, target, interpreter, options, stored, bytecode } = about;
    let manifest = artifact.manifest();
    let [major, minor, micro] = interpreter.version;
    let mut python: BTreeMap<&str, Value> = [
        ("executable", json!(interpreter.executable)),
        ("version", json!(format!("{major}.{minor}.{micro}"))),
    ]
    .into_iter()
    .inserted();
    if !interpreter.environment.is_empty() {
        python.insert("environment", json!(interpreter.environment));
    }
    let mut receipt: BTreeMap<&str, Value> = [
        ("bytecode", json!(bytecode)),
        ("format", json!(FORMAT)),
        ("interpreter", json!(python)),
        ("manifest_sha256", json!(Sha256::of(artifact.manifest_bytes()))),
        ("method", json!("native")),
        ("name", json!(manifest.name)),
        ("pip", json!(options.pip == Pip::With)),
        ("sums_sha256", json!(sums)),
        ("target", json!({ "abi": target.abi, "platform": target.platform, "python": target.python })),
        ("wheels", json!(target.wheels)),
    ]
    .into_iter()
    .inserted();
    if let Some(version) = &manifest.version {
        receipt.insert("version", json!(version));
    }
    if let (Some(ReceiptStore { wheels, bytecode }), Some(asked)) = (stored, &options.store) {
        receipt.insert(
            "store",
            json!({
                "bytecode": bytecode,
                "link_mode": asked.link_mode,
                "path": asked.path,
                "wheels": wheels,
            }),
        );
    }
    let mut text = serde_json::to_vec_pretty(&receipt)?;
    text.push(b'\n');
    Ok(text)
}

/// What is read of a receipt.
#[derive(Deserialize)]
pub(crate) struct Receipt {
    pub format: u32,
    pub name: String,
    pub version: Option<String>,
    pub manifest_sha256: Sha256,
    pub sums_sha256: Sha256,
    pub target: ReceiptTarget,
    pub interpreter: ReceiptInterpreter,
    pub wheels: Vec<String>,
    /// What is linked, where something is.
    #[serde(default)]
    pub store: Option<ReceiptStore>,
}

/// What an install takes from a store.
#[derive(Default, Deserialize)]
pub(crate) struct ReceiptStore {
    pub wheels: BTreeSet<Sha256>,
    /// Of the packs.
    pub bytecode: BTreeSet<Sha256>,
}

#[derive(Deserialize)]
pub(crate) struct ReceiptTarget {
    pub abi: AbiTag,
    pub platform: RequiredPlatform,
    pub python: MinorVersion,
}

#[derive(Deserialize)]
pub(crate) struct ReceiptInterpreter {
    pub executable: PathBuf,
    pub version: String,
}

impl Receipt {
    /// Of the text of the receipt at `path`.
    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Self, InstallError> {
        let broken = |what| InstallError::BrokenReceipt { path: path.to_path_buf(), what };
        let receipt: Self = format::read(path, text, FORMAT).map_err(|misread| match misread {
            Misread::Newer(newer) => newer.into(),
            Misread::Wrong(error) => broken(format!("it is no receipt: {error}")),
        })?;
        match receipt.format {
            FORMAT => Ok(receipt),
            format => Err(broken(format!("its format is {format}, not {FORMAT}"))),
        }
    }

    /// Whether an install of this manifest could have such a receipt.
    pub(crate) fn is_of(&self, manifest: &Manifest) -> bool {
        let ReceiptTarget { abi, platform, python } = &self.target;
        let same = |target: &&Target| {
            (&target.abi, &target.platform, &target.python, &target.wheels)
                == (abi, platform, python, &self.wheels)
        };
        let minor = self.interpreter.version.rsplit_once('.').map(|(minor, _)| minor);
        (&self.name, &self.version) == (&manifest.name, &manifest.version)
            && minor == Some(python)
            && manifest.targets.iter().any(|target| same(&target))
    }
}

/// What the install at `destination` takes from a store; nothing where it was installed without one.
pub(crate) fn read_store(destination: &Path) -> Result<ReceiptStore, InstallError> {
    let path = destination.join(RECEIPT_PATH);
    let text = match wheelbarrow_base::read_regular(&path, wheelbarrow_base::LARGEST_TEXT) {
        Ok(text) => text,
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Err(InstallError::NoInstall { path: destination.to_path_buf() });
        }
        Err(error) => return Err(InstallError::io("read", &path)(error)),
    };
    Ok(Receipt::parse(&path, &text)?.store.unwrap_or_default())
}
