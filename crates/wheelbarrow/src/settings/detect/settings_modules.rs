//! The settings module of a Django site: which it is, which variables it needs, and where the site writes.

use std::collections::{BTreeMap, BTreeSet};

use super::load::{Loaded, Loader, Modules};
use super::source::{PythonModule, Statement, Token};
use super::value::Value;
use super::variables;

pub(super) const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";

/// Files that name the settings module: those that serve the site first, since manage.py is for developers too.
const NAMING: [&str; 3] = ["wsgi.py", "asgi.py", "manage.py"];

/// The settings module that the files of a project name.
pub(super) enum NamedSettings {
    One(String),
    Several(BTreeSet<String>),
    Nowhere,
}

/// What settings modules say.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) required: BTreeSet<String>,
    /// Below the project.
    pub(crate) shared: BTreeSet<String>,
    /// Below the project.
    pub(crate) static_root: Option<String>,
    /// Whether `STATIC_ROOT` may be below the project.
    pub(crate) has_static_root: bool,
    /// For the user to decide.
    pub(crate) remarks: Vec<String>,
}

/// Where a setting leads.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Below the project.
    Inside(String),
    /// Below the project if a condition holds.
    Perhaps(String),
    /// Beside or above the project, as in `../media`.
    Outside(String),
    Unknown,
}

/// `served` is the file with the application.
pub(super) fn named(modules: &[PythonModule<'_>], served: Option<&str>) -> NamedSettings {
    let served = modules.iter().filter(|module| Some(module.path) == served);
    let others = NAMING.iter().flat_map(|name| modules.iter().filter(move |module| module.name() == *name));
    for module in served.chain(others) {
        let mut values = module.statements().iter().flat_map(values_of_variable).collect::<BTreeSet<_>>();
        let is_known = !values.remove(&None);
        let mut values: BTreeSet<_> = values.into_iter().flatten().collect();
        return match values.len() {
            0 if is_known => continue,
            0 => NamedSettings::Nowhere,
            1 if is_known => values.pop_first().map_or(NamedSettings::Nowhere, NamedSettings::One),
            _ => NamedSettings::Several(values),
        };
    }
    NamedSettings::Nowhere
}

/// The text that a statement sets the variable to; none if it is not a literal.
fn values_of_variable(statement: &Statement) -> Vec<Option<String>> {
    let tokens = &statement.tokens;
    let value = |at: usize| {
        let value = match &tokens[at + 1..] {
            [Token::Sign(','), value @ ..] if at > 1 && is_named(&tokens[at - 2], "setdefault") => value,
            [Token::Sign(']'), Token::Sign('='), value @ ..] => value,
            _ => return None,
        };
        Some(match value {
            [Token::Text(name)] | [Token::Text(name), Token::Sign(')' | ','), ..] => Some(name.clone()),
            _ => None,
        })
    };
    let is_variable = |at: &usize| tokens[*at] == Token::Text(VARIABLE.to_owned());
    (0..tokens.len()).filter(is_variable).filter_map(value).collect()
}

fn is_named(token: &Token, name: &str) -> bool {
    matches!(token, Token::Name(it) if it == name)
}

/// Reads the settings module with that name. Without a name, what all that could be it have in common.
pub(super) fn read(modules: &Modules<'_>, settings: Option<&str>) -> Facts {
    let roots = match settings {
        Some(settings) => modules.find(settings).into_iter().collect(),
        None => roots(modules),
    };
    let mut all: Option<(Loaded, BTreeSet<String>)> = None;
    for root in roots {
        let mut loader = Loader::new(modules);
        let loaded = loader.load(root, true);
        let certain: BTreeSet<_> = loader.loaded().filter(|(_, is_certain)| *is_certain).collect();
        let statements = modules.all.iter().filter(|module| certain.contains(&(module.path, true)));
        let required =
            variables::required(&statements.flat_map(PythonModule::statements).collect::<Vec<_>>());
        all = Some(match all {
            None => (loaded, required),
            Some((others, in_all)) => (others.or(loaded), &in_all & &required),
        });
    }
    let Some((loaded, required)) = all else { return Facts::default() };
    Facts { required, ..places(&loaded) }
}

/// Modules that could be the settings module: by their names, and no other of them imports them.
fn roots<'m>(modules: &'m Modules<'m>) -> Vec<&'m str> {
    let named = modules.all.iter().map(|module| module.path).filter(|path| is_called_settings(path));
    let mut imports = BTreeMap::new();
    for path in named {
        let mut loader = Loader::new(modules);
        loader.load(path, true);
        imports.insert(path, loader.loaded().map(|(path, _)| path).collect::<BTreeSet<_>>());
    }
    let is_root =
        |path: &&str| imports.iter().all(|(other, imported)| other == path || !imported.contains(path));
    imports.keys().copied().filter(is_root).collect()
}

/// `settings.py`, `local_settings.py`, `settings_local.py`, and what is in a package called settings.
fn is_called_settings(path: &str) -> bool {
    let mut parts = path.strip_suffix(".py").unwrap_or(path).rsplit('/');
    let name = parts.next().unwrap_or_default();
    // `production.example.py` is a template.
    !name.contains('.')
        && (name.starts_with("settings") || name.ends_with("settings") || parts.next() == Some("settings"))
}

fn places(loaded: &Loaded) -> Facts {
    let mut facts = Facts::default();
    written_places(loaded, &mut facts);
    for found in setting(loaded, "STATIC_ROOT") {
        facts.has_static_root |= !matches!(found, Place::Outside(_));
        let remark = match found {
            Place::Inside(path) => {
                facts.static_root = Some(path);
                continue;
            }
            Place::Perhaps(path) => {
                format!("STATIC_ROOT can be {path}: if it is on the servers, name it as `static_root`")
            }
            Place::Outside(path) => {
                format!("STATIC_ROOT is {path}, outside the code: name a directory below the code")
            }
            Place::Unknown => {
                "STATIC_ROOT could not be read: if it is below the code, name it as `static_root`".to_owned()
            }
        };
        facts.remarks.push(remark);
    }
    facts
}

/// Where the site writes its data.
fn written_places(loaded: &Loaded, facts: &mut Facts) {
    let databases = loaded.databases.iter();
    let databases = databases.filter_map(|database| place(database.path.as_ref(), database.is_certain));
    // Only SQLite has a path as the name of a database.
    let databases: BTreeSet<_> = databases.filter(|place| *place != Place::Unknown).collect();
    for (name, places) in [("a database", databases), ("MEDIA_ROOT", setting(loaded, "MEDIA_ROOT"))] {
        for found in &places {
            let remark = match found {
                Place::Inside(path) => {
                    facts.shared.insert(shared(name, path));
                    continue;
                }
                // Certain by another line.
                Place::Perhaps(path) if places.contains(&Place::Inside(path.clone())) => continue,
                Place::Perhaps(path) => {
                    let shared = shared(name, path);
                    format!("{name} can be {path}: if it is on the servers, add {shared} to `shared`")
                }
                Place::Outside(path) => format!(
                    "{name} is {path}, outside the code, which cannot be shared: name a path below the code"
                ),
                Place::Unknown => {
                    format!("{name} could not be read: if it is below the code, add it to `shared`")
                }
            };
            facts.remarks.push(remark);
        }
    }
    // A deploy refuses a shared path in another.
    let is_in =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    let outer = facts.shared.clone();
    facts.shared.retain(|path| !outer.iter().any(|outer| is_in(path, outer)));
}

/// The directory of a database, since SQLite writes beside it, or the file itself.
fn shared(name: &str, path: &str) -> String {
    match path.rsplit_once('/') {
        Some((directory, _)) if name != "MEDIA_ROOT" => directory.to_owned(),
        _ => path.to_owned(),
    }
}

/// Where a setting can lead.
fn setting(loaded: &Loaded, name: &str) -> BTreeSet<Place> {
    let Some(values) = loaded.names.get(name) else { return BTreeSet::new() };
    let is_certain = values.iter().all(|value| value == &values[0]);
    let places: BTreeSet<_> = values.iter().filter_map(|value| place(value.as_ref(), is_certain)).collect();
    // Of several, those that are known are enough.
    let known: Vec<_> = places.iter().filter(|place| **place != Place::Unknown).collect();
    if known.is_empty() {
        places
    } else {
        places.into_iter().filter(|place| *place != Place::Unknown).collect()
    }
}

fn place(value: Option<&Value>, is_certain: bool) -> Option<Place> {
    match value {
        Some(Value::Path(parts)) if parts.is_empty() => None,
        Some(Value::Path(parts)) if parts[0] != ".." => {
            let path = parts.join("/");
            Some(if is_certain { Place::Inside(path) } else { Place::Perhaps(path) })
        }
        Some(Value::Path(parts)) if is_certain => Some(Place::Outside(parts.join("/"))),
        // Elsewhere on the server, or relative to the directory that the server starts in.
        Some(Value::Nothing | Value::Text(_)) => None,
        Some(Value::Path(_)) | None => Some(Place::Unknown),
    }
}
