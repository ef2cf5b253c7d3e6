//! Real locks with several packages of one name: each target gets its own, the one that uv would install there.

use std::collections::BTreeSet;
use std::process::Command;

use fs_err as fs;
use wheelbarrow_base::Explain;
use wheelbarrow_build::lock::Lock;
use wheelbarrow_build::select::select;
use wheelbarrow_build::target::{BuildTarget, TargetRequest};
use wheelbarrow_build::uv::Uv;

use crate::support::{Site, has_uv, told};

/// numpy and pandas take another version for nearly each Python, idna is another for each CPU, six for each extra.
const PROJECT: &str = r#"
[project]
name = "site"
version = "1"
requires-python = ">=3.8"
dependencies = [
  "pandas", "markupsafe",
  "idna==3.6 ; platform_machine == 'x86_64'", "idna==3.7 ; platform_machine == 'aarch64'",
  "backports-zoneinfo ; python_version < '3.9'", "colorama ; sys_platform == 'win32'",
]
[project.optional-dependencies]
old = ["six==1.15.0"]
new = ["six==1.16.0"]
[tool.uv]
package = false
conflicts = [[{ extra = "old" }, { extra = "new" }]]
"#;

/// Ours, and uv's words for the Python and the system.
const TARGETS: [(&str, &str, &str); 7] = [
    ("3.8@manylinux_2_28_x86_64", "3.8", "x86_64-manylinux_2_28"),
    ("3.9@manylinux_2_28_aarch64", "3.9", "aarch64-manylinux_2_28"),
    ("3.10@manylinux_2_28_x86_64", "3.10", "x86_64-manylinux_2_28"),
    ("debian-12", "3.11", "x86_64-manylinux_2_36"),
    ("3.11@musllinux_1_2_x86_64", "3.11", "x86_64-unknown-linux-musl"),
    ("3.12@manylinux_2_28_x86_64", "3.12", "x86_64-manylinux_2_28"),
    ("debian-13/aarch64", "3.13", "aarch64-manylinux_2_40"),
];

fn named(target: &str) -> BuildTarget {
    let request = TargetRequest { spec: target.parse().unwrap(), libraries: Vec::new(), container: None };
    BuildTarget::named(&request, None)
}

/// `name==version` of each.
fn ours(lock: &Lock, target: &str) -> BTreeSet<String> {
    let chosen = select(lock, &named(target)).unwrap();
    chosen.iter().map(|one| format!("{}=={}", one.name, one.version.as_deref().unwrap_or("-"))).collect()
}

/// What uv says that it would install out of a pylock.toml.
fn theirs(uv: &Uv, lock: &Lock, python: &str, platform: &str) -> BTreeSet<String> {
    let mut install = uv.command();
    install.args(["pip", "install", "--dry-run", "--target", "nowhere", "--python-version", python]);
    install
        .args(["--python-platform", platform, "-r"])
        .arg(&lock.path)
        .current_dir(lock.path.parent().unwrap());
    let said = run(&mut install);
    said.lines().filter_map(|line| line.strip_prefix(" + ").map(str::to_owned)).collect()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn assert_same(uv: &Uv, lock: &Lock) {
    for (target, python, platform) in TARGETS {
        let (ours, theirs) = (ours(lock, target), theirs(uv, lock, python, platform));
        assert!(theirs.len() > 5, "{theirs:?}");
        assert_eq!(ours, theirs, "{target}");
    }
}

#[test]
fn each_target_gets_what_uv_would_install_there() {
    if !has_uv() {
        return;
    }
    let uv = Uv::find().unwrap();
    let mut site = Site::new(&[("pyproject.toml", PROJECT)]);
    run(uv.command().args(["lock", "--quiet"]).current_dir(site.project()));
    site.targets = TARGETS.map(|(target, ..)| named(target)).to_vec();
    for extra in ["old", "new"] {
        site.wanted.extras = vec![extra.to_owned()];
        assert_same(&uv, &site.lock().unwrap());
    }
    let lock = site.lock().unwrap();
    let numpys: BTreeSet<_> = TARGETS
        .iter()
        .filter_map(|(target, ..)| ours(&lock, target).into_iter().find(|one| one.starts_with("numpy==")))
        .collect();
    assert!(numpys.len() >= 4, "{numpys:?}");
    assert!(ours(&lock, "debian-12").is_superset(&["idna==3.6", "six==1.16.0"].map(str::to_owned).into()));
    assert!(ours(&lock, "debian-13/aarch64").contains("idna==3.7"));

    // The same as a pylock.toml of uv's own, which is taken as it stands.
    let export =
        ["export", "--quiet", "--frozen", "--extra", "new", "--no-emit-project", "-o", "pylock.toml"];
    run(uv.command().args(export).current_dir(site.project()));
    fs::remove_file(site.project().join("uv.lock")).unwrap();
    site.wanted.extras.clear();
    let lock = site.lock().unwrap();
    assert_eq!(lock.path, site.project().join("pylock.toml"));
    assert_same(&uv, &lock);
}

#[test]
fn extras_that_exclude_each_other_are_refused_in_uvs_words() {
    if !has_uv() {
        return;
    }
    let mut site = Site::new(&[("pyproject.toml", PROJECT)]);
    run(Uv::find().unwrap().command().args(["lock", "--quiet"]).current_dir(site.project()));
    site.wanted.all_extras = true;
    let error = site.lock().unwrap_err();
    let said = told(&error, &site.project());
    assert!(said.contains("`new` and `old` are incompatible"), "{said}");
    assert_eq!(error.exit_code(), 8, "{said}");
}
