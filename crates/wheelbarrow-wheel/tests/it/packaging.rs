//! Our tags against the `packaging` that pip carries, asked live.
//!
//! What changed there is evened out where an old one is asked: `cpXY-none-any` is new in 22.0, `abi3t` in 26.1, and since
//! 26.3 `linux_MACHINE` comes before the other platforms.

use std::path::{Path, PathBuf};
use std::process::Command;

use wheelbarrow_wheel::tags::{CompatibleTags, Libc, Platform};

/// The interpreter's own facts in the first line, its tags in the others.
const OWN: &str = r#"
import os, platform, sys, sysconfig
from pip._vendor.packaging import tags
abi = "cp" + sysconfig.get_config_var("SOABI").split("-")[1]
libc = os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")
print(sys.version_info[0], sys.version_info[1], abi, platform.machine(), libc[0], libc[1])
for tag in tags.sys_tags():
    print(tag)
"#;

/// What `packaging` would say elsewhere: arguments are major, minor, ABIs, machine, libc, its major and minor.
const ELSEWHERE: &str = r#"
import sys, sysconfig
from pip._vendor.packaging import tags, _manylinux, _musllinux
major, minor, abis, machine, libc, libc_major, libc_minor = sys.argv[1:]
python, libc_version = (int(major), int(minor)), (int(libc_major), int(libc_minor))
sysconfig.get_platform = lambda: "linux-" + machine
if libc == "musl":
    _manylinux._get_glibc_version = lambda: (-1, -1)
    _musllinux._get_musl_version = lambda *_: _musllinux._MuslVersion(*libc_version)
else:
    _manylinux._get_glibc_version = lambda: libc_version
    _musllinux._get_musl_version = lambda *_: None
_manylinux._is_linux_armhf = _manylinux._is_linux_i686 = lambda *_: True
platforms = list(tags._linux_platforms(is_32bit=machine == "i686"))
for tag in tags.cpython_tags(python, abis.split(","), platforms):
    print(tag)
for tag in tags.compatible_tags(python, "cp" + major + minor, platforms):
    print(tag)
"#;

/// pyenv's interpreters, oldest first, and the system's.
fn interpreters() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let home = std::env::var_os("HOME").unwrap_or_default();
    if let Ok(versions) = fs_err::read_dir(Path::new(&home).join(".pyenv/versions")) {
        found.extend(versions.flatten().map(|version| version.path().join("bin/python")));
    }
    found.push("/usr/bin/python3".into());
    found.retain(|python| python.exists());
    found.sort();
    found
}

fn ask(python: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(python).args(["-I", "-c", program]).args(arguments).output().unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned())
}

/// Panics with the first tag that differs: the lists have a thousand.
fn assert_same(python: (u32, u32), abi: &str, platform: &Platform, theirs: &[&str]) {
    let tags = CompatibleTags::new(python, abi, platform);
    let mut ours: Vec<String> = tags.iter().map(ToString::to_string).collect();
    let mut theirs: Vec<String> = theirs.iter().map(ToString::to_string).collect();
    let without_platform = format!("cp{}{}-none-any", python.0, python.1);
    if !theirs.contains(&without_platform) {
        ours.retain(|tag| *tag != without_platform);
    }
    if !theirs[0].contains("-linux_") {
        native_first(&mut theirs);
    }
    for place in 0..ours.len().max(theirs.len()) {
        assert_eq!(ours.get(place), theirs.get(place), "tag {place} of {abi} on {platform}");
    }
}

/// Moves the `linux_` tags of each run with one Python and ABI to its front.
fn native_first(tags: &mut [String]) {
    let group = |tag: &String| tag.rsplit_once('-').map(|(group, _)| group.to_owned());
    for run in tags.chunk_by_mut(|one, other| group(one) == group(other)) {
        run.sort_by_key(|tag| !tag.contains("-linux_"));
    }
}

#[test]
fn every_interpreter_found_gives_the_tags_that_we_do() {
    for python in interpreters() {
        let said = match ask(&python, OWN, &[]) {
            Ok(said) => said,
            Err(reason) => {
                println!("skipped {}: {reason}", python.display());
                continue;
            }
        };
        let mut lines = said.lines();
        let facts = lines.next().unwrap();
        let [major, minor, abi, machine, libc @ ..] = &facts.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{facts}");
        };
        let number = |text: &str| text.parse::<u32>().unwrap();
        let libc = Libc::Glibc(number(libc[0]), number(libc[1]));
        let platform = Platform::Linux { machine: (*machine).to_owned(), libc };
        let theirs: Vec<&str> = lines.collect();
        assert_same((number(major), number(minor)), abi, &platform, &theirs);
        println!("{}: {} tags for {abi}", python.display(), theirs.len());
    }
}

#[test]
fn elsewhere_the_tags_are_those_of_packaging_too() {
    let pips = interpreters().into_iter().filter_map(|python| Some((pip_version(&python)?, python)));
    let Some((_, python)) = pips.max().filter(|(version, _)| version[0] >= 22) else {
        println!("skipped: no interpreter has a pip with packaging.tags");
        return;
    };
    let glibc = |machine, minor| ("glibc", machine, 2, minor);
    for (major, minor, abi, abis, (libc, machine, libc_major, libc_minor)) in [
        (3, 13, "cp313t", "cp313t", glibc("x86_64", 28)),
        (3, 13, "cp313td", "cp313td,cp313t", glibc("aarch64", 34)),
        (3, 12, "cp312d", "cp312d,cp312", glibc("x86_64", 17)),
        (3, 7, "cp37dm", "cp37dm", glibc("i686", 12)),
        (3, 6, "cp36m", "cp36m", glibc("x86_64", 5)),
        (2, 7, "cp27mu", "cp27mu", glibc("x86_64", 4)),
        (3, 11, "cp311", "cp311", glibc("armv8l", 31)),
        (3, 11, "cp311", "cp311", glibc("armv6l", 31)),
        (3, 11, "cp311", "cp311", glibc("ppc64le", 41)),
        (3, 12, "cp312", "cp312", ("musl", "x86_64", 1, 2)),
        (3, 9, "cp39", "cp39", ("musl", "aarch64", 1, 1)),
    ] {
        let text = [major, minor, libc_major, libc_minor].map(|number: u32| number.to_string());
        let [major_text, minor_text, libc_major_text, libc_minor_text] = &text;
        let arguments = [major_text, minor_text, abis, machine, libc, libc_major_text, libc_minor_text];
        let said = ask(&python, ELSEWHERE, &arguments).unwrap();
        if abi.contains('t') && !said.contains("-abi3t-") {
            println!("skipped {abi}: the packaging of {} does not know abi3t", python.display());
            continue;
        }
        let libc = if libc == "musl" { Libc::Musl } else { Libc::Glibc }(libc_major, libc_minor);
        let platform = Platform::Linux { machine: machine.to_owned(), libc };
        let theirs: Vec<&str> = said.lines().collect();
        assert_same((major, minor), abi, &platform, &theirs);
    }
}

/// The newest pip knows the newest rules.
fn pip_version(python: &Path) -> Option<Vec<u32>> {
    let said = ask(python, "import pip; print(pip.__version__)", &[]).ok()?;
    said.trim().split('.').map(|part| part.parse().ok()).collect()
}
