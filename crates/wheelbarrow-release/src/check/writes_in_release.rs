//! Data that a site would write into its release and lose with it, and the setting that keeps it.

use serde::{Deserialize, Serialize};

/// What a site writes into its release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteInRelease {
    /// `MEDIA_ROOT`, `DATABASES.default`; the path of a database that no setting is known for.
    pub setting: String,
    /// Below the release.
    pub path: String,
    /// Whether it is a database or uploads; else a cache, sessions or a log.
    #[serde(default)]
    pub is_data: bool,
}

/// What `shared` must be to have these paths too, as TOML; none if one of them cannot be shared. `code` is the top
/// directory of the code, `shared` what is shared already.
pub(crate) fn shared_with(data: &[WriteInRelease], code: &str, shared: &[String]) -> Option<String> {
    let mut paths: Vec<&str> = shared.iter().map(String::as_str).collect();
    for WriteInRelease { path, .. } in data {
        let path = path.strip_prefix(code)?.strip_prefix('/')?;
        // What is in another is shared with it.
        if !paths.iter().any(|above| is_in(path, above)) {
            paths.retain(|below| !is_in(below, path));
            paths.push(path);
        }
    }
    let paths: Vec<_> = paths.into_iter().map(|path| serde_json::Value::from(path).to_string()).collect();
    Some(format!("[{}]", paths.join(", ")))
}

/// Whether `path` is `above` or in it.
fn is_in(path: &str, above: &str) -> bool {
    path.strip_prefix(above.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggested_setting_keeps_shared_paths() {
        let line = |paths: &[&str], shared: &[&str]| {
            let data: Vec<_> = paths
                .iter()
                .map(|path| WriteInRelease {
                    setting: String::new(),
                    path: (*path).to_owned(),
                    is_data: true,
                })
                .collect();
            let shared: Vec<_> = shared.iter().map(|path| (*path).to_owned()).collect();
            shared_with(&data, "code", &shared)
        };
        let lines = |text: &str| Some(text.to_owned());
        assert_eq!(line(&["code/media", "code/db.sqlite3"], &[]), lines(r#"["media", "db.sqlite3"]"#));
        assert_eq!(line(&["code/src/media"], &["data"]), lines(r#"["data", "src/media"]"#));
        assert_eq!(line(&["code/media", "code/media/private"], &[]), lines(r#"["media"]"#));
        assert_eq!(line(&["code/var"], &["var/log/", "data"]), lines(r#"["data", "var"]"#));
        assert_eq!(line(&["code"], &[]), None);
        assert_eq!(line(&["venv/lib/uploads", "code/media"], &[]), None);
    }
}
