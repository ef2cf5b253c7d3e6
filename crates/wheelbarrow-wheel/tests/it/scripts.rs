//! The first lines of scripts, read by a real kernel, shell and Python.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use wheelbarrow_wheel::script::rewrite_shebang;

#[test]
fn scripts_run_from_any_path() {
    let system = Path::new("/usr/bin/python3");
    if !system.exists() {
        println!("skipped: there is no {}", system.display());
        return;
    }
    for name in [
        "plain",
        "with space",
        "it's",
        "a 'b' \"c\" $HOME `d` é",
        r"a \x \N \u \U \'s \\ b\",
        &"long".repeat(40),
        &"lo ng'".repeat(30),
        &r"lo\ng".repeat(30),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join(name);
        fs_err::create_dir(&bin).unwrap();
        let python = bin.join("python");
        fs_err::os::unix::fs::symlink(system, &python).unwrap();
        let source = b"#!python -E\r\n# -*- coding: utf-8 -*-\nimport sys\nprint(sys.argv[1:], sys.flags.ignore_environment)\n";
        let script = bin.join("script");
        fs_err::write(&script, rewrite_shebang(source, python.to_str().unwrap()).unwrap()).unwrap();
        fs_err::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(&script).args(["a b", "'\"$x"]).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "['a b', '\\'\"$x'] 1\n", "{name}");
        // Python reads what the shell reads.
        let output = Command::new(&python).args(["-W", "error"]).arg(&script).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "[] 0\n", "{name}");
    }
}
