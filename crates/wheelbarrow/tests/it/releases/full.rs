//! Going back on a disk that is full: of blocks, and of inodes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use super::root::{Place, Version};

/// A file system in memory for the root, unmounted when it is dropped.
struct Small(PathBuf);

impl Small {
    /// None without the right to mount one.
    fn mount(place: &Place, options: &str) -> Option<Self> {
        let point = place.root();
        fs::create_dir_all(&point).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&point).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(point)),
            other => {
                assert!(
                    !rustix::process::getuid().is_root() || std::env::var_os("CI").is_none(),
                    "{other:?}"
                );
                println!("skipped: nothing can be mounted here: {other:?}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes until nothing more can be written.
fn fill_blocks(directory: &Path) {
    let mut file = fs::File::create(directory.join("filler")).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

/// Makes files until none more can be made.
fn fill_inodes(directory: &Path) {
    let directory = directory.join("filler");
    fs::create_dir(&directory).unwrap();
    let mut number = 0;
    while fs::write(directory.join(number.to_string()), "").is_ok() {
        number += 1;
    }
}

/// Makes the next line of the journal need a block of its own.
fn pad_journal(root: &Path) {
    let journal = root.join(".wheelbarrow/journal.jsonl");
    let begin = r#"{"at":1,"by":"x","event":"padding","x":""#;
    let mut file = fs::OpenOptions::new().append(true).open(journal).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let rest = (length + begin.len() + 3).next_multiple_of(4096) - (length + begin.len() + 3);
    writeln!(file, "{begin}{}\"}}", "x".repeat(rest)).unwrap();
    assert_eq!(file.metadata().unwrap().len() % 4096, 0);
}

fn goes_back(options: &str, fill: fn(&Path)) {
    let place = Place::new();
    let Some(small) = Small::mount(&place, options) else { return };
    for version in ["1", "2"] {
        let said = place.deploy(&Version::with(version, "server = {kind = 'command', command = 'true'}"));
        assert_eq!(said.code, 0, "{}", said.all());
    }
    pad_journal(&small.0);
    fill(&small.0);
    let said = place.run(&["rollback"]);
    assert_eq!((said.code, place.live()), (0, Some(1)), "{}", said.all());
    assert_eq!(place.list(), [(1, "live".to_owned()), (2, "bad".to_owned())]);
    // And forth, by what is left of the reserve.
    let said = place.run(&["activate", "2"]);
    assert_eq!((said.code, place.live()), (0, Some(2)), "{}", said.all());
    let filler = small.0.join("filler");
    let _ = fs::remove_file(&filler).or_else(|_| fs::remove_dir_all(&filler));
    // There is room again, so the reserve is, too.
    assert_eq!(place.run(&["pin", "1"]).code, 0);
    assert_eq!(fs::read_dir(small.0.join(".wheelbarrow/reserve")).unwrap().count(), 8);
}

#[test]
fn without_blocks() {
    goes_back("size=24m", fill_blocks);
}

#[test]
fn without_inodes() {
    goes_back("size=24m,nr_inodes=800", fill_inodes);
}
