//! Local users who have nothing to do with a site: their processes can look like those of any release, and listen wherever
//! nobody else does.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use fs_err as fs;

use super::back::Served;
use super::root::{Place, Version};

/// Holds open what Python of a release does, and listens at another address of this machine.
const LOOK_ALIKE: &str = r#"
import os, socket, sys, time
os.chdir(sys.argv[1])
held = [open(path) for path in (".wheelbarrow/release.json", ".wheelbarrow/manifest.json", "venv/pyvenv.cfg")]
listener = socket.socket()
listener.bind(("127.0.0.2", int(sys.argv[2])))
listener.listen()
print("held", flush=True)
time.sleep(600)
"#;

/// A process of another user that looks like one of release 1, until dropped.
struct Stranger(Child);

impl Stranger {
    /// None if this is not root.
    fn of_release_1(place: &Place, port: u16) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root sees the processes of others");
            return None;
        }
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut releases = fs::read_dir(place.root().join("releases")).unwrap().map(|entry| entry.unwrap());
        let first = releases.find(|entry| entry.file_name().to_str().unwrap().starts_with("1-")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65533", "--regid=65533", "--clear-groups", "--", "/usr/bin/python3", "-c"]);
        command.arg(LOOK_ALIKE).arg(first.path()).arg(port.to_string()).current_dir("/");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
        Some(Self(child))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn listeners_at_other_addresses_do_not_belong_to_the_server() {
    let served = Served::new();
    for version in ["1", "2"] {
        assert_eq!(served.deploy(version, 200, true).code, 0);
    }
    let Some(_stranger) = Stranger::of_release_1(&served.place, served.port) else { return };
    let said = served.deploy("3", 200, true);
    assert_eq!((said.code, served.place.live()), (0, Some(3)), "{}", said.all());
    assert!(!said.all().contains("not a process of the site"), "{}", said.all());
    let said = served.place.run(&["status", "--check"]);
    assert!(said.code == 0 && said.out.contains("every process runs 3-"), "{}", said.all());
    // It is shown all the same.
    let said = served.place.run(&["status"]);
    let row = said.out.lines().find(|line| line.starts_with("running")).unwrap_or_default();
    assert!(row.contains("1 process: every process runs 1-"), "{}", said.all());
}

#[test]
fn processes_of_other_users_speak_against_no_release() {
    let place = Place::new();
    fs::create_dir_all(place.root().join("shared")).unwrap();
    let touched = place.path().join("touched").display().to_string();
    let text = format!("[release.server]\nkind = 'touch'\npath = {touched:?}\n");
    fs::write(&touched, "").unwrap();
    fs::write(place.root().join("shared/wheelbarrow.toml"), text).unwrap();
    for version in ["1", "2", "3"] {
        assert_eq!(place.deploy(&Version::good(version)).code, 0);
    }
    let Some(_stranger) = Stranger::of_release_1(&place, 0) else { return };
    for (words, live) in [(&["activate", "2"][..], 2), (&["activate", "3"], 3), (&["rollback"], 2)] {
        let said = place.run(words);
        assert_eq!((said.code, place.live()), (0, Some(live)), "{words:?}: {}", said.all());
    }
    let said = place.run(&["status", "--check"]);
    assert!(!said.all().contains("another-release"), "{}", said.all());
    let said = place.run(&["doctor"]);
    assert!(!said.all().contains("another-release"), "{}", said.all());
}
