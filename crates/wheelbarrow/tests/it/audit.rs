//! Whether it will run there: refused at build, let pass with a reason, refused on the server all the same. And what an
//! artifact is made of.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::support::{Place, Said, wheelbarrow};

/// Shared by the tests, so that files are fetched once.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// Makes a wheel whose module needs a function of this library; of glibc one of 2.99, which no system has. Says whether it could.
fn needy_wheel(place: &Place, library: &str) -> bool {
    place.write("new.c", "void new_one(void) {}");
    let version = if library == "libc.so.6" { "GLIBC_2.99" } else { "OF_IT" };
    place.write("map", &format!("{version} {{ new_one; }};"));
    place.write("module.c", "void new_one(void); int PyInit_needy(void) { new_one(); return 0; }");
    let compile = |arguments: &[&str]| {
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-nostdlib"]).args(arguments).current_dir(place.path());
        command.status()
    };
    let soname = format!("-Wl,-soname,{library}");
    let Ok(done) = compile(&["-o", "libfake.so", "new.c", &soname, "-Wl,--version-script=map"]) else {
        assert!(std::env::var_os("CI").is_none(), "CI must have a C compiler");
        println!("skipped: no C compiler");
        return false;
    };
    assert!(done.success() && compile(&["-o", "m.so", "module.c", "-L.", "-lfake"]).unwrap().success());
    place.write("wheels/empty", "");
    place.finish(python().args(["-c", MAKE_WHEEL]).current_dir(place.path())).code == 0
}

/// Any zip tool will do, but for ours, which puts a line in front.
const MAKE_WHEEL: &str = "
import base64, hashlib, platform, sys, zipfile
members = {
    'needy.so': open('m.so', 'rb').read(),
    'needy-1.dist-info/METADATA': b'Metadata-Version: 2.4\\nName: needy\\nVersion: 1\\nLicense-Expression: MIT\\n',
    'needy-1.dist-info/WHEEL': b'Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\n',
}
def row(path, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')
    return '%s,sha256=%s,%d\\n' % (path, digest, len(data))
record = ''.join(row(path, data) for path, data in members.items()) + 'needy-1.dist-info/RECORD,,\\n'
members['needy-1.dist-info/RECORD'] = record.encode()
with zipfile.ZipFile('wheels/needy-1-py3-none-manylinux_2_17_%s.whl' % platform.machine(), 'w') as wheel:
    for path, data in members.items():
        wheel.writestr(path, data)
";

fn build(place: &Place, arguments: &[&str]) -> Said {
    let mut command = wheelbarrow(&place.path());
    command
        .args(["build", "project", "--find-links", "wheels", "--bytecode", "never", "--cache-dir"])
        .arg(cache());
    place.finish(command.args(arguments))
}

fn unavailable(said: &Said) -> bool {
    let unavailable =
        said.err.contains("uv was not found") || said.code == 9 || said.err.contains("Failed to fetch");
    if unavailable {
        assert!(std::env::var_os("CI").is_none(), "CI must have uv and an index: {}", said.err);
        println!("skipped: {}", said.err.lines().next().unwrap_or_default());
    }
    unavailable
}

/// With the version of this machine's glibc left out.
fn anywhere(text: &str) -> String {
    let mut parts = text.split("; the target has 2.");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|rest| rest.trim_start_matches(|character: char| character.is_ascii_digit()));
    let text = rest.fold(first, |text, rest| format!("{text}; the target has 2.N{rest}"));
    let lines = text.lines().filter(|line| !line.starts_with("note: locked") && !line.starts_with("  for "));
    lines.collect::<Vec<_>>().join("\n")
}

const FILES: [(&str, &str); 3] = [
    ("project/requirements.txt", "needy==1\nasgiref==3.8.1\nmarkupsafe==3.0.2\ntyping-extensions==4.12.2\n"),
    ("project/manage.py", "import needy\n"),
    ("project/wheelbarrow.toml", "name = 'site'\nversion = '1'\n"),
];

#[test]
fn missing_libraries_are_refused_at_build_and_install() {
    let place = Place::with(&FILES);
    if !needy_wheel(&place, "libc.so.6") {
        return;
    }
    let said = build(&place, &[]);
    if unavailable(&said) {
        return;
    }
    insta::assert_snapshot!(anywhere(&said.all()), @r"
    exit code: 8
    note: dependencies: project/requirements.txt
    error: the audit found errors:
        elf-glibc:needy  needy.so needs glibc 2.99; the target has 2.N
          use another version, build the wheel in a container of the target's system, or name a newer target
    hint: `--allow elf-glibc:needy=REASON` accepts a finding; the rules are in https://wheelbarrow.github.io/wheelbarrow/reference/audit/
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-8
    ");
    assert!(!place.path().join("site-1.zip").exists());
    assert_eq!(build(&place, &["--allow", "elf-glibc"]).code, 2);

    let said = build(&place, &["--allow", "elf-glibc:needy=the servers are newer", "--allow", "yanked:x"]);
    assert!(
        said.code == 0 && said.err.contains("the allowance yanked:x matches no finding"),
        "{}",
        said.all()
    );
    let note = "note: yanked:x is allowed without a reason: `yanked:x=REASON` records one\n";
    assert!(said.err.contains(note) && said.err.matches("without a reason").count() == 1, "{}", said.all());
    let table = place.run(&["inspect", "site-1.zip"]).out;
    let told: Vec<_> = table.lines().filter(|line| line.starts_with(['a', 'n'])).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    needs        glibc 2.99
    allowed      elf-glibc:needy, the servers are newer
    ");
    let said = place.run(&["audit", "site-1.zip"]);
    assert!(said.code == 0 && said.out.contains("(the servers are newer)"), "{}", said.all());
    let said = place.run(&["audit", "--json", "--target", "el7:2.7", "site-1.zip"]);
    assert_eq!(said.code, 2, "{}", said.all());

    let artifact = place.path().join("site-1.zip");
    for way in [&[][..], &["--bootstrap"], &["--check"], &["--check", "--bootstrap"]] {
        let mut command = Command::new(&artifact);
        let said = place.finish(command.args(["-d", "dest"]).args(way).current_dir(place.path()));
        assert_eq!(said.code, 4, "{way:?}: {}", said.all());
        let wheel =
            format!("needy-1-py3-none-manylinux_2_17_{}.whl needs glibc 2.99", std::env::consts::ARCH);
        assert!(said.all().contains(&wheel), "{way:?}: {}", said.all());
        assert!(!place.path().join("dest").exists(), "{way:?}");
    }
    bill(&place);
}

/// A manifest does not name what the settings promise, so an audit for a target names the way.
#[test]
fn libraries_of_a_target_pass_the_build_and_get_a_hint_in_an_audit() {
    let target =
        "name = 'site'\nversion = '1'\n[[target]]\ntarget = 'debian-11'\nlibraries = ['libpq.so.5']\n";
    let mut files = FILES;
    (files[0].1, files[2].1) = ("needy==1\n", target);
    let place = Place::with(&files);
    if !needy_wheel(&place, "libpq.so.5") {
        return;
    }
    let said = build(&place, &[]);
    if unavailable(&said) {
        return;
    }
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(place.run(&["audit", "site-1.zip"]).code, 0);
    let said = place.run(&["audit", "site-1.zip", "--target", "debian-11"]);
    let hint = "hint: elf-library: the build accepted it, and each install checks the server for it; if the servers of this \
                target have it: `--allow elf-library:libpq.so.5=REASON`\n";
    assert!(said.code == 8 && said.out.contains(hint), "{}", said.all());
    let allow =
        ["audit", "site-1.zip", "--target", "debian-11", "--allow", "elf-library:libpq.so.5=they have it"];
    assert_eq!(place.run(&allow).code, 0);
}

/// The SBOM is valid, and says what is in the artifact.
fn bill(place: &Place) {
    let said = place.run(&["sbom", "site-1.zip"]);
    assert_eq!(place.run(&["sbom", "site-1.zip", "-o", "bill.json"]).code, 0);
    assert_eq!(said.out, place.read("bill.json"));
    let bill: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let components = bill["components"].as_array().unwrap();
    let find = |name: &str| components.iter().find(|component| component["name"] == name).unwrap();
    assert_eq!(find("asgiref")["purl"], "pkg:pypi/asgiref@3.8.1");
    assert_eq!(find("needy")["licenses"][0]["expression"], "MIT");
    assert!(find("pip")["hashes"][0]["content"].is_string());
    assert_eq!(bill["metadata"]["component"]["name"], "site");
    let dependencies = bill["dependencies"].as_array().unwrap();
    assert_eq!(dependencies.len(), components.len() + 1);

    let Some(validator) = tools("cyclonedx-python-lib[json-validation]==11.*") else { return };
    let code = "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n\
                error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\nsys.exit(error and str(error))\n";
    let mut command = python();
    command.args(["-c", code, "bill.json"]).env("PYTHONPATH", validator).current_dir(place.path());
    let said = place.finish(&mut command);
    assert_eq!(said.code, 0, "{}", said.all());
}

/// A directory with packages of the index, for `PYTHONPATH`; nothing where there is no index. Made once.
fn tools(requirement: &str) -> Option<PathBuf> {
    let name: String = requirement.chars().filter(char::is_ascii_alphanumeric).collect();
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if tools.is_dir() {
        return Some(tools);
    }
    let temporary = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let new = temporary.path().join("packages");
    let mut command = python();
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
    let done = command.arg(&new).arg(requirement).output().unwrap();
    if !done.status.success() {
        assert!(std::env::var_os("CI").is_none(), "{}", String::from_utf8_lossy(&done.stderr));
        println!("skipped: {requirement} cannot be had");
        return None;
    }
    // Another test may have been faster.
    let _ = fs::rename(&new, &tools);
    Some(tools)
}

/// `python3` without what this machine is used to.
fn python() -> Command {
    let mut command = Command::new("python3");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let kept = ["PIP_CERT", "PIP_INDEX_URL"].contains(&text.as_ref());
        if !kept && (text.starts_with("PIP_") || text.starts_with("PYTHON")) {
            command.env_remove(&name);
        }
    }
    command
}
