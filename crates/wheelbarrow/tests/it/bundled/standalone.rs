//! A small standalone Python, made of an interpreter that is here and laid out as python-build-standalone does; artifacts
//! that bundle it. Both are made once, for all tests.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use rustix::fs::FlockOperation;
use wheelbarrow_artifact::manifest::Sha256;

use crate::site::{cache, is_built};
use crate::support::{Place, wheelbarrow};

/// Prints the files of the modules that builds, installs and these tests import, and no others.
const MODULES: &str = "
import glob, os, sys, sysconfig, venv
import argparse, compileall, ctypes, encodings.ascii, encodings.idna, encodings.latin_1, importlib.metadata, json, logging, platform, runpy
import subprocess, tempfile, typing, zipfile
sysconfig.get_config_vars()
for module in list(sys.modules.values()):
    file = getattr(module, '__file__', None)
    if file and file.startswith(sys.prefix):
        print(file)
for file in glob.glob(os.path.dirname(venv.__file__) + '/scripts/*/*'):
    print(file)
";

/// The directory of a Python of this minor version; none where that is not here.
pub(super) fn tree(minor: u32) -> Option<PathBuf> {
    let Some(from) = interpreter(minor) else {
        assert!(std::env::var_os("CI").is_none(), "CI must have Python 3.{minor}");
        println!("skipped: there is no Python 3.{minor} below ~/.pyenv/versions");
        return None;
    };
    // One with other modules is another.
    let modules = &Sha256::of(MODULES.as_bytes()).to_string()[..8];
    Some(once(&format!("standalone-3.{minor}-{modules}"), |place| make(&from, minor, place)))
}

/// An artifact of a site with this version, which bundles that Python.
pub(super) fn artifact(minor: u32, version: &str) -> Option<PathBuf> {
    let tree = tree(minor)?;
    let changed = fs::metadata(env!("CARGO_BIN_EXE_wheelbarrow")).unwrap().modified().unwrap();
    let stamp = changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let made = once(&format!("bundled-3.{minor}-{version}-{stamp}"), |place| {
        let project = Place::with(&[("project/app.py", &format!("VERSION = {version:?}\n"))]);
        project.write("project/requirements.txt", "");
        let settings = format!("name = 'site'\nversion = '{version}'\n[release]\ncheck = false\n");
        project.write("project/wheelbarrow.toml", &settings);
        let mut command = wheelbarrow(&project.path());
        command.args(["build", "project", "--with-python"]).arg(&tree).arg("--output");
        command.arg(place.join("site.zip")).arg("--cache-dir").arg(cache());
        if !is_built(&project.finish(&mut command)) {
            fs::write(place.join("skipped"), "").unwrap();
        }
    });
    Some(made.join("site.zip")).filter(|path| path.exists())
}

/// What `make` makes in a directory of this name, for all processes that run tests, one of which makes it.
fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let top = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = top.join(name);
    let kind = name.split_at(name.rfind('-').unwrap_or(name.len())).0;
    let lock = fs::File::create(top.join(format!("{kind}.lock"))).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    if !place.exists() {
        for entry in fs::read_dir(top).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("{kind}-")) && kind.contains('-') {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let work = tempfile::tempdir_in(top).unwrap();
        fs::set_permissions(work.path(), PermissionsExt::from_mode(0o755)).unwrap();
        make(work.path());
        fs::rename(work.keep(), &place).unwrap();
    }
    place
}

fn interpreter(minor: u32) -> Option<PathBuf> {
    let versions = Path::new(&std::env::var_os("HOME")?).join(".pyenv/versions");
    let mut names = fs::read_dir(versions).ok()?.flatten().map(|entry| entry.path());
    names.find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("3.{minor}.")))
    })
}

/// `PLACE/bin/python3.X` looks for its library beside itself, and `PLACE/lib/python3.X` is a part of the whole.
fn make(from: &Path, minor: u32, place: &Path) {
    let name = format!("python3.{minor}");
    for directory in ["bin", "lib"] {
        fs::create_dir(place.join(directory)).unwrap();
    }
    let program = fs::read(from.join("bin").join(&name)).unwrap();
    let program = relocated(program, &format!("{}/lib\0", from.display()));
    fs::write(place.join("bin").join(&name), program).unwrap();
    fs::set_permissions(place.join("bin").join(&name), PermissionsExt::from_mode(0o755)).unwrap();
    symlink(&name, place.join("bin/python3")).unwrap();
    for entry in fs::read_dir(from.join("lib")).unwrap().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if file.starts_with("libpython3.") && file.ends_with(".so.1.0") {
            let copy = place.join("lib").join(file);
            fs::copy(entry.path(), &copy).unwrap();
            // Without symbols for debugging it is a quarter as large.
            let _ = Command::new("strip").arg("--strip-unneeded").arg(copy).status();
        }
    }
    let output = Command::new(from.join("bin").join(&name)).args(["-I", "-c", MODULES]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in String::from_utf8(output.stdout).unwrap().lines().map(Path::new) {
        let to = place.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
}

/// The path of a library's directory in a program, exchanged for one beside the program.
fn relocated(mut program: Vec<u8>, directory: &str) -> Vec<u8> {
    let found = program.windows(directory.len()).position(|window| window == directory.as_bytes());
    if let Some(found) = found {
        let beside = b"$ORIGIN/../lib";
        program[found..found + directory.len()].fill(0);
        program[found..found + beside.len()].copy_from_slice(beside);
    }
    program
}
