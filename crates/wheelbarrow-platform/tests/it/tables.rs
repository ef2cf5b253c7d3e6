//! The Python in artifacts has copies of tables; they are made here. `WHEELBARROW_UPDATE=1` writes them anew.

use wheelbarrow_platform::{Cpu, Libc, MACHINES, PACKAGES, System};
use wheelbarrow_testing::generated::assert_part;

const PROBE: &str = "crates/wheelbarrow-artifact/python/probe.py";
const NEEDS: &str = "crates/wheelbarrow-artifact/python/needs.py";

#[test]
fn python_has_every_system() {
    let row = |system: &System| {
        let libc = match system.libc {
            Libc::Glibc(major, minor) => format!("(\"glibc\", {major}, {minor})"),
            Libc::Musl(major, minor) => format!("(\"musl\", {major}, {minor})"),
        };
        let releases: String =
            system.os_release.iter().map(|(id, version)| format!(", \"{id} {version}\"")).collect();
        format!("    \"{}\": ({libc}{releases}),\n", system.name)
    };
    assert_part(PROBE, "\nSYSTEMS = {\n", "}\n", &System::all().iter().map(row).collect::<String>());
    let [first, second] = MACHINES;
    assert_part(PROBE, "\nMACHINES = ", "\n", &format!("(\"{first}\", \"{second}\")"));
}

#[test]
fn python_has_every_package() {
    let row = |(library, package)| format!("    \"{library}\": \"{package}\",\n");
    assert_part(NEEDS, "\nPACKAGES = {\n", "}\n", &PACKAGES.map(row).concat());
}

#[test]
fn python_has_every_level_of_cpus() {
    let row = |cpu: Cpu| {
        let names: String = cpu.features().map(|name| format!(" {name}")).collect();
        format!("    \"{cpu}\": \"{}\",\n", names.trim_start())
    };
    assert_part(NEEDS, "\nFEATURES = {\n", "}\n", &Cpu::ALL.map(row).concat());
}
