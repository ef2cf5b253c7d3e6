//! Errors of installs, with their exit codes and hints.

use std::io;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::ArtifactError;
use wheelbarrow_artifact::format::Newer;
use wheelbarrow_artifact::interpreter::ProbeError;
use wheelbarrow_artifact::wheel::WheelError;
use wheelbarrow_artifact::zip::ZipError;
use wheelbarrow_base::{Exit, Explain, FsError, UnsafePath, beneath, shell_word};
use wheelbarrow_platform::{Cpu, package_hint};

use crate::target::NoTarget;

#[derive(thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Interpreter(#[from] ProbeError),
    #[error("{} cannot be installed here", path.display())]
    Target { path: PathBuf, source: NoTarget },
    #[error("the artifact is for {needed} CPUs; {here} lacks {}", missing.join(", "))]
    Cpu { needed: Cpu, here: String, missing: Vec<&'static str> },
    #[error("{} needs glibc {needed}; this machine has {here}", wheels.join(" and "))]
    Glibc { needed: String, here: String, wheels: Vec<String> },
    #[error("{} needs {library}, which the loader of this machine does not find", wheels.join(" and "))]
    Library { library: String, wheels: Vec<String> },
    /// Members of a thin artifact.
    #[error(
        "{} leaves out {} that {} not here:{}",
        path.display(),
        count(members.len()),
        if members.len() == 1 { "is" } else { "are" },
        listed(members)
    )]
    Lacking { path: PathBuf, members: Vec<String> },
    #[error("the artifact holds a wheel that cannot be installed")]
    Wheel(#[from] WheelError),
    #[error("the artifact holds a file that cannot be installed")]
    Unsafe(#[from] UnsafePath),
    #[error("two wheels write {path}: {first} and {second}")]
    Collision { path: String, first: String, second: String },
    #[error("the facts of the interpreter are for {}, not for {}", found.display(), expected.display())]
    Facts { found: PathBuf, expected: PathBuf },
    #[error("the path {} is not UTF-8, which the scripts in it would need", path.display())]
    NotUtf8 { path: PathBuf },
    #[error("the destination {} is not empty", path.display())]
    Occupied { path: PathBuf },
    /// A directory that must stay where it is: the working directory, or the artifact, is inside.
    #[error("the destination {} is not empty, and {inside} is inside it", path.display())]
    Around { path: PathBuf, inside: &'static str },
    #[error("the destination {} holds something that is not an install", path.display())]
    Foreign { path: PathBuf },
    #[error("the destination {} belongs to another user ({user}), in a directory where every user may write", path.display())]
    Unsettled { path: PathBuf, user: u32 },
    #[error("the destination {} is {what}", path.display())]
    NotDirectory { path: PathBuf, what: &'static str },
    #[error("the destination {} is a mount point", path.display())]
    MountPoint { path: PathBuf },
    #[error("a file system is mounted inside the destination, at {}", path.display())]
    MountInside { path: PathBuf },
    #[error("the directory of the destination, {}, does not exist", path.display())]
    MissingParent { path: PathBuf },
    #[error("the directory of the destination, {}, is a file", path.display())]
    FileAsParent { path: PathBuf },
    #[error("{} is larger than 1 MB", path.display())]
    LargeEnvironment { path: PathBuf },
    #[error("no right to write in {}, where {} is made", parent.display(), destination.display())]
    NoRight { parent: PathBuf, destination: PathBuf },
    #[error("not enough space in {}: {needed} bytes are needed, {available} are free", path.display())]
    NoSpace { path: PathBuf, needed: u64, available: u64 },
    #[error("not enough inodes in {}: {needed} are needed, {available} are free", path.display())]
    NoInodes { path: PathBuf, needed: u64, available: u64 },
    #[error("{} holds files that were written after the install: {data}", path.display())]
    HoldsData { path: PathBuf, data: crate::ForeignData },
    #[error("{} holds no install", path.display())]
    NoInstall { path: PathBuf },
    #[error("{} was altered: {what}", path.display())]
    BrokenReceipt { path: PathBuf, what: String },
    #[error("{} holds something that is not a store", path.display())]
    ForeignStore { path: PathBuf },
    #[error("{} holds no store", path.display())]
    NoStore { path: PathBuf },
    /// What root finds there could be anything.
    #[error("the store {} may be changed by another user: {reason}", path.display())]
    UntrustedStore { path: PathBuf, reason: String },
    #[error(transparent)]
    Newer(#[from] Newer),
    #[error("the store {} loses files that are written into it", path.display())]
    RestlessStore { path: PathBuf },
    /// Entries of the store, by their path in it, each with what is wrong.
    #[error("the store was altered: {}", entries.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>().join("; "))]
    AlteredStore { entries: Vec<(String, String)> },
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot unpack {}", path.display())]
    Unpack { path: PathBuf, source: ZipError },
    #[error("{} has another SHA-256 than the RECORD of its wheel says", path.display())]
    Changed { path: PathBuf },
    #[error("the bytecode in {} cannot be used", path.display())]
    Bytecode { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{} cannot compile {}", python.display(), module.display())]
    Compile { python: PathBuf, module: PathBuf, source: io::Error },
    #[error("stopped, and nothing was changed")]
    Cancelled,
    #[error(transparent)]
    Fs(#[from] FsError),
}

wheelbarrow_base::debug_error!(InstallError);

impl InstallError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl Explain for InstallError {
    fn exit(&self) -> Exit {
        match self {
            Self::Cancelled => Exit::Stopped,
            Self::Artifact(error) => error.exit(),
            Self::Newer(_) => Exit::Newer,
            Self::Lacking { .. } => Exit::Lacking,
            Self::Wheel(_) | Self::Unsafe(_) | Self::Collision { .. } => Exit::Broken,
            Self::Unpack { .. } | Self::Bytecode { .. } | Self::BrokenReceipt { .. } => Exit::Broken,
            Self::AlteredStore { .. } | Self::Changed { .. } => Exit::Broken,
            Self::Target { .. } | Self::Cpu { .. } | Self::Glibc { .. } | Self::Library { .. } => Exit::Unfit,
            Self::Occupied { .. }
            | Self::Around { .. }
            | Self::Foreign { .. }
            | Self::HoldsData { .. }
            | Self::NotDirectory { .. }
            | Self::Unsettled { .. }
            | Self::MountPoint { .. }
            | Self::MountInside { .. }
            | Self::MissingParent { .. }
            | Self::FileAsParent { .. } => Exit::Refused,
            Self::NoRight { .. } | Self::NotUtf8 { .. } | Self::NoInstall { .. } => Exit::Refused,
            Self::ForeignStore { .. } | Self::NoStore { .. } => Exit::Refused,
            Self::NoSpace { .. } | Self::NoInodes { .. } => Exit::NoSpace,
            Self::LargeEnvironment { .. } => Exit::Environment,
            Self::UntrustedStore { .. } => Exit::Project,
            Self::Fs(error) => error.exit(),
            Self::Io { source, .. } => Exit::of_io(source),
            Self::Interpreter(_) | Self::Facts { .. } => Exit::Failed,
            Self::RestlessStore { .. } | Self::Compile { .. } => Exit::Failed,
        }
    }

    /// What the person can do.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Artifact(error) => return error.hint(),
            Self::Newer(newer) => return Some(newer.hint()),
            Self::Interpreter(error) => return error.hint(),
            Self::Target { source, .. } if source.is_bundled => {
                "build it for this system, with a Python for it: /etc/os-release names the system, `wheelbarrow targets` lists \
                 the values of `--target`"
            }
            Self::Target { source, .. } if source.is_for_python => {
                "build it for this system: `--probe` prints its `--target`"
            }
            Self::Target { source, .. } => {
                return Some(format!(
                    "run it with one of the Pythons that it is for, as `python{} site.zip -d DEST`, or build it for \
                     this one: `--probe` prints its `--target`",
                    source.first_python
                ));
            }
            Self::Lacking { .. } => {
                "make it again with `wheelbarrow thin --have` and a new `wheelbarrow store inventory`, or use the full \
                 artifact"
            }
            Self::Library { library, .. } => return Some(package_hint(library)),
            Self::Cpu { .. } => {
                "install it on a newer machine, give the virtual machine the CPU of its host, or build it for a system whose \
                 packages need less (`wheelbarrow targets` has the column CPU), or by a platform tag such as \
                 `3.12@manylinux_2_28_x86_64`"
            }
            Self::Glibc { .. } => {
                "install it on a newer system, or build it with versions of these wheels that run on this one"
            }
            Self::Fs(FsError::Busy { .. }) => {
                "end the other process, or try again when it has ended; `lslocks` shows it"
            }
            Self::Occupied { path } if beneath::found(&path.join(".wheelbarrow/trash")).is_ok() => {
                return Some(format!(
                    "it is a site root: `deploy --root {}`",
                    shell_word(&path.display().to_string())
                ));
            }
            Self::Occupied { .. } | Self::Fs(FsError::Occupied { .. }) => {
                "`--replace` exchanges it for the new install in one step"
            }
            Self::Around { .. } => "name a directory that does not exist yet, or an empty one",
            Self::Foreign { .. } => {
                "--replace only exchanges what an artifact has installed, which has a .wheelbarrow/receipt.json; move \
                 the rest away yourself"
            }
            Self::NotDirectory { .. } | Self::Unsettled { .. } => "name another destination, or remove it",
            Self::MountPoint { .. } => {
                "an install is renamed into place, which a mount point cannot be: name a directory inside it"
            }
            Self::MountInside { .. } => {
                "unmount it, or mount it outside of the destination: --replace removes what is inside"
            }
            Self::Fs(FsError::NoLinks { .. }) => {
                "a virtualenv needs them: name a destination on another file system, such as ext4 or xfs"
            }
            Self::MissingParent { path } => {
                return Some(format!("mkdir -p {}", shell_word(&path.to_string_lossy())));
            }
            Self::FileAsParent { .. } => "name another destination",
            Self::LargeEnvironment { .. } => "no Python of an install would start with it: move it away",
            Self::NoRight { parent, .. } => {
                return Some(format!(
                    "an install is made beside its destination and renamed; run as a user who may write in {}",
                    parent.display()
                ));
            }
            Self::NoSpace { .. } | Self::NoInodes { .. } => {
                "free some, or name a destination on another file system"
            }
            Self::NotUtf8 { .. } => "name a destination in UTF-8",
            Self::NoInstall { .. } => {
                "name the DEST that an artifact was installed to, the directory that has `venv` in it"
            }
            Self::HoldsData { .. } => {
                "move the files that are needed to another place, or remove them with `--replace --discard-data`; files in \
                 `[release] static_root` do not count"
            }
            Self::BrokenReceipt { .. } => {
                "nothing in it can be compared any more: install it again, with `--replace --discard-data`"
            }
            Self::ForeignStore { .. } => "name another directory, absent or empty",
            Self::UntrustedStore { .. } => {
                "only root may be able to write a store that root uses, and the directories above it: name another directory, `chown \
                 root` and `chmod go-w` it, or run as the user who owns it"
            }
            Self::NoStore { .. } => "name the STORE that `--store STORE` was given at an install",
            Self::RestlessStore { .. } | Self::AlteredStore { .. } => {
                "another process removes or changes files in it; `wheelbarrow store verify` lists them"
            }
            Self::Compile { .. } => "`--compile never` installs without bytecode",
            Self::Wheel(_) | Self::Collision { .. } | Self::Changed { .. } => {
                "`wheelbarrow build` refuses such wheels: build it again"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn count(members: usize) -> String {
    if members == 1 { "1 file".to_owned() } else { format!("{members} files") }
}

/// A line each.
fn listed(members: &[String]) -> String {
    /// More than this nobody reads; `--json` has all.
    const MOST: usize = 200;
    let mut lines: String = members.iter().take(MOST).map(|member| format!("\n    {member}")).collect();
    if members.len() > MOST {
        lines.push_str(&format!("\n    and {} more", members.len() - MOST));
    }
    lines
}
