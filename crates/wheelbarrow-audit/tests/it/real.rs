//! Wheels of the index: what is known of them, and what `auditwheel` says of the same.

use std::path::{Path, PathBuf};

use wheelbarrow_audit::Rule;

use crate::support::{python, report, tools};

/// The 106 wheels of the measured site, where they are.
fn site106() -> Option<Vec<PathBuf>> {
    let found = std::env::var_os("WHEELBARROW_WHEELS106").map(PathBuf::from);
    let Some(directory) = found else {
        println!("skipped: WHEELBARROW_WHEELS106 names no directory with the wheels of site106");
        return None;
    };
    let names = fs_err::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut wheels: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|extension| extension == "whl")).collect();
    wheels.sort();
    Some(wheels)
}

#[test]
fn real_wheels_hold_what_their_names_promise() {
    let Some(wheels) = site106() else { return };
    let all = report(&wheels, "", &[]);
    assert!(all.is_ok(), "{:#?}", all.findings);
    assert!(all.elf_files > 100, "{}", all.elf_files);
    // What it really needs is no more than the tag that was found for it.
    let (_, minor) = all.needs.glibc.as_ref().unwrap().split_once('.').unwrap();
    assert!(all.target.contains(&format!("manylinux_2_{minor}_")), "{} needs {:?}", all.target, all.needs);
}

/// The policies that auditwheel has, by their glibc.
const POLICIES: [u32; 9] = [5, 12, 17, 24, 26, 27, 28, 31, 34];

/// `auditwheel show` names the versions that a wheel needs, and the oldest policy that it fits.
#[test]
fn auditwheel_finds_the_same() {
    let Some(wheels) = site106() else { return };
    let Some(tools) = tools("auditwheel==6.*") else { return };
    let compared = ["cryptography", "lxml", "numpy", "pillow-", "psycopg2_binary", "pyyaml"];
    let is_compared = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        compared.iter().any(|start| name.starts_with(start))
    };
    let wheels: Vec<_> = wheels.iter().filter(is_compared).collect();
    assert!(wheels.len() >= 4, "{wheels:?}");
    for wheel in wheels {
        let shown = show(&tools, wheel);
        let ours = report(std::slice::from_ref(wheel), "", &[]).needs;
        assert_eq!(ours.glibc, highest_glibc(&shown), "{}:\n{shown}", wheel.display());
        let policy = shown.split("platform tag: \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let fits = |platform: &str| {
            let report = report(std::slice::from_ref(wheel), &format!("3.11@{platform}"), &[]);
            let elf = |rule| matches!(rule, Rule::ElfGlibc | Rule::ElfSymbol | Rule::ElfLibrary);
            !report.findings.iter().any(|finding| elf(finding.rule))
        };
        assert!(fits(policy), "{} is {policy} by auditwheel", wheel.display());
        let minor: u32 = policy.split('_').nth(2).unwrap().parse().unwrap();
        let Some(older) = POLICIES.iter().rev().find(|policy| **policy < minor) else { continue };
        let older = policy.replace(&format!("_{minor}_"), &format!("_{older}_"));
        assert!(!fits(&older), "{} is no older than {policy} by auditwheel", wheel.display());
    }
}

fn show(tools: &Path, wheel: &Path) -> String {
    let mut command = python();
    let done =
        command.args(["-m", "auditwheel", "show"]).arg(wheel).env("PYTHONPATH", tools).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // Lines are wrapped anywhere between words.
    String::from_utf8(done.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn highest_glibc(shown: &str) -> Option<String> {
    let versions = shown.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        rest[..end].split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()
    });
    let highest = versions.max()?;
    Some(highest.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}
