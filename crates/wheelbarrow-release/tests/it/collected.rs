//! Static files that were collected at build, in releases.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use fs_err as fs;

use crate::site::{self, Site};
use crate::support::Place;

/// The site's user, by number: nothing on this machine has it.
const OWNER: u32 = 4321;

/// The site's user can read what the store has of the static files, and no more.
#[test]
fn collected_static_files_stay_roots_own() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root gives files away");
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let settings = format!("owner = '{OWNER}'");
    for version in ["1", "2"] {
        let code = vec![
            ("app.py", format!("VERSION = {version:?}\n")),
            ("collected/same.css", "body {}\n".to_owned()),
        ];
        let release = site::settings(&settings);
        let site = Site { version, release, code };
        place.deploy(&site.write(place.directory.path())).unwrap();
    }
    let releases: Vec<_> = place.list_ids().iter().map(|id| place.path().join("releases").join(id)).collect();
    let files: Vec<_> = releases.iter().map(|release| release.join("code/collected/same.css")).collect();
    let stored: Vec<_> = fs::read_dir(place.root().store().join("static")).unwrap().collect();
    assert_eq!(stored.len(), 1);
    let stored = stored[0].as_ref().unwrap().metadata().unwrap();
    assert_eq!((stored.uid(), stored.mode() & 0o7777, stored.nlink()), (0, 0o444, 3));
    for file in &files {
        assert_eq!(fs::metadata(file).unwrap().ino(), stored.ino());
        for (words, is_allowed) in
            [("cat", true), ("sh -c 'echo evil > \"$0\"'", false), ("chmod u+w", false)]
        {
            let script = format!("{words} {} 2>&1", file.display());
            let by_owner = Command::new("sh").args(["-c", &script]).uid(OWNER).output().unwrap();
            assert_eq!(by_owner.status.success(), is_allowed, "{words}: {by_owner:?}");
        }
        assert_eq!(fs::read_to_string(file).unwrap(), "body {}\n");
        assert_eq!(fs::metadata(file).unwrap().uid(), 0);
    }
}
