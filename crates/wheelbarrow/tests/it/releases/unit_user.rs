//! The user of a unit must be able to read the environment of a release; a script stands in for `systemctl`.

use std::os::unix::fs::{PermissionsExt, chown};

use fs_err as fs;

use super::root::{Place, Version, deploy_words};
use super::systemd::{GOOD, run, systemctl};
use crate::support::Said;

const UNIT: &str = "server = { kind = 'systemd', unit = 'a.service' }\n";

fn deploy(place: &Place, settings: &str, flags: &[&str]) -> Said {
    let mut words = deploy_words(&place.artifact(&Version::with("1", settings)));
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    run(place, &words)
}

/// A root whose `environment.json` has this mode, and belongs to root.
fn with_environment(mode: u32) -> Place {
    let place = Place::new();
    fs::create_dir_all(place.root().join("shared")).unwrap();
    let environment = place.root().join("shared/environment.json");
    fs::write(&environment, "{\"A\": \"1\"}").unwrap();
    fs::set_permissions(&environment, PermissionsExt::from_mode(mode)).unwrap();
    place
}

/// Only root can deploy for a unit that runs as another user.
fn is_root() -> bool {
    let is_root = rustix::process::getuid().is_root();
    if !is_root {
        println!("skipped: only root deploys for another user");
    }
    is_root
}

#[test]
fn a_unit_whose_user_cannot_read_the_environment_is_refused_before_anything_is_written() {
    if !is_root() {
        return;
    }
    let place = with_environment(0o640);
    systemctl(&place, &format!("{GOOD}\nUser=nobody"));
    let as_service = "service = [{ name = 'web', unit = 'a.service' }]\n";
    // An owner that is not the unit's user, and a group of root's, help no more.
    for (settings, flags) in [
        (UNIT, &[][..]),
        (UNIT, &["--dry-run"]),
        (UNIT, &["--owner", "root"]),
        (UNIT, &["--group", "root"]),
        (as_service, &[]),
    ] {
        let said = deploy(&place, settings, flags);
        let error = "the unit a.service cannot serve this root: its user nobody could not read environment.json of the \
                     release";
        assert!(said.code == 8 && said.err.contains(error), "{flags:?}: {}", said.all());
        let hint = "hint: set `owner = \"nobody\"` in `[release]`, or deploy with `--owner nobody`";
        assert!(said.err.contains(hint), "{}", said.all());
        assert!(!place.root().join("releases").exists() && !place.path().join("asked").exists());
    }
}

#[test]
fn a_unit_whose_user_can_read_the_environment_is_accepted() {
    if !is_root() {
        return;
    }
    let planned = |place: &Place, flags: &[&str]| {
        let said = deploy(place, UNIT, &[&["--dry-run"], flags].concat());
        assert_eq!(said.code, 0, "{flags:?}: {}", said.all());
    };
    let unit = |place: &Place, properties: &str| systemctl(place, &format!("{GOOD}\n{properties}"));
    let place = with_environment(0o640);
    unit(&place, "User=nobody");
    planned(&place, &["--owner", "nobody"]);
    planned(&place, &["--group", "65534"]);
    // It is for root, or for a user whom nobody knows.
    for properties in ["User=", "User=root", "User=0", "User=wheelbarrow-nobody-knows"] {
        unit(&place, properties);
        planned(&place, &[]);
    }
    // A group of the unit may read it.
    unit(&place, "User=nobody\nSupplementaryGroups=adm root");
    planned(&place, &[]);
    unit(&place, "User=nobody\nGroup=root");
    planned(&place, &[]);
    chown(place.root().join("shared/environment.json"), None, Some(65534)).unwrap();
    unit(&place, "User=nobody");
    planned(&place, &[]);
    // Everybody may, or there is none.
    let place = with_environment(0o644);
    unit(&place, "User=nobody");
    planned(&place, &[]);
    fs::remove_file(place.root().join("shared/environment.json")).unwrap();
    planned(&place, &[]);
}

/// A release for a change of the environment is made the same way.
#[test]
fn a_change_of_the_environment_is_refused_too() {
    if !is_root() {
        return;
    }
    let place = with_environment(0o640);
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    fs::write(place.root().join("shared/wheelbarrow.toml"), format!("[release]\n{UNIT}")).unwrap();
    systemctl(&place, &format!("{GOOD}\nUser=nobody"));
    let said = run(&place, &["env", "unset", "A"].map(str::to_owned));
    assert!(said.code == 8 && said.err.contains("its user nobody could not read"), "{}", said.all());
    assert_eq!(place.live(), Some(1));
}

#[test]
fn a_staged_release_is_not_made_live_for_a_unit_that_cannot_read_its_environment() {
    if !is_root() {
        return;
    }
    let place = with_environment(0o640);
    systemctl(&place, &format!("{GOOD}\nUser=nobody"));
    let staged = deploy(&place, UNIT, &["--stage"]);
    assert_eq!(staged.code, 0, "{}", staged.all());
    let said = run(&place, &["activate", "1"].map(str::to_owned));
    assert!(said.code == 8 && said.err.contains("its user nobody could not read"), "{}", said.all());
    assert_eq!(place.live(), None);
}
