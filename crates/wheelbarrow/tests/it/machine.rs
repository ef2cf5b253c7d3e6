//! What the building machine has and lacks: libraries beside its system, a home, directories with odd names.

use std::path::Path;
use std::process::Command;

use wheelbarrow_artifact::manifest::{MemberKind, Sha256};
use wheelbarrow_artifact::zip::{DosTime, ZipWriter};

use crate::site::{cache, is_built};
use crate::support::{Place, wheelbarrow};

/// Writes a wheel of version 1 with one file.
fn wheel(path: &Path, name: &str, file: (&str, &[u8])) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    let mut zip =
        ZipWriter::without_shebang(fs_err::File::create(path).unwrap().into_parts().0, DosTime::FIRST);
    let info = format!("{name}-1.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1\n");
    let members = [
        (file.0.to_owned(), file.1),
        (format!("{info}/METADATA"), metadata.as_bytes()),
        (format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"),
    ];
    let mut record = format!("{info}/RECORD,,\n");
    for (path, bytes) in &members {
        zip.add(path, MemberKind::File, bytes).unwrap();
        record += &format!("{path},{},{}\n", Sha256::of(bytes).to_record(), bytes.len());
    }
    zip.add(&format!("{info}/RECORD"), MemberKind::File, record.as_bytes()).unwrap();
    zip.finish().unwrap();
}

#[test]
fn a_library_of_this_machine_is_one_for_this_machine() {
    let place = Place::with(&[
        ("lib.c", "void probe(void) {}"),
        ("module.c", "void probe(void); int PyInit_local(void) { probe(); return 0; }"),
        ("lib/empty", ""),
        ("project/requirements.txt", "local==1\n"),
        ("project/wheelbarrow.toml", "name = 'site'\nexclude = ['x']\n"),
    ]);
    let compile = |arguments: &[&str]| {
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-nostdlib"]).args(arguments).current_dir(place.path());
        command.status().is_ok_and(|status| status.success())
    };
    if !compile(&["-o", "lib/libwbprobe.so.1", "lib.c", "-Wl,-soname,libwbprobe.so.1"])
        || !compile(&["-o", "local.so", "module.c", "lib/libwbprobe.so.1"])
    {
        assert!(std::env::var_os("CI").is_none(), "CI must have a C compiler");
        println!("skipped: no C compiler");
        return;
    }
    let module = fs_err::read(place.path().join("local.so")).unwrap();
    let filename = format!("local-1-py3-none-manylinux_2_17_{}.whl", std::env::consts::ARCH);
    wheel(&place.path().join("wheels").join(filename), "local", ("local.so", &module));
    let build = |libraries: &str| {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "-o", "site.zip", "--find-links", "wheels", "--bytecode", "never"]);
        place.finish(
            command.arg("--cache-dir").arg(cache()).env("LD_LIBRARY_PATH", place.path().join(libraries)),
        )
    };
    let said = build("none");
    if said.code == 9 || said.err.contains("uv was not found") {
        return;
    }
    assert!(said.code == 8 && said.err.contains("add it to `libraries` of the [[target]]"), "{}", said.all());
    assert_eq!(said.err.matches("--allow").count(), 1, "one spelling of it: {}", said.all());

    let said = build("lib");
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.err.contains("libwbprobe.so.1, which this machine has"), "{}", said.all());
    let inspected = place.run(&["inspect", "--json", "site.zip"]).out;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["manifest"]["targets"][0]["needs"]["libraries"][0], "libwbprobe.so.1");
    for (libraries, code) in [("none", 4), ("lib", 0)] {
        let mut install = Command::new(place.path().join("site.zip"));
        install.args(["-d", "dest", "--check"]).env("LD_LIBRARY_PATH", place.path().join(libraries));
        let said = place.finish(install.current_dir(place.path()));
        assert_eq!(said.code, code, "{libraries}: {}", said.all());
    }
}

#[test]
fn neither_a_home_nor_a_plain_name_is_needed() {
    let place = Place::with(&[
        ("project/requirements.txt", "local==1\n"),
        ("project/wheelbarrow.toml", "name = 'site'\nexclude = ['x']\n"),
    ]);
    for links in ["a,b", "a#b", "a b"] {
        wheel(&place.path().join(links).join("local-1-py3-none-any.whl"), "local", ("local.py", b""));
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "-o", "site.zip", "--bytecode", "never", "--cache-dir", "cache"]);
        command.args(["--find-links", links]).env("HOME", "/proc/nowhere").env_remove("XDG_CACHE_HOME");
        let said = place.finish(&mut command);
        if !is_built(&said) {
            return;
        }
        assert!(place.path().join("cache/uv").is_dir());
        fs_err::remove_file(place.path().join("pylock.site.toml")).unwrap();
    }
}

/// pyenv has a program of that name for every version, whichever is chosen.
#[test]
fn a_shim_of_pyenv_leads_to_the_version_in_its_name() {
    let place = Place::with(&[
        ("project/requirements.txt", ""),
        ("project/a.py", ""),
        ("project/wheelbarrow.toml", "name = 'site'\n"),
    ]);
    let code = "import os, sys; print(os.path.realpath(sys.executable), '%d.%d' % sys.version_info[:2])";
    let real = place.finish(Command::new("python3").args(["-c", code]));
    let (program, minor) = real.out.trim_end().rsplit_once(' ').unwrap();
    let name = format!("python{minor}");
    for shim in [name.as_str(), "python3.98"] {
        let text = format!("#!/bin/sh\necho 'pyenv: {shim}: command not found' >&2\nexit 127\n");
        place.write(&format!(".pyenv/shims/{shim}"), &text);
        let path = place.path().join(".pyenv/shims").join(shim);
        fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let version = place.path().join(format!(".pyenv/versions/{minor}.99/bin"));
    fs_err::create_dir_all(&version).unwrap();
    std::os::unix::fs::symlink(program, version.join("python")).unwrap();

    let build = |python: &str| {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "--dry-run", "--python", python, "--cache-dir"]).arg(cache());
        command.env("PYENV_ROOT", place.path().join(".pyenv"));
        place.finish(
            command.env("PATH", format!("{}:/usr/bin:/bin", place.path().join(".pyenv/shims").display())),
        )
    };
    let said = build(&name);
    if !is_built(&said) {
        return;
    }
    assert!(said.out.contains(&format!("; Python {minor})")), "{}", said.all());
    let said = build("python3.98");
    assert_eq!(said.code, 8, "{}", said.all());
    assert!(
        said.err.contains("/.pyenv/shims/python3.98 does not run as a Python 3: pyenv: "),
        "{}",
        said.all()
    );
    assert!(
        said.err.contains("hint: give the path of a CPython from 3.6 on, or a version"),
        "{}",
        said.all()
    );
}

/// Ignores SIGCHLD, so that no child leaves a status, and becomes the command.
const IGNORING: &str = "
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_parent_that_ignores_its_children_changes_no_build() {
    let place = Place::with(&[
        ("project/requirements.txt", "local==1\n"),
        ("project/wheelbarrow.toml", "name = 'site'\n[release]\ncheck = false\n"),
        ("project/a.py", ""),
    ]);
    wheel(&place.path().join("wheels/local-1-py3-none-any.whl"), "local", ("local.py", b""));
    let ignoring = |program: &Path, words: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-c", IGNORING]).arg(program).args(words).current_dir(place.path());
        command
    };
    let ours = wheelbarrow(&place.path());
    let words = ["build", "project", "-o", "site.zip", "--find-links", "wheels", "--cache-dir"];
    let mut command = ignoring(ours.get_program().as_ref(), &words);
    if let Some(uv) = std::env::var_os("WHEELBARROW_UV") {
        command.env("UV", uv);
    }
    let said = place.finish(command.arg(cache()));
    if !is_built(&said) {
        return;
    }
    let artifact = place.path().join("site.zip");
    for way in [&[][..], &["--bootstrap"]] {
        let install = |words: &[&str]| place.finish(&mut ignoring(&artifact, &[words, way].concat()));
        let said = install(&["-d", "dest", "--check"]);
        assert_eq!(said.code, 0, "{way:?}: {}", said.all());
        let said = install(&["-d", "nowhere/dest", "--check"]);
        assert!(said.code == 5 && said.out.contains("does not exist"), "{way:?}: {}", said.all());
        let said = install(&["-d", "dest"]);
        assert!(said.code == 0 && place.path().join("dest/venv").exists(), "{way:?}: {}", said.all());
        assert_eq!(install(&["-d", "dest"]).code, 5, "{way:?}");
        fs_err::remove_dir_all(place.path().join("dest")).unwrap();
    }
}
