//! What the log of a failed build says that people lack.

use std::path::{Path, PathBuf};

use crate::network;

/// What setuptools-scm, which hatch-vcs uses too, and versioningit print without a repository or its tags.
const VERSION_OF_GIT: [&str; 3] =
    ["unable to detect version for", "Error getting the version from source `vcs`", "not a VCS repository"];

/// Whether a build asked a program such as `pg_config` or pkg-config, and did not find it or what it knows of.
fn lacks_config_program(last_lines: &str) -> bool {
    let is_missing = |line: &str| {
        let line = line.to_lowercase();
        ["not found", "no such file", "can not find", "cannot find", "is required", "could not"]
            .iter()
            .any(|sign| line.contains(sign))
    };
    last_lines.contains("pkg-config")
        || last_lines
            .lines()
            .any(|line| (line.contains("_config") || line.contains("-config")) && is_missing(line))
}

/// Reads the log's last lines for what people lack most often.
pub(crate) fn build_hint(last_lines: &str, log: &Path) -> String {
    let is_fatal =
        |name: &str| last_lines.lines().any(|line| line.contains("fatal error") && line.contains(name));
    let lacks = if is_fatal("Python.h") {
        "the headers of this Python are missing (package python3-dev or python3-devel)"
    } else if [
        "gcc' failed: No such file",
        "unable to execute",
        "No such file or directory: 'gcc'",
        "command 'cc'",
    ]
    .iter()
    .any(|sign| last_lines.contains(sign))
    {
        "a C compiler is missing (package build-essential or gcc)"
    } else if last_lines.contains("cargo") || last_lines.contains("rustc") {
        "it may need Rust: https://rustup.rs"
    } else if last_lines.contains("fatal error:") && last_lines.contains(".h") {
        "a library's headers are missing (a -dev or -devel package)"
    } else if VERSION_OF_GIT.iter().any(|sign| last_lines.contains(sign)) {
        "its version comes from git: build in a clone with the tags (`git fetch --tags --unshallow`), or set \
         SETUPTOOLS_SCM_PRETEND_VERSION to the version"
    } else if lacks_config_program(last_lines) {
        "a library's headers and its config program are missing (a -dev or -devel package)"
    } else if network::failed_uv(last_lines) {
        "the network or an index failed"
    } else if last_lines.lines().any(|line| line.contains(".c:") && line.contains(": error: ")) {
        "its C code does not fit this Python or a library: take another version of the package, or another Python"
    } else {
        "the package could not be built"
    };
    format!("{lacks}; the full log is {}", log.display())
}

/// For a directory of temporary files that a variable names, and for paths below one that does not exist.
pub(crate) fn temporary_hint(path: &Path) -> Option<String> {
    let named = std::env::var_os("TMPDIR").map(PathBuf::from)?;
    if path != named && (named.is_dir() || !path.starts_with(&named)) {
        return None;
    }
    Some(format!("TMPDIR names {}: set it to a directory that exists and can be written to", named.display()))
}

/// What to change where uv says that a version wants another Python than the lowest that is packed for.
pub(crate) fn wrong_python_hint(stderr: &str) -> Option<String> {
    let stderr = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, wanted) = stderr.split_once("does not satisfy Python")?;
    let wanted = wanted.split([' ', ',', ';']).next().unwrap_or_default();
    let flag = match wanted.strip_prefix(">=") {
        Some(version) => {
            let minor: Vec<&str> = version.splitn(3, '.').take(2).collect();
            format!("`--python {}`", minor.join("."))
        }
        None => "`--python X.Y`".to_owned(),
    };
    Some(format!(
        "the requirements must support every target Python: name another Python, {flag}, or allow versions of the package \
         that support the lowest one; requires-python in pyproject.toml limits the Pythons of uv.lock"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_what_the_compiler_lacks() {
        let hint = |lines: &str| build_hint(lines, Path::new("/x.log"));
        for lines in [
            "a.c:1:10: fatal error: Python.h: No such file or directory",
            "fatal error: 'Python.h' file not found",
        ] {
            assert!(hint(lines).contains("the headers of this Python are missing"), "{lines}");
        }
        let lines = "In file included from /usr/include/python3.13/Python.h:64:\n\
                     a/parser.c:99:27: error: too few arguments to function '_PyLong_AsByteArray'\n\
                     /usr/include/python3.13/cpython/longobject.h:111:17: note: declared here";
        assert!(hint(lines).starts_with("its C code does not fit this Python"), "{}", hint(lines));
        let lines = "  File \"/x/setuptools_scm/_integration/setuptools.py\", line 150, in infer_version_with_config\n\
                     LookupError: setuptools-scm was unable to detect version for /x/source.";
        assert!(hint(lines).starts_with("its version comes from git"), "{}", hint(lines));
        for lines in ["Error: pg_config executable not found.", "/bin/sh: 1: mysql_config: not found"] {
            assert!(hint(lines).contains("its config program are missing"), "{lines}");
        }
        assert!(hint("in read_config\nKeyError: 'x'").starts_with("the package could not be built"));
        assert!(
            hint("a.c:3:10: fatal error: lber.h: No such file").contains("a library's headers are missing")
        );
    }
}
