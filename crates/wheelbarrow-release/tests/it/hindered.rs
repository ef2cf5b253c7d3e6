//! What the site's user does to keep commands from working.

use fs_err as fs;

use crate::support::Place;

#[test]
fn a_record_of_static_files_that_is_too_large_hinders_no_command() {
    let place = Place::new();
    let deployed = ["1", "2"].map(|version| place.deploy(&place.artifact(version, "")).unwrap());
    for release in &deployed {
        let record = fs::File::create(release.path.join(".wheelbarrow/static.json")).unwrap();
        record.set_len(300 << 20).unwrap();
    }
    place.rollback().unwrap();
    place.activate(&deployed[1].id).unwrap();
    place.deploy(&place.artifact("3", "")).unwrap();
    place.prune(1).unwrap();
    place.recover().unwrap();
}
