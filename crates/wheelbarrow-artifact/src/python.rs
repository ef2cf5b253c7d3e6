//! The Python modules in an artifact: real files, with their own tests on every interpreter found.

/// `__main__.py`, the extractor's door.
pub const MAIN: &str = include_str!("../python/__main__.py");
/// The modules of `.wheelbarrow/python/`, ordered by name.
pub const MODULES: [(&str, &str); 26] = [
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
    ("policy.py", include_str!("../python/policy.py")),
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
/// Says what a machine is as a target.
pub const PROBE: &str = include_str!("../python/probe.py");
/// Builds a wheel inside a container; does not travel.
pub const BACKEND: &str = include_str!("../python/backend.py");
/// Compiles modules: [`crate::interpreter::Interpreter::compiler`] runs it.
pub const COMPILE: &str = include_str!("../python/compile.py");
/// Puts environment.json into `os.environ`.
pub const LOADENV: &str = include_str!("../python/loadenv.py");
/// Runs it at every start, before Python 3.15 and after.
pub const LOADENV_PTH: &str = include_str!("../python/loadenv-init.pth");
/// PEP 829.
pub const LOADENV_START: &str = include_str!("../python/loadenv.start");

#[cfg(test)]
mod tests {
    /// The controller has no artifact to import it from.
    #[test]
    fn the_collection_reads_artifacts_by_the_same_module() {
        let of_collection = include_str!("../../../ansible/plugins/module_utils/exact.py");
        assert_eq!(include_str!("../python/exact.py"), of_collection);
    }
}
