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
