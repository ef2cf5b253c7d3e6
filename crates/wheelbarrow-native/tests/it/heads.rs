//! The script in front of an artifact runs bytes at an offset: every reader requires that these are its standalone binaries.

use serde_json::json;
use wheelbarrow_artifact::head::cases;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_artifact::{Artifact, SHEBANG_PATH};

use crate::readers::{read_here, read_with_python};
use crate::site;
use crate::zips::{Member, zip_behind};

const PROGRAMS: [&str; 2] = [".wheelbarrow/native/linux-aarch64", ".wheelbarrow/native/linux-x86_64"];
const PIP: &str = "bootstrap_wheels/pip-1-py3-none-any.whl";
/// Bytes of a local header without the name.
const LOCAL_HEADER: usize = 30;

/// The members that a builder makes, without the manifest: two programs in front, and a file that deflates badly.
fn members() -> Vec<Member> {
    let program =
        |name: &&str| Member { method: 0, mode: 0o100_755, ..Member::new(name, format!("{name}\n")) };
    let mut members: Vec<_> = PROGRAMS.iter().map(program).collect();
    members.push(Member::new("__main__.py", "raise SystemExit\n"));
    members.push(Member { method: 0, ..Member::new(SHEBANG_PATH, head()) });
    members.push(Member { method: 0, ..Member::new(PIP, "no pip") });
    members.push(Member::new("code/banner.css", "/* ===== */\n"));
    members
}

/// The lines of a script that find the programs of `members`, without the last end.
fn head() -> String {
    let with = |offsets: [usize; 2]| {
        let programs = PROGRAMS.iter().zip(offsets);
        let programs = programs.map(|(name, offset)| {
            (name.strip_prefix(".wheelbarrow/native/linux-").unwrap(), offset, name.len() as u64 + 1)
        });
        format!("#!/bin/sh\nmachine=$(uname -m){}exit 4 ;;\nesac", cases(programs))
    };
    let first = with([0, 0]).len() + 1 + LOCAL_HEADER + PROGRAMS[0].len();
    with([first, first + PROGRAMS[0].len() + 1 + LOCAL_HEADER + PROGRAMS[1].len()])
}

/// The artifact of these members, behind this head. The manifest is of `members()`, as one who cannot sign leaves it.
fn artifact(head: &str, members: &[Member], named: &[Member]) -> Vec<u8> {
    let listed = named.iter().filter(|member| !member.name.ends_with("thin.json")).map(|member| {
        let kind = if member.mode == 0o100_755 { "executable" } else { "file" };
        let sha256 = Sha256::of(&member.contents);
        json!({"path": member.name, "size": member.contents.len(), "sha256": sha256, "kind": kind})
    });
    let manifest = json!({
        "format": 1, "name": "site", "built_by": "a test",
        "project": {"directory": "code", "import_path": "code", "digest": Sha256::of(b"")},
        "targets": [{"python": "3.12", "abi": "cp312", "platform": "any", "wheels": [], "pip": PIP,
                     "unpacked": {"bytes": 0, "inodes": 0}}],
        "environment": {}, "wheels": [{"path": PIP, "name": "pip", "version": "1"}],
        "members": listed.collect::<Vec<_>>(),
    });
    let mut members = members.to_vec();
    members.push(Member::new(".wheelbarrow/manifest.json", serde_json::to_vec(&manifest).unwrap()));
    zip_behind(format!("{head}\n").as_bytes(), &members)
}

fn changed(change: impl FnOnce(&mut Vec<Member>)) -> Vec<u8> {
    let mut changed = members();
    change(&mut changed);
    artifact(&head(), &changed, &members())
}

/// With a head that is covered, but is another.
fn with_head(head: &str) -> Vec<u8> {
    let mut members = members();
    members[3].contents = head.as_bytes().to_vec();
    artifact(head, &members, &members)
}

#[test]
fn a_script_that_runs_something_else_is_refused_by_every_reader() {
    let thin = |left_out: usize| {
        changed(|members| {
            let path = members.remove(left_out).name;
            let text = json!({"format": 1, "left_out": [path]}).to_string();
            members.push(Member::new(".wheelbarrow/thin.json", text));
        })
    };
    let forms = [
        ("as it was built", changed(|_| {})),
        ("the code first, stored", {
            changed(|members| {
                let mut banner = members.pop().unwrap();
                banner.method = 0;
                members.insert(0, banner);
            })
        }),
        ("the code first, deflated", changed(|members| members.rotate_right(1))),
        ("the code between them", changed(|members| members.swap(1, 5))),
        ("a program that is deflated", changed(|members| members[0].method = 8)),
        ("the other program first", changed(|members| members.swap(0, 1))),
        ("the programs last", changed(|members| members.rotate_left(2))),
        (
            "another offset",
            with_head(&head().replacen("x86_64) at=", "x86_64) at=9", 1).replacen(" size", "size", 1)),
        ),
        ("another size", with_head(&head().replace("size=34", "size=33"))),
        ("another machine", with_head(&head().replace("aarch64)", "aarch65)"))),
        ("no programs", {
            let others = &members()[2..];
            artifact(&head(), others, others)
        }),
        ("no cover", {
            let mut members = members();
            members.remove(3);
            artifact(&head(), &members, &members)
        }),
    ];
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..forms.len()).map(|index| directory.path().join(format!("{index}.zip"))).collect();
    forms.iter().zip(&paths).for_each(|((_, bytes), path)| fs_err::write(path, bytes).unwrap());
    let names = forms.iter().map(|(name, _)| *name);
    let taken = names.clone().zip(&paths).filter(|(_, path)| read_here(path).is_some());
    assert_eq!(taken.map(|(name, _)| name).collect::<Vec<_>>(), ["as it was built"]);
    let error = Artifact::open(&paths[1]).err().unwrap().to_string();
    assert!(error.ends_with("was altered: its first lines do not run its standalone binaries"), "{error}");

    // A thin artifact has its programs.
    let thin = [thin(5), thin(0)].map(|bytes| {
        let path = directory.path().join(format!("thin-{}.zip", bytes.len()));
        fs_err::write(&path, bytes).unwrap();
        path
    });
    let judged = [&thin[0], &thin[1]].map(|path| {
        Artifact::open_thin(path, &wheelbarrow_artifact::Anybody).map(drop).map_err(|error| error.to_string())
    });
    assert!(
        judged[0].is_ok() && judged[1].as_ref().is_err_and(|said| said.contains("first lines")),
        "{judged:?}"
    );

    if site::has_python() {
        for (name, understood) in names.zip(read_with_python(&paths)) {
            let is_whole = name == "as it was built";
            let found = (understood.artifact.is_some(), understood.collection.is_some());
            assert_eq!(found, (is_whole, is_whole), "{name}");
        }
        let said = read_with_python(&thin).into_iter().map(|read| read.collection.is_some());
        assert_eq!(said.collect::<Vec<_>>(), [true, false]);
    }
}
