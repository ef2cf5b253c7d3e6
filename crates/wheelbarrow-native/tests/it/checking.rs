//! `--check`: all that would refuse an install at once, and not a byte written.

use std::path::{Path, PathBuf};

use wheelbarrow_artifact::manifest::Needs;
use wheelbarrow_base::Explain;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::{Checked, Compile, Existing, Options, Pip, check};
use wheelbarrow_testing::mounts::{SilentMount, in_time};

use crate::site::{self, wheel_members};
use crate::zips::{Member, zip};

const WHEEL: &str = "pack-1-py3-none-any.whl";

fn artifact(directory: &Path, abi: &str) -> PathBuf {
    let wheel = zip(&wheel_members("pack", &[Member::new("pack.py", "x = 1\n")]));
    let path = directory.join("site.zip");
    site::write_site(&path, ("3.12", abi), &[], &[(WHEEL, &wheel)]);
    path
}

/// Checks, and sees that nothing was written.
fn checked(artifact: &Path, destination: &Path, existing: Existing) -> Checked {
    let root = artifact.parent().unwrap();
    let before = site::tree(root);
    let options = Options {
        destination: destination.to_path_buf(),
        existing,
        pip: Pip::Without,
        store: None,
        compile: Compile::Never,
    };
    let checked =
        check(artifact, &wheelbarrow_artifact::Anybody, &site::interpreter(destination), &options, &Silent)
            .unwrap();
    assert_eq!(site::tree(root), before);
    assert_eq!(checked.is_ok(), checked.exit_code() == 0);
    checked
}

/// A line a finding.
fn told(checked: &Checked, root: &Path) -> String {
    let lines: Vec<_> =
        checked.findings.iter().map(|finding| format!("{} {finding}", finding.exit_code)).collect();
    lines.join("\n").replace(root.to_str().unwrap(), "[TEMP]")
}

#[test]
fn installable_artifacts_pass_the_check() {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path(), "cp312");
    let destination = place.path().join("site");
    let result = checked(&artifact, &destination, Existing::Refuse);
    assert_eq!((told(&result, place.path()), result.wheels), (String::new(), 1));
    assert_eq!(result.to_json().to_string(), r#"{"findings":[],"ok":true}"#);
    site::install_artifact(&artifact, &destination, Pip::Without).unwrap();
    assert_eq!(checked(&artifact, &destination, Existing::Replace).exit_code(), 0);
}

#[test]
fn files_that_were_written_after_the_install_are_replaced_only_if_that_is_asked() {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path(), "cp312");
    let destination = place.path().join("site");
    site::install_artifact(&artifact, &destination, Pip::Without).unwrap();
    let cache = destination.join("code/__pycache__");
    fs_err::create_dir_all(&cache).unwrap();
    fs_err::write(cache.join("site.cpython-312.pyc"), "").unwrap();
    fs_err::write(destination.join("environment.json"), "{}").unwrap();
    assert_eq!(checked(&artifact, &destination, Existing::Replace).exit_code(), 0);

    fs_err::write(destination.join("code/db.sqlite3"), "").unwrap();
    let module = destination.join("venv").join(site::SITE_PACKAGES).join("pack.py");
    fs_err::write(&module, "x = 2\n").unwrap();
    let result = checked(&artifact, &destination, Existing::Replace);
    let said = told(&result, place.path());
    assert!(
        said.starts_with(
            "5 [TEMP]/site holds files that were written after the install: code/db.sqlite3, \
             venv/lib/python3.12/site-packages/pack.py; hint: move the files"
        ),
        "{said}"
    );
    assert_eq!(checked(&artifact, &destination, Existing::ReplaceData).exit_code(), 0);

    // Bytes count, not times.
    fs_err::write(&module, "x = 1\n").unwrap();
    fs_err::remove_file(destination.join("code/db.sqlite3")).unwrap();
    assert_eq!(checked(&artifact, &destination, Existing::Replace).exit_code(), 0);

    // Without a true receipt only the virtualenv is known.
    fs_err::write(destination.join(".wheelbarrow/receipt.json"), "{}").unwrap();
    assert_eq!(checked(&artifact, &destination, Existing::Replace).exit_code(), 0);
    fs_err::write(destination.join("code/db.sqlite3"), "").unwrap();
    assert_eq!(checked(&artifact, &destination, Existing::Replace).exit_code(), 5);
}

#[test]
fn all_findings_are_reported_at_once() {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path(), "cp313");
    let mut bytes = fs_err::read(&artifact).unwrap();
    let wheel = bytes.windows(7).position(|window| window == b"pack.py").unwrap();
    bytes[wheel] ^= 1;
    fs_err::write(&artifact, bytes).unwrap();
    let destination = place.path().join("site");
    fs_err::create_dir(&destination).unwrap();
    fs_err::write(destination.join("file"), "").unwrap();
    let result = checked(&artifact, &destination, Existing::Refuse);
    let codes: Vec<_> = result.findings.iter().map(|finding| finding.exit_code).collect();
    assert_eq!((codes, result.exit_code()), (vec![3, 4, 5], 3), "{}", told(&result, place.path()));
    assert!(result.findings.iter().all(|finding| finding.hint.is_some()));
}

#[test]
fn a_missing_artifact_and_a_missing_directory_are_reported() {
    let place = tempfile::tempdir().unwrap();
    let artifact = place.path().join("site.zip");
    fs_err::write(&artifact, "PK").unwrap();
    let result = checked(&artifact, &place.path().join("a/b"), Existing::Refuse);
    insta::assert_snapshot!(told(&result, place.path()), @r"
    3 [TEMP]/site.zip is not a whole artifact: not a zip file, or cut off: no end of central directory; hint: copy it again from the build machine, and compare `sha256sum` of both
    5 the directory of the destination, [TEMP]/a, does not exist; hint: mkdir -p [TEMP]/a
    ");
}

/// An artifact whose wheel needs more than a target may promise, as one that was let pass by hand.
#[test]
fn missing_libraries_are_reported() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("site.zip");
    let wheel = zip(&wheel_members("pack", &[Member::new("pack.py", "x = 1\n")]));
    let libraries = ["libc.so.6", "libnobody-has-this.so.7"].map(str::to_owned).to_vec();
    let needs = Needs { glibc: Some("2.38".to_owned()), libraries, ..Needs::default() };
    site::write_needy_site(&path, &[(WHEEL, &wheel)], &needs);
    let destination = place.path().join("site");
    let result = checked(&path, &destination, Existing::Refuse);
    insta::assert_snapshot!(told(&result, place.path()), @r"
    4 pack-1-py3-none-any.whl needs glibc 2.38; this machine has glibc 2.36; hint: install it on a newer system, or build it with versions of these wheels that run on this one
    4 pack-1-py3-none-any.whl needs libnobody-has-this.so.7, which the loader of this machine does not find; hint: `apt-file search libnobody-has-this.so.7` on Debian and Ubuntu names its package, `dnf install 'libnobody-has-this.so.7()(64bit)'` on Red Hat's systems
    ");
    let error = site::install_artifact(&path, &destination, Pip::Without).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("needs glibc 2.38"), "{error}");

    let enough =
        Needs { glibc: Some("2.36".to_owned()), libraries: vec!["libc.so.6".to_owned()], ..Needs::default() };
    site::write_needy_site(&path, &[(WHEEL, &wheel)], &enough);
    site::install_artifact(&path, &destination, Pip::Without).unwrap();
}

#[test]
fn unsuitable_wheels_are_reported() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("site.zip");
    let wheel = |name: &str, text: &str| zip(&wheel_members(name, &[Member::new("same.py", text)]));
    let (one, two) = (wheel("one", "1"), wheel("two", "2"));
    let wheels = [("one-1-py3-none-any.whl", &one[..]), ("two-1-py3-none-any.whl", &two[..])];
    site::artifact(&path, &wheels);
    let result = checked(&path, &place.path().join("site"), Existing::Refuse);
    assert_eq!((result.findings.len(), result.exit_code()), (1, 3), "{}", told(&result, place.path()));
}

/// Where a file system is mounted noexec: `/proc` always is, and refuses writers, which is why the code is not 0.
#[test]
fn a_noexec_destination_is_reported() {
    let place = tempfile::tempdir().unwrap();
    let artifact = artifact(place.path(), "cp312");
    let result = checked(&artifact, Path::new("/proc/site"), Existing::Refuse);
    let told = told(&result, place.path());
    if !told.contains("noexec") {
        println!("skipped: /proc is not mounted noexec");
        return;
    }
    assert_eq!((result.exit_code(), result.findings.last().unwrap().exit_code), (5, 0), "{told}");
}

/// Another user has mounted a file system there that does not answer.
#[test]
fn a_check_waits_for_no_file_system_of_another_user() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let artifact = artifact(place.path(), "cp312");
    let mounted = other.path().join("mounted");
    fs_err::create_dir(&mounted).unwrap();
    let Some(_mount) = SilentMount::at(&mounted) else { return };
    let result = in_time(move || checked(&artifact, &mounted.join("sites/site"), Existing::Refuse));
    let told = told(&result, place.path());
    assert!(!result.is_ok() && told.contains("another user has mounted"), "{told}");
}

/// The site's user replaces a directory of an install by a link to such a file system.
#[test]
fn a_check_looks_through_no_link_in_an_install() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let artifact = artifact(place.path(), "cp312");
    let (mounted, site) = (other.path().join("mounted"), other.path().join("site"));
    fs_err::create_dir(&mounted).unwrap();
    fs_err::create_dir(&site).unwrap();
    fs_err::os::unix::fs::symlink(&mounted, site.join(".wheelbarrow")).unwrap();
    let Some(_mount) = SilentMount::at(&mounted) else { return };
    let shown = place.path().to_path_buf();
    let result = in_time(move || {
        assert!(wheelbarrow_install::verify(&site, &Silent).is_err());
        checked(&artifact, &site, Existing::Replace)
    });
    let told = told(&result, &shown);
    assert!(!result.is_ok() && told.contains("receipt.json"), "{told}");
}
