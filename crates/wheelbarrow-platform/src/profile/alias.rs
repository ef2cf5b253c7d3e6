//! Other names of the systems: `rhel8`, `rocky-9`, `bookworm`, `ubuntu22.04`, `debian:12`. They are proposed,
//! not accepted: each system has one name in artifacts and settings.

use super::System;

/// Common names of a family, without dashes, and its `ID` in os-release(5).
const FAMILIES: [(&str, &str); 29] = [
    ("al", "amzn"),
    ("alma", "almalinux"),
    ("almalinux", "almalinux"),
    ("alpine", "alpine"),
    ("alpinelinux", "alpine"),
    ("amazon", "amzn"),
    ("amazonlinux", "amzn"),
    ("amzn", "amzn"),
    ("centos", "centos"),
    ("centosstream", "centos"),
    ("deb", "debian"),
    ("debian", "debian"),
    ("el", "rhel"),
    ("leap", "opensuse-leap"),
    ("ol", "ol"),
    ("opensuse", "opensuse-leap"),
    ("opensuseleap", "opensuse-leap"),
    ("oracle", "ol"),
    ("oraclelinux", "ol"),
    ("redhat", "rhel"),
    ("redhatenterpriselinux", "rhel"),
    ("rhel", "rhel"),
    ("rocky", "rocky"),
    ("rockylinux", "rocky"),
    ("sle", "sles"),
    ("sles", "sles"),
    ("suse", "sles"),
    ("ubi", "rhel"),
    ("ubuntu", "ubuntu"),
];

/// The number of letters that may be wrong, missing or superfluous.
const MOST_TYPOS: usize = 2;
/// A shorter name with two wrong letters is a different name.
const SHORTEST: usize = 5;

/// The system to propose for an unknown name.
pub(super) fn meant(name: &str) -> Option<&'static System> {
    let name = name.to_ascii_lowercase();
    code_named(&name).or_else(|| {
        let digits = name.find(|letter: char| letter.is_ascii_digit())?;
        let family: String = name[..digits].chars().filter(char::is_ascii_alphabetic).collect();
        let version: String =
            name[digits..].chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
        let version = dotted(&family, &version);
        let of = |id: &str| {
            System::named(&format!("{id}-{version}")).or_else(|| System::of_os_release(id, &version))
        };
        match FAMILIES.iter().find(|(known, _)| *known == family) {
            Some((_, id)) => of(id),
            None => FAMILIES.iter().find(|(known, _)| is_typo(&family, known)).and_then(|(_, id)| of(id)),
        }
    })
}

/// `bookworm`, `debian-bookworm`: the word in the title of a system.
fn code_named(name: &str) -> Option<&'static System> {
    let word = name.rsplit(['-', '_', '.', ' ', ':']).next()?;
    let is_it = |system: &&System| {
        let (_, code) = system.title.split_once('(').unwrap_or_default();
        code.trim_end_matches(')') == word && !word.is_empty()
    };
    System::all().iter().find(is_it)
}

/// `22.04` of `2204` and `22`, `3.20` of `320`.
fn dotted(family: &str, version: &str) -> String {
    if family == "ubuntu" && version.len() == 2 {
        return format!("{version}.04");
    }
    let place = match family {
        "ubuntu" => 2,
        "alpine" | "alpinelinux" => 1,
        _ => return version.trim_end_matches('.').to_owned(),
    };
    match version.len() > place && !version.contains('.') {
        true => format!("{}.{}", &version[..place], &version[place..]),
        false => version.trim_end_matches('.').to_owned(),
    }
}

fn is_typo(word: &str, known: &str) -> bool {
    word.len() >= SHORTEST && known.len() >= SHORTEST && distance(word, known) <= MOST_TYPOS
}

/// The number of letters to change, insert or remove (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, letter) in one.bytes().enumerate() {
        let mut before = row[0];
        row[0] = number + 1;
        for (place, wanted) in other.bytes().enumerate() {
            let changed = before + usize::from(letter != wanted);
            before = row[place + 1];
            row[place + 1] = changed.min(before + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_call_a_system_is_known() {
        for (names, meant_by) in [
            (
                "rhel8 RHEL-8 rhel-8.6 redhat8 centos8 centos-stream-8 rocky8 rockylinux-8 alma8 almalinux8 ol8 oracle8 ubi8 el-8",
                "el8",
            ),
            ("rhel9 rhel-9.4 centos-stream-9 rocky9 almalinux9 ol9", "el9"),
            ("centos7 rhel7", "el7"),
            (
                "debian12 debian-12.5 deb12 bookworm debian-bookworm debian_12 debian:12 debain-12",
                "debian-12",
            ),
            ("ubuntu22.04 ubuntu2204 ubuntu-22 jammy ubuntu-jammy ubuntu:22.04 ubunut-22.04", "ubuntu-22.04"),
            ("noble ubuntu24.04", "ubuntu-24.04"),
            ("amzn2 amazon2 al2 amazonlinux2 amazonlinux:2", "amazon-2"),
            ("al2023 amazonlinux-2023", "amazon-2023"),
            ("sles15 suse15 sles-15.4", "sles-15"),
            ("opensuse-leap-15.6 leap15.6", "sles-15.6"),
            ("alpine3.20 alpine320 alpine-3.20.3 alpine:3.20", "alpine-3.20"),
        ] {
            for name in names.split(' ') {
                assert_eq!(meant(name).map(|system| system.name), Some(meant_by), "{name}");
            }
        }
        for name in ["", "8", "rhel", "rhel6", "debian-10", "fedora40", "windows11", "windows", "()", "x-1"] {
            assert_eq!(meant(name), None, "{name}");
        }
    }
}
