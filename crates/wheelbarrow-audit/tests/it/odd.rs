//! Wheels with one thing wrong each.

use crate::support::{Place, report, told};

const OLD: &str = "3.12@manylinux_2_17_x86_64";
const NEW: &str = "3.12@manylinux_2_41_x86_64";
const MODULE: &str = "int PyInit_m(void) { return 0; }";

/// One file in a wheel for CPython 3.12, and what is said of it.
fn judged(place: &Place, file: &[u8], target: &str) -> String {
    told(&[place.wheel("odd-1-cp312-cp312-manylinux_2_17_x86_64.whl", &[("m.so", file)])], target)
}

fn is_x86_64() -> bool {
    let here = cfg!(target_arch = "x86_64");
    if !here {
        println!("skipped: not on x86_64");
    }
    here
}

#[test]
fn wheels_for_another_machine_are_found() {
    let place = Place::new();
    let Some(mut module) = place.library(MODULE, &["-nostdlib"]).filter(|_| is_x86_64()) else { return };
    assert_eq!(judged(&place, &module, OLD), "");
    // e_machine, EM_AARCH64.
    module[18] = 183;
    insta::assert_snapshot!(judged(&place, &module, OLD), @"error elf-machine:odd m.so is for aarch64; the target is x86_64");
    let pure = place.wheel("odd-1-py3-none-any.whl", &[("m.so", &module)]);
    insta::assert_snapshot!(told(&[pure], OLD), @r"
    error elf-machine:odd m.so is for aarch64; the target is x86_64
    warning tag:odd its name is for any system, but it contains a program for aarch64
    ");
    let cross = place.compile("aarch64-linux-gnu-gcc", MODULE, &["-nostdlib"]);
    let both = cross.map(|cross| {
        let own = place.library(MODULE, &["-nostdlib"]).unwrap();
        let files = [("m.so", own.as_slice()), ("other/m.so", cross.as_slice())];
        told(&[place.wheel("odd-1-cp312-cp312-manylinux_2_17_x86_64.whl", &files)], OLD)
    });
    if let Some(both) = both {
        insta::assert_snapshot!(both, @"warning elf-machine:odd m.so is for aarch64; the target is x86_64");
    }
}

#[test]
fn a_c_library_that_is_too_new_or_another() {
    let place = Place::new();
    fs_err::write(place.path("map"), "GLIBC_2.2.5 { old; };\nGLIBC_2.38 { new_one; };\n").unwrap();
    let versions = "-Wl,--version-script=map";
    let code = "void old(void) {} void new_one(void) {}";
    let Some(libc) = place.library(code, &["-nostdlib", "-Wl,-soname,libc.so.6", versions]) else { return };
    fs_err::write(place.path("libfake.so"), libc).unwrap();
    let uses = "void new_one(void); int PyInit_m(void) { new_one(); return 0; }";
    let Some(module) = place.library(uses, &["-nostdlib", "-L.", "-lfake"]).filter(|_| is_x86_64()) else {
        return;
    };
    insta::assert_snapshot!(judged(&place, &module, OLD), @"error elf-glibc:odd m.so needs glibc 2.38; the target has 2.17");
    assert_eq!(judged(&place, &module, NEW), "");
    let wheel = place.wheel("odd-1-py3-none-linux_x86_64.whl", &[("m.so", &module)]);
    insta::assert_snapshot!(told(std::slice::from_ref(&wheel), "alpine-3.20"), @"error elf-libc:odd m.so is made for glibc; the target has musl");
    let report = report(&[wheel], OLD, &["elf-glibc:odd=they are newer"]);
    assert!(report.is_ok() && report.needs.glibc.as_deref() == Some("2.38"), "{report:?}");
    assert_eq!(report.findings[0].allowed.as_deref(), Some("they are newer"));

    place.stub("musl", "libc.musl-x86_64.so.1", "void f(void) {}").unwrap();
    let uses = "void f(void); int PyInit_m(void) { f(); return 0; }";
    let module = place.library(uses, &["-nostdlib", "-L.", "-lmusl"]).unwrap();
    insta::assert_snapshot!(judged(&place, &module, OLD), @"error elf-libc:odd m.so is made for musl; the target has glibc");
}

#[test]
fn a_compiler_that_is_too_new() {
    let place = Place::new();
    fs_err::write(place.path("map"), "GLIBCXX_3.4.25 { old; };\nGLIBCXX_3.4.26 { new_one; };\n").unwrap();
    let versions = "-Wl,--version-script=map";
    let code = "void old(void) {} void new_one(void) {}";
    let flags = ["-nostdlib", "-Wl,-soname,libstdc++.so.6", versions];
    let Some(library) = place.library(code, &flags).filter(|_| is_x86_64()) else { return };
    fs_err::write(place.path("libfake.so"), &library).unwrap();
    let module = |function: &str| {
        let uses = format!("void {function}(void); int PyInit_m(void) {{ {function}(); return 0; }}");
        place.library(&uses, &["-nostdlib", "-L.", "-lfake"]).unwrap()
    };
    let (old, new) = (module("old"), module("new_one"));
    // RHEL 8 has more than every system with its glibc has.
    assert_eq!(judged(&place, &old, "el8:3.12"), "");
    insta::assert_snapshot!(judged(&place, &old, "3.12@manylinux_2_28_x86_64"), @"error elf-symbol:odd m.so: GLIBCXX_3.4.25 is needed; the target promises GLIBCXX_3.4.24 at most");
    insta::assert_snapshot!(judged(&place, &new, "el8:3.12"), @"error elf-symbol:odd m.so: GLIBCXX_3.4.26 is needed; the target promises GLIBCXX_3.4.25 at most");
    assert_eq!(judged(&place, &new, "debian-11:3.12"), "");
    let name = "odd-1-cp312-cp312-manylinux_2_17_x86_64.whl";
    let carried = place.wheel(name, &[("m.so", &new), ("odd.libs/libstdc++.so.6", &library)]);
    assert_eq!(told(&[carried], "el8:3.12"), "", "its own libstdc++");
}

#[test]
fn missing_libraries_are_found() {
    let place = Place::new();
    let code = "void f(void) {}";
    if place.stub("nobody", "libnobody-has.so.7", code).is_none() || !is_x86_64() {
        return;
    }
    let uses = "void f(void); int PyInit_m(void) { f(); return 0; }";
    let module = place.library(uses, &["-nostdlib", "-L.", "-lnobody"]).unwrap();
    insta::assert_snapshot!(judged(&place, &module, OLD), @"error elf-library:odd m.so needs libnobody-has.so.7, which no wheel contains and the target does not promise");
    let name = "odd-1-cp312-cp312-manylinux_2_17_x86_64.whl";
    for library in ["odd.libs/libnobody-has.so.7", "odd/other-name.so"] {
        let bytes = fs_err::read(place.path("libnobody.so")).unwrap();
        let carried = place.wheel(name, &[("m.so", &module), (library, &bytes)]);
        assert_eq!(told(&[carried], OLD), "", "carried as {library}");
    }
    let wheel = place.wheel(name, &[("m.so", &module)]);
    let needs = |allow: &[&str]| report(std::slice::from_ref(&wheel), OLD, allow).needs.libraries;
    assert_eq!(needs(&[]), ["libnobody-has.so.7"]);
    assert!(
        needs(&["elf-library:libnobody-has.so.7=never loaded"]).is_empty(),
        "not looked for on the server"
    );

    place.stub("gl", "libGL.so.1", code).unwrap();
    let module = place.library(uses, &["-nostdlib", "-L.", "-lgl"]).unwrap();
    assert_eq!(judged(&place, &module, "3.12@manylinux_2_36_x86_64"), "", "promised by PEP 600");
    insta::assert_snapshot!(judged(&place, &module, "debian-12:3.12"), @"error elf-library:odd m.so needs libGL.so.1, which no wheel contains and the target does not promise");
}

#[test]
fn directories_and_stacks() {
    let place = Place::new();
    let flags = ["-nostdlib", "-Wl,-rpath,/home/builder/lib:$ORIGIN/../odd.libs:"];
    let Some(module) = place.library(MODULE, &flags).filter(|_| is_x86_64()) else { return };
    insta::assert_snapshot!(judged(&place, &module, OLD), @r"
    warning elf-rpath:odd m.so looks for libraries in the working directory of the process
    warning elf-rpath:odd m.so looks for libraries in /home/builder/lib, a directory of the build machine
    ");
    let module = place.library(MODULE, &["-nostdlib", "-z", "execstack"]).unwrap();
    insta::assert_snapshot!(judged(&place, &module, OLD), @"warning elf-execstack:odd m.so wants an executable stack, which SELinux and glibc from 2.41 on refuse");
    insta::assert_snapshot!(judged(&place, &module, NEW), @"error elf-execstack:odd m.so wants an executable stack, which glibc refuses from 2.41 on");
}

#[test]
fn symbols_missing_in_python_are_found() {
    let place = Place::new();
    let module = |symbol: &str, flags: &[&str]| {
        let code = format!("int {symbol}(void); int PyInit_m(void) {{ return {symbol}(); }}");
        place.library(&code, &[&["-nostdlib"], flags].concat())
    };
    let Some(newer) = module("PyDict_GetItemRef", &[]).filter(|_| is_x86_64()) else { return };
    insta::assert_snapshot!(judged(&place, &newer, OLD), @"error elf-python-symbol:odd m.so uses PyDict_GetItemRef, which appeared in Python 3.13; the target is Python 3.12");
    let gone = module("PyUnicode_FromUnicode", &[]).unwrap();
    insta::assert_snapshot!(judged(&place, &gone, OLD), @"error elf-python-symbol:odd m.so uses PyUnicode_FromUnicode, which Python removed in 3.12; the target is Python 3.12");
    let unknown = module("PyNobody_HasThis", &[]).unwrap();
    insta::assert_snapshot!(judged(&place, &unknown, OLD), @"warning elf-python-symbol:odd m.so uses PyNobody_HasThis, which no Python from 3.6 to 3.15 has");
    let stable = module("PyObject_CallNoArgs", &[]).unwrap();
    let wheel = place.wheel("odd-1-cp37-abi3-manylinux_2_17_x86_64.whl", &[("m.so", &stable)]);
    insta::assert_snapshot!(told(std::slice::from_ref(&wheel), OLD), @"warning elf-python-symbol:odd m.so uses PyObject_CallNoArgs, which appeared in Python 3.9, while its name promises the stable ABI of 3.7");
    insta::assert_snapshot!(told(std::slice::from_ref(&wheel), "3.30@manylinux_2_17_x86_64"), @r"
    warning elf-python-symbol:odd m.so uses PyObject_CallNoArgs, which appeared in Python 3.9, while its name promises the stable ABI of 3.7
    warning elf-python-symbol:odd the symbols of Python 3.30 are unknown (known up to 3.15): not checked
    ");
    insta::assert_snapshot!(told(&[wheel], ""), @"error elf-python-symbol:odd m.so uses PyObject_CallNoArgs, which appeared in Python 3.9; the target is Python 3.7");

    place.stub("own", "libpython3.12.so.1.0", "int Py_Initialize(void) { return 0; }").unwrap();
    let linked = module("Py_Initialize", &["-L.", "-lown"]).unwrap();
    insta::assert_snapshot!(judged(&place, &linked, OLD), @"warning elf-libpython:odd m.so needs libpython3.12.so.1.0, which many Pythons do not have as a library");
    place.stub("own", "libpython3.1.so.1.0", "int Py_Initialize(void) { return 0; }").unwrap();
    let linked = module("Py_Initialize", &["-L.", "-lown"]).unwrap();
    insta::assert_snapshot!(judged(&place, &linked, OLD), @"error elf-libpython:odd m.so needs libpython3.1.so.1.0; the target is Python 3.12");
}

#[test]
fn broken_elf_files_are_found() {
    let place = Place::new();
    let wheel =
        place.wheel("odd-1-cp312-cp312-manylinux_2_17_x86_64.whl", &[("a.bin", b"\x7fELF and no more")]);
    let said = told(&[wheel], OLD);
    assert!(said.starts_with("warning elf-broken:odd it begins as ELF does, and cannot be read: "), "{said}");
}

#[test]
fn metadata_and_records_that_are_not_true() {
    let place = Place::new();
    let metadata = b"Metadata-Version: 2.1\nName: other\nVersion: 2\nRequires-Python: >=3.13\n";
    let liar = place.wheel("odd-1-py3-none-any.whl", &[("odd-1.dist-info/METADATA", metadata)]);
    insta::assert_snapshot!(told(&[liar], OLD), @r"
    error requires-python:odd it requires Python >=3.13; the target is Python 3.12
    error metadata:odd its METADATA has the name other
    error metadata:odd its METADATA has the version 2
    ");
    let record = b"m.py,,\ngone.py,sha256=x,1\n";
    let files: [(&str, &[u8]); 2] = [("odd-1.dist-info/RECORD", record), ("m.py", b"x")];
    insta::assert_snapshot!(told(&[place.wheel("odd-1-py3-none-any.whl", &files)], OLD), @"error record:odd its RECORD is not true: it does not list odd-1.dist-info/METADATA; it does not list odd-1.dist-info/WHEEL; it lists gone.py, which is not there; and 1 more");
    let other = place.wheel("odd-1-cp311-cp311-manylinux_2_17_x86_64.whl", &[]);
    insta::assert_snapshot!(told(&[other], OLD), @"error tag:odd it is for Python cp311, this is CPython 3.12");
}

#[test]
fn a_set_that_does_not_hold_together() {
    let place = Place::new();
    let text = "Metadata-Version: 2.1\nName: one\nVersion: 1\nRequires-Dist: two[fast]>=2\nRequires-Dist: gone; python_version < '3.13'\n\
                Requires-Dist: windows; sys_platform == 'win32'\nRequires-Dist: ???\n";
    let scripts =
        "[console_scripts]\ngood = one:main\nbad = one:other\nfar = two.cli:run\nlost = three:run\n";
    let one = place.wheel(
        "one-1-py3-none-any.whl",
        &[
            ("one-1.dist-info/METADATA", text.as_bytes()),
            ("one-1.dist-info/entry_points.txt", scripts.as_bytes()),
            ("one.py", b"def main(): pass\n"),
            ("Shared/data.txt", b"1"),
        ],
    );
    let text = "Metadata-Version: 2.1\nName: two\nVersion: 1.5\nProvides-Extra: fast\nRequires-Dist: speed; extra == 'fast'\n\
                Requires-Dist: slow; extra == 'slow'\n";
    let two = place.wheel(
        "two-1.5-py3-none-any.whl",
        &[
            ("two-1.5.dist-info/METADATA", text.as_bytes()),
            ("two/cli.py", b"def run(): pass\n"),
            ("shared/data.txt", b"2"),
            ("one.py", b"2"),
        ],
    );
    insta::assert_snapshot!(told(&[one, two.clone()], OLD), @r"
    error requirement:one it requires gone, which is not there
    error requirement:one it requires two[fast]>=2; there is 1.5
    error requirement:two it requires speed, which is not there
    error collision:one.py one-1-py3-none-any.whl and two-1.5-py3-none-any.whl both write lib/python3.12/site-packages/one.py, and not the same
    error case-clash:two one-1-py3-none-any.whl and two-1.5-py3-none-any.whl write lib/python3.12/site-packages/Shared/data.txt and lib/python3.12/site-packages/shared/data.txt: the names differ only by case
    warning metadata:one METADATA has `Requires-Dist: ???`, which cannot be read
    warning entry-point:one the script bad calls one:other, which is not in that module
    warning entry-point:one the script lost calls three, a module that no wheel has
    ");
    // One wheel alone is not asked for the others.
    let alone = told(&[two], OLD);
    assert_eq!(alone, "");
}

/// What was found out while other wheels were still fetched is what the audit would find.
#[test]
fn a_wheel_read_ahead_is_not_read_again() {
    use wheelbarrow_artifact::manifest::Sha256;
    use wheelbarrow_base::progress::Silent;
    let place = Place::new();
    let name = "odd-1-py3-none-any.whl";
    let wheel = place.wheel(name, &[("m.py", b"x"), ("odd-1.dist-info/RECORD", b"m.py,,\n")]);
    let bytes = fs_err::read(&wheel).unwrap();
    let (sha256, cache) = (Sha256::of(&bytes), place.path("cache"));
    wheelbarrow_audit::read_ahead(name, &wheel, sha256, &cache);
    let read = |cache: Option<&std::path::Path>| {
        // SAFETY: nothing writes to it.
        let map = unsafe { memmap2::Mmap::map(&fs_err::File::open(&wheel).unwrap().into_parts().0) }.unwrap();
        let range = 0..map.len();
        let source =
            wheelbarrow_audit::Source { filename: name.to_owned(), map: &map, range, sha256: Some(sha256) };
        wheelbarrow_audit::read(&[source], cache, &Silent).unwrap()[name].facts.clone()
    };
    let facts = read(None);
    assert!(!facts.record.is_empty());
    assert_eq!(read(Some(&cache)), facts);
    // It is the kept one that is taken.
    let kept = walkdir::WalkDir::new(&cache).into_iter().flatten().find(|entry| entry.file_type().is_file());
    fs_err::write(
        kept.unwrap().path(),
        "{\"record\": [\"kept\"], \"elf\": [], \"broken_elf\": [], \"entry_points\": []}",
    )
    .unwrap();
    assert_eq!(read(Some(&cache)).record, ["kept"]);
}

#[test]
fn a_script_may_call_a_submodule() {
    let place = Place::new();
    let scripts = b"[console_scripts]\ne = e:cli.main\nf = e:none.main\n";
    let files = [
        ("e/__init__.py", &b""[..]),
        ("e/cli.py", b"def main(): ..."),
        ("e-1.dist-info/entry_points.txt", scripts),
    ];
    let wheel = place.wheel("e-1-py3-none-any.whl", &files);
    insta::assert_snapshot!(told(&[wheel], ""), @"warning entry-point:e the script f calls e:none, which is not in that module");
}

#[test]
fn a_record_may_name_paths_of_the_machine_that_built_it() {
    let place = Place::new();
    let record = format!(
        "a.py,{},0\n/usr/share/doc/a,,\n../../../bin/a,,\na-1.dist-info/RECORD,,\n",
        wheelbarrow_artifact::manifest::Sha256::of(b"").to_record()
    );
    let files = [("a.py", &b""[..]), ("a-1.dist-info/RECORD", record.as_bytes())];
    let wheel = place.wheel("a-1-py3-none-any.whl", &files);
    let text = told(std::slice::from_ref(&wheel), "");
    assert!(
        text.starts_with("error record:a ") && text.contains("it lists ../../../bin/a, which is not there"),
        "{text}"
    );
    assert!(report(&[wheel], "", &["record:a=an old build tool"]).is_ok());
}

#[test]
fn wheels_that_collide_in_one_directory_are_one_finding() {
    let place = Place::new();
    let wheel = |name: &str, files: &[&str]| {
        let text = format!("# {name}");
        let files: Vec<_> = files.iter().map(|path| (*path, text.as_bytes())).collect();
        place.wheel(&format!("{name}-1-py3-none-any.whl"), &files)
    };
    let wheels = [
        wheel("one", &["tests/__init__.py", "tests/a.py", "bin.py"]),
        wheel("two", &["tests/__init__.py"]),
        wheel("zoo", &["tests/a.py", "bin.py"]),
    ];
    insta::assert_snapshot!(told(&wheels, OLD), @"
    error collision:tests one-1-py3-none-any.whl, two-1-py3-none-any.whl, zoo-1-py3-none-any.whl write lib/python3.12/site-packages/tests/__init__.py, and 1 more, and not the same
    error collision:bin.py one-1-py3-none-any.whl and zoo-1-py3-none-any.whl both write lib/python3.12/site-packages/bin.py, and not the same
    ");
    assert!(!report(&wheels, OLD, &["collision:tests=x"]).is_ok());
    assert!(report(&wheels, OLD, &["collision:tests=x", "collision:bin.py=x"]).is_ok());
}

#[test]
fn one_allowance_settles_a_directory() {
    let place = Place::new();
    let wheel = |name: &str| {
        let text = format!("# {name}");
        let files = ["tests/__init__.py", "tests/deep/a.py", "LICENSE"].map(|path| (path, text.as_bytes()));
        place.wheel(&format!("{name}-1-py3-none-any.whl"), &files)
    };
    let wheels = [wheel("one"), wheel("two")];
    insta::assert_snapshot!(told(&wheels, OLD), @r"
    error collision:LICENSE one-1-py3-none-any.whl and two-1-py3-none-any.whl both write lib/python3.12/site-packages/LICENSE, and not the same
    error collision:tests one-1-py3-none-any.whl and two-1-py3-none-any.whl both write lib/python3.12/site-packages/tests/__init__.py, and 1 more, and not the same
    ");
    assert!(!report(&wheels, OLD, &["collision:tests=x"]).is_ok());
    assert!(!report(&wheels, OLD, &["collision:tests/deep=x", "collision:LICENSE=x"]).is_ok());
    assert!(report(&wheels, OLD, &["collision:tests/=nobody imports them", "collision:LICENSE=x"]).is_ok());
}
