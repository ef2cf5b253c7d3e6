//! Our tags against the `packaging` that pip carries, asked live.
//!
//! What changed there is evened out where an old one is asked: `cpXY-none-any` is new in 22.0, `abi3t` in 26.1, and since
//! 26.3 `linux_MACHINE` comes before the other platforms.

use std::path::{Path, PathBuf};
use std::process::Command;

use wheelbarrow_platform::{CompatibleTags, Libc, MACHINES, Platform, System, TargetSpec};

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

/// What `packaging` would say elsewhere: seven arguments for each place, major, minor, ABIs, machine, libc, its major and
/// minor. An empty line ends the tags of each.
const ELSEWHERE: &str = r#"
import sys, sysconfig
from pip._vendor.packaging import tags, _manylinux, _musllinux
def tell(major, minor, abis, machine, libc, libc_major, libc_minor):
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
    print()
for place in range(1, len(sys.argv), 7):
    tell(*sys.argv[place:place + 7])
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

/// Where a wheel may have to run.
struct Place {
    python: (u32, u32),
    abi: String,
    /// As `packaging` is asked: a debug build takes two.
    abis: String,
    machine: String,
    libc: Libc,
}

impl Place {
    fn new(python: (u32, u32), abis: &str, machine: &str, libc: Libc) -> Self {
        let abi = abis.split(',').next().unwrap_or_default().to_owned();
        Self { python, abi, abis: abis.to_owned(), machine: machine.to_owned(), libc }
    }

    fn arguments(&self) -> [String; 7] {
        let (libc, major, minor) = match self.libc {
            Libc::Glibc(major, minor) => ("glibc", major, minor),
            Libc::Musl(major, minor) => ("musl", major, minor),
        };
        let [python_major, python_minor] = [self.python.0, self.python.1].map(|number| number.to_string());
        let [major, minor] = [major, minor].map(|number| number.to_string());
        [python_major, python_minor, self.abis.clone(), self.machine.clone(), libc.to_owned(), major, minor]
    }
}

/// Asks the newest `packaging` here about all of them.
#[allow(clippy::print_stdout, reason = "says what a test skipped")]
fn assert_same_in(places: &[Place]) {
    let pips = interpreters().into_iter().filter_map(|python| Some((pip_version(&python)?, python)));
    let Some((_, python)) = pips.max().filter(|(version, _)| version[0] >= 22) else {
        println!("skipped: no interpreter has a pip with packaging.tags");
        return;
    };
    let arguments: Vec<String> = places.iter().flat_map(Place::arguments).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = ask(&python, ELSEWHERE, &arguments).unwrap();
    let answers: Vec<&str> = said.trim_end().split("\n\n").collect();
    assert_eq!(answers.len(), places.len());
    for (place, said) in places.iter().zip(answers) {
        let abi = &place.abi;
        // What came to `packaging` later than the oldest that is asked.
        let newer = [(abi.contains('t'), "abi3t"), (place.machine == "armv8l", "armv7l")];
        if let Some((_, what)) = newer.iter().find(|(is_asked, what)| *is_asked && !said.contains(what)) {
            println!("skipped {abi}: the packaging of {} does not know {what}", python.display());
            continue;
        }
        let platform = Platform::Linux { machine: place.machine.clone(), libc: place.libc };
        let theirs: Vec<&str> = said.lines().collect();
        assert_same(place.python, abi, &platform, &theirs);
    }
}

#[test]
fn elsewhere_the_tags_are_those_of_packaging_too() {
    let glibc = |minor| Libc::Glibc(2, minor);
    assert_same_in(&[
        Place::new((3, 13), "cp313t", "x86_64", glibc(28)),
        Place::new((3, 13), "cp313td,cp313t", "aarch64", glibc(34)),
        Place::new((3, 12), "cp312d,cp312", "x86_64", glibc(17)),
        Place::new((3, 7), "cp37dm", "i686", glibc(12)),
        Place::new((3, 6), "cp36m", "x86_64", glibc(5)),
        Place::new((2, 7), "cp27mu", "x86_64", glibc(4)),
        Place::new((3, 11), "cp311", "armv8l", glibc(31)),
        Place::new((3, 11), "cp311", "armv6l", glibc(31)),
        Place::new((3, 11), "cp311", "ppc64le", glibc(41)),
        Place::new((3, 12), "cp312", "x86_64", Libc::Musl(1, 2)),
        Place::new((3, 9), "cp39", "aarch64", Libc::Musl(1, 1)),
    ]);
}

#[test]
fn named_systems_accept_the_tags_of_packaging() {
    let mut places = Vec::new();
    for system in System::all() {
        for minor in system.pythons {
            for machine in MACHINES {
                let target = format!("{}/{machine}:3.{minor}", system.name);
                let spec: TargetSpec = target.parse().unwrap();
                places.push(Place::new((3, *minor), &spec.python.abi(), machine, spec.platform.libc()));
            }
        }
    }
    assert!(places.len() > 50, "{}", places.len());
    assert_same_in(&places);
}

/// The newest pip knows the newest rules.
fn pip_version(python: &Path) -> Option<Vec<u32>> {
    let said = ask(python, "import pip; print(pip.__version__)", &[]).ok()?;
    said.trim().split('.').map(|part| part.parse().ok()).collect()
}
