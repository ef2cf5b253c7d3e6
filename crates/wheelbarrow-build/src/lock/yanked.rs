//! Yanked versions. Only the index has this fact, and uv prints it while it resolves; a lock by Wheelbarrow
//! keeps it in `[tool.wheelbarrow.yanked]` for later builds.

use std::collections::BTreeMap;

use super::Pylock;

/// What uv says of them on standard error: ``warning: `NAME==VERSION` is yanked (reason: "REASON")``. The reasons by
/// `NAME==VERSION`.
pub(super) fn read(stderr: &str) -> BTreeMap<String, String> {
    let yanked = stderr.lines().filter_map(|line| {
        let (package, rest) = line.strip_prefix("warning: `")?.split_once('`')?;
        let reason = rest.strip_prefix(" is yanked")?.trim();
        let reason = reason.strip_prefix("(reason: \"").and_then(|reason| reason.strip_suffix("\")"));
        Some((package.to_owned(), reason.unwrap_or_default().to_owned()))
    });
    yanked.collect()
}

/// The table, where it is not empty.
pub(super) fn table(yanked: &BTreeMap<String, String>) -> String {
    let text = |text: &String| toml::Value::from(text.as_str()).to_string();
    let lines = yanked.iter().map(|(package, reason)| format!("{} = {}\n", text(package), text(reason)));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n[tool.wheelbarrow.yanked]\n{lines}") }
}

impl Pylock {
    /// The reasons by distribution and version, as far as we wrote the lock.
    pub(crate) fn yanked(&self) -> BTreeMap<(String, String), String> {
        let table = self.tool.get("wheelbarrow").and_then(|ours| ours.get("yanked")?.as_table());
        let entry = |(key, reason): (&String, &toml::Value)| {
            let (name, version) = key.split_once("==")?;
            Some(((name.to_owned(), version.to_owned()), reason.as_str()?.to_owned()))
        };
        table.into_iter().flatten().filter_map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yanked_versions_are_recorded_in_the_lock() {
        let stderr = "Resolved 2 packages\nwarning: `attrs==21.1.0` is yanked (reason: \"Not \"importable\" there\")\n\
                    warning: `b==1` is yanked\nwarning: something else\n";
        let yanked = read(stderr);
        assert_eq!(yanked["attrs==21.1.0"], "Not \"importable\" there");
        let text = format!("lock-version = \"1.0\"\n[tool.wheelbarrow]\ninput = \"\"\n{}", table(&yanked));
        let lock = Pylock::parse(&text).unwrap().yanked();
        let key = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(lock[&key("attrs", "21.1.0")], "Not \"importable\" there");
        assert_eq!(lock[&key("b", "1")], "");
        assert_eq!(table(&BTreeMap::new()), "");
    }
}
