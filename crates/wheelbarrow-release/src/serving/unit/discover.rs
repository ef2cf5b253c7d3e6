//! Units for a site, from what its artifact or its live release says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::release::{ReleaseSettings, Server as Told};
use wheelbarrow_wheel::order::Inserted;

use super::{Server, SiteOfUnits};
use crate::check::application::{FoundApplication, NamedApplication, SiteCode, find as search};
use crate::check::django;
use crate::root::receipt::needed_variables;
use crate::root::settings::Settings;
use crate::{ReleaseError, ReleaseId, Root};

/// Who serves, and who is in front, where nobody says otherwise: Debian's name for both.
const USER: &str = "www-data";
const WORKERS: u32 = 3;
/// Bytes; what is larger is no module that names an application.
const LONGEST_MODULE: u64 = 1 << 20;

/// What a person wants otherwise than it is found.
#[derive(Clone, Debug, Default)]
pub struct UnitOverrides {
    pub name: Option<String>,
    pub server: Option<Server>,
    pub application: Option<String>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub socket_group: Option<String>,
    pub workers: Option<u32>,
    /// The Python that an artifact will run on, where it is known.
    pub python: Option<PathBuf>,
}

/// What is known of a site.
struct KnownSite {
    name: String,
    code: PathBuf,
    application: FoundApplication,
    settings: ReleaseSettings,
    variables: BTreeMap<String, String>,
}

/// What says which site it is.
#[derive(Clone, Copy)]
pub enum SiteSource<'s> {
    /// Whoever runs the units verifies it.
    Artifact(&'s Artifact),
    /// A release of the root; none for the live one.
    Release(Option<&'s ReleaseId>),
}

/// A root of `None` is `/srv/NAME`.
pub fn find(
    root: Option<&Path>,
    source: SiteSource<'_>,
    wanted: UnitOverrides,
) -> Result<SiteOfUnits, ReleaseError> {
    let known = match source {
        SiteSource::Artifact(artifact) => in_artifact(artifact, wanted.python.as_deref()),
        SiteSource::Release(id) => in_release(&Root::open(root.unwrap_or(Path::new(".")))?, id)?,
    };
    let root = root.map_or_else(|| Path::new("/srv").join(&known.name), Path::to_path_buf);
    let wrong = |reason: String| ReleaseError::Setting { key: "application", reason };
    let application = match (wanted.application, known.application) {
        (Some(name), _) => NamedApplication::named(name),
        (None, FoundApplication::One(found)) => found,
        (None, FoundApplication::Nothing) => {
            let reason = "no application was found; `--application PACKAGE.wsgi:application` names one";
            return Err(wrong(reason.to_owned()));
        }
        (None, FoundApplication::Several(names)) => {
            let reason = format!("{} were found; `--application` names one", names.join(" and "));
            return Err(wrong(reason));
        }
    };
    let unit = match &known.settings.server {
        Some(Told::Systemd { unit, .. }) => Some(unit.trim_end_matches(".service").to_owned()),
        _ => None,
    };
    let user = wanted.user.or(known.settings.owner).unwrap_or_else(|| USER.to_owned());
    Ok(SiteOfUnits {
        name: wanted.name.or(unit).unwrap_or(known.name),
        server: wanted.server.unwrap_or(if application.is_asgi {
            Server::GunicornUvicorn
        } else {
            Server::Gunicorn
        }),
        application: application.name,
        root,
        code: known.code,
        group: wanted.group.or(known.settings.group).unwrap_or_else(|| user.clone()),
        user,
        socket_group: wanted.socket_group.unwrap_or_else(|| USER.to_owned()),
        workers: wanted.workers.unwrap_or(WORKERS),
        variables: known.variables,
    })
}

fn in_release(root: &Root, id: Option<&ReleaseId>) -> Result<KnownSite, ReleaseError> {
    let release = root.complete_or_live(id)?;
    let site = release.site()?;
    let settings = Settings::of(root, &release, &Default::default())?;
    let application = django::application(&release, &site, &settings);
    let project = site.project;
    let name = release.record().name.clone();
    let variables = needed_variables(release.path());
    Ok(KnownSite {
        name,
        code: project.import_path.into(),
        application,
        settings: settings.declared,
        variables,
    })
}

fn in_artifact(artifact: &Artifact, python: Option<&Path>) -> KnownSite {
    let manifest = artifact.manifest();
    let settings = manifest.release.clone().unwrap_or_default();
    let application = match settings.application.clone() {
        Some(name) => FoundApplication::One(NamedApplication::named(name)),
        None => search(&code_in(artifact), settings.settings.as_deref()),
    };
    let code = manifest.project.import_path.clone();
    let python = python.and_then(|python| Interpreter::probe(python, None).ok());
    let variables = python.map(|python| python.environment).unwrap_or_default();
    KnownSite { name: manifest.name.clone(), code: code.into(), application, settings, variables }
}

/// The code of an artifact.
pub(crate) fn code_in(artifact: &Artifact) -> SiteCode<'_> {
    let manifest = artifact.manifest();
    let code = format!("{}/", manifest.project.import_path);
    let paths: BTreeSet<&str> =
        manifest.members.iter().filter_map(|member| member.path.strip_prefix(&code)).inserted();
    let packages: BTreeSet<&str> = paths.iter().filter_map(|path| Some(path.split_once('/')?.0)).inserted();
    let packages = packages.into_iter().map(str::to_owned).collect();
    let read = move |path: &str| {
        let Some(entry) = artifact.archive().find(&format!("{code}{path}")) else {
            // Of what a thin artifact leaves out, the name has to do.
            let is_served = path.ends_with("/wsgi.py") || path.ends_with("/asgi.py");
            return paths.get(path).filter(|_| is_served).map(|_| "application = None\n".to_owned());
        };
        String::from_utf8(artifact.archive().read(entry, LONGEST_MODULE).ok()?).ok()
    };
    SiteCode { packages, read: Box::new(read) }
}
