//! Wheels for tests.

use std::collections::BTreeMap;
use std::path::Path;

use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_artifact::zip::{DosTime, ZipWriter};
use wheelbarrow_audit::{Floor, Modules, Statuses};
use wheelbarrow_platform::Platform;
use wheelbarrow_wheel::filename::WheelFilename;

use super::{CheckRequest, PackedTarget, PackedWheel};

/// For these targets, and nothing else.
pub(crate) fn request<'a>(targets: &'a [PackedTarget], pth: &'a str) -> CheckRequest<'a> {
    static NOTHING: BTreeMap<(String, String), String> = BTreeMap::new();
    static NO_STATUSES: Statuses = Statuses::new();
    static NO_MODULES: Modules = Modules::NONE;
    CheckRequest {
        targets,
        name: "site",
        version: None,
        pth,
        modules: &NO_MODULES,
        programs: &[],
        interpreter: None,
        cache: None,
        allowances: &[],
        yanked: &NOTHING,
        statuses: &NO_STATUSES,
        time: DosTime::FIRST,
    }
}

/// A wheel with these files, in `place`.
pub(crate) fn wheel(place: &Path, filename: &str, files: &[(&str, &str)]) -> PackedWheel {
    make(place, filename, files, Sha256::to_record)
}

/// One with other hashes in its RECORD.
pub(super) fn lying_wheel(place: &Path, filename: &str, files: &[(&str, &str)]) -> PackedWheel {
    make(place, filename, files, |_| Sha256::of(b"something else").to_record())
}

fn make(
    place: &Path,
    filename: &str,
    files: &[(&str, &str)],
    hash: impl Fn(Sha256) -> String,
) -> PackedWheel {
    let parsed = WheelFilename::parse(filename).unwrap();
    let dist_info = format!("{}-{}.dist-info", parsed.distribution, parsed.version_text);
    let metadata =
        format!("Metadata-Version: 2.1\nName: {}\nVersion: {}\n", parsed.name, parsed.version_text);
    let mut members: Vec<(String, String)> =
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned();
    let metadata_path = format!("{dist_info}/METADATA");
    if !members.iter().any(|(path, _)| *path == metadata_path) {
        members.push((metadata_path, metadata));
    }
    members.push((format!("{dist_info}/WHEEL"), wheel));
    let rows = members
        .iter()
        .map(|(path, text)| format!("{path},{},{}\n", hash(Sha256::of(text.as_bytes())), text.len()));
    let record = rows.collect::<String>() + &format!("{dist_info}/RECORD,,\n");
    members.push((format!("{dist_info}/RECORD"), record));

    let path = place.join(filename);
    let file = fs_err::File::create(&path).unwrap().into_parts().0;
    let mut zip = ZipWriter::new(file, "#", DosTime::FIRST).unwrap();
    for (path, text) in &members {
        zip.add(path, MemberKind::File, text.as_bytes()).unwrap();
    }
    let (_, size) = zip.finish().unwrap();
    PackedWheel {
        sha256: Sha256::of(&fs_err::read(&path).unwrap()),
        path,
        filename: filename.to_owned(),
        size,
        name: parsed.name.clone(),
        version: parsed.version_text.clone(),
        direct_url: None,
        built: false,
    }
}

pub(crate) fn target(python: &str, abi: &str, wheels: Vec<PackedWheel>, pip: PackedWheel) -> PackedTarget {
    let minor = python.split_once('.').and_then(|(_, minor)| minor.parse().ok()).unwrap();
    let floor = Floor::new((3, minor), abi, Platform::parse("manylinux_2_28_x86_64"));
    PackedTarget { python: python.parse().unwrap(), abi: abi.parse().unwrap(), floor, wheels, pip }
}
