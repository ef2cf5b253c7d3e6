//! Units for a site, from its artifact or its live release.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::Artifact;
use wheelbarrow_artifact::release::{ReleaseSettings, Server as Told};
use wheelbarrow_wheel::order::Inserted;

use super::{Server, SiteOfUnits};
use crate::check::application::{FoundApplication, SiteCode, find as search};
use crate::check::django;
use crate::root::receipt::needed_variables;
use crate::root::settings::{Settings, bin, shared_file};
use crate::root::trusted_python;
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
    /// Whether the virtualenv has [`SERVERS`] and [`WORKER`].
    has: [bool; 3],
    variables: BTreeMap<String, String>,
}

/// Whether the settings in `ROOT/shared/wheelbarrow.toml` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSettings {
    Read,
    /// The root is on another machine; this one may have a root of that path too.
    LeftOut,
}

/// What says which site it is.
#[derive(Clone, Copy)]
pub enum SiteSource<'s> {
    /// Whoever runs the units verifies it.
    Artifact(&'s Artifact, HostSettings),
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
        SiteSource::Artifact(artifact, host) => {
            let root = root.filter(|_| host == HostSettings::Read);
            let of_host = root.map(|root| shared_file(&Root::trusted_at(root)?)).transpose()?;
            in_artifact(artifact, of_host.unwrap_or_default(), &wanted)
        }
        SiteSource::Release(id) => in_release(&Root::open(root.unwrap_or(Path::new(".")))?, id, &wanted)?,
    };
    let root = root.map_or_else(|| Path::new("/srv").join(&known.name), Path::to_path_buf);
    let wrong = |reason: String| ReleaseError::Setting { key: "application", reason };
    let application = match known.application {
        FoundApplication::One(found) => found,
        FoundApplication::Nothing => {
            let reason = "no application was found; `--application PACKAGE.wsgi:application` names one";
            return Err(wrong(reason.to_owned()));
        }
        FoundApplication::Several(names) => {
            let reason = format!("{} were found; `--application` names one", names.join(" and "));
            return Err(wrong(reason));
        }
    };
    let unit = match &known.settings.server {
        Some(Told::Systemd { unit, .. }) => Some(unit.trim_end_matches(".service").to_owned()),
        _ => None,
    };
    let user = wanted.user.or(known.settings.owner).unwrap_or_else(|| USER.to_owned());
    let [has_gunicorn, has_uvicorn, has_worker] = known.has;
    let server = wanted.server.unwrap_or(match application.is_asgi {
        true if has_uvicorn && !has_gunicorn => Server::Uvicorn,
        true => Server::GunicornUvicorn,
        false => Server::Gunicorn,
    });
    let lacks = match server {
        Server::Uvicorn => (!has_uvicorn).then_some("uvicorn"),
        _ if !has_gunicorn => Some("gunicorn"),
        Server::GunicornUvicorn => (!has_worker).then_some("uvicorn-worker"),
        Server::Gunicorn | Server::GunicornAsgi => None,
    };
    Ok(SiteOfUnits {
        lacks,
        name: wanted.name.or(unit).unwrap_or(known.name),
        server,
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

/// Programs that serve.
const SERVERS: [&str; 2] = ["gunicorn", "uvicorn"];
/// The package of the workers of uvicorn for gunicorn, which has no program.
const WORKER: &str = "uvicorn_worker";

fn in_release(
    root: &Root,
    id: Option<&ReleaseId>,
    wanted: &UnitOverrides,
) -> Result<KnownSite, ReleaseError> {
    let release = root.complete_or_live(id)?;
    let site = release.site()?;
    let flags = ReleaseSettings { application: wanted.application.clone(), ..ReleaseSettings::default() };
    let settings = Settings::of(root, &release, &flags)?;
    let application = django::application(&release, &site, &settings);
    let project = site.project;
    let name = release.record().name.clone();
    let has_program = |server| bin(&release).join(server).exists();
    let mut pythons = fs_err::read_dir(release.virtualenv().join("lib")).into_iter().flatten().flatten();
    let has_worker = pythons.any(|python| python.path().join("site-packages").join(WORKER).exists());
    let variables = needed_variables(release.path());
    Ok(KnownSite {
        name,
        code: project.import_path.into(),
        application,
        settings: settings.declared,
        has: [has_program(SERVERS[0]), has_program(SERVERS[1]), has_worker],
        variables,
    })
}

/// `of_host` are the settings of the root.
fn in_artifact(artifact: &Artifact, of_host: ReleaseSettings, wanted: &UnitOverrides) -> KnownSite {
    let manifest = artifact.manifest();
    let settings = manifest.release.clone().unwrap_or_default().overridden_by(of_host);
    let site = code_in(artifact);
    let application = match wanted.application.clone().or(settings.application.clone()) {
        Some(name) => FoundApplication::One(site.named(name)),
        None => search(&site, settings.settings.as_deref()),
    };
    let code = manifest.project.import_path.clone();
    let probe = |python: &Path| trusted_python::probe(python, None, &Default::default()).ok();
    let python = wanted.python.as_deref().and_then(probe);
    let variables = python.map(|python| python.environment).unwrap_or_default();
    let has = [SERVERS[0], SERVERS[1], WORKER].map(|server| {
        let begin = format!("wheels/{server}-");
        manifest.wheels.iter().any(|wheel| wheel.path.starts_with(&begin))
    });
    KnownSite { name: manifest.name.clone(), code: code.into(), application, settings, has, variables }
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
