//! Helpers that the tests of several crates share. No program contains them.

#![allow(clippy::print_stdout, reason = "tests say what they skipped")]

pub mod generated;
pub mod mounts;
pub mod site;

use std::process::Command;

/// Compares two Python sources as Python reads them, but for their docstrings.
pub fn assert_same_code(one: &str, other: &str) {
    const COMPARE: &str = r#"
import ast, sys
def read(text):
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                body[0].value.value = ""
    return ast.dump(tree), [getattr(node, "lineno", 0) for node in ast.walk(tree)]
sys.exit(read(sys.argv[1]) != read(sys.argv[2]))
"#;
    let status = Command::new("python3").args(["-c", COMPARE, one, other]).status().unwrap();
    assert!(status.success(), "{other}");
}
