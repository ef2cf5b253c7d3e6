//! Assigns the bytes of each member.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use flate2::read::DeflateDecoder;
use wheelbarrow_artifact::SHEBANG_PATH;
use wheelbarrow_artifact::manifest::{
    Bytecode, INTERPRETER, Manifest, MemberKind, NATIVE, Needs, Project, Sha256, Target, Unpacked, Wheel,
};
use wheelbarrow_artifact::python;
use wheelbarrow_artifact::rules;
use wheelbarrow_artifact::tree::Tree;
use wheelbarrow_artifact::zip::{Deflated, DosTime};
use wheelbarrow_audit::sbom;
use wheelbarrow_platform::RequiredPlatform;

use super::{ArtifactContents, Installer, PackError, environment, head};
use crate::bundled::Bundled;
use crate::bytecode::CompiledBytecode;
use crate::check::{Checked, CheckedTarget, PackedTarget, PackedWheel};
use crate::project::{FileContent, ProjectFile};

/// Longer ones the kernel cuts off (`BINPRM_BUF_SIZE`, before Linux 5.1).
const LONGEST_SHEBANG: usize = 127;

/// An artifact that is not written yet.
#[derive(Clone, Debug)]
pub struct Plan {
    pub shebang: String,
    pub time: DosTime,
    /// In the order of the zip; the manifest follows.
    pub members: Vec<PlannedMember>,
    /// Whole but for the members and the project's digest, which are known once they are written.
    pub manifest: Manifest,
}

#[derive(Clone, Debug)]
pub struct PlannedMember {
    pub path: String,
    pub kind: MemberKind,
    pub source: MemberSource,
    /// Counts for the project's digest.
    pub is_code: bool,
}

#[derive(Clone, Debug)]
pub enum MemberSource {
    Bytes(Vec<u8>),
    /// Stored as they are.
    Stored(Vec<u8>),
    Deflated(Deflated),
    /// A file to be deflated, of so many bytes when it was seen.
    File(PathBuf, u64),
    /// A wheel, stored as it is.
    Wheel {
        path: PathBuf,
        size: u64,
        sha256: Sha256,
    },
    /// Bytecode of so many bytes, stored as it is: it is compressed already.
    Pack(PathBuf, u64),
}

impl MemberSource {
    /// Bytes, uncompressed.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) | Self::Stored(bytes) => bytes.len() as u64,
            Self::Deflated(deflated) => deflated.size,
            Self::File(_, size) | Self::Pack(_, size) | Self::Wheel { size, .. } => *size,
        }
    }

    /// Whether it is a file that goes in as it is.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::Pack(..) | Self::Wheel { .. })
    }
}

/// Says what the artifact will hold. `checked` and `compiled` have what was found and made.
pub fn plan(
    contents: &ArtifactContents,
    checked: &Checked,
    compiled: &CompiledBytecode,
) -> Result<Plan, PackError> {
    check_shebang(&contents.shebang)?;
    let (shebang, first) = match &contents.interpreter {
        Some(_) => head_and_programs(contents)?,
        None => (contents.shebang.clone(), Vec::new()),
    };
    let mut members = first;
    members.extend(programs(contents, &shebang, &compiled.programs)?);
    let pips = by_name(contents.targets.iter().map(|target| &target.pip));
    let wheels = by_name(contents.targets.iter().flat_map(|target| &target.wheels));
    for (directory, wheels) in [("bootstrap_wheels", &pips), ("wheels", &wheels)] {
        members.extend(wheels.values().map(|wheel| wheel_member(directory, wheel)));
    }
    members.extend(compiled.packs.iter().map(|(path, (file, size))| PlannedMember {
        path: path.clone(),
        kind: MemberKind::File,
        source: MemberSource::Pack(file.clone(), *size),
        is_code: false,
    }));
    members.extend(code(&contents.directory, &contents.code)?);
    for (number, files) in contents.static_directories.iter().enumerate() {
        members.extend(code(&format!("static.in/{number}"), files)?);
    }
    if let Some(own) = &contents.interpreter {
        if contents.directory == INTERPRETER {
            let what = format!("the code and the interpreter are both in {INTERPRETER}");
            return Err(PackError::Members { what });
        }
        let files = code(INTERPRETER, &own.files)?.into_iter();
        members.extend(files.map(|member| PlannedMember { is_code: false, ..member }));
    }
    members.push(PlannedMember {
        path: sbom::PATH.to_owned(),
        kind: MemberKind::File,
        source: MemberSource::Bytes(checked.sbom.clone()),
        is_code: false,
    });
    Tree::new(members.iter().map(|member| (member.path.as_str(), member.kind)))
        .map_err(|what| PackError::Members { what })?;
    Ok(Plan {
        shebang,
        time: contents.time,
        manifest: Manifest {
            targets: describe_all(contents, checked, compiled),
            allowed: checked.allowed.clone(),
            interpreter: contents.interpreter.as_ref().map(|own| own.described.clone()),
            ..manifest(contents, &pips, &wheels, &checked.needs)
        },
        members,
    })
}

/// What does the installing, and what goes to site-packages.
fn programs(
    contents: &ArtifactContents,
    shebang: &str,
    compiled: &[(String, Vec<u8>)],
) -> Result<Vec<PlannedMember>, PackError> {
    let file = |path: &str, bytes: &[u8]| PlannedMember {
        path: path.to_owned(),
        kind: MemberKind::File,
        source: MemberSource::Bytes(bytes.to_vec()),
        is_code: false,
    };
    let text = |path: &str, text: &str| file(path, text.as_bytes());
    let mut members = vec![text("__main__.py", python::MAIN)];
    members
        .extend(python::MODULES.map(|(name, source)| text(&format!(".wheelbarrow/python/{name}"), source)));
    members.extend(compiled.iter().map(|(path, code)| file(path, code)));
    // The door first, whatever it is made of, then its modules.
    members.sort_by(|left, right| {
        (left.path.contains('/'), &left.path).cmp(&(right.path.contains('/'), &right.path))
    });
    members.push(text(SHEBANG_PATH, shebang));
    if contents.interpreter.is_none() {
        members.extend(
            installers(contents)
                .into_iter()
                .map(|installer| program(installer, MemberSource::Deflated(installer.program.clone()))),
        );
    }
    let pth = project_pth(&import_path(contents));
    let mut for_site_packages = vec![
        text("loadenv-init.pth", python::LOADENV_PTH),
        text("loadenv.py", &environment::loadenv(&contents.environment)?),
        text("loadenv.start", python::LOADENV_START),
        text(&format!("{}.pth", contents.directory), &pth),
    ];
    for_site_packages.sort_by(|left, right| left.path.cmp(&right.path));
    members.extend(for_site_packages);
    Ok(members)
}

/// The standalone binaries of the machines that it is for, in order.
fn installers(contents: &ArtifactContents) -> Vec<&Installer> {
    let is_needed =
        |machine: &str| contents.targets.iter().any(|target| target.floor.machine() == Some(machine));
    let mut installers: Vec<_> =
        contents.installers.iter().filter(|installer| is_needed(&installer.machine)).collect();
    installers.sort_by(|left, right| left.machine.cmp(&right.machine));
    installers
}

fn program(installer: &Installer, source: MemberSource) -> PlannedMember {
    let path = format!("{NATIVE}linux-{}", installer.machine);
    PlannedMember { path, kind: MemberKind::Executable, source, is_code: false }
}

/// What starts an artifact where there is no Python: a script, and the standalone binaries as they are, first of all.
fn head_and_programs(contents: &ArtifactContents) -> Result<(String, Vec<PlannedMember>), PackError> {
    let mut members = Vec::new();
    for installer in installers(contents) {
        let mut bytes = Vec::new();
        let read = DeflateDecoder::new(&*installer.program.bytes).read_to_end(&mut bytes);
        let path = format!("{NATIVE}linux-{}", installer.machine);
        read.map_err(|source| PackError::Io { action: "inflate", path: path.into(), source })?;
        members.push((installer.machine.as_str(), program(installer, MemberSource::Stored(bytes))));
    }
    let programs: Vec<_> = members
        .iter()
        .map(|(machine, member)| (*machine, member.path.as_str(), member.source.size() as usize))
        .collect();
    let script = head::script(&programs);
    Ok((script, members.into_iter().map(|(_, member)| member).collect()))
}

/// The modules that are no wheel's, with their sources: the project's, and `loadenv.py`, which every process imports.
pub fn modules(contents: &ArtifactContents) -> Result<Vec<(String, Vec<u8>)>, PackError> {
    let mut modules =
        vec![("loadenv.py".to_owned(), environment::loadenv(&contents.environment)?.into_bytes())];
    let statics = contents.static_root.as_ref().map(|root| format!("{root}/"));
    let is_static = |path: &str| statics.as_ref().is_some_and(|below| path.starts_with(below));
    let is_module = |file: &&ProjectFile| file.path.ends_with(".py") && !is_static(&file.path);
    for file in contents.code.iter().filter(is_module) {
        if matches!(file.content, FileContent::File { .. }) {
            let source = fs_err::read(&file.source);
            let source = source.map_err(|source| PackError::Io {
                action: "read",
                path: file.source.clone(),
                source,
            })?;
            modules.push((format!("{}/{}", contents.directory, file.path), source));
        }
    }
    Ok(modules)
}

/// The `.pth` that puts the code on `sys.path`, in ASCII: before Python 3.13 it is read in the encoding of the locale.
fn project_pth(import_path: &str) -> String {
    // `site` takes spaces off the end of a line, and a byte order mark off its beginning.
    if import_path.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && !import_path.ends_with(' ')
    {
        // site-packages is DEST/venv/lib/pythonX.Y/site-packages.
        return format!("../../../../{import_path}\n");
    }
    let byte = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\x{byte:02x}"),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    let bytes: String = import_path.bytes().map(byte).collect();
    format!(
        "import os, sys; sys.path.append(os.path.join(os.path.dirname(sys.prefix), os.fsdecode(b\"{bytes}\")))\n"
    )
}

fn import_path(contents: &ArtifactContents) -> String {
    match contents.import_path.as_str() {
        "" => contents.directory.clone(),
        below => format!("{}/{below}", contents.directory),
    }
}

fn code(directory: &str, files: &[ProjectFile]) -> Result<Vec<PlannedMember>, PackError> {
    let member = |file: &ProjectFile| {
        let path = format!("{directory}/{}", file.path);
        rules::check_name(&path).map_err(|source| PackError::Path { path: path.clone(), source })?;
        let (kind, source) = match &file.content {
            FileContent::File { size, executable: false } => {
                (MemberKind::File, MemberSource::File(file.source.clone(), *size))
            }
            FileContent::File { size, executable: true } => {
                (MemberKind::Executable, MemberSource::File(file.source.clone(), *size))
            }
            FileContent::Link { target } => {
                (MemberKind::Link, MemberSource::Bytes(target.clone().into_bytes()))
            }
        };
        Ok(PlannedMember { path, kind, source, is_code: true })
    };
    files.iter().map(member).collect()
}

/// Each wheel once, ordered by name; the check made sure that one name is one wheel.
fn by_name<'a>(wheels: impl Iterator<Item = &'a PackedWheel>) -> BTreeMap<&'a str, &'a PackedWheel> {
    wheels.map(|wheel| (wheel.filename.as_str(), wheel)).collect()
}

fn wheel_member(directory: &str, wheel: &PackedWheel) -> PlannedMember {
    PlannedMember {
        path: format!("{directory}/{}", wheel.filename),
        kind: MemberKind::File,
        source: MemberSource::Wheel { path: wheel.path.clone(), size: wheel.size, sha256: wheel.sha256 },
        is_code: false,
    }
}

fn manifest(
    contents: &ArtifactContents,
    pips: &BTreeMap<&str, &PackedWheel>,
    wheels: &BTreeMap<&str, &PackedWheel>,
    needs: &BTreeMap<String, Needs>,
) -> Manifest {
    let listed = |directory: &str, wheel: &PackedWheel| Wheel {
        path: format!("{directory}/{}", wheel.filename),
        name: wheel.name.clone(),
        version: wheel.version.clone(),
        direct_url: wheel.direct_url.clone(),
        built: wheel.built,
        needs: needs.get(&wheel.filename).cloned().unwrap_or_default(),
    };
    let pips = pips.values().map(|wheel| listed("bootstrap_wheels", wheel));
    let wheels = wheels.values().map(|wheel| listed("wheels", wheel));
    Manifest {
        version: contents.version.clone(),
        environment: contents.environment.clone(),
        release: contents.release.clone(),
        wheels: pips.chain(wheels).collect(),
        ..Manifest::of_project(
            &contents.name,
            concat!("wheelbarrow ", env!("CARGO_PKG_VERSION")),
            Project {
                directory: contents.directory.clone(),
                import_path: import_path(contents),
                static_root: contents
                    .static_root
                    .as_ref()
                    .map(|root| format!("{}/{root}", contents.directory)),
                digest: Sha256::of(b""),
            },
        )
    }
}

fn describe_all(contents: &ArtifactContents, checked: &Checked, compiled: &CompiledBytecode) -> Vec<Target> {
    let code = size_of_code(contents);
    let bytecode = compiled.targets.iter().cloned().chain(std::iter::repeat(None));
    let targets = contents.targets.iter().zip(&checked.targets).zip(bytecode);
    let mut described: Vec<Target> = Vec::new();
    for ((target, found), bytecode) in targets {
        let mut target = describe(target, found, code, bytecode);
        if let Some(own) = &contents.interpreter {
            with_interpreter(&mut target, own);
        }
        // Two systems may come to need the same; then one target serves both.
        let same = |other: &Target| {
            (&other.abi, &other.platform, &other.wheels) == (&target.abi, &target.platform, &target.wheels)
        };
        match described.iter_mut().find(|other| same(other)) {
            Some(other) => other.needs.cpu = other.needs.cpu.min(target.needs.cpu),
            None => described.push(target),
        }
    }
    described
}

fn describe(
    target: &PackedTarget,
    found: &CheckedTarget,
    code: Unpacked,
    bytecode: Option<Bytecode>,
) -> Target {
    let mut wheels: Vec<_> = target.wheels.iter().map(|wheel| format!("wheels/{}", wheel.filename)).collect();
    wheels.sort_unstable();
    Target {
        python: target.python.clone(),
        abi: target.abi.clone(),
        platform: found.platform.clone(),
        wheels,
        pip: format!("bootstrap_wheels/{}", target.pip.filename),
        bytecode,
        unpacked: Unpacked {
            bytes: found.unpacked.bytes + code.bytes,
            inodes: found.unpacked.inodes + code.inodes,
        },
        needs: Needs { cpu: target.floor.cpu, ..found.needs.clone() },
        collisions: found.collisions.clone(),
    }
}

/// What the interpreter adds to the needs of the wheels.
fn with_interpreter(target: &mut Target, own: &Bundled) {
    target.needs.add(&Needs { glibc: own.described.glibc.clone(), ..Needs::default() });
    let lowest: Option<RequiredPlatform> = own.platform().parse().ok();
    let libc = |platform: &RequiredPlatform| platform.platform().map(|platform| platform.libc());
    if let Some(lowest) = lowest.filter(|lowest| libc(lowest) > libc(&target.platform)) {
        target.platform = lowest;
    }
    let Unpacked { bytes, inodes } = size_of([&own.files].into_iter());
    target.unpacked.bytes += bytes;
    target.unpacked.inodes += inodes;
}

/// Code and static files, and the directories that they need.
fn size_of_code(contents: &ArtifactContents) -> Unpacked {
    size_of(std::iter::once(&contents.code).chain(&contents.static_directories))
}

fn size_of<'f>(directories: impl Iterator<Item = &'f Vec<ProjectFile>>) -> Unpacked {
    let mut unpacked = Unpacked::default();
    for files in directories {
        let mut directories = std::collections::HashSet::from([""]);
        for file in files {
            let mut rest = file.path.as_str();
            while let Some((parent, _)) = rest.rsplit_once('/') {
                directories.insert(parent);
                rest = parent;
            }
            unpacked.bytes += match &file.content {
                FileContent::File { size, .. } => *size,
                FileContent::Link { target } => target.len() as u64,
            };
        }
        unpacked.inodes += (files.len() + directories.len()) as u64;
    }
    unpacked
}

/// execve(2) wants a path after `#!`, and passes all that follows it as one argument.
pub fn check_shebang(shebang: &str) -> Result<(), PackError> {
    let refuse = |reason| Err(PackError::Shebang { shebang: shebang.to_owned(), reason });
    let Some(interpreter) = shebang.strip_prefix("#!") else { return refuse("it does not begin with #!") };
    if shebang.contains(['\n', '\r', '\0']) {
        return refuse("it is more than one line");
    }
    if !interpreter.trim_start().starts_with('/') {
        return refuse("no absolute path follows the #!");
    }
    if shebang.len() > LONGEST_SHEBANG {
        return refuse("the kernel reads no more than 127 bytes of it");
    }
    Ok(())
}
