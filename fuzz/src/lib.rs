//! One function for each parser of what comes from outside. The harness (`main.rs`) and libFuzzer (`libfuzzer/`) call the
//! same functions; whatever the bytes are, none of them may panic, take a second or 200 MB.

use std::path::Path;

use wheelbarrow_artifact::bytecode::{FrameInflater, Pack};
use wheelbarrow_artifact::format;
use wheelbarrow_artifact::inventory::{self, Inventory};
use wheelbarrow_artifact::manifest::{self, EnvironmentRules, Manifest};
use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_artifact::zip::Archive;
use wheelbarrow_build::inputs::{requirements, workspace};
use wheelbarrow_build::lock::Pylock;
use wheelbarrow_release::{Journal, environment};
use wheelbarrow_signature::AllowedSigners;
use wheelbarrow_wheel::metadata::{Metadata, WheelInfo};
use wheelbarrow_wheel::{WheelFilename, entry_points, record};

/// A parser: the name of its directory in `corpus/`, and its function.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 16] = [
    ("allowed_signers", allowed_signers),
    ("entry_points", entry_points),
    ("environment", environment),
    ("filename", filename),
    ("inventory", inventory),
    ("journal", journal),
    ("manifest", manifest),
    ("metadata", metadata),
    ("pack", pack),
    ("pylock", pylock),
    ("record", record),
    ("requirements", requirements),
    ("uv_lock", uv_lock),
    ("wheel", wheel),
    ("wheel_info", wheel_info),
    ("zip", zip),
];

/// Of members and frames, in bytes. More is not read here.
const LIMIT: u64 = 1 << 20;

fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

pub fn allowed_signers(data: &[u8]) {
    let _ = AllowedSigners::parse(Path::new("allowed_signers"), &text(data));
}

pub fn entry_points(data: &[u8]) {
    if let Ok(found) = entry_points::parse(&text(data)) {
        found.iter().for_each(drop);
    }
}

pub fn environment(data: &[u8]) {
    let rules = EnvironmentRules::default();
    let _ = environment::check(data, 0o640, &rules, |_| false).map_err(|error| error.to_string());
}

pub fn filename(data: &[u8]) {
    if let Ok(name) = WheelFilename::parse(&text(data)) {
        let shown = name.to_string();
        assert!(WheelFilename::parse(&shown).is_ok(), "{shown}");
    }
}

pub fn inventory(data: &[u8]) {
    let _ = format::read::<Inventory>(Path::new("inventory.json"), data, inventory::FORMAT);
}

pub fn journal(data: &[u8]) {
    drop(Journal::entries(data));
}

pub fn manifest(data: &[u8]) {
    let read = format::read::<Manifest>(Path::new("manifest.json"), data, manifest::FORMAT);
    if let Ok(manifest) = read {
        assert!(manifest.members_by_path().len() <= manifest.members.len());
        drop(manifest.wheels_by_path());
    }
}

pub fn metadata(data: &[u8]) {
    let _ = Metadata::parse(data);
}

pub fn wheel_info(data: &[u8]) {
    let _ = WheelInfo::parse(data);
}

/// Bytecode, of wheels and of the project.
pub fn pack(data: &[u8]) {
    let Ok(pack) = Pack::open(data) else { return };
    for frame in pack.frames.iter().filter(|frame| frame.size as u64 <= LIMIT) {
        let _ = FrameInflater::default().inflate(pack.raw(frame), &mut vec![0; frame.size]);
    }
}

pub fn pylock(data: &[u8]) {
    let _ = Pylock::parse(&text(data));
}

pub fn record(data: &[u8]) {
    if let Ok(rows) = record::parse(data) {
        let written = record::write(rows);
        assert!(record::parse(written.as_bytes()).is_ok(), "{written}");
    }
}

pub fn requirements(data: &[u8]) {
    let _ = requirements::read_text(Path::new("missing/requirements.txt"), data);
}

pub fn uv_lock(data: &[u8]) {
    drop(workspace::members(&text(data)));
}

pub fn wheel(data: &[u8]) {
    let Ok(wheel) = OpenWheel::open("demo-1-py3-none-any.whl", data) else { return };
    wheel.entry_points().iter().for_each(drop);
    let _ = (wheel.metadata().is_ok(), wheel.record().is_ok());
}

pub fn zip(data: &[u8]) {
    let Ok(archive) = Archive::parse(data) else { return };
    for entry in archive.entries() {
        let _ = archive.read(entry, LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What once failed is kept in the corpus.
    #[test]
    fn the_corpus_passes() {
        for (name, target) in TARGETS {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let files: Vec<_> = fs_err::read_dir(directory).unwrap().collect();
            assert!(!files.is_empty(), "{name}");
            files.into_iter().for_each(|file| target(&fs_err::read(file.unwrap().path()).unwrap()));
        }
    }

    /// An input that each parser takes: what is refused at once tests nothing.
    #[test]
    fn the_corpus_is_understood() {
        let corpus = |path: &str| {
            fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(path)).unwrap()
        };
        let string = |path: &str| String::from_utf8(corpus(path)).unwrap();
        for file in ["plain", "options"] {
            let path = format!("allowed_signers/{file}");
            AllowedSigners::parse(Path::new("x"), &string(&path)).unwrap();
        }
        entry_points::parse(&string("entry_points/scripts")).unwrap();
        environment::check(&corpus("environment/plain"), 0o600, &EnvironmentRules::default(), |_| false)
            .unwrap();
        (0..3).for_each(|name| drop(WheelFilename::parse(&string(&format!("filename/{name}"))).unwrap()));
        format::read::<Inventory>(Path::new("x"), &corpus("inventory/host"), inventory::FORMAT).unwrap();
        assert!(Journal::entries(&corpus("journal/story")).len() >= 9);
        for file in ["plain", "release"] {
            let text = corpus(&format!("manifest/{file}"));
            format::read::<Manifest>(Path::new("x"), &text, manifest::FORMAT).unwrap();
        }
        Metadata::parse(&corpus("metadata/plain")).unwrap();
        WheelInfo::parse(&corpus("wheel_info/plain")).unwrap();
        assert_eq!(Pack::open(&corpus("pack/raw")).unwrap().frames.len(), 2);
        Pylock::parse(&string("pylock/plain")).unwrap();
        record::parse(&corpus("record/plain")).unwrap();
        // It includes a file that is not there.
        requirements::read_text(Path::new("x"), &corpus("requirements/plain")).unwrap_err();
        assert_eq!(workspace::members(&string("uv_lock/plain")), ["./backend", "."]);
        for file in ["plain", "data"] {
            OpenWheel::open("demo-1-py3-none-any.whl", &corpus(&format!("wheel/{file}"))).unwrap();
        }
        Archive::parse(corpus("zip/artifact")).unwrap();
    }
}
