//! What is taken of a lock for a target, and what a person is told when nothing can be.

use wheelbarrow_build::lock::Lock;
use wheelbarrow_build::select::{ChosenDistribution, DistributionSource, select};
use wheelbarrow_build::target::{BuildTarget, TargetRequest};
use wheelbarrow_build::{Error, Result};
use wheelbarrow_platform::Libc;

use crate::support::told;

fn target(python: &str, machine: &str, libc: Libc) -> BuildTarget {
    BuildTarget {
        python: python.parse().unwrap(),
        abi: format!("cp{}", python.replace('.', "")).parse().unwrap(),
        interpreter: None,
        machine: machine.to_owned(),
        libc,
        spec: None,
        libraries: Vec::new(),
        container: None,
    }
}

fn debian() -> BuildTarget {
    target("3.11", "x86_64", Libc::Glibc(2, 36))
}

/// A lock whose files are given by name; `@` stands for hashes.
fn lock(text: &str) -> (tempfile::TempDir, Result<Lock>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pylock.toml");
    let text = text.replace('@', &format!("hashes = {{ sha256 = \"{}\" }}", "1".repeat(64)));
    fs_err::write(&path, format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n{text}")).unwrap();
    let lock = Lock::read(&path);
    (directory, lock)
}

fn chosen(text: &str, target: &BuildTarget) -> Result<Vec<ChosenDistribution>> {
    select(&lock(text).1?, target)
}

fn file(chosen: &ChosenDistribution) -> &str {
    chosen.download().map_or("", |download| &download.filename)
}

/// The message where selecting fails.
fn refusal(text: &str, target: &BuildTarget) -> String {
    let (directory, lock) = lock(text);
    let error = lock.and_then(|lock| select(&lock, target)).unwrap_err();
    told(&error, directory.path())
}

fn named(text: &str) -> BuildTarget {
    let request = TargetRequest { spec: text.parse().unwrap(), libraries: Vec::new(), container: None };
    BuildTarget::named(&request, None)
}

const LXML: &str = r#"
[[packages]]
name = "lxml"
version = "5.1.0"
wheels = [
  { url = "https://h/lxml-5.1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", @ },
  { url = "https://h/lxml-5.1.0-cp311-cp311-manylinux_2_28_x86_64.whl", @ },
  { url = "https://h/lxml-5.1.0-2-cp311-cp311-manylinux_2_28_x86_64.whl", @ },
  { url = "https://h/lxml-5.1.0-cp311-cp311-musllinux_1_2_aarch64.whl", @ },
  { url = "https://h/lxml-5.1.0-cp39-abi3-macosx_11_0_arm64.whl", @ },
]
"#;

#[test]
fn the_best_tag_wins_then_the_highest_build() {
    let taken = chosen(LXML, &debian()).unwrap();
    assert_eq!(file(&taken[0]), "lxml-5.1.0-2-cp311-cp311-manylinux_2_28_x86_64.whl");
    let taken = chosen(LXML, &target("3.11", "x86_64", Libc::Glibc(2, 26))).unwrap();
    assert_eq!(file(&taken[0]), "lxml-5.1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl");
    let taken = chosen(LXML, &target("3.11", "aarch64", Libc::Musl(1, 2))).unwrap();
    assert_eq!(file(&taken[0]), "lxml-5.1.0-cp311-cp311-musllinux_1_2_aarch64.whl");
}

#[test]
fn where_nothing_fits_each_candidate_has_its_reason() {
    insta::assert_snapshot!(refusal(LXML, &target("3.11", "aarch64", Libc::Glibc(2, 36))), @r"
    no distribution of lxml 5.1.0 fits Python 3.11 (manylinux_2_36_aarch64):
      lxml-5.1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl: it is for the CPU x86_64, this is aarch64
      lxml-5.1.0-cp311-cp311-manylinux_2_28_x86_64.whl: it is for the CPU x86_64, this is aarch64
      lxml-5.1.0-2-cp311-cp311-manylinux_2_28_x86_64.whl: it is for the CPU x86_64, this is aarch64
      lxml-5.1.0-cp311-cp311-musllinux_1_2_aarch64.whl: it needs musl 1.2, this has glibc 2.36
      lxml-5.1.0-cp39-abi3-macosx_11_0_arm64.whl: it is for macosx_11_0_arm64, this is manylinux_2_36_aarch64
    hint: use another version, another Python or a newer system for which there is a wheel; or name a directory with a wheel that you built: --find-links DIR
    ");
    let sdist = LXML.replace("version =", "sdist = { url = \"https://h/lxml-5.1.0.tar.gz\", @ }\nversion =");
    let taken = chosen(&sdist, &target("3.13", "x86_64", Libc::Glibc(2, 36))).unwrap();
    assert!(matches!(taken[0].source, DistributionSource::Archive { .. }));
}

#[test]
fn markers_extras_and_groups_select_packages() {
    let text = r#"
extras = ["web"]
dependency-groups = ["dev", "main"]
default-groups = ["main"]
packages = [
  { name = "a", version = "1", marker = "python_version < '3.12'", wheels = [{ url = "https://h/a-1-py3-none-any.whl", @ }] },
  { name = "a", version = "2", marker = "python_version >= '3.12'", wheels = [{ url = "https://h/a-2-py3-none-any.whl", @ }] },
  { name = "b", version = "1", marker = "'web' in extras", wheels = [{ url = "https://h/b-1-py3-none-any.whl", @ }] },
  { name = "c", version = "1", marker = "'dev' in dependency_groups", wheels = [{ url = "https://h/c-1-py3-none-any.whl", @ }] },
  { name = "d", marker = "'main' in dependency_groups", directory = { path = "d" } },
]
"#;
    let (_directory, read) = lock(text);
    let mut lock = read.unwrap();
    let names = |lock: &Lock, target: &BuildTarget| -> Vec<String> {
        let taken = select(lock, target).unwrap();
        taken.iter().map(|one| format!("{} {}", one.name, one.version.as_deref().unwrap_or("-"))).collect()
    };
    assert_eq!(names(&lock, &debian()), ["a 1", "d -"], "the default groups, where none is named");
    lock.extras = vec!["web".to_owned()];
    lock.groups = vec!["dev".to_owned()];
    assert_eq!(names(&lock, &target("3.13", "x86_64", Libc::Glibc(2, 41))), ["a 2", "b 1", "c 1"]);
    lock.groups = vec!["nobody".to_owned()];
    assert!(matches!(select(&lock, &debian()), Err(Error::NotCovered { .. })));
}

#[test]
fn a_lock_reports_what_it_does_not_cover() {
    let wheel = "wheels = [{ url = \"https://h/a-1-py3-none-any.whl\", @ }]";
    let package = format!("[[packages]]\nname = \"a\"\nversion = \"1\"\n{wheel}\n");
    let first_line = |text: &str| refusal(text, &debian()).lines().next().unwrap_or_default().to_owned();
    for (text, reason) in [
        (
            format!("requires-python = \">=3.12\"\n{package}"),
            "does not cover Python 3.11: it requires Python >=3.12",
        ),
        (
            format!("environments = [\"sys_platform == 'win32'\"]\n{package}"),
            "does not cover Python 3.11: it is for sys_platform == 'win32'",
        ),
        (
            format!("{package}requires-python = \"<3.10\""),
            "does not cover Python 3.11: a 1 requires Python <3.10",
        ),
        (format!("{package}{package}"), "cannot be read: a 1 and a 1 are both for Python 3.11"),
        (
            format!("{package}marker = \"python_version <\""),
            "cannot be read: the marker of a: `python_version <`: Expected marker value, found end of dependency specification",
        ),
        (
            package.replace('@', "size = 3"),
            "cannot be read: a-1-py3-none-any.whl has no sha256, sha384 or sha512, so it cannot be checked",
        ),
        (
            "packages = [{ name = \"a\", vcs = { type = \"hg\", url = \"u\", commit-id = \"1\" } }]"
                .to_owned(),
            "cannot be read: a is in a hg repository; only git is known",
        ),
        (
            "packages = [{ name = \"a\", vcs = { type = \"git\", url = \"u\", commit-id = \"a14d819e\" } }]"
                .to_owned(),
            "cannot be read: `a14d819e` of a is not the whole ID of a commit",
        ),
    ] {
        assert_eq!(first_line(&text), format!("the lock [DIR]/pylock.toml {reason}"));
    }
}

const NO_SOURCE: &str = r#"
[[packages]]
name = "torch"
version = "2.5.1"
wheels = [
  { url = "https://h/torch-2.5.1-cp312-cp312-manylinux_2_28_x86_64.whl", @ },
  { url = "https://h/torch-2.5.1-cp311-cp311-manylinux_2_34_x86_64.whl", @ },
  { url = "https://h/torch-2.5.1-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", @ },
  { url = "https://h/torch-2.5.1-cp311-cp311d-manylinux_2_17_x86_64.whl", @ },
  { url = "https://h/torch-2.5.1-cp311-none-macosx_11_0_arm64.whl", @ },
]
"#;

#[test]
fn a_named_system_refuses_each_wheel_with_its_own_reason() {
    insta::assert_snapshot!(refusal(NO_SOURCE, &named("el8:3.11")), @r"
    no distribution of torch 2.5.1 fits el8:3.11 (manylinux_2_28_x86_64):
      torch-2.5.1-cp312-cp312-manylinux_2_28_x86_64.whl: it is for Python cp312, this is CPython 3.11
      torch-2.5.1-cp311-cp311-manylinux_2_34_x86_64.whl: it needs glibc 2.34, this has glibc 2.28
      torch-2.5.1-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl: it is for the CPU aarch64, this is x86_64
      torch-2.5.1-cp311-cp311d-manylinux_2_17_x86_64.whl: it is for the ABI cp311d, this is cp311
      torch-2.5.1-cp311-none-macosx_11_0_arm64.whl: it is for macosx_11_0_arm64, this is manylinux_2_28_x86_64
    hint: use another version, another Python or a newer system for which there is a wheel; or name a directory with a wheel that you built: --find-links DIR
    ");
    assert_eq!(
        file(&chosen(NO_SOURCE, &named("el9:3.11")).unwrap()[0]),
        "torch-2.5.1-cp311-cp311-manylinux_2_34_x86_64.whl"
    );
    assert!(file(&chosen(NO_SOURCE, &named("el8/aarch64:3.11")).unwrap()[0]).contains("aarch64"));
}
