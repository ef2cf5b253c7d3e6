//! The targets of a build.

use std::path::PathBuf;

use crate::build_error::BuildError;
use crate::build_options::BuildOptions;
use crate::bundled::Bundled;
use crate::inputs::{Inputs, NamedInputs};
use crate::python;
use crate::requires_python::{self, RequiresPython};
use crate::target::{BuildTarget, HAS_TARGETS};

/// Each once, in the order asked for.
pub(super) fn find_targets(
    options: &BuildOptions,
    bundled: Option<&Bundled>,
) -> Result<Vec<BuildTarget>, BuildError> {
    let mut found = Vec::new();
    let rule = RequiresPython::read(&options.project)?;
    let is_target = options.targets.is_empty() || !options.extra_pythons.is_empty();
    if !HAS_TARGETS && (is_target || !options.pythons.is_empty()) {
        return Err(crate::Error::NoTarget.into());
    }
    let is_named =
        !(options.pythons.is_empty() && options.targets.is_empty() && options.extra_pythons.is_empty());
    if let Some(own) = bundled.filter(|_| !is_named) {
        found.push(BuildTarget::of(own.interpreter.clone()));
    } else if options.pythons.is_empty() && is_target {
        let of_lock = lock(options).and_then(|lock| RequiresPython::of_lock(&lock));
        let wanted = of_lock.map(|of_lock| of_lock.and(rule.as_ref())).or_else(|| rule.clone());
        found.push(python::find_for(&options.project, wanted.as_ref())?);
    }
    for python in options.pythons.iter().chain(&options.extra_pythons) {
        found.push(python::find(python)?);
    }
    found.iter_mut().for_each(|target| target.container.clone_from(&options.container));
    found.extend(options.targets.iter().map(|request| {
        let mut request = request.clone();
        if let Some(own) = bundled.filter(|_| !request.spec.names_python) {
            request.spec.python = own.python();
        }
        python::find_named(&request)
    }));
    let mut targets: Vec<BuildTarget> = Vec::new();
    for target in found {
        let same = |other: &BuildTarget| other.abi == target.abi && other.platform() == target.platform();
        if !targets.iter().any(same) {
            targets.push(target);
        }
    }
    for target in &mut targets {
        check_python(target, rule.as_ref())?;
        if let (Some(own), Some(source)) = (bundled, &options.with_python) {
            if !own.fits(target) {
                let found = format!("{} for {}", own.described.version, own.platform());
                return Err(crate::Error::OtherPython { target: target.describe(), found }.into());
            }
            own.check(source, &target.floor())?;
            target.interpreter = Some(own.interpreter.clone());
        }
    }
    Ok(targets)
}

/// A lock by another tool, which the build uses as it is.
fn lock(options: &BuildOptions) -> Option<PathBuf> {
    if options.inputs != NamedInputs::default() {
        return options.inputs.lock.clone();
    }
    match Inputs::discover(&options.project, &options.name) {
        Ok(Inputs::Pylock(path)) => Some(path),
        _ => None,
    }
}

/// A note if `.python-version` should choose the Python, and cannot.
pub(super) fn unused_pin(options: &BuildOptions) -> Option<String> {
    let BuildOptions { pythons, targets, with_python, project, .. } = options;
    let is_used = pythons.is_empty() && targets.is_empty() && with_python.is_none();
    requires_python::unused_pin(project).filter(|_| is_used)
}

fn check_python(target: &BuildTarget, rule: Option<&RequiresPython>) -> Result<(), crate::Error> {
    if target.version() < (3, python::OLDEST_MINOR) {
        return Err(crate::Error::UnsupportedPython { spec: target.python.to_string(), found: Vec::new() });
    }
    match rule.filter(|rule| !rule.allows(target)) {
        None => Ok(()),
        Some(rule) => Err(crate::Error::ExcludedPython {
            target: target.describe(),
            wanted: rule.text.clone(),
            file: rule.file.clone(),
        }),
    }
}
