//! What a project gives to its servers: the application by FLASK_APP of `.flaskenv` and the command `web` of a Procfile, and
//! the settings of Django by the files that start servers.

use std::collections::BTreeSet;

use fs_err as fs;
use wheelbarrow_build::project::ProjectFile;

use super::load::Modules;
use super::settings_modules::VARIABLE;
use super::source::{FACTORIES, PythonModule, USUAL, assigned, dotted, is_factory};

/// Programs that get an application as an argument.
const SERVERS: [&str; 6] = ["gunicorn", "uvicorn", "hypercorn", "granian", "daphne", "waitress-serve"];

/// Ends of names of files that start servers. Those of Compose are for developers, mostly.
const STARTING: [&str; 8] = [
    ".service",
    "Containerfile",
    "Dockerfile",
    "Procfile",
    "entrypoint.sh",
    "supervisor.conf",
    "supervisord.conf",
    "uwsgi.ini",
];
/// Bytes. Nobody writes larger ones by hand.
const LARGEST: u64 = 256 << 10;

/// The settings module of Django that files which start servers agree on, and the first of them.
pub(super) fn settings(files: &[ProjectFile], modules: &Modules<'_>) -> Option<(String, String)> {
    let starts = |file: &&ProjectFile| {
        let is_for_developers = ["dev", "test"].iter().any(|part| file.path.to_lowercase().contains(part));
        let is_small = fs::metadata(&file.source).is_ok_and(|metadata| metadata.len() <= LARGEST);
        STARTING.iter().any(|end| file.path.ends_with(end)) && !is_for_developers && is_small
    };
    let mut found = BTreeSet::new();
    let mut first = None;
    for file in files.iter().filter(starts) {
        let text = fs::read_to_string(&file.source).unwrap_or_default();
        for module in values(&text).filter(|module| modules.find(module).is_some()) {
            first.get_or_insert_with(|| file.path.clone());
            found.insert(module.to_owned());
        }
    }
    let module = found.pop_first().filter(|_| found.is_empty())?;
    Some((module, first?))
}

/// `NAME=value`, `NAME: value`, `ENV NAME value` and `${NAME:-value}`.
fn values(text: &str) -> impl Iterator<Item = &str> {
    text.split(VARIABLE).skip(1).map(|rest| {
        let value = rest.trim_start_matches([' ', '=', ':', '-', '"', '\'']);
        value.split(|one: char| !(one.is_alphanumeric() || "_.".contains(one))).next().unwrap_or_default()
    })
}

/// `microblog:app`, if one file declares it and its module is there.
pub(super) fn application(
    files: &[ProjectFile],
    modules: &[PythonModule<'_>],
    import_path: &str,
) -> Option<String> {
    let text = |name: &str| {
        let file = files.iter().find(|file| file.path == name)?;
        fs::read_to_string(&file.source).ok()
    };
    let of_server = text("Procfile").and_then(|text| {
        let command = text.lines().find_map(|line| line.strip_prefix("web:"))?.to_owned();
        let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        words.find(|word| SERVERS.contains(&word.rsplit('/').next().unwrap_or(word)))?;
        words.filter(|word| !word.starts_with('-')).find_map(|word| named(word, modules, import_path))
    });
    of_server.or_else(|| {
        let text = text(".flaskenv")?;
        let value = text.lines().find_map(|line| {
            let line = line.trim().strip_prefix("export ").unwrap_or(line.trim());
            line.strip_prefix("FLASK_APP")?.trim_start().strip_prefix('=')
        })?;
        named(value.trim().trim_matches(['"', '\'']), modules, import_path)
    })
}

/// What `word`, such as `microblog.py`, `shop.wsgi` or `web:create_app`, names.
fn named(word: &str, modules: &[PythonModule<'_>], import_path: &str) -> Option<String> {
    let (path, name) = word.split_once(':').unwrap_or((word, ""));
    let path = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
    let module = modules.iter().find(|module| dotted(module.path, import_path).as_deref() == Some(&*path))?;
    let own = || {
        let usual = USUAL.into_iter().find(|name| module.lines().any(|line| assigned(line, name).is_some()));
        let factory = || FACTORIES.into_iter().find(|name| is_factory(&module.text, name));
        usual.map(str::to_owned).or_else(|| factory().map(|name| format!("{name}()")))
    };
    let name = match name {
        "" => own()?,
        // Flask calls what is a function.
        name if FACTORIES.contains(&name) => format!("{name}()"),
        name => name.to_owned(),
    };
    Some(format!("{path}:{name}"))
}
