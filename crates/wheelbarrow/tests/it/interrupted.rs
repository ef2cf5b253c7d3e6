//! A build that is interrupted or killed leaves what was there before.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::Signal;

use crate::site::{cache, is_built};
use crate::support::{Place, wheelbarrow};

/// Bytes of the files that are packed: enough to be still at it when the signal comes.
const LARGE: u64 = 1 << 30;

fn build(place: &Place) -> Command {
    let mut command = wheelbarrow(&place.path());
    command.args(["build", "project", "-o", "project/site.zip", "--bytecode", "never", "--cache-dir"]);
    command.arg(cache());
    command
}

/// Waits until the process writes a file in `directory` that has another name than the final one, or none.
fn wait_for_writing(process: u32, directory: &Path) {
    let begun = Instant::now();
    let is_of_the_build = |path: &Path| {
        path.starts_with(directory) && !path.ends_with("data.bin") && path != directory && {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with('#') || name.starts_with(".site.zip.")
        }
    };
    loop {
        let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        if open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| is_of_the_build(&path)) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came to write its file");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_build_that_is_stopped_leaves_what_was_there() {
    let place = Place::with(&[
        ("project/requirements.txt", ""),
        ("project/a.py", ""),
        ("project/data.bin", ""),
        ("project/wheelbarrow.toml", "name = 'site'\n[release]\ncheck = false\n"),
    ]);
    if !is_built(&place.finish(&mut build(&place))) {
        return;
    }
    let project = place.path().join("project").canonicalize().unwrap();
    let names = || {
        let names = fs::read_dir(&project).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let (before, artifact) = (names(), fs::read(project.join("site.zip")).unwrap());
    let resize = |bytes: u64| {
        let file = fs::OpenOptions::new().write(true).open(project.join("data.bin")).unwrap();
        file.set_len(bytes).unwrap();
    };
    resize(LARGE);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::KILL, 137)] {
        let mut command = build(&place);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for_writing(child.id(), &project);
        std::thread::sleep(Duration::from_millis(20));
        wheelbarrow_testing::kill(child.id(), signal);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // As a shell has it, whether the program ends itself or the signal ends it.
        let ended = output.status.code().or_else(|| Some(128 + output.status.signal()?));
        assert_eq!(ended, Some(code), "{signal:?}: {said}");
        assert!(!said.contains("panicked"), "{signal:?}: {said}");
        let left: Vec<_> = names().into_iter().filter(|name| !before.contains(name)).collect();
        // Where files need a name from the start, a run that ends at once leaves that.
        let may_be = |name: &String| name.starts_with(".site.zip.wheelbarrow-");
        assert!(left.iter().all(may_be), "{signal:?}: {left:?}");
        assert_eq!(fs::read(project.join("site.zip")).unwrap(), artifact, "{signal:?}");
    }

    // What a killed run may leave goes with the next build, and is not packed.
    resize(0);
    fs::write(project.join(".site.zip.wheelbarrow-0123abcd"), "PK").unwrap();
    let said = place.finish(&mut build(&place));
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(names(), before);
    assert_eq!(fs::read(project.join("site.zip")).unwrap(), artifact);
}
