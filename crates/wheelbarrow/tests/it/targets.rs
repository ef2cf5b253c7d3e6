//! Systems by name: listed, probed, asked for, and refused where this machine is none.

use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;
use serde_json::Value;
use wheelbarrow_platform::System;

use crate::support::{Place, wheelbarrow};

#[test]
fn the_systems_are_listed() {
    let place = Place::with(&[]);
    let table = place.run(&["targets"]).out;
    assert!(table.starts_with("TARGET "), "{table}");
    for system in System::all() {
        assert!(table.contains(&format!("\n{} ", system.name)), "{table}");
    }
    let listed: Value = serde_json::from_str(&place.run(&["targets", "--json"]).out).unwrap();
    let debian = listed.as_array().unwrap().iter().find(|system| system["target"] == "debian-12").unwrap();
    assert_eq!(debian["pythons"], serde_json::json!(["3.11"]));
    assert!(debian["libraries"].as_array().unwrap().contains(&"libssl.so.3".into()));
}

#[test]
fn an_artifact_names_the_same_target() {
    let place = Place::with(&wheelbarrow_artifact::python::MODULES);
    place.write("tell.py", "import probe, sys\nsys.exit(probe.tell(True))\n");
    let python =
        |script: &str| place.finish(Command::new("python3").arg(script).current_dir(place.path())).out;
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let probed = place.run(&["targets", "--probe", "--json"]);
    assert_eq!(json(&probed.out), json(&python("tell.py")), "{}", probed.all());
}

#[test]
fn invalid_targets_are_refused() {
    let place = Place::with(&[("requirements.txt", "")]);
    let said = |arguments: &[&str]| place.run(&[&["build"], arguments].concat()).all();
    insta::assert_snapshot!(said(&["--target", "el8:2.7"]), @r"
    exit code: 2
    error: invalid target `el8:2.7`: `2.7` is not a Python version such as 3.12
    hint: a target is SYSTEM[/MACHINE][:PYTHON], as debian-12 or el8/aarch64:3.11, or PYTHON@PLATFORM, as 3.11@manylinux_2_28_x86_64
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-2
    ");
    insta::assert_snapshot!(said(&["--target", "el8", "--container", "el9=image"]), @r"
    exit code: 2
    error: --container el9=image: el9:3.9 is not among the targets
    hint: give the same target with --target
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-2
    ");
    let said = said(&["--target", "el8", "--container", "image", "--container-engine", "/nowhere/podman"]);
    assert!(!said.contains("engine"), "without a source nobody asks for one: {said}");
}

/// The level is that of the system with the lowest, where two need the same wheels; a platform tag names none.
#[test]
fn an_artifact_names_the_cpu_of_its_systems() {
    let place = Place::with(&[
        ("project/requirements.txt", ""),
        ("project/wheelbarrow.toml", "name = 'site'\nversion = '1'\nbytecode = 'never'\n"),
    ]);
    let cases = [
        (&["el10:3.12"][..], Some("x86-64-v3")),
        (&["el10:3.12", "el9:3.12"], Some("x86-64-v2")),
        (&["el9:3.12", "el8:3.12"], None),
        (&["el10/aarch64:3.12"], None),
        (&["3.12@manylinux_2_39_x86_64"], None),
    ];
    for (targets, cpu) in cases {
        let targets: Vec<_> = targets.iter().flat_map(|target| ["--target", target]).collect();
        let said = build(&place, &targets);
        if cannot(&said) {
            return;
        }
        assert_eq!(said.code, 0, "{}", said.all());
        let listed: Value =
            serde_json::from_str(&place.run(&["inspect", "--json", "site-1.zip"]).out).unwrap();
        let described = listed["manifest"]["targets"].as_array().unwrap();
        assert_eq!((described.len(), described[0]["needs"]["cpu"].as_str()), (1, cpu), "{targets:?}");
        let text = place.run(&["inspect", "site-1.zip"]).out;
        assert_eq!(text.contains("x86-64-v"), cpu.is_some(), "{text}");
    }
}

/// The smallest package with an extension module, and nothing to download for building it.
const EXTENSION: [(&str, &str); 5] = [
    ("project/requirements.txt", "./fast ; sys_platform == 'linux'\n"),
    ("project/app.py", "import fast\n"),
    (
        "project/fast/pyproject.toml",
        "[build-system]\nrequires = []\nbuild-backend = 'hooks'\nbackend-path = ['.']\n[project]\nname = 'fast'\nversion = '1.0'\n",
    ),
    (
        "project/fast/hooks.py",
        r#"
import base64, hashlib, os, zipfile

def build_wheel(directory, settings=None, metadata=None):
    name = "fast-1.0-cp36-abi3-linux_x86_64.whl"
    files = {
        "fast.py": b"",
        "fast-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: fast\nVersion: 1.0\n",
        "fast-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp36-abi3-linux_x86_64\n",
    }
    record = ""
    with zipfile.ZipFile(os.path.join(directory, name), "w") as file:
        for path, content in files.items():
            file.writestr(path, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += "%s,sha256=%s,%d\n" % (path, digest, len(content))
        file.writestr("fast-1.0.dist-info/RECORD", record + "fast-1.0.dist-info/RECORD,,\n")
    return name

def prepare_metadata_for_build_wheel(directory, settings=None):
    info = os.path.join(directory, "fast-1.0.dist-info")
    os.mkdir(info)
    with open(os.path.join(info, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\nName: fast\nVersion: 1.0\n")
    return "fast-1.0.dist-info"
"#,
    ),
    ("project/wheelbarrow.toml", "name = 'site'\nversion = '1'\nbytecode = 'never'\n"),
];

fn build(place: &Place, arguments: &[&str]) -> crate::support::Said {
    let mut command = wheelbarrow(&place.path());
    // One cache for the tests of this file would hide what they are about; pip is fetched each time.
    place.finish(command.args(["build", "project", "--cache-dir", "cache"]).args(arguments))
}

/// Prints why a test is skipped; fails where nothing may be.
fn cannot(said: &crate::support::Said) -> bool {
    let unavailable = said.err.contains("uv was not found") || said.code == 9;
    if unavailable {
        assert!(std::env::var_os("CI").is_none(), "CI must have uv and an index: {}", said.err);
        println!("skipped: {}", said.err.lines().next().unwrap_or_default());
    }
    unavailable
}

#[test]
fn a_source_is_built_here_only_for_such_a_system() {
    let place = Place::with(&EXTENSION);
    let probed: Value = serde_json::from_str(&place.run(&["targets", "--probe", "--json"]).out).unwrap();
    let python = probed["python"].as_str().unwrap().rsplit_once('.').unwrap().0;
    let platform = probed["platform"].as_str().unwrap();
    if !platform.ends_with("x86_64") {
        println!("skipped: the extension of this test is for x86_64");
        return;
    }
    let own = format!("{python}@{platform}");
    let said = build(&place, &["--target", &own]);
    if cannot(&said) {
        return;
    }
    assert_eq!(said.code, 0, "{}", said.all());
    let listed = place.run(&["inspect", "--json", "site-1.zip"]).out;
    assert!(listed.contains(&format!("wheels/fast-1.0-cp36-abi3-{platform}.whl")), "{listed}");

    let older = format!("{python}@manylinux_2_5_x86_64");
    let said = build(&place, &["--target", &older]);
    assert_eq!(said.code, 8, "{}", said.all());
    let expected = format!(
        "error: fast has no wheel for {older}, and this machine ({platform}) is no such system to build it on\n\
         hint: build it in a container of that system, `--container IMAGE`;"
    );
    assert!(said.err.contains(&expected), "{}", said.err);
    let note = format!("note: building fast from source for {older}, on another system: ");
    assert!(said.err.contains(&note), "{}", said.err);
    let none = build(&place, &["--target", "3.99@manylinux_2_36_x86_64"]);
    assert!(none.err.contains("there is no Python 3.99 here to build it with"), "{}", none.err);
}

/// An engine that answers, and has no image: what is said when the container cannot be had.
#[test]
fn an_unusable_container_engine_is_reported() {
    let place = Place::with(&EXTENSION);
    place.write(
        "podman",
        "#!/bin/sh\ncase $1 in --version) echo podman version 4.3.1;; info) echo false;; *) echo 'Error: no such image' >&2; exit 125;; esac\n",
    );
    fs::set_permissions(place.path().join("podman"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let engine: PathBuf = place.path().join("podman");
    let arguments = [
        "--target",
        "debian-11",
        "--container",
        "localhost/none",
        "--container-engine",
        engine.to_str().unwrap(),
    ];
    let said = build(&place, &arguments);
    if said.err.contains("uv was not found") {
        return;
    }
    assert_eq!(said.code, 9, "{}", said.all());
    assert!(
        said.err.contains("error: cannot get the image localhost/none: Error: no such image\n"),
        "{}",
        said.err
    );
    let said = build(&place, &[&arguments[..4], &["--container-engine", "/nowhere/podman"]].concat());
    assert!(said.err.contains("error: no container engine answers\n  /nowhere/podman: "), "{}", said.err);
    assert_eq!(said.code, 1);
}
