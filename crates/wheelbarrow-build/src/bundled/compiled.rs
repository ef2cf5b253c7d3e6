//! The age of an interpreter.

use std::path::Path;
use std::process::{Command, Stdio};

/// The day on which an interpreter was compiled, `2025-07-08`, as it says itself.
pub(super) fn on(python: &Path) -> Option<String> {
    let code = "import platform; print(platform.python_build()[1])";
    let output = Command::new(python).args(["-I", "-c", code]).stdin(Stdio::null()).output().ok()?;
    day(&String::from_utf8_lossy(&output.stdout))
}

/// Of `__DATE__` in C and what may follow: `Jul  8 2025 20:43:04`.
fn day(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let month = words.next().and_then(|name| MONTHS.iter().position(|month| *month == name))? + 1;
    let (day, year): (u32, u32) = (words.next()?.parse().ok()?, words.next()?.trim().parse().ok()?);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_that_of_the_compiler() {
        assert_eq!(day("Jul  8 2025 20:43:04\n").as_deref(), Some("2025-07-08"));
        assert_eq!(day("Dec 31 2024, 01:02:03").as_deref(), Some("2024-12-31"));
        assert_eq!((day(""), day("xxx 1 2020"), day("default")), (None, None, None));
    }
}
