//! Whatever the audit finds can be let pass, one thing at a time, with the reason kept.

use std::collections::BTreeSet;
use std::path::PathBuf;

use wheelbarrow_audit::{Allowance, Finding, Rule};

use crate::support::{Place, report};

const TARGET: &str = "3.12@manylinux_2_17_x86_64";

/// Yanked versions and the status of a project are reported by an index, not by a wheel: their tests are in the crate that
/// builds. The age is that of a bundled Python, and its test is beside the rule.
const NOT_HERE: [Rule; 3] = [Rule::Yanked, Rule::ProjectStatus, Rule::PythonAge];

/// A library to link with, and a module that needs a function of it in that version.
fn module_needing(place: &Place, soname: &str, version: &str) -> Option<Vec<u8>> {
    fs_err::write(place.path("map"), format!("{version} {{ wanted; }};\n")).unwrap();
    let soname = format!("-Wl,-soname,{soname}");
    let flags = ["-nostdlib", &soname, "-Wl,--version-script=map"];
    let library = place.library("void wanted(void) {}", &flags)?;
    fs_err::write(place.path("libwanted.so"), library).unwrap();
    let code = "void wanted(void); int PyInit_m(void) { wanted(); return 0; }";
    place.library(code, &["-nostdlib", "-L.", "-lwanted"])
}

/// A wheel with every kind of ELF file that something is wrong with.
fn odd_files(place: &Place) -> Option<PathBuf> {
    const MODULE: &str = "int PyInit_m(void) { return 0; }";
    let mut foreign = place.library(MODULE, &["-nostdlib"])?;
    // e_machine, EM_AARCH64.
    foreign[18] = 183;
    let symbol = "int PyNobody_HasThis(void); int PyInit_m(void) { return PyNobody_HasThis(); }";
    let files = [
        ("foreign.so", foreign),
        ("glibc.so", module_needing(place, "libc.so.6", "GLIBC_2.38")?),
        ("musl.so", module_needing(place, "libc.musl-x86_64.so.1", "MUSL_1")?),
        ("symbol.so", module_needing(place, "libstdc++.so.6", "GLIBCXX_3.4.29")?),
        ("library.so", module_needing(place, "libnobody-has.so.7", "NOBODY_1")?),
        ("libpython.so", module_needing(place, "libpython3.12.so.1.0", "PYTHON_1")?),
        ("rpath.so", place.library(MODULE, &["-nostdlib", "-Wl,-rpath,/home/builder/lib"])?),
        ("stack.so", place.library(MODULE, &["-nostdlib", "-z", "execstack"])?),
        ("python.so", place.library(symbol, &["-nostdlib"])?),
        ("broken.so", b"\x7fELF and no more".to_vec()),
    ];
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    Some(place.wheel("odd-1-cp312-cp312-manylinux_2_17_x86_64.whl", &files))
}

/// Two wheels that are not what they say, and do not go together.
fn odd_papers(place: &Place) -> [PathBuf; 2] {
    let metadata =
        b"Metadata-Version: 2.1\nName: other\nVersion: 1\nRequires-Python: >=3.13\nRequires-Dist: gone\n";
    let scripts = b"[console_scripts]\nlost = nowhere:run\n";
    let liar = place.wheel(
        "liar-1-cp311-cp311-manylinux_2_17_x86_64.whl",
        &[
            ("liar-1.dist-info/METADATA", metadata),
            ("liar-1.dist-info/RECORD", b"gone.py,sha256=x,1\n"),
            ("liar-1.dist-info/entry_points.txt", scripts),
            ("Shared/data.txt", b"1"),
            ("both.py", b"1"),
        ],
    );
    [liar, place.wheel("plain-1-py3-none-any.whl", &[("shared/data.txt", b"1"), ("both.py", b"2")])]
}

/// What a finding is, whoever lets it pass.
fn bare(finding: &Finding) -> String {
    format!("{} {}:{} {:?} {}", finding.severity, finding.rule, finding.name, finding.file, finding.what)
}

#[test]
fn every_rule_can_be_switched_off_for_one_name() {
    let place = Place::new();
    let Some(odd) = odd_files(&place).filter(|_| cfg!(target_arch = "x86_64")) else {
        println!("skipped: not on x86_64, or no C compiler");
        return;
    };
    let wheels = [vec![odd], odd_papers(&place).to_vec()].concat();
    let found = report(&wheels, TARGET, &[]).findings;
    assert!(found.iter().all(|finding| finding.allowed.is_none()));
    let names: BTreeSet<_> = found.iter().map(|finding| (finding.rule, finding.name.clone())).collect();
    let rules: BTreeSet<_> = names.iter().map(|(rule, _)| *rule).collect();
    let expected: BTreeSet<_> = Rule::ALL.into_iter().filter(|rule| !NOT_HERE.contains(rule)).collect();
    assert_eq!(rules, expected);

    let all: BTreeSet<_> = found.iter().map(bare).collect();
    for (rule, name) in &names {
        let text = format!("{rule}:{name}=because of {rule}");
        let judged = report(&wheels, TARGET, &[&text]).findings;
        assert_eq!(judged.iter().map(bare).collect::<BTreeSet<_>>(), all, "{text}: nothing goes unsaid");
        for finding in &judged {
            let reason =
                (finding.rule == *rule && finding.name == *name).then(|| format!("because of {rule}"));
            assert_eq!(finding.allowed, reason, "{text}: {}", bare(finding));
            assert!(reason.is_none() || !finding.refuses(), "{text}");
        }
        // As it stands in the manifest, and as it is read from there.
        let allowance: Allowance = text.parse().unwrap();
        let kept = allowance.to_manifest();
        assert_eq!(kept.reason.as_deref(), Some(&*format!("because of {rule}")));
        assert_eq!(Allowance::from_manifest(&kept), Some(allowance));
    }
    let texts: Vec<_> = names.iter().map(|(rule, name)| format!("{rule}:{name}")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    assert!(!report(&wheels, TARGET, &[]).is_ok());
    assert!(report(&wheels, TARGET, &texts).is_ok());
}
