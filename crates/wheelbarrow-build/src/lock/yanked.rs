//! Yanked versions. Only the index has this fact, and uv prints it while it resolves; a lock by Wheelbarrow
//! keeps it in `[tool.wheelbarrow.yanked]` for later builds.

use std::collections::BTreeMap;

use super::Pylock;

/// What uv says of them on standard error: ``warning: `NAME==VERSION` is yanked (reason: "REASON")``. The reasons by
/// `NAME==VERSION`. A line end in a reason, which is a text of the index, is a blank.
pub(super) fn read(stderr: &str) -> BTreeMap<String, String> {
    let mut yanked = BTreeMap::new();
    let mut lines = stderr.lines();
    while let Some(line) = lines.next() {
        let warning = line.strip_prefix("warning: `").and_then(|rest| rest.split_once("` is yanked"));
        let Some((package, reason)) = warning else { continue };
        let Some(reason) = reason.strip_prefix(" (reason: \"") else {
            yanked.insert(package.to_owned(), String::new());
            continue;
        };
        let mut reason = reason.to_owned();
        while !reason.ends_with("\")")
            && let Some(more) = lines.next()
        {
            reason = reason + " " + more;
        }
        let reason = reason.strip_suffix("\")").unwrap_or(&reason).trim();
        yanked.insert(package.to_owned(), reason.to_owned());
    }
    yanked
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
                    warning: `b==1` is yanked\nwarning: something else\nwarning: `c==1` is yanked (reason: \"bad\n\
                    warning: `d==1` is yanked\n\nindeed\")\nwarning: `e==1` is yanked";
        let yanked = read(stderr);
        assert_eq!(yanked.keys().collect::<Vec<_>>(), ["attrs==21.1.0", "b==1", "c==1", "e==1"]);
        assert_eq!(yanked["c==1"], "bad warning: `d==1` is yanked  indeed");
        assert_eq!(yanked["attrs==21.1.0"], "Not \"importable\" there");
        let text = format!("lock-version = \"1.0\"\n[tool.wheelbarrow]\ninput = \"\"\n{}", table(&yanked));
        let lock = Pylock::parse(&text).unwrap().yanked();
        let key = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(lock[&key("attrs", "21.1.0")], "Not \"importable\" there");
        assert_eq!(lock[&key("b", "1")], "");
        assert_eq!(table(&BTreeMap::new()), "");
    }
}
