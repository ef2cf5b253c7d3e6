//! Detects facts about a project from its files: nothing is imported or run.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use wheelbarrow_build::project::ProjectFile;
use wheelbarrow_build::python;
use wheelbarrow_build::requires_python::{self, RequiresPython};

/// Files larger than this are no settings.
const LARGEST: u64 = 1 << 20;

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

/// Functions that make an application.
const FACTORIES: [&str; 2] = ["create_app", "make_app"];

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct DetectedSettings {
    /// `mysite.settings`.
    pub(super) settings: Option<String>,
    /// `mysite.wsgi:application`.
    pub(super) application: Option<String>,
    /// Several that could be the application.
    pub(super) candidates: Vec<String>,
    pub(super) prepare: Vec<&'static str>,
    /// Variables without which the settings do not load.
    pub(super) required: BTreeSet<String>,
    /// Directories and databases below the project that the site writes to.
    pub(super) shared: BTreeSet<String>,
    pub(super) static_root: Option<String>,
    /// Name, file and command.
    pub(super) workers: Vec<(&'static str, String, String)>,
}

/// A file of Python.
struct PythonModule<'f> {
    path: &'f str,
    text: String,
}

/// Looks at the files of a project. `import_path` is the directory on `sys.path`.
pub(super) fn detect(files: &[ProjectFile], import_path: &str) -> DetectedSettings {
    let modules: Vec<_> = files.iter().filter_map(module).collect();
    let mut found = DetectedSettings::default();
    for module in &modules {
        let name = module.path.rsplit('/').next().unwrap_or_default();
        let is_entry = ["manage.py", "wsgi.py", "asgi.py"].contains(&name);
        if is_entry && found.settings.is_none() {
            found.settings = after(&module.text, "\"DJANGO_SETTINGS_MODULE\"")
                .or_else(|| after(&module.text, "'DJANGO_SETTINGS_MODULE'"));
        }
        if module.path.contains("settings") {
            detect_in_settings(module, &mut found);
        }
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
    match application(&modules, import_path) {
        Ok(application) => found.application = application,
        Err(candidates) => found.candidates = candidates,
    }
    // Some read the name of the settings from a file, or leave it to the environment.
    let is_django = |module: &PythonModule<'_>| DJANGO.iter().any(|sign| module.text.contains(sign));
    if found.settings.is_some() || modules.iter().any(is_django) {
        if found.static_root.is_some() {
            found.prepare.push("django-admin collectstatic --noinput");
        }
        found.prepare.push("django-admin migrate --noinput");
    } else if files.iter().any(|file| file.path == "alembic.ini") {
        found.prepare.push("alembic upgrade head");
    }
    found
}

fn module(file: &ProjectFile) -> Option<PythonModule<'_>> {
    let is_small = || fs::metadata(&file.source).is_ok_and(|metadata| metadata.len() <= LARGEST);
    if !file.path.ends_with(".py")
        || file.path.contains("/migrations/")
        || file.path.contains("test")
        || !is_small()
    {
        return None;
    }
    Some(PythonModule { path: &file.path, text: fs::read_to_string(&file.source).ok()? })
}

impl PythonModule<'_> {
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim_start().starts_with('#'))
    }
}

fn detect_in_settings(module: &PythonModule<'_>, found: &mut DetectedSettings) {
    found.required.extend(
        unconditional(&module.text)
            .flat_map(|line| line.split("environ[").skip(1))
            .filter_map(variable)
            .filter(|name| !is_asked_for(&module.text, name)),
    );
    let Some(base) = base_directory(module) else { return };
    for line in module.lines().map(str::trim).filter(|line| line.contains("BASE_DIR")) {
        let (key, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
        let Some(path) = below_base(value, &base) else { continue };
        match key.trim().trim_matches(['"', '\'']) {
            "MEDIA_ROOT" => _ = found.shared.insert(path),
            "STATIC_ROOT" => found.static_root = Some(path),
            "NAME" => match path.rsplit_once('/') {
                Some((directory, _)) => _ = found.shared.insert(directory.to_owned()),
                None => _ = found.shared.insert(path),
            },
            _ => {}
        }
    }
}

/// The lines that run whenever the module is imported: those in no block of an `if`, a `try` or a function.
fn unconditional(text: &str) -> impl Iterator<Item = &str> {
    const BLOCKS: [&str; 12] =
        ["if", "elif", "else", "try", "except", "finally", "for", "while", "with", "def", "class", "match"];
    let mut in_block = false;
    text.lines().filter(move |line| {
        let begins = line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '@');
        if begins {
            let word = line.split(|end: char| !end.is_ascii_alphabetic()).next().unwrap_or_default();
            in_block = BLOCKS.contains(&word) || word == "async";
        }
        !in_block && !line.trim_start().starts_with('#')
    })
}

/// Whether the module asks first if the variable is there: `A = os.environ["A"] if "A" in os.environ else None`.
fn is_asked_for(text: &str, name: &str) -> bool {
    ["\"", "'"].iter().any(|quote| text.contains(&format!("{quote}{name}{quote} in os.environ")))
}

/// The directory that `BASE_DIR` is, below the project; from `Path(__file__).resolve().parent.parent` or calls of `dirname`.
fn base_directory(module: &PythonModule<'_>) -> Option<String> {
    let line =
        module.lines().find(|line| line.trim_start().starts_with("BASE_DIR") && line.contains("__file__"))?;
    let up = line.matches(".parent").count() + line.matches("dirname(").count();
    let mut directory = module.path;
    for _ in 0..up {
        if directory.is_empty() {
            return None;
        }
        directory = directory.rsplit_once('/').map_or("", |(directory, _)| directory);
    }
    Some(directory.to_owned())
}

/// `BASE_DIR / "a" / "b"`, `os.path.join(BASE_DIR, "a", "b")`.
fn below_base(value: &str, base: &str) -> Option<String> {
    let (_, rest) = value.split_once("BASE_DIR")?;
    let parts: Vec<&str> = rest.split(['"', '\'']).skip(1).step_by(2).collect();
    let path = parts.join("/");
    let path = path.trim_matches('/');
    if path.is_empty() || path.split('/').any(|part| part == "..") {
        return None;
    }
    Some(if base.is_empty() { path.to_owned() } else { format!("{base}/{path}") })
}

/// The string behind `sign` and a comma.
fn after(text: &str, sign: &str) -> Option<String> {
    let (_, rest) = text.split_once(sign)?;
    let rest = rest.trim_start().strip_prefix(',')?.trim_start();
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    rest[1..].split_once(quote).map(|(value, _)| value.to_owned())
}

/// The application, or several that could be it: a script that uses the application looks like the module of a server.
fn application(modules: &[PythonModule<'_>], import_path: &str) -> Result<Option<String>, Vec<String>> {
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
            let name = line.split(['=', ':', ' ']).next()?;
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

/// Whether the module defines the function, and it needs no arguments.
fn is_factory(text: &str, name: &str) -> bool {
    let opening = format!("\ndef {name}(");
    let text = format!("\n{text}");
    let Some((_, rest)) = text.split_once(&opening) else { return false };
    let parameters = rest.split("):").next().and_then(|rest| rest.split(") ->").next()).unwrap_or_default();
    let mut parameters = parameters.split(',').map(str::trim);
    parameters.all(|one| one.is_empty() || one.starts_with('*') || one.contains('='))
}

/// Modules that servers are usually given come first, in the order of [`ENTRIES`].
fn entry_rank(path: &str) -> usize {
    let name = path.rsplit('/').next().unwrap_or(path);
    ENTRIES.iter().position(|entry| *entry == name).unwrap_or(ENTRIES.len())
}

/// The name of a module below the import path.
fn dotted(path: &str, import_path: &str) -> Option<String> {
    let below = match import_path {
        "" => path,
        import_path => path.strip_prefix(import_path)?.strip_prefix('/')?,
    };
    let stem = below.strip_suffix(".py")?;
    Some(stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', "."))
}

/// `"NAME"]` or `'NAME']`.
fn variable(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (name, rest) = text[1..].split_once(quote)?;
    let is_name = !name.is_empty()
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    // An assignment sets it, and needs nothing.
    let assigns =
        rest.strip_prefix(']')?.trim_start().strip_prefix('=').is_some_and(|after| !after.starts_with('='));
    (is_name && !assigns).then(|| name.to_owned())
}

/// The Python that the project is for, as a build chooses it: `.python-version`, else one of this machine that
/// `requires-python` allows. If there is none, the newest version that it allows.
pub(super) fn python(project: &Path) -> Option<String> {
    if let Some(version) = requires_python::pinned(project) {
        return Some(version.split('.').take(2).collect::<Vec<_>>().join("."));
    }
    let rule = RequiresPython::read(project).ok()??;
    if let Ok(target) = python::find_for(project, Some(&rule)) {
        return Some(target.python.to_string());
    }
    let mut minors = MINORS.rev().map(|minor| format!("3.{minor}"));
    minors.find(|minor| rule.allows_some_of(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_dir_is_counted_from_the_file() {
        let base = |path, text: &str| base_directory(&PythonModule { path, text: text.to_owned() });
        let path = "BASE_DIR = Path(__file__).resolve().parent.parent\n";
        assert_eq!(base("mysite/settings.py", path).as_deref(), Some(""));
        assert_eq!(base("src/mysite/settings/base.py", path).as_deref(), Some("src/mysite"));
        let old = "BASE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))\n";
        assert_eq!(base("src/mysite/settings.py", old).as_deref(), Some("src"));
        assert_eq!(base("settings.py", path), None, "above the project");
    }

    #[test]
    fn a_variable_is_required_where_it_is_always_read() {
        let text = "A = os.environ['A']\nif 'B' in os.environ:\n    B = os.environ['B']\nelse:\n    B = os.environ['C']\n\
                    DATABASES = {\n    'default': {'NAME': os.environ['D']},\n}\n\
                    def later():\n    return os.environ['E']\n# os.environ['F']\n\
                    G = (\n    os.environ['G']\n    if 'G' in os.environ\n    else None\n)\n";
        let mut found = DetectedSettings::default();
        detect_in_settings(&PythonModule { path: "mysite/settings.py", text: text.to_owned() }, &mut found);
        assert_eq!(found.required, BTreeSet::from(["A".to_owned(), "D".to_owned()]));
    }

    #[test]
    fn paths_below_it_are_read_from_both_spellings() {
        assert_eq!(below_base(" BASE_DIR / \"a\" / 'b'", "src").as_deref(), Some("src/a/b"));
        assert_eq!(below_base("os.path.join(BASE_DIR, 'media/')", "").as_deref(), Some("media"));
        assert_eq!(below_base("BASE_DIR / '..' / 'x'", ""), None);
    }
}
