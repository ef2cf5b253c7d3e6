//! Wheels that want to do harm, or were damaged: refused, by the builder's check or by the installer, or installed as
//! what they say, and never a panic.

use std::collections::BTreeMap;

use wheelbarrow_artifact::wheel::OpenWheel;
use wheelbarrow_artifact::zip::Inflater;

use crate::both_ways;
use crate::site::{self, Node, SITE_PACKAGES, told, wheel_members};
use crate::zips::{Member, directory_of, zip};

const WHEEL: &str = "pack-1-py3-none-any.whl";

/// What the builder says of a wheel.
fn check(bytes: &[u8]) -> Result<OpenWheel<'_>, String> {
    let wheel = OpenWheel::open(WHEEL, bytes).map_err(|error| told(&error))?;
    site::check_record(&wheel)?;
    Ok(wheel)
}

/// What comes of installing wheels that no builder looked at.
fn install(wheels: &[(&str, &[u8])]) -> Result<BTreeMap<String, Node>, String> {
    let directory = tempfile::tempdir().unwrap();
    let (artifact, destination) = (directory.path().join("site.zip"), directory.path().join("site"));
    site::artifact(&artifact, wheels);
    let tree = both_ways::install(&artifact, &destination)
        .map_err(|said| said.replace(directory.path().to_str().unwrap(), "[TEMP]"))?;
    Ok(tree
        .into_iter()
        .filter_map(|(path, node)| Some((path.strip_prefix("venv/")?.to_owned(), node)))
        .collect())
}

/// A wheel of these files must be refused by builder and installer; says how the builder does.
fn refused(files: &[Member]) -> String {
    let bytes = zip(&wheel_members("pack", files));
    let said = check(&bytes).err().unwrap_or_else(|| panic!("the builder takes {files:?}"));
    assert!(install(&[(WHEEL, &bytes)]).is_err(), "the installer takes {files:?}");
    said
}

/// A wheel of these files is well for the builder and refused by the installer; says how.
fn refused_at_install(files: &[Member]) -> String {
    let bytes = zip(&wheel_members("pack", files));
    check(&bytes).unwrap();
    install(&[(WHEEL, &bytes)]).unwrap_err()
}

fn file(tree: &BTreeMap<String, Node>, path: &str) -> String {
    match &tree[path] {
        Node::File { contents, .. } => String::from_utf8(contents.clone()).unwrap(),
        Node::Link { target } => panic!("{path} is a link to {target}"),
    }
}

fn member(name: &str) -> Member {
    Member::new(name, "a = 1\n")
}

#[test]
fn members_that_cannot_be_read_are_refused() {
    let encrypted = Member { flags: 1, ..member("pack.py") };
    insta::assert_snapshot!(refused(&[encrypted]), @r#"the wheel pack-1-py3-none-any.whl is not a whole zip: member "pack.py" is encrypted, or a patch"#);
    let unknown = Member { method: 93, ..member("pack.py") };
    insta::assert_snapshot!(refused(&[unknown]), @r#"the wheel pack-1-py3-none-any.whl is not a whole zip: member "pack.py" is compressed by method 93, which is not read (only stored and deflated are)"#);
    let wrong = Member { crc32: Some(1), ..member("pack.py") };
    insta::assert_snapshot!(refused(&[wrong]), @r#"the wheel pack-1-py3-none-any.whl is not a whole zip: member "pack.py" has the wrong CRC-32: af2fda68, the directory says 00000001"#);
    let other_name = Member { local_name: Some("pick.py".to_owned()), ..member("pack.py") };
    insta::assert_snapshot!(refused(&[other_name]), @r#"the wheel pack-1-py3-none-any.whl is not a whole zip: member "pack.py": its local header and the central directory disagree on the name"#);
}

#[test]
fn bombs_are_refused() {
    let claims_more = Member { size: Some(4_000_000_000), ..member("pack.py") };
    insta::assert_snapshot!(refused(&[claims_more]), @r#"the wheel pack-1-py3-none-any.whl is not a whole zip: member "pack.py" claims 4000000000 bytes, more than its compressed bytes can hold"#);
    let claims_less = Member { size: Some(10), ..Member::new("pack.py", vec![0; 20_000_000]) };
    insta::assert_snapshot!(refused(&[claims_less]), @"the RECORD of the wheel pack-1-py3-none-any.whl is not true: pack.py has 10 bytes");
    let large_claims_less = Member { size: Some(17 << 20), ..Member::new("pack.py", vec![0; 20 << 20]) };
    insta::assert_snapshot!(refused(&[large_claims_less]), @"the RECORD of the wheel pack-1-py3-none-any.whl is not true: pack.py has 17825792 bytes");
}

#[test]
fn members_that_share_their_bytes_are_refused() {
    insta::assert_snapshot!(refused(&[member("pack.py"), member("pack.py")]), @r#"the wheel pack-1-py3-none-any.whl is not a whole zip: member "pack.py" appears twice"#);
    let same_place = Member { place: Some(0), ..member("pock.py") };
    insta::assert_snapshot!(refused(&[member("pack.py"), same_place]), @r#"the wheel pack-1-py3-none-any.whl is not a whole zip: member "pock.py": its local header and the central directory disagree on the name"#);
    // One member's contents are the whole of another (Fifield's bomb, of quoted local headers).
    let inner = member("inner.py");
    let outer = Member { method: 0, ..Member::new("outer.py", inner.local()) };
    let start = u32::try_from(30 + outer.name.len()).unwrap();
    insta::assert_snapshot!(refused(&[outer, Member { place: Some(start), ..inner }]), @r#"the wheel pack-1-py3-none-any.whl is not a whole zip: members "outer.py" and "inner.py" overlap"#);
}

#[test]
fn links_are_refused() {
    let link = Member { mode: 0o120_777, ..Member::new("pack/link", "../../../../etc") };
    insta::assert_snapshot!(refused(&[link]), @"the wheel pack-1-py3-none-any.whl holds a symbolic link, pack/link, which wheels cannot have");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    insta::assert_snapshot!(refused(&[member("../pack.py")]), @"the wheel pack-1-py3-none-any.whl breaks the rules for wheels: the member `../pack.py` cannot be installed: its path has the part . or ..");
    for name in [
        "/etc/pack.py",
        "pack/../../pack.py",
        "./pack.py",
        "pack//a.py",
        "pack\\a.py",
        "..",
        "pack-1.data/data/../../pack.py",
        "pack-1.data/data//etc/pack",
        "pack-1.data/scripts/../pack",
        "pack-1.data/scripts",
        "pack-1.data/stdlib/a.py",
        "pack-1.data/a",
        "a\0b",
    ] {
        refused(&[member(name)]);
    }
    let script = Member::new("pack-1.dist-info/entry_points.txt", "[console_scripts]\n../../pack = a:b\n");
    insta::assert_snapshot!(refused(&[script]), @"the wheel pack-1-py3-none-any.whl breaks the rules for wheels: entry_points.txt: `../../pack = a:b`: its name cannot be the name of a script");
}

#[test]
fn nothing_of_the_virtualenv_is_overwritten() {
    let python = refused_at_install(&[member("pack-1.data/scripts/python")]);
    insta::assert_snapshot!(python, @"two wheels write venv/bin/python: the virtualenv and pack-1-py3-none-any.whl");
    for steering in ["data/pyvenv.cfg", "data/bin/python._pth", "scripts/pyvenv.cfg", "data/bin/Python3._PTH"]
    {
        refused(&[member(&format!("pack-1.data/{steering}"))]);
    }
    let entry_point = Member::new("pack-1.dist-info/entry_points.txt", "[console_scripts]\npython = a:b\n");
    refused_at_install(&[entry_point]);
    // A file where another has a directory, and a file below a link.
    refused_at_install(&[member("pack"), member("pack/a.py")]);
    refused_at_install(&[member("pack-1.data/data/lib64")]);
    let through_lib64 = format!("pack-1.data/data/{}/pack.py", SITE_PACKAGES.replace("lib/", "lib64/"));
    refused_at_install(&[member("pack.py"), Member::new(&through_lib64, "b = 2\n")]);
    refused_at_install(&[member("pack-1.data/data/bin/python/a.py")]);
}

#[test]
fn names_that_differ_by_case_are_two_files() {
    let files = [Member::new("pack.py", "lower\n"), Member::new("Pack.py", "upper\n")];
    let tree = install(&[(WHEEL, &zip(&wheel_members("pack", &files)))]).unwrap();
    assert_eq!(file(&tree, &format!("{SITE_PACKAGES}/pack.py")), "lower\n");
    assert_eq!(file(&tree, &format!("{SITE_PACKAGES}/Pack.py")), "upper\n");
}

#[test]
fn two_wheels_may_share_identical_files_only() {
    let one = |name: &str, contents: &str| {
        zip(&wheel_members(name, &[Member::new("shared/__init__.py", contents)]))
    };
    let (first, same, other) = (one("first", "x\n"), one("second", "x\n"), one("second", "y\n"));
    let names = ["first-1-py3-none-any.whl", "second-1-py3-none-any.whl"];
    let tree = install(&[(names[0], &first), (names[1], &same)]).unwrap();
    for dist_info in ["first-1.dist-info", "second-1.dist-info"] {
        let record = file(&tree, &format!("{SITE_PACKAGES}/{dist_info}/RECORD"));
        assert!(record.contains("shared/__init__.py,sha256="), "{record}");
    }
    let said = install(&[(names[0], &first), (names[1], &other)]).unwrap_err();
    insta::assert_snapshot!(said, @"two wheels write venv/lib/python3.12/site-packages/shared/__init__.py: first-1-py3-none-any.whl and second-1-py3-none-any.whl");
}

#[test]
fn of_equal_files_the_executable_one_is_installed() {
    let one = |name: &str, mode| {
        let file = Member { mode, ..Member::new("shared/run.py", "#!/bin/sh\n") };
        zip(&wheel_members(name, &[file]))
    };
    for modes in [[0o100_644, 0o100_755], [0o100_755, 0o100_644]] {
        let (first, second) = (one("first", modes[0]), one("second", modes[1]));
        let tree =
            install(&[("first-1-py3-none-any.whl", &first), ("second-1-py3-none-any.whl", &second)]).unwrap();
        let Node::File { mode, .. } = tree[&format!("{SITE_PACKAGES}/shared/run.py")] else {
            panic!("a file")
        };
        assert_eq!(mode & 0o111, 0o111, "{modes:?}");
    }
}

#[test]
fn installer_files_in_a_wheel_are_replaced() {
    let own = ["INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s"]
        .map(|file| member(&format!("pack-1.dist-info/{file}")));
    let tree = install(&[(WHEEL, &zip(&wheel_members("pack", &own)))]).unwrap();
    assert_eq!(file(&tree, &format!("{SITE_PACKAGES}/pack-1.dist-info/INSTALLER")), "wheelbarrow\n");
    assert_eq!(file(&tree, &format!("{SITE_PACKAGES}/pack-1.dist-info/REQUESTED")), "");
    for absent in ["direct_url.json", "RECORD.jws", "RECORD.p7s"] {
        assert!(!tree.contains_key(&format!("{SITE_PACKAGES}/pack-1.dist-info/{absent}")), "{absent}");
    }
}

/// A wheel with all that a wheel can have.
fn ordinary() -> Vec<u8> {
    let script =
        Member { mode: 0o100_755, ..Member::new("pack-1.data/scripts/run", "#!python -u\nprint()\n") };
    let points =
        Member::new("pack-1.dist-info/entry_points.txt", "[console_scripts]\npack = pack.main:run\n");
    let stored = Member { method: 0, ..Member::new("pack/__init__.py", vec![b'#'; 500]) };
    let deflated = Member::new("pack/main.py", "def run():\n    pass\n".repeat(100));
    zip(&wheel_members(
        "pack",
        &[stored, deflated, script, Member::new("pack-1.data/data/etc/a", "b"), points],
    ))
}

/// What would be installed, but for modes: nothing vouches for those in a wheel by itself.
fn contents(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let wheel = check(bytes)?;
    let mut found = BTreeMap::new();
    let mut inflater = Inflater::new();
    for file in wheel.files() {
        let entry = wheel.entry(file);
        let mut contents = Vec::new();
        let read = inflater.read(entry, wheel.archive().raw(entry), &mut |bytes| contents.extend(bytes));
        read.map_err(|error| told(&error))?;
        found.insert(format!("{:?}", file.destination), contents);
    }
    Ok(found)
}

#[test]
fn a_wheel_cut_off_anywhere_is_refused() {
    let whole = ordinary();
    contents(&whole).unwrap();
    for length in 0..whole.len() {
        assert!(contents(&whole[..length]).is_err(), "cut off at {length} of {}", whole.len());
    }
}

#[test]
fn a_wheel_with_any_byte_changed_is_refused_or_the_same() {
    let whole = ordinary();
    let expected = contents(&whole).unwrap();
    let mut equal = 0;
    for place in 0..whole.len() {
        for flip in [1, 0x10, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[place] ^= flip;
            if let Ok(found) = contents(&changed) {
                assert_eq!(found, expected, "byte {place} changed by {flip:#x}");
                equal += 1;
            }
        }
    }
    let directory = whole.len() - directory_of(&whole);
    println!("{} bytes, {directory} of them the directory: {equal} changes made no difference", whole.len());
}
