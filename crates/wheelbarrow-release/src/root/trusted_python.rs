//! The Pythons that root runs: those that no other user can have written.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::head::python_of;
use wheelbarrow_artifact::interpreter::{Interpreter, ProbeError};
use wheelbarrow_base::beneath::{self, exposure, exposure_of};

use crate::ReleaseError;

/// [`Interpreter::probe_with`] of a Python that may be run as this user, and that compiles.
pub fn probe(
    python: &Path,
    virtualenv: Option<&Path>,
    variables: &BTreeMap<String, String>,
) -> Result<Interpreter, ReleaseError> {
    let python = found(python);
    check(&python)?;
    let interpreter = Interpreter::probe_with(&python, virtualenv, variables)?;
    check(&interpreter.executable)?;
    Ok(interpreter)
}

/// Refuses to run, as root, a Python that another user can have written: the file that it leads to, a directory above that, or
/// a link on the way. Beside a link there may be a pyvenv.cfg, which names what is imported first.
pub(crate) fn check(python: &Path) -> Result<(), ReleaseError> {
    let look = || -> io::Result<Option<String>> {
        let named = std::path::absolute(python)?;
        // First: what another user can have made is not even looked at.
        let reason = exposure_of(&named)?;
        if reason.is_some() {
            return Ok(reason);
        }
        let (place, _) = beneath::found(&named)?;
        let file = place.directory.file(&place.name)?;
        Ok(exposure(file.as_fd(), &named)?.map(|exposure| exposure.to_string()))
    };
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let path = python.to_path_buf();
    match look() {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(ReleaseError::ForeignPython { path, reason }),
        // Where everybody may make files, somebody could make it now.
        Err(source) if source.kind() == ErrorKind::NotFound => Err(ProbeError::Run { path, source }.into()),
        Err(error) => Err(ReleaseError::ForeignPython { path, reason: error.to_string() }),
    }
}

/// [`check`] of a program that reloads the server, if the settings name its path.
pub(crate) fn check_command(program: &str) -> Result<(), ReleaseError> {
    // It runs in the root directory.
    match check(&Path::new("/").join(program)) {
        Err(ReleaseError::ForeignPython { reason, .. }) if program.contains('/') => {
            let reason = format!(
                "root does not run {program}: {reason}. Run it as that user, `runuser -u USER -- {program}`, or give it to root"
            );
            Err(ReleaseError::Setting { key: "server", reason })
        }
        _ => Ok(()),
    }
}

/// The Python that the shebang of an artifact names, if it is here, else `python3`.
pub fn of_artifact(artifact: &Artifact) -> PathBuf {
    let named = python_of(artifact.shebang()).map(|python| found(Path::new(python)));
    let named = named.filter(|python| python.is_absolute() && !beneath::is_missing(python));
    named.unwrap_or_else(|| PathBuf::from("python3"))
}

/// What exec(3) finds of a name without a directory.
fn found(python: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").filter(|_| python.parent() == Some(Path::new("")));
    let mut all = path.iter().flat_map(std::env::split_paths).map(|directory| directory.join(python));
    all.find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file())
        .unwrap_or_else(|| python.to_path_buf())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use fs_err as fs;
    use wheelbarrow_base::Explain;

    use super::*;

    #[test]
    fn root_runs_no_python_that_another_user_can_have_written() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives files away");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let [own, other] = ["own", "other"].map(|name| place.path().join(name));
        for directory in [&own, &other] {
            fs::create_dir(directory).unwrap();
            // It runs as a Python only if nobody looks at who has written it.
            fs::write(directory.join("python"), format!("#!/bin/sh\ntouch {}/ran\n", own.display())).unwrap();
            fs::set_permissions(directory.join("python"), PermissionsExt::from_mode(0o755)).unwrap();
        }
        symlink(other.join("python"), own.join("link")).unwrap();
        symlink(own.join("python"), other.join("link")).unwrap();
        symlink(other.join("link"), own.join("chain")).unwrap();
        // What is missing now may be there in a moment.
        symlink(other.join("absent"), own.join("dangling")).unwrap();
        symlink(other.join("absent/python"), own.join("deep")).unwrap();
        let refused = |path: PathBuf| {
            let error = probe(&path, None, &BTreeMap::new()).unwrap_err();
            assert!(!own.join("ran").exists(), "{error}");
            assert_eq!(error.exit_code(), 8, "{error:?}");
            assert!(error.hint().unwrap().contains("--with-python"));
            error.to_string()
        };
        chown(&other, Some(4321), None).unwrap();
        let links = ["link", "dangling", "deep"].map(|name| own.join(name));
        for path in links.into_iter().chain([other.join("python"), other.join("link"), other.join("absent")])
        {
            let error = refused(path.clone());
            let (path, other) = (path.display(), other.display());
            assert_eq!(
                error,
                format!("root does not run the Python {path}: {other} belongs to the user 4321")
            );
        }
        refused(own.join("chain"));
        chown(&other, Some(0), None).unwrap();
        chown(other.join("python"), Some(4321), None).unwrap();
        refused(own.join("link"));
        check(&own.join("chain")).unwrap();
        for path in [own.join("absent"), own.join("deep"), Path::new("/tmp/wheelbarrow/absent").into()] {
            assert!(matches!(check(&path), Err(ReleaseError::Interpreter(ProbeError::Run { .. }))));
        }
        assert!(matches!(
            probe(&own.join("chain"), None, &BTreeMap::new()),
            Err(ReleaseError::Interpreter(_))
        ));
        assert!(own.join("ran").exists());
    }

    #[test]
    fn root_reloads_with_no_program_that_another_user_can_have_written() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives files away");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("restart.sh");
        fs::write(&program, "").unwrap();
        let inspected = || {
            let command =
                wheelbarrow_artifact::release::Words::new(vec![program.display().to_string()]).unwrap();
            let server = wheelbarrow_artifact::release::Server::Command { command };
            let root = crate::Root::at(place.path());
            crate::serving::systemd::inspect(&root, &server)
        };
        inspected().unwrap();
        chown(&program, Some(4321), None).unwrap();
        let error = inspected().unwrap_err();
        assert_eq!(error.exit_code(), 8);
        assert!(error.to_string().contains("restart.sh belongs to the user 4321. Run it as"), "{error}");
        let relative = program.strip_prefix("/").unwrap();
        assert!(check_command(relative.to_str().unwrap()).is_err());
        for program in ["systemctl", "/nowhere/at/all"] {
            check_command(program).unwrap();
        }
    }

    #[test]
    fn a_name_is_looked_for_as_exec_does() {
        assert!(found(Path::new("sh")).is_absolute());
        for path in ["./sh", "/bin/sh", "no-such-program"] {
            assert_eq!(found(Path::new(path)), Path::new(path));
        }
    }
}
