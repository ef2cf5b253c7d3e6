//! Units for a site, from what its artifact or its live release says.

use std::path::{Path, PathBuf};

use wheelbarrow_artifact::release::{ReleaseSettings, Server as Told};
use wheelbarrow_artifact::{Anybody, Artifact};

use super::{Server, Units};
use crate::release::Site;
use crate::settings::Settings;
use crate::{ReleaseError, ReleaseId, Root, django, live};

/// Who serves, and who is in front, where nobody says otherwise: Debian's name for both.
const USER: &str = "www-data";
const WORKERS: u32 = 3;

/// What a person wants otherwise than it is found.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub name: Option<String>,
    pub server: Option<Server>,
    pub application: Option<String>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub socket_group: Option<String>,
    pub workers: Option<u32>,
}

/// What is known of a site.
struct Known {
    name: String,
    code: PathBuf,
    application: Option<String>,
    settings: ReleaseSettings,
}

/// What says which site it is.
#[derive(Clone, Copy, Debug)]
pub enum Source<'s> {
    Artifact(&'s Path),
    /// A release of the root; none for the live one.
    Release(Option<&'s ReleaseId>),
}

/// A root of `None` is `/srv/NAME`.
pub fn find(root: Option<&Path>, source: Source<'_>, wanted: Wanted) -> Result<Units, ReleaseError> {
    let known = match source {
        Source::Artifact(artifact) => in_artifact(&Artifact::open_thin(artifact, &Anybody)?),
        Source::Release(id) => in_release(&Root::open(root.unwrap_or(Path::new(".")))?, id)?,
    };
    let root = root.map_or_else(|| Path::new("/srv").join(&known.name), Path::to_path_buf);
    let application = wanted.application.or(known.application).ok_or_else(|| ReleaseError::Setting {
        key: "application",
        reason: "no application was found; `--application PACKAGE.wsgi:application` names one".to_owned(),
    })?;
    let is_asgi = application.split(':').next().is_some_and(|module| module.ends_with("asgi"));
    let unit = match &known.settings.server {
        Some(Told::Systemd { unit, .. }) => Some(unit.trim_end_matches(".service").to_owned()),
        _ => None,
    };
    let user = wanted.user.or(known.settings.owner).unwrap_or_else(|| USER.to_owned());
    Ok(Units {
        name: wanted.name.or(unit).unwrap_or(known.name),
        server: wanted.server.unwrap_or(if is_asgi { Server::GunicornUvicorn } else { Server::Gunicorn }),
        application,
        root,
        code: known.code,
        group: wanted.group.or(known.settings.group).unwrap_or_else(|| user.clone()),
        user,
        socket_group: wanted.socket_group.unwrap_or_else(|| USER.to_owned()),
        workers: wanted.workers.unwrap_or(WORKERS),
    })
}

fn in_release(root: &Root, id: Option<&ReleaseId>) -> Result<Known, ReleaseError> {
    let release = live::release(root, id)?;
    let Site { project, .. } = release.site()?;
    let settings = Settings::of(root, &release, &Default::default())?;
    let application = django::application(&release.path().join(&project.import_path), &settings);
    let name = release.record().name.clone();
    Ok(Known { name, code: project.import_path.into(), application, settings: settings.said })
}

fn in_artifact(artifact: &Artifact) -> Known {
    let manifest = artifact.manifest();
    let settings = manifest.release.clone().unwrap_or_default();
    let code = &manifest.project.import_path;
    let module = |module: &str| {
        let packages = manifest.members.iter().filter_map(|member| {
            let path = member.path.strip_prefix(code)?.strip_prefix('/')?;
            let package = path.strip_suffix(".py")?.strip_suffix(module)?.strip_suffix('/')?;
            (!package.contains('/')).then(|| format!("{package}.{module}:application"))
        });
        packages.min()
    };
    let application = settings.application.clone().or_else(|| module("wsgi")).or_else(|| module("asgi"));
    Known { name: manifest.name.clone(), code: code.into(), application, settings }
}
