//! The system of this machine: os-release(5).

use fs_err as fs;
use wheelbarrow_platform::System;

/// Keys and values of os-release(5), as far as they are plain.
pub fn os_release() -> Vec<(String, String)> {
    let text = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    parse(&text.unwrap_or_default())
}

fn parse(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
        .collect()
}

/// The named system that has this os-release, if it is a known one.
pub fn system_of(release: &[(String, String)]) -> Option<&'static System> {
    let value = |key: &str| release.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    System::of_os_release(value("ID")?, value("VERSION_ID").unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_names_the_system() {
        let name = |text: &str| system_of(&parse(text)).map(|system| system.name);
        assert_eq!(
            name("# a comment\nNAME=\"Rocky Linux\"\nID=\"rocky\"\nVERSION_ID=\"9.4\"\n"),
            Some("el9")
        );
        assert_eq!(name("ID=debian\nVERSION_ID='12'\n"), Some("debian-12"));
        assert_eq!(name("ID=debian\n"), None, "sid");
        assert_eq!(name(""), None);
    }
}
