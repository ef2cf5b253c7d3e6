//! Planning an install: what is written where.
//!
//! The specification is `docs/reference/format.md`, "What an install leaves"; the numbers in comments are its
//! own. The part of each owner is planned separately; then the parts are merged.

mod bytecode;
mod context;
mod last;
mod merge;
mod packs;
mod part;
mod project;
mod shared;
mod stored;
mod wheel;
mod wheels;

use wheelbarrow_artifact::interpreter::{Interpreter, Virtualenv};
use wheelbarrow_artifact::manifest::{MANIFEST_PATH, Target};
use wheelbarrow_artifact::{VerifiedArtifact, in_parallel};
use wheelbarrow_base::SafePath;

use self::context::Planner;
use self::packs::Packs;
use self::part::PlanPart;
pub(crate) use self::wheels::{StoredProject, Wheels, open_wheels};
use crate::InstallError;
use crate::layout::{RECEIPT_PATH, SUMS_PATH, virtualenv};
use crate::options::Options;
use crate::plan::{Bytecode, Plan};

/// Plans all of the install but what [`last::TrailingFiles`] has.
pub(crate) fn plan<'a>(
    artifact: &'a VerifiedArtifact,
    target: &'a Target,
    interpreter: &Interpreter,
    options: &Options,
    wheels: &Wheels<'a>,
) -> Result<Plan<'a>, InstallError> {
    let expected = virtualenv(&options.destination);
    let virtualenv = interpreter.virtualenv.as_ref().filter(|virtualenv| virtualenv.path == expected);
    let Some(virtualenv) = virtualenv else {
        let found =
            interpreter.virtualenv.as_ref().map(|virtualenv| virtualenv.path.clone()).unwrap_or_default();
        return Err(InstallError::Facts { found, expected });
    };
    let python = expected.join("bin/python").into_os_string().into_string();
    let python = python.map_err(|path| InstallError::NotUtf8 { path: path.into() })?;
    let has_lib64_link = virtualenv.links.iter().any(|(link, target)| link == "lib64" && target == "lib");
    let packs = Packs::find(artifact, target, interpreter);
    let carried = packs.usable;
    let compile = options.compile;
    let winners = target.collisions.iter().map(|it| (it.path.as_str(), it.wheel.as_str())).collect();
    let brings_python = options.brings_python(interpreter);
    let planner =
        Planner { brings_python, artifact, python, interpreter, has_lib64_link, packs, compile, winners };
    let mut parts = vec![virtualenv_part(virtualenv)?];
    let made = match wheels {
        Wheels::Artifact(wheels) => in_parallel(wheels, |wheel| planner.wheel(wheel)),
        Wheels::Store(store, wheels, _) => in_parallel(wheels, |wheel| planner.stored(store, wheel)),
    };
    for part in made {
        parts.push(part?);
    }
    parts.push(planner.project(wheels.project())?);
    let mut own = PlanPart::new("wheelbarrow");
    own.bytes(MANIFEST_PATH.to_owned(), artifact.manifest_bytes().to_vec(), false);
    own.files.extend(planner.first_pth(&parts)?);
    parts.push(own);

    shared::share(&mut parts);
    let mut plan = merge::merge(parts, &[SUMS_PATH, RECEIPT_PATH])?;
    plan.bytecode = match () {
        () if carried => Bytecode::Carried,
        () if plan.batches.is_empty() => Bytecode::None,
        () => Bytecode::Compiled,
    };
    Ok(plan)
}

fn virtualenv_part<'a>(virtualenv: &Virtualenv) -> Result<PlanPart<'a>, InstallError> {
    let mut part = PlanPart::new("the virtualenv");
    part.directories.push("venv".to_owned());
    for directory in &virtualenv.directories {
        part.directories.push(SafePath::new(&format!("venv/{directory}"))?.into());
    }
    for (link, target) in &virtualenv.links {
        part.links.push((SafePath::new(&format!("venv/{link}"))?.into(), target.clone()));
    }
    for file in &virtualenv.files {
        let path = SafePath::new(&format!("venv/{}", file.path))?;
        part.bytes(path.into(), file.text.clone().into_bytes(), file.executable);
    }
    Ok(part)
}
