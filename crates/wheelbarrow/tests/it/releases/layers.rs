//! A root in a lower layer of overlayfs, of a container image say: the kernel does not rename its directories.

use rustix::io::Errno;

use super::mounts::Mounted;
use super::root::{Place, Version};

#[test]
fn releases_in_a_lower_layer_are_removed() {
    let place = Place::new();
    for number in 1..=5 {
        assert_eq!(place.deploy(&Version::good(&format!("{number}.0"))).code, 0);
    }
    let Some(_mounted) = Mounted::overlay(&place.root(), Some(&place.root())) else { return };
    let release = |number: u64| {
        let names = fs_err::read_dir(place.root().join("releases")).unwrap();
        let mut paths = names.map(|entry| entry.unwrap().path());
        paths.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{number}-")))
    };
    let first = release(1).unwrap();
    assert_eq!(rustix::fs::rename(&first, first.with_extension("x")), Err(Errno::XDEV), "it can be moved");
    let done = |words: &[&str]| {
        let said = place.run(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.all());
        assert!(!said.err.contains("note"), "{words:?}: {}", said.all());
    };
    done(&["remove", "1"]);
    assert_eq!(release(1), None);
    done(&["prune", "--keep", "1"]);
    assert_eq!(place.list().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 5]);
    done(&["rollback"]);
    assert_eq!(place.deploy(&Version::good("6.0")).code, 0);
    done(&["verify"]);
    assert_eq!((place.live(), release(2), release(3)), (Some(6), None, None));
    // What a run that died has left: a release without its record, and one in the trash.
    let broken = release(4).unwrap();
    fs_err::remove_file(broken.join(".wheelbarrow/release.json")).unwrap();
    done(&["recover"]);
    done(&["doctor"]);
    let trash = fs_err::read_dir(place.root().join(".wheelbarrow/trash")).unwrap();
    assert_eq!(trash.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(release(4), None);
}
