//! What the wheel of a source depends on beside the files of the source: variables of compilers, and `cache-keys` in `[tool.uv]`
//! of its pyproject.toml (<https://docs.astral.sh/uv/concepts/cache/#dynamic-metadata>).

use std::path::Path;
use std::process::Command;

use ignore::overrides::OverrideBuilder;
use toml::{Table, Value};
use wheelbarrow_base::{LARGEST_TEXT, read_regular};

use crate::cache::hash_file;

/// Read by compilers and build backends, beside every variable that ends with `FLAGS` (`CFLAGS`, `MYSQLCLIENT_LDFLAGS`).
const NAMES: [&str; 9] = [
    "CC",
    "CMAKE_ARGS",
    "CPATH",
    "CXX",
    "C_INCLUDE_PATH",
    "LIBRARY_PATH",
    "PKG_CONFIG_PATH",
    "PYCURL_SSL_LIBRARY",
    "UWSGI_PROFILE",
];

/// Empty if no variable is set.
pub(super) fn compile_variables() -> String {
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let mut variables: Vec<_> = variables.filter(|(name, _)| is_of_compilers(name)).collect();
    variables.sort();
    variables.iter().map(|(name, value)| format!("\n{name}={}", value.display())).collect()
}

/// `make` sets its own flags for the programs that it starts.
fn is_of_compilers(name: &str) -> bool {
    NAMES.contains(&name)
        || (name.ends_with("FLAGS") && !name.ends_with("MAKEFLAGS") && name != "MFLAGS")
        || name.ends_with("_SSL_LIBRARY")
}

/// The values of the cache keys of the source in `root`. Empty if the source names no keys: the defaults of uv are files of the
/// source.
pub(super) fn cache_keys(root: &Path) -> String {
    let text = read_regular(&root.join("pyproject.toml"), LARGEST_TEXT).unwrap_or_default();
    let document: Table = String::from_utf8(text).unwrap_or_default().parse().unwrap_or_default();
    let uv = document.get("tool").and_then(|tool| tool.get("uv"));
    let keys = uv.and_then(|uv| uv.get("cache-keys")?.as_array());
    keys.into_iter().flatten().map(|key| format!("\n{key} {}", value(root, key))).collect()
}

fn value(root: &Path, key: &Value) -> String {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if let Some(pattern) = key.as_str().or_else(|| text("file")) {
        files(root, pattern)
    } else if let Some(name) = text("env") {
        std::env::var_os(name).map_or_else(String::new, |value| format!("={}", value.display()))
    } else if let Some(directory) = text("dir") {
        root.join(directory).is_dir().to_string()
    } else if let Some(git) = key.get("git") {
        let is_set = |name: &str| git.get(name).and_then(Value::as_bool) == Some(true);
        let commit =
            (git.as_bool() == Some(true) || is_set("commit")).then(|| of_git(root, &["rev-parse", "HEAD"]));
        let tags = is_set("tags").then(|| of_git(root, &["show-ref", "--tags"]));
        commit.into_iter().chain(tags).collect()
    } else {
        String::new()
    }
}

/// The digests of the files that a path or a glob pattern names.
fn files(root: &Path, pattern: &str) -> String {
    let digest = |path: &Path| hash_file(path).map(|(sha256, _)| sha256.to_string()).unwrap_or_default();
    let Some(start) = pattern.find(['*', '?', '[', '{']) else { return digest(&root.join(pattern)) };
    let (base, pattern) = pattern.split_at(pattern[..start].rfind('/').map_or(0, |slash| slash + 1));
    let base = root.join(base);
    let mut globs = OverrideBuilder::new(&base);
    let Ok(globs) = globs.add(&format!("/{pattern}")).and_then(|globs| globs.build()) else {
        return String::new();
    };
    let entries = walkdir::WalkDir::new(&base).sort_by_file_name().into_iter().flatten();
    let found = entries
        .filter(|entry| entry.file_type().is_file() && globs.matched(entry.path(), false).is_whitelist());
    let name = |path: &Path| path.strip_prefix(&base).unwrap_or(path).display().to_string();
    found.map(|entry| format!("{} {}\n", name(entry.path()), digest(entry.path()))).collect()
}

fn of_git(root: &Path, words: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(root).args(words).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn variables_of_compilers_are_known_by_name() {
        for name in
            ["CFLAGS", "LDFLAGS", "ARCHFLAGS", "MYSQLCLIENT_CFLAGS", "PYCURL_SSL_LIBRARY", "CMAKE_ARGS"]
        {
            assert!(is_of_compilers(name), "{name}");
        }
        for name in ["MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "PATH", "HOME"] {
            assert!(!is_of_compilers(name), "{name}");
        }
    }

    #[test]
    fn each_kind_of_key_has_a_value() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("lib");
        fs::create_dir_all(root.join("build/deep")).unwrap();
        let keys = |keys: &str| {
            fs::write(root.join("pyproject.toml"), format!("[tool.uv]\ncache-keys = [{keys}]\n")).unwrap();
            cache_keys(&root)
        };
        for (key, path) in [
            ("{ file = '../VERSION' }", "VERSION"),
            ("'../VERSION'", "VERSION"),
            ("{ file = 'build/**/*.c' }", "lib/build/deep/a.c"),
            ("{ file = '../*.cfg' }", "x.cfg"),
        ] {
            let path = place.path().join(path);
            let without = keys(key);
            fs::write(&path, "1").unwrap();
            let one = keys(key);
            fs::write(&path, "2").unwrap();
            let two = keys(key);
            assert!(without != one && one != two && two == keys(key), "{key}: {without} {one} {two}");
            fs::remove_file(&path).unwrap();
        }
        let without = keys("{ dir = 'made' }");
        fs::create_dir(root.join("made")).unwrap();
        assert_ne!(without, keys("{ dir = 'made' }"));
        assert_ne!(
            keys("{ env = 'PATH' }"),
            keys("{ env = 'NO_SUCH_VARIABLE' }").replace("NO_SUCH_VARIABLE", "PATH")
        );
        assert_eq!(cache_keys(place.path()), "");
    }

    #[test]
    fn a_commit_and_a_tag_are_values() {
        if !wheelbarrow_testing::has("git") {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let git = |words: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-C"])
                .arg(place.path())
                .args(words);
            assert!(git.status().unwrap().success(), "{words:?}");
        };
        let values = || {
            ["true", "{ commit = true }", "{ commit = true, tags = true }"].map(|git| {
                let key: Table = format!("git = {git}").parse().unwrap();
                value(place.path(), &Value::Table(key))
            })
        };
        git(&["init", "-q"]);
        git(&["commit", "-q", "--allow-empty", "-m", "a"]);
        let first = values();
        git(&["tag", "v1"]);
        let tagged = values();
        assert_eq!(first[..2], tagged[..2]);
        assert_ne!(first[2], tagged[2]);
        git(&["commit", "-q", "--allow-empty", "-m", "b"]);
        assert!(values().iter().zip(&tagged).all(|(one, other)| one != other));
    }
}
