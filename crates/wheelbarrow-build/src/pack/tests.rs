use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::manifest::MemberKind;
use wheelbarrow_base::progress::Silent;

use super::*;
use crate::check::{Checked, check, testing};
use crate::project::{self, Walk, WalkRules};

/// Makes the same project, in the order given.
fn project(order: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for (path, contents) in order {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    std::os::unix::fs::symlink("app/a.py", place.path().join("link")).unwrap();
    place
}

/// Deflated by hand: one block, stored (RFC 1951, 3.2.4).
fn program() -> Deflated {
    const PROGRAM: &[u8; 4] = b"\x7fELF";
    let bytes = [b"\x01\x04\0\xfb\xff", PROGRAM.as_slice()].concat();
    Deflated { bytes: bytes.into(), size: 4, crc32: 0xa73ac451, sha256: Sha256::of(PROGRAM) }
}

fn contents(root: &Path, wheels: &Path) -> ArtifactContents {
    let walk = |root| Walk { root, rules: WalkRules::Static, ..Walk::default() };
    let (code, _) = project::walk(&walk(root.to_path_buf())).unwrap();
    let wheel = |name, files: &[(&str, &str)]| testing::wheel(wheels, name, files);
    let target = |python: &str, abi: &str| {
        let demo = wheel("demo-1.0-py3-none-any.whl", &[("demo.py", "x = 1\n")]);
        testing::target(python, abi, vec![demo], wheel("pip-25.0-py3-none-any.whl", &[("pip.py", "")]))
    };
    ArtifactContents {
        name: "site".to_owned(),
        version: Some("1".to_owned()),
        directory: "mysite".to_owned(),
        import_path: "app".to_owned(),
        static_directories: vec![code.clone()],
        code,
        static_root: None,
        targets: vec![target("3.11", "cp311"), target("3.12", "cp312")],
        environment: EnvironmentRules::default(),
        release: None,
        shebang: SHEBANG.to_owned(),
        interpreter: None,
        installers: vec![Installer { machine: "x86_64".to_owned(), program: program() }],
        time: DosTime::FIRST,
    }
}

fn checked(contents: &ArtifactContents) -> Checked {
    check(&testing::request(&contents.targets, "mysite.pth"), &Silent).unwrap()
}

fn pack(contents: &ArtifactContents, output: &Path) -> Packed {
    let checked = checked(contents);
    write(&plan(contents, &checked, &Default::default()).unwrap(), output, &Silent).unwrap()
}

const FILES: [(&str, &str); 3] = [("app/a.py", "import b\n"), ("app/b.py", ""), ("Ünïcode.txt", "é")];

#[test]
fn the_artifact_is_what_the_format_says() {
    let (place, wheels) = (project(&FILES), tempfile::tempdir().unwrap());
    let output = wheels.path().join("site.zip");
    let packed = pack(&contents(place.path(), wheels.path()), &output);
    assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o7777, 0o755);
    let artifact = Artifact::open(&output).unwrap().verify(&Silent).unwrap();
    assert_eq!(artifact.archive().entries().len(), packed.members);
    let names: Vec<_> = artifact.archive().entries().iter().map(|entry| entry.name.as_str()).collect();
    insta::assert_snapshot!(names.join("\n"), @"
    __main__.py
    .wheelbarrow/python/artifact.py
    .wheelbarrow/python/beneath.py
    .wheelbarrow/python/bootstrap.py
    .wheelbarrow/python/bytecode.py
    .wheelbarrow/python/calls.py
    .wheelbarrow/python/compile.py
    .wheelbarrow/python/data.py
    .wheelbarrow/python/destination.py
    .wheelbarrow/python/exact.py
    .wheelbarrow/python/exits.py
    .wheelbarrow/python/failure.py
    .wheelbarrow/python/interpreter.py
    .wheelbarrow/python/limits.py
    .wheelbarrow/python/links.py
    .wheelbarrow/python/manifest.py
    .wheelbarrow/python/mounts.py
    .wheelbarrow/python/needs.py
    .wheelbarrow/python/policy.py
    .wheelbarrow/python/preflight.py
    .wheelbarrow/python/printing.py
    .wheelbarrow/python/probe.py
    .wheelbarrow/python/rules.py
    .wheelbarrow/python/staging.py
    .wheelbarrow/python/thin.py
    .wheelbarrow/python/wheels.py
    .wheelbarrow/python/zips.py
    .wheelbarrow/shebang
    .wheelbarrow/native/linux-x86_64
    loadenv-init.pth
    loadenv.py
    loadenv.start
    mysite.pth
    bootstrap_wheels/pip-25.0-py3-none-any.whl
    wheels/demo-1.0-py3-none-any.whl
    mysite/app/a.py
    mysite/app/b.py
    mysite/link
    mysite/Ünïcode.txt
    static.in/0/app/a.py
    static.in/0/app/b.py
    static.in/0/link
    static.in/0/Ünïcode.txt
    .wheelbarrow/sbom.cdx.json
    .wheelbarrow/manifest.json
    ");
    let manifest = artifact.manifest();
    assert_eq!(manifest.project.import_path, "mysite/app");
    assert_eq!(manifest.targets[1].wheels, ["wheels/demo-1.0-py3-none-any.whl"]);
    assert_eq!(manifest.targets[0].platform, "any");
    let link = manifest.members.iter().find(|member| member.path == "mysite/link").unwrap();
    assert_eq!((link.kind, link.size), (MemberKind::Link, 8));
    let pth = artifact.archive().find("mysite.pth").unwrap();
    assert_eq!(artifact.archive().read(pth, 99).unwrap(), b"../../../../mysite/app\n");
    assert!(fs::read(&output).unwrap().starts_with(b"#!/usr/bin/env python3\nPK\x03\x04"));
}

/// Before Python 3.13 it is read in the encoding of the locale, which may be ASCII.
#[test]
fn the_pth_of_any_path_is_ascii() {
    let (place, wheels) = (project(&FILES), tempfile::tempdir().unwrap());
    let output = wheels.path().join("site.zip");
    for path in ["källa", "app\u{a0}", "a\\b \"c\"é", "end "] {
        let contents =
            ArtifactContents { import_path: path.to_owned(), ..contents(place.path(), wheels.path()) };
        pack(&contents, &output);
        let artifact = Artifact::open(&output).unwrap();
        let pth = artifact.archive().read(artifact.archive().find("mysite.pth").unwrap(), 999).unwrap();
        assert!(pth.is_ascii() && pth.starts_with(b"import "), "{path}");
        // As `site` executes it in a virtualenv.
        let script = "import os, sys; sys.prefix = '/srv/site/venv'; line = sys.argv.pop(); exec(line)\n\
                      os.write(1, os.fsencode(sys.path[-1]))";
        let output = std::process::Command::new("python3")
            .args(["-I", "-c", script, &String::from_utf8(pth).unwrap()])
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("/srv/site/mysite/{path}"));
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let wheels = tempfile::tempdir().unwrap();
    let output = |number: usize| wheels.path().join(format!("{number}.zip"));
    let mut reversed = FILES;
    reversed.reverse();
    let (first, second) = (project(&FILES), project(&reversed));
    // What a umask of 077 leaves.
    for (path, _) in FILES {
        fs::set_permissions(second.path().join(path), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let places = [first.path(), second.path(), first.path()];
    let packed = places
        .iter()
        .enumerate()
        .map(|(number, place)| pack(&contents(place, wheels.path()), &output(number)));
    let hashes: std::collections::BTreeSet<_> = packed.map(|packed| packed.sha256().unwrap()).collect();
    assert_eq!(hashes.len(), 1);
    assert_eq!(hashes.first(), Some(&Sha256::of(&fs::read(output(0)).unwrap())));
}

#[test]
fn a_wheel_that_changed_meanwhile_is_refused_and_leaves_nothing() {
    let (place, wheels, out) = (project(&FILES), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut contents = contents(place.path(), wheels.path());
    let checked = checked(&contents);
    contents.targets[0].wheels[0].sha256 = Sha256::of(b"another");
    contents.targets[1].wheels[0].sha256 = Sha256::of(b"another");
    let error = write(
        &plan(&contents, &checked, &Default::default()).unwrap(),
        &out.path().join("site.zip"),
        &Silent,
    )
    .unwrap_err();
    assert!(matches!(error, PackError::Changed { .. }), "{error}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn shebangs_are_checked() {
    let (place, wheels) = (project(&FILES), tempfile::tempdir().unwrap());
    let checked = checked(&contents(place.path(), wheels.path()));
    let long = format!("#!/{}", "x".repeat(127));
    for shebang in ["/usr/bin/python3", "#!/usr/bin/python3\n", "#!python3", &long] {
        let contents =
            ArtifactContents { shebang: shebang.to_owned(), ..contents(place.path(), wheels.path()) };
        assert!(
            matches!(plan(&contents, &checked, &Default::default()), Err(PackError::Shebang { .. })),
            "{shebang}"
        );
    }
}

#[test]
fn source_date_epoch_is_checked() {
    assert_eq!(source_date(None).unwrap(), DosTime::FIRST);
    assert_eq!(source_date(Some("")).unwrap(), DosTime::FIRST);
    assert_ne!(source_date(Some("1700000000")).unwrap(), DosTime::FIRST);
    for wrong in ["x", "0", "-1", "99999999999999"] {
        assert!(source_date(Some(wrong)).is_err(), "{wrong}");
    }
}
