//! File systems of the site's user whose server does not answer.

use std::os::unix::fs::symlink;

use fs_err as fs;
use wheelbarrow_release::{AskSchema, doctor, status};
use wheelbarrow_testing::mounts::{SilentMount, in_time};

use crate::trust::{OWNER, place};

/// Files of the artifact lie where the site's user may mount a file system.
#[test]
fn a_file_system_on_static_root_is_not_entered() {
    let Some(place) = place() else { return };
    let settings = format!("owner = '{OWNER}'\nstatic_root = 'static'\ncheck = {{ enabled = false }}");
    let code = vec![("static/app.css", "a".repeat(100)), ("app.py", String::new())];
    let site = crate::site::Site { version: "1", release: crate::site::settings(&settings), code };
    let artifact = site.write(place.directory.path());
    let release = place.deploy(&artifact).unwrap();
    let files = wheelbarrow_release::inventory(&place.root()).unwrap().files.len();
    let Some(_mount) = SilentMount::at(&release.path.join("code/static")) else { return };
    let root = place.root();
    let (missing, left) = in_time(move || {
        let live = root.complete_or_live(None).unwrap();
        let silent = wheelbarrow_base::progress::Silent;
        let verification = wheelbarrow_release::live_release::verify(&root, &live, &silent).unwrap();
        (verification.missing, wheelbarrow_release::inventory(&root).unwrap().files.len())
    });
    assert_eq!(missing, ["code/static/app.css"]);
    assert_eq!(left, files - 1);
}

/// A version that shares a path within one that the live release shares.
#[test]
fn a_file_system_below_a_shared_path_is_not_entered() {
    let Some(place) = place() else { return };
    let settings =
        |shared| format!("owner = '{OWNER}'\nshared = ['{shared}']\ncheck = {{ enabled = false }}");
    place.deploy(&place.artifact("1", &settings("media"))).unwrap();
    let artifact = place.artifact("2", &settings("media/users/avatars"));
    let Some(mount) = SilentMount::at(&place.root().path().join("shared/media")) else { return };
    let (deployed, place) = in_time(move || (place.deploy(&artifact).is_ok(), place));
    drop(mount);
    assert!(deployed);
    drop(place);
}

/// Files of the site are in a directory of its user.
#[test]
fn a_file_system_on_the_directory_of_shared_files_is_not_entered() {
    let Some(place) = place() else { return };
    let settings = |shared| format!("owner = '{OWNER}'\nshared = [{shared}]\ncheck = {{ enabled = false }}");
    place.deploy(&place.artifact("1", &settings("'a.sqlite3'"))).unwrap();
    let artifact = place.artifact("2", &settings("'a.sqlite3', 'b.sqlite3'"));
    let Some(mount) = SilentMount::at(&place.root().path().join("shared/.files")) else { return };
    let (error, place) = in_time(move || (place.deploy(&artifact).unwrap_err().to_string(), place));
    drop(mount);
    assert!(error.contains("failed at the configure"), "{error}");
    drop(place);
}

/// An earlier version deployed with a Python of the site's user.
#[test]
fn a_python_in_a_file_system_of_another_user_is_not_waited_for() {
    let Some(place) = place() else { return };
    let settings = format!("owner = '{OWNER}'\ncheck = {{ enabled = false }}");
    let artifact = place.artifact("1", &settings);
    let release = place.deploy(&artifact).unwrap();
    let mounted = place.directory.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let python = release.path.join("venv/bin/python");
    fs::remove_file(&python).unwrap();
    symlink(mounted.join("bin/python"), &python).unwrap();
    let Some(_mount) = SilentMount::at(&mounted) else { return };
    let root = place.root();
    let missing = in_time(move || {
        let silent = wheelbarrow_base::progress::Silent;
        status(&root, AskSchema::No, &silent).unwrap();
        doctor::examine(&root).unwrap();
        let mut verification =
            wheelbarrow_install::Verification { destination: release.path, ..Default::default() };
        verification.find_python();
        verification.missing
    });
    assert_eq!(missing, Vec::<String>::new(), "nobody knows");
    // It is made again, since the Python may be another.
    place.deploy(&artifact).unwrap();
}
