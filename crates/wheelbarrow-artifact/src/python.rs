//! The Python modules in an artifact: real files, with their own tests on every interpreter found.

/// `__main__.py`, the extractor's door.
pub const MAIN: &str = include_str!("../python/__main__.py");
/// The modules of `.wheelbarrow/python/`, ordered by name.
pub const MODULES: [(&str, &str); 25] = [
    ("artifact.py", include_str!("../python/artifact.py")),
    ("beneath.py", include_str!("../python/beneath.py")),
    ("bootstrap.py", include_str!("../python/bootstrap.py")),
    ("bytecode.py", include_str!("../python/bytecode.py")),
    ("calls.py", include_str!("../python/calls.py")),
    ("compile.py", COMPILE),
    ("data.py", include_str!("../python/data.py")),
    ("destination.py", include_str!("../python/destination.py")),
    ("exact.py", include_str!("../python/exact.py")),
    ("exits.py", include_str!("../python/exits.py")),
    ("failure.py", include_str!("../python/failure.py")),
    ("interpreter.py", INTERPRETER),
    ("limits.py", LIMITS),
    ("links.py", include_str!("../python/links.py")),
    ("manifest.py", include_str!("../python/manifest.py")),
    ("mounts.py", include_str!("../python/mounts.py")),
    ("needs.py", include_str!("../python/needs.py")),
    ("preflight.py", include_str!("../python/preflight.py")),
    ("printing.py", include_str!("../python/printing.py")),
    ("probe.py", PROBE),
    ("rules.py", include_str!("../python/rules.py")),
    ("staging.py", include_str!("../python/staging.py")),
    ("thin.py", include_str!("../python/thin.py")),
    ("wheels.py", include_str!("../python/wheels.py")),
    ("zips.py", include_str!("../python/zips.py")),
];
/// What runs at every start of an artifact: paths in it, and sources.
pub const STARTED: [(&str, &str); 3] = [
    ("__main__.py", MAIN),
    (".wheelbarrow/python/interpreter.py", INTERPRETER),
    (".wheelbarrow/python/limits.py", LIMITS),
];
const LIMITS: &str = include_str!("../python/limits.py");
/// Tells what an interpreter is; also run by itself, with `python -c`.
pub const INTERPRETER: &str = include_str!("../python/interpreter.py");
/// As it is run by itself.
pub(crate) const INTERPRETER_CODE: &str = crate::python_code!(INTERPRETER);
/// Says what a machine is as a target.
pub const PROBE: &str = include_str!("../python/probe.py");
/// Builds a wheel inside a container; does not travel.
pub const BACKEND: &str = include_str!("../python/backend.py");
/// Compiles modules: [`crate::interpreter::Interpreter::compiler`] runs it.
pub const COMPILE: &str = include_str!("../python/compile.py");
pub(crate) const COMPILE_CODE: &str = crate::python_code!(COMPILE);
/// Puts environment.json into `os.environ`.
pub const LOADENV: &str = include_str!("../python/loadenv.py");
/// Runs it at every start, before Python 3.15 and after.
pub const LOADENV_PTH: &str = include_str!("../python/loadenv-init.pth");
/// PEP 829.
pub const LOADENV_START: &str = include_str!("../python/loadenv.start");

/// The source of a program for `python -c` without what only people read, since every artifact carries it: lines of comments are
/// empty, and docstrings too. Lines keep their numbers. A line of no other text begins with `#` or three quotes in it.
#[macro_export]
macro_rules! python_code {
    ($source:expr) => {{
        const SOURCE: &[u8] = $source.as_bytes();
        const LENGTH: usize = $crate::python::copy_code(SOURCE, &mut []);
        const CODE: [u8; LENGTH] = {
            let mut code = [0; LENGTH];
            $crate::python::copy_code(SOURCE, &mut code);
            code
        };
        match ::std::str::from_utf8(&CODE) {
            Ok(code) => code,
            Err(_) => panic!("whole lines were left out"),
        }
    }};
}

/// For [`python_code`]: copies as much as there is room for. Gives the length of all.
#[doc(hidden)]
pub const fn copy_code(source: &[u8], code: &mut [u8]) -> usize {
    let (mut at, mut length, mut is_in_docstring) = (0, 0, false);
    while at < source.len() {
        let mut from = at;
        while at < source.len() && source[at] == b' ' {
            at += 1;
        }
        let text = at;
        while at < source.len() && source[at] != b'\n' {
            at += 1;
        }
        let begins = is_quoted(source, text, at);
        let ends = at >= text + 3 && is_quoted(source, at - 3, at);
        let to = if is_in_docstring {
            is_in_docstring = !ends;
            from
        } else if begins {
            is_in_docstring = !ends || at < text + 6;
            // An empty one: it may be all that its function has.
            text + 2
        } else if text < at && source[text] == b'#' {
            from
        } else {
            at
        };
        while from < to {
            length = push(code, length, source[from]);
            from += 1;
        }
        if at < source.len() {
            length = push(code, length, b'\n');
        }
        at += 1;
    }
    length
}

const fn is_quoted(source: &[u8], at: usize, end: usize) -> bool {
    at + 3 <= end && source[at] == b'"' && source[at + 1] == b'"' && source[at + 2] == b'"'
}

const fn push(code: &mut [u8], at: usize, byte: u8) -> usize {
    if at < code.len() {
        code[at] = byte;
    }
    at + 1
}

#[cfg(test)]
mod tests {
    #[test]
    fn code_has_no_comments_and_docstrings() {
        const CODE: &str = crate::python_code!(
            "#!x\n# a\nx = 1  # b\n\ndef f():\n    \"\"\"A.\n\n    B.\"\"\"\n    \"\"\"C\"\"\"\n    return \"\"\"\n    d\"\"\"  # e\n"
        );
        assert_eq!(
            CODE,
            "\n\nx = 1  # b\n\ndef f():\n    \"\"\n\n\n    \"\"\n    return \"\"\"\n    d\"\"\"  # e\n"
        );
    }

    /// As Python reads it, but for docstrings.
    #[test]
    fn code_is_that_of_its_source() {
        for (source, code) in
            [(super::INTERPRETER, super::INTERPRETER_CODE), (super::COMPILE, super::COMPILE_CODE)]
        {
            wheelbarrow_testing::assert_same_code(source, code);
        }
    }

    /// The controller has no artifact to import it from.
    #[test]
    fn the_collection_reads_artifacts_by_the_same_module() {
        let of_collection = include_str!("../../../ansible/plugins/module_utils/exact.py");
        assert_eq!(include_str!("../python/exact.py"), of_collection);
    }
}
