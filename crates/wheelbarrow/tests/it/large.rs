//! A member of a wheel that is larger than the memory of the machine: everything streams, whatever way it goes.
//!
//! Each program may have as much memory of its own as docs/measurements/benchmarks.md allows, and its pages of mapped files count too.
//! `cargo xtask torture` (`WHEELBARROW_TORTURE=1`) leaves no way out.

use std::process::Command;

use fs_err as fs;
use wheelbarrow_artifact::zip::Method;

use crate::site::is_built;
use crate::support::{Place, Said, wheelbarrow};
use crate::wheels::{Wheel, lock};

/// Megabytes.
const MOST_MEMORY: u64 = 150;
const LARGE: u64 = 3 << 30;
const SMALLER: u64 = 400 << 20;

/// Runs a program with a bound on what it may allocate, and writes down what it and its children had at most.
const CAPPED: &str = "
import resource, subprocess, sys
cap = int(sys.argv[1]) << 20
code = subprocess.call(sys.argv[3:], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (cap, cap)))
with open(sys.argv[2], 'w') as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10))
sys.exit(code)
";

/// What it says; it must have stayed below the cap.
fn capped(place: &Place, program: &Command, words: &[&str]) -> Said {
    let peak = place.path().join("peak");
    let mut command = Command::new("python3");
    command.args(["-I", "-c", CAPPED, &MOST_MEMORY.to_string()]).arg(&peak);
    command.arg(program.get_program()).args(words).current_dir(place.path());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let begun = std::time::Instant::now();
    let said = place.finish(&mut command);
    let peak: u64 = fs::read_to_string(peak).unwrap().parse().unwrap();
    println!("{peak} MB, {:.1?}: {}", begun.elapsed(), words.join(" "));
    assert!(peak < MOST_MEMORY, "{words:?} had {peak} MB");
    said
}

fn story(method: Method, bytes: u64, bootstrap: bool) {
    // The wheel and a copy in the cache, the artifact, an entry in the store and an install at once.
    let compressed = if method == Method::Stored { bytes } else { bytes / 200 };
    let Some(place) = Place::with_room(3 * bytes + 3 * compressed) else {
        assert!(std::env::var_os("CI").is_none(), "CI must have room for {bytes} bytes");
        return println!("skipped: no room for a member of {bytes} bytes");
    };
    place.write("project/app.py", "import big\n");
    let mut wheel = Wheel::begin(&place.path(), "big");
    wheel.add("big/__init__.py", b"x = 1\n");
    wheel.add_zeros("big/data.bin", method, bytes);
    wheel.finish();
    lock(&place.path().join("pylock.big.toml"), &["big"]);
    let ours = wheelbarrow(&place.path());
    let done = |words: &[&str]| {
        let said = capped(&place, &ours, words);
        assert_eq!(said.code, 0, "{}", said.all());
    };
    let build = ["build", "project", "--lock", "pylock.big.toml", "-o", "site.zip", "--cache-dir", "cache"];
    if !is_built(&capped(&place, &ours, &build)) {
        return;
    }
    for directory in ["cache", "project"] {
        fs::remove_dir_all(place.path().join(directory)).unwrap();
    }
    done(&["audit", "site.zip"]);
    let mut artifact = Command::new(place.path().join("site.zip"));
    artifact.env("PYTHONDONTWRITEBYTECODE", "1");
    let ways = [&[][..], &["--store", "store"], &["--store", "store"], &["--bootstrap"]];
    for way in &ways[..if bootstrap { 4 } else { 3 }] {
        for words in [&["--check"][..], way] {
            let said = capped(&place, &artifact, &[&["-d", "dest", "--without-pip"], words].concat());
            assert_eq!(said.code, 0, "{}", said.all());
        }
        if way.first() != Some(&"--store") {
            done(&["verify", "dest"]);
        }
        let mut find = Command::new("find");
        find.args(["dest/venv/lib", "-name", "data.bin", "-printf", "%s"]).current_dir(place.path());
        assert_eq!(place.finish(&mut find).out, bytes.to_string());
        fs::remove_dir_all(place.path().join("dest")).unwrap();
    }
    done(&["store", "verify", "store"]);
}

/// All cores take wheels apart at once, and none of them needs more memory for what it is given than for one.
#[test]
fn many_large_wheels_stream() {
    const LARGE: u64 = 48 << 20;
    let names = ["big0", "big1", "big2", "big3", "big4", "big5", "big6", "big7"];
    let Some(place) = Place::with_room(4 * LARGE * names.len() as u64) else {
        assert!(std::env::var_os("CI").is_none(), "CI must have room for large wheels");
        return println!("skipped: no room for large wheels");
    };
    place.write("project/app.py", "import big0\n");
    for (name, method) in names.iter().zip([Method::Stored, Method::Deflated].into_iter().cycle()) {
        let mut wheel = Wheel::begin(&place.path(), name);
        wheel.add(&format!("{name}/__init__.py"), b"x = 1\n");
        wheel.add_zeros(&format!("{name}/data.bin"), method, LARGE);
        wheel.finish();
    }
    lock(&place.path().join("pylock.big.toml"), &names);
    let ours = wheelbarrow(&place.path());
    let build = ["build", "project", "--lock", "pylock.big.toml", "-o", "site.zip", "--cache-dir", "cache"];
    if !is_built(&capped(&place, &ours, &build)) {
        return;
    }
    for words in [
        &build[..],
        &["audit", "site.zip"],
        &["install", "site.zip", "-d", "dest", "--without-pip"],
        &["verify", "dest"],
        &["verify", "site.zip"],
    ] {
        let said = capped(&place, &ours, words);
        assert_eq!(said.code, 0, "{}", said.all());
    }
}

fn torture() -> bool {
    std::env::var_os("WHEELBARROW_TORTURE").is_some()
}

#[test]
fn a_member_larger_than_memory_streams() {
    story(Method::Deflated, LARGE, torture());
}

/// What does not compress is read where it stands.
#[test]
fn a_stored_member_larger_than_memory_streams() {
    story(Method::Stored, if torture() { LARGE } else { SMALLER }, true);
}
