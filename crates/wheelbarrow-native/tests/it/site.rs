//! Sites for tests: wheels out of a few lines, artifacts out of wheels, and their install without any interpreter.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::bytecode::pack_path;
use wheelbarrow_artifact::interpreter::{Interpreter, Virtualenv, VirtualenvFile};
use wheelbarrow_artifact::manifest::{
    self, Bytecode, Collision, Manifest, MemberKind, Needs, Project, Sha256, Target, Unpacked,
};
use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_artifact::zip::{Archive, DosTime, Method, ZipWriter};
use wheelbarrow_base::progress::{Progress, Silent, Unit};
use wheelbarrow_install::store::StoreOptions;
use wheelbarrow_install::{Compile, Existing, InstallError, Options, Pip, install};
use wheelbarrow_platform::Libc;
use wheelbarrow_wheel::WheelFilename;

use crate::zips::Member;

pub(crate) const SITE_PACKAGES: &str = "lib/python3.12/site-packages";
const PIP: &str = "bootstrap_wheels/pip-1-py3-none-any.whl";

/// What a path is: its mode and its contents, or the target of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File { mode: u32, contents: Vec<u8> },
    Link { target: String },
}

/// The members of a wheel: `files`, and the three that every wheel has, with a true RECORD.
pub(crate) fn wheel_members(name: &str, files: &[Member]) -> Vec<Member> {
    let mut members = files.to_vec();
    members.push(Member::new(
        &format!("{name}-1.dist-info/WHEEL"),
        "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    ));
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1\n");
    members.push(Member::new(&format!("{name}-1.dist-info/METADATA"), metadata));
    let rows = members.iter().filter(|member| !member.name.ends_with('/')).map(|member| {
        let hash = Sha256::of(&member.contents).to_record();
        format!("\"{}\",{hash},{}\n", member.name.replace('"', "\"\""), member.contents.len())
    });
    let record: String = rows.collect();
    let record_name = format!("{name}-1.dist-info/RECORD");
    members.push(Member::new(&record_name, format!("{record}{record_name},,\n")));
    members
}

/// An artifact of these wheels, given by file name and bytes, for any CPython 3.12.
pub(crate) fn artifact(path: &Path, wheels: &[(&str, &[u8])]) {
    write_site(path, ("3.12", "cp312"), &[], wheels);
}

/// An artifact of this code, given by path, kind and text, and these wheels. The target is a Python, `3.12` or
/// `3.12@manylinux_2_28_x86_64`, and an ABI.
pub(crate) fn write_site(
    path: &Path,
    target: (&str, &str),
    code: &[(&str, MemberKind, &str)],
    wheels: &[(&str, &[u8])],
) {
    write_site_with_bytecode(path, target, code, wheels, &[]);
}

/// The same, with packs of bytecode for [`interpreter`], given by what they are of.
pub(crate) fn write_site_with_bytecode(
    path: &Path,
    target: (&str, &str),
    code: &[(&str, MemberKind, &str)],
    wheels: &[(&str, &[u8])],
    packs: &[(&str, &[u8])],
) {
    write(path, &Parts { target, code, wheels, packs, ..Parts::default() });
}

/// With wheels that each need something of the system.
pub(crate) fn write_needy_site(path: &Path, wheels: &[(&str, &[u8])], needs: &Needs) {
    write(path, &Parts { wheels, needs: needs.clone(), ..Parts::default() });
}

/// With wheels that write the same paths, packs of bytecode, and who wins which path.
pub(crate) fn write_colliding_site(
    path: &Path,
    wheels: &[(&str, &[u8])],
    packs: &[(&str, &[u8])],
    winners: &[(&str, &str)],
) {
    write(path, &Parts { wheels, packs, winners, ..Parts::default() });
}

/// What the manifest says of the size of a target.
fn unpacked(wheels: &[(&str, &[u8])]) -> Unpacked {
    let archives: Vec<_> = wheels.iter().filter_map(|(_, bytes)| Archive::parse(*bytes).ok()).collect();
    let entries = || archives.iter().flat_map(|archive| archive.entries());
    Unpacked { bytes: entries().map(|entry| entry.size).sum(), inodes: entries().count() as u64 }
}

/// The directory for static files that were collected at build.
pub(crate) const COLLECTED: &str = "code/collected";

/// What an artifact is made of.
pub(crate) struct Parts<'p> {
    /// As for [`write_site`].
    pub target: (&'p str, &'p str),
    pub code: &'p [(&'p str, MemberKind, &'p str)],
    /// The bundled pip. Most tests install without pip, and never open it.
    pub pip: &'p [u8],
    pub wheels: &'p [(&'p str, &'p [u8])],
    pub packs: &'p [(&'p str, &'p [u8])],
    pub needs: Needs,
    pub winners: &'p [(&'p str, &'p str)],
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self {
            target: ("3.12", "cp312"),
            code: &[],
            pip: b"no pip",
            wheels: &[],
            packs: &[],
            needs: Needs::default(),
            winners: &[],
        }
    }
}

pub(crate) fn write(path: &Path, parts: &Parts<'_>) {
    let &Parts { target: (python, abi), code, pip, wheels, packs, ref needs, winners } = parts;
    let facts = interpreter(path);
    let (python, platform) = python.split_once('@').unwrap_or((python, "any"));
    let mut writer = ZipWriter::new(new_file(path), "#!/usr/bin/env python3", DosTime::FIRST).unwrap();
    let mut listed = vec![wheel_entry(PIP)];
    add_stored(&mut writer, PIP, pip);
    for (filename, bytes) in wheels {
        let path = format!("wheels/{filename}");
        add_stored(&mut writer, &path, bytes);
        listed.push(manifest::Wheel { needs: needs.clone(), ..wheel_entry(&path) });
    }
    for (path, kind, text) in code {
        writer.add(path, *kind, text.as_bytes()).unwrap();
    }
    for (of, pack) in packs {
        add_stored(&mut writer, &pack_path(&facts.cache_tag, of), pack);
    }
    let bytecode = Bytecode { cache_tag: facts.cache_tag, magic: facts.magic };
    let target = Target {
        python: python.parse().unwrap(),
        abi: abi.parse().unwrap(),
        platform: platform.parse().unwrap(),
        wheels: listed[1..].iter().map(|wheel| wheel.path.clone()).collect(),
        pip: PIP.to_owned(),
        bytecode: (!packs.is_empty()).then_some(bytecode),
        unpacked: unpacked(wheels),
        needs: needs.clone(),
        collisions: winners
            .iter()
            .map(|(path, wheel)| Collision { path: (*path).to_owned(), wheel: format!("wheels/{wheel}") })
            .collect(),
    };
    let has_statics = code.iter().any(|(path, ..)| path.starts_with(COLLECTED));
    let manifest = Manifest {
        targets: vec![target],
        wheels: listed,
        members: writer.members().to_vec(),
        ..Manifest::of_project(
            "test-site",
            "a test",
            Project {
                directory: "code".to_owned(),
                import_path: "code".to_owned(),
                static_root: has_statics.then(|| COLLECTED.to_owned()),
                digest: Sha256::of(b""),
            },
        )
    };
    writer.add(manifest::MANIFEST_PATH, MemberKind::File, &serde_json::to_vec(&manifest).unwrap()).unwrap();
    writer.finish().unwrap();
}

fn add_stored(writer: &mut ZipWriter, path: &str, bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), bytes).unwrap();
    let mut contents = fs_err::File::open(file.path()).unwrap();
    writer.add_file(path, MemberKind::File, Method::Stored, &mut contents).unwrap();
}

fn wheel_entry(path: &str) -> manifest::Wheel {
    let filename = path.rsplit('/').next().unwrap();
    let parsed = WheelFilename::parse(filename).ok();
    let name = parsed.as_ref().map_or_else(|| filename.to_owned(), |wheel| wheel.name.clone());
    let version = parsed.map_or_else(|| "0".to_owned(), |wheel| wheel.version_text);
    manifest::Wheel {
        path: path.to_owned(),
        name,
        version,
        direct_url: None,
        built: false,
        needs: Needs::default(),
    }
}

fn new_file(path: &Path) -> std::fs::File {
    fs_err::File::create(path).unwrap().into_parts().0
}

/// A CPython 3.12 that does not exist, and a virtualenv of it that has next to nothing.
pub(crate) fn interpreter(destination: &Path) -> Interpreter {
    let configuration = VirtualenvFile {
        path: "pyvenv.cfg".to_owned(),
        text: "home = /usr/bin\n".to_owned(),
        executable: false,
    };
    Interpreter {
        executable: "/usr/bin/python3.12".into(),
        version: [3, 12, 1],
        implementation: "cpython".to_owned(),
        cache_tag: "cpython-312".to_owned(),
        magic: "cb0d0d0a".to_owned(),
        abi: "cp312".parse().unwrap(),
        machine: "x86_64".to_owned(),
        libc: Libc::Glibc(2, 36),
        site_packages: SITE_PACKAGES.to_owned(),
        headers: "include/site/python3.12".to_owned(),
        environment: Default::default(),
        virtualenv: Some(Virtualenv {
            path: destination.join("venv"),
            directories: vec!["bin".to_owned(), SITE_PACKAGES.to_owned()],
            links: vec![
                ("bin/python".to_owned(), "/usr/bin/python3.12".to_owned()),
                ("lib64".to_owned(), "lib".to_owned()),
            ],
            files: vec![configuration],
        }),
    }
}

/// Compares a wheel with its RECORD, as the builder does.
pub(crate) fn check_record(wheel: &OpenWheel<'_>) -> Result<(), String> {
    let facts = wheelbarrow_audit::facts_of(wheel).map_err(|error| told(&error))?;
    let filename = wheel.filename();
    match facts.record.first() {
        Some(lie) => Err(format!("the RECORD of the wheel {filename} is not true: {lie}")),
        None => Ok(()),
    }
}

/// Opens, verifies and installs an artifact. Whatever goes wrong, `destination` must not be there.
pub(crate) fn install_artifact(artifact: &Path, destination: &Path, pip: Pip) -> Result<(), InstallError> {
    let result = try_install(artifact, destination, pip);
    check_left(destination, result.is_err());
    result
}

/// Nothing that is unfinished, and no destination after a failure.
pub(crate) fn check_left(destination: &Path, failed: bool) {
    if failed {
        assert!(!destination.exists(), "a failed install left {}", destination.display());
    }
    let parent = destination.parent().unwrap();
    let left: Vec<PathBuf> = fs_err::read_dir(parent)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".wheelbarrow-"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Installs an artifact out of a store; gives what was noted, but for the bytecode that does not travel.
pub(crate) fn install_stored(artifact: &Path, destination: &Path, store: &StoreOptions) -> Vec<String> {
    let options = Options {
        destination: destination.to_path_buf(),
        existing: Existing::Refuse,
        pip: Pip::Without,
        store: Some(store.clone()),
        compile: Compile::Never,
    };
    let notes = Notes::default();
    let artifact = Artifact::open(artifact).unwrap();
    install(artifact, &interpreter(destination), &options, &notes).unwrap();
    let mut notes = notes.0.into_inner().unwrap();
    notes.retain(|note| !note.contains("no bytecode"));
    notes
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Notes(pub std::sync::Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _what: &str, _total: u64, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

pub(crate) fn try_install(artifact: &Path, destination: &Path, pip: Pip) -> Result<(), InstallError> {
    let artifact = Artifact::open(artifact)?;
    let options = Options {
        destination: destination.to_path_buf(),
        existing: Existing::Refuse,
        pip,
        store: None,
        compile: Compile::Never,
    };
    install(artifact, &interpreter(destination), &options, &Silent)?;
    Ok(())
}

/// Everything below a directory but directories, by path.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Node> {
    let mut nodes = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                directories.push(path);
            } else if metadata.is_symlink() {
                let target = fs_err::read_link(&path).unwrap().to_str().unwrap().to_owned();
                nodes.insert(name, Node::Link { target });
            } else {
                let mode = metadata.permissions().mode() & 0o7777;
                nodes.insert(name, Node::File { mode, contents: fs_err::read(&path).unwrap() });
            }
        }
    }
    nodes
}

/// An error with everything that caused it.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// `../shared` beside the workspace, or what `WHEELBARROW_SHARED` names. Nobody has it but developers and CI.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("WHEELBARROW_SHARED").map_or(beside, PathBuf::from);
    if shared.join("conformance").is_dir() {
        return Some(shared);
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{} is not there", shared.display());
    println!("skipped: {} is not there", shared.display());
    None
}

/// Whether the machine has a `python3`, for the second way to install.
pub(crate) fn has_python() -> bool {
    static FOUND: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| {
        let found = std::process::Command::new("python3").arg("--version").output().is_ok();
        if !found {
            println!("skipped: there is no python3 for the second way to install");
        }
        found
    })
}
