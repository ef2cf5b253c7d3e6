//! Detects facts about a project from its files: nothing is imported or run.

mod declared;
mod flask;
mod load;
mod settings_modules;
mod source;
mod value;
mod variables;

use std::collections::BTreeSet;
use std::path::Path;

use wheelbarrow_build::project::ProjectFile;
use wheelbarrow_build::python;
use wheelbarrow_build::requires_python::{self, Pin, RequiresPython};

use self::load::Modules;
pub(super) use self::settings_modules::Facts;
use self::settings_modules::NamedSettings;
use self::source::{FACTORIES, PythonModule, USUAL, assigned, dotted, is_factory};

/// Minor versions of Python 3 that a site may be for, the newest last.
const MINORS: std::ops::RangeInclusive<u64> = 9..=14;

/// Libraries that run workers: how a file uses them, and how the workers are started.
const WORKERS: [(&str, &str, &str); 4] = [
    ("Celery", "Celery(", "celery -A PACKAGE worker"),
    ("huey", "huey.contrib.djhuey", "django-admin run_huey"),
    ("RQ", "django_rq", "django-admin rqworker"),
    ("Dramatiq", "django_dramatiq", "django-admin rundramatiq"),
];

/// Files that usually have the application, as the check of a release looks for it.
const ENTRIES: [&str; 7] =
    ["wsgi.py", "asgi.py", "app.py", "main.py", "api.py", "application.py", "__init__.py"];

/// What a module has that makes the application of a Django site.
const DJANGO: [&str; 2] = ["get_wsgi_application(", "get_asgi_application("];

/// What a line that makes another application calls.
const APPLICATIONS: [&str; 5] = ["Flask(", "FastAPI(", "Starlette(", "Litestar(", "create_app("];

/// What was found.
#[derive(Default)]
pub(super) struct DetectedSettings {
    /// `mysite.settings`.
    pub(super) settings: Option<String>,
    /// Several that could be the settings module.
    pub(super) several_settings: Vec<String>,
    /// `mysite.wsgi:application`.
    pub(super) application: Option<String>,
    /// Several that could be the application.
    pub(super) candidates: Vec<String>,
    pub(super) prepare: Vec<String>,
    /// Of the settings module.
    pub(super) facts: Facts,
    /// Name, file and command.
    pub(super) workers: Vec<(&'static str, String, String)>,
}

/// Looks at the files of a project. `import_path` is the directory on `sys.path`.
pub(super) fn detect(files: &[ProjectFile], import_path: &str) -> DetectedSettings {
    let modules: Vec<_> = files.iter().filter_map(PythonModule::read).collect();
    let mut found = DetectedSettings::default();
    for module in &modules {
        for (library, sign, command) in WORKERS {
            if module.lines().any(|line| line.contains(sign))
                && found.workers.iter().all(|it| it.0 != library)
            {
                let package = dotted(module.path, import_path).unwrap_or_default();
                let package = package.split('.').next().unwrap_or_default();
                found.workers.push((library, module.path.to_owned(), command.replace("PACKAGE", package)));
            }
        }
    }
    let declared = declared::application(files, &modules, import_path);
    match declared.map_or_else(|| application(&modules, import_path), |declared| Ok(Some(declared))) {
        Ok(application) => found.application = application,
        Err(candidates) => found.candidates = candidates,
    }
    let modules = Modules { all: &modules, import_path };
    let served = found.application.as_deref().and_then(|application| application.split(':').next());
    match settings_modules::named(modules.all, served.and_then(|module| modules.find(module))) {
        NamedSettings::One(settings) => found.settings = Some(settings),
        NamedSettings::Several(several) => found.several_settings = several.into_iter().collect(),
        NamedSettings::Nowhere => {}
    }
    let mut remark = None;
    if let Some((module, path)) = declared::settings(files, &modules)
        && found.settings.as_ref() != Some(&module)
    {
        let other = found.settings.replace(module).map(|other| format!(", not {other}"));
        found.several_settings.clear();
        remark = other.map(|other| format!("`settings` is what {path} names{other}"));
    }
    let mut facts = settings_modules::read(&modules, found.settings.as_deref());
    let is_django = !found.several_settings.is_empty()
        || found.settings.is_some()
        // Some read the name of the settings from a file, or leave it to the environment.
        || modules.all.iter().any(|module| DJANGO.iter().any(|sign| module.text.contains(sign)));
    if is_django {
        if facts.has_static_root {
            found.prepare.push("django-admin collectstatic --noinput".to_owned());
        }
        found.prepare.push("django-admin migrate --noinput".to_owned());
    } else if let Some(upgrade) = alembic_upgrade(files, import_path) {
        found.prepare.push(upgrade);
    } else {
        found.prepare.extend(flask::upgrade(modules.all, files, found.application.as_deref(), import_path));
    }
    if !is_django {
        if let Some((path, other)) = other_than_factory(&modules, import_path, found.application.as_deref()) {
            facts.remarks.push(format!(
                "{path} calls the factory with arguments: if servers use that one, application = \"{other}\""
            ));
        }
        let folder = load::join(import_path, "instance");
        if flask::has_instance_folder(modules.all) {
            facts.shared.insert(folder);
        } else if flask::has_relative_database(modules.all) {
            facts.remarks.push(format!(
                "a database can be in {folder}: if it is on the servers, add {folder} to `shared`"
            ));
        } else if let Some(path) = flask::database_beside_code(modules.all) {
            facts
                .remarks
                .push(format!("a database can be {path}: if it is on the servers, add {path} to `shared`"));
        }
    }
    facts.remarks.extend(remark);
    found.facts = facts;
    found
}

/// `alembic upgrade head` where alembic.ini is: paths in there begin in the working directory, which is the import path.
fn alembic_upgrade(files: &[ProjectFile], import_path: &str) -> Option<String> {
    let has = |path: &str| files.iter().any(|file| file.path == path);
    if has(&load::join(import_path, "alembic.ini")) {
        return Some("alembic upgrade head".to_owned());
    }
    let above = vec![".."; import_path.split('/').count()].join("/");
    has("alembic.ini").then(|| format!("sh -c 'cd {above} && alembic upgrade head'"))
}

/// What WSGI_APPLICATION, or ASGI_APPLICATION without it, names in the settings of Django, as the check of a release takes it.
fn named_application(modules: &[PythonModule<'_>], import_path: &str) -> Option<String> {
    let values = ["WSGI_APPLICATION", "ASGI_APPLICATION"].map(|key| -> BTreeSet<&str> {
        let value = |line| assigned(line, key).map(|value| value.trim_matches(['"', '\'']));
        modules.iter().flat_map(PythonModule::lines).filter_map(value).collect()
    });
    let mut values = values.into_iter().find(|values| !values.is_empty())?;
    let (module, name) = values.pop_first().filter(|_| values.is_empty())?.rsplit_once('.')?;
    let is_there = modules.iter().any(|one| dotted(one.path, import_path).as_deref() == Some(module));
    is_there.then(|| format!("{module}:{name}"))
}

/// The application, or several that could be it: a script that uses the application looks like the module of a server.
fn application(modules: &[PythonModule<'_>], import_path: &str) -> Result<Option<String>, Vec<String>> {
    if let Some(named) = named_application(modules, import_path) {
        return Ok(Some(named));
    }
    let mut ranked: Vec<_> = modules.iter().collect();
    ranked.sort_by_key(|module| entry_rank(module.path));
    let (entries, scripts): (Vec<_>, Vec<_>) =
        ranked.into_iter().partition(|module| entry_rank(module.path) < ENTRIES.len());
    let made = |modules: &[&PythonModule<'_>], signs: &[&str]| -> Vec<String> {
        let found = modules.iter().filter_map(|module| {
            let line = module.lines().find(|line| {
                let value = line.split_once('=').map(|(_, value)| value.trim());
                value.is_some_and(|value| signs.iter().any(|sign| value.starts_with(sign)))
                    && line.starts_with(|first: char| first.is_ascii_alphabetic())
            })?;
            // Another one may be wrapped around it.
            let usual =
                USUAL.into_iter().find(|name| module.lines().any(|line| assigned(line, name).is_some()));
            let name = usual.or_else(|| line.split(['=', ':', ' ']).next())?;
            Some(format!("{}:{name}", dotted(module.path, import_path)?))
        });
        found.collect()
    };
    let factory = |module: &&PythonModule<'_>| {
        let name = FACTORIES.iter().find(|name| is_factory(&module.text, name))?;
        Some(format!("{}:{name}()", dotted(module.path, import_path)?))
    };
    let first = |signs: &[&str]| made(&entries, signs).into_iter().next();
    let best = first(&DJANGO[..1])
        .or_else(|| first(&DJANGO[1..]))
        .or_else(|| first(&APPLICATIONS))
        .or_else(|| entries.iter().find_map(factory));
    if best.is_some() {
        return Ok(best);
    }
    let mut others = made(&scripts, &DJANGO);
    if others.is_empty() {
        others = made(&scripts, &APPLICATIONS);
    }
    if others.len() > 1 { Err(others) } else { Ok(others.pop()) }
}

/// A script at the top that gives the factory arguments, where the factory without any was found: the path, and its application.
fn other_than_factory(
    modules: &Modules<'_>,
    import_path: &str,
    found: Option<&str>,
) -> Option<(String, String)> {
    let (_, factory) = found?.strip_suffix("()")?.split_once(':')?;
    let call = format!("{factory}(");
    let top = modules
        .all
        .iter()
        .filter(|module| dotted(module.path, import_path).is_some_and(|name| !name.contains('.')));
    let mut others = top.filter_map(|module| {
        let name = USUAL.into_iter().find(|name| {
            let value = module.lines().find_map(|line| assigned(line, name));
            value.and_then(|value| value.strip_prefix(&*call)).is_some_and(|rest| !rest.starts_with(')'))
        })?;
        Some((module.path.to_owned(), format!("{}:{name}", dotted(module.path, import_path)?)))
    });
    others.next()
}

/// Modules that servers are usually given come first, in the order of [`ENTRIES`].
fn entry_rank(path: &str) -> usize {
    let name = path.rsplit('/').next().unwrap_or(path);
    ENTRIES.iter().position(|entry| *entry == name).unwrap_or(ENTRIES.len())
}

/// The Python that the project is for, as a build chooses it: `.python-version`, else one of this machine that
/// `requires-python` allows. If there is none, the newest version that it allows.
pub(super) fn python(project: &Path) -> Option<String> {
    let rule = match requires_python::pinned(project) {
        Some(Pin::Version(version)) => return Some(version.split('.').take(2).collect::<Vec<_>>().join(".")),
        Some(Pin::Rule(rule)) => rule,
        Some(Pin::Other(_)) | None => RequiresPython::read(project).ok()??,
    };
    if let Ok(target) = python::find_for(project, Some(&rule)) {
        return Some(target.python.to_string());
    }
    let mut minors = MINORS.rev().map(|minor| format!("3.{minor}"));
    minors.find(|minor| rule.allows_some_of(minor))
}
