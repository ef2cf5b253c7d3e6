//! Finds the application of a site: from its settings, from Django's settings, or from common names.
//!
//! Nothing is imported: the code is read as text, from a release or from an artifact. The common names are
//! those that gunicorn (`wsgi:application`), Flask (`app.py` or `wsgi.py` with `app`, or a factory
//! `create_app`) and FastAPI (`main.py`, `app.py` or `api.py` with `app`) look for themselves.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::FileType;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_wheel::order;

/// What names the module of Django's settings.
pub(crate) const VARIABLE: &str = "DJANGO_SETTINGS_MODULE";
/// Modules that name what a server imports.
const SERVED: [&str; 2] = ["wsgi", "asgi"];
const USUAL: [&str; 4] = ["app", "main", "api", "application"];
const NAMES: [&str; 2] = ["application", "app"];
const FACTORIES: [&str; 2] = ["create_app", "make_app"];
/// Words of a module that makes an ASGI application.
const ASGI: [&str; 6] =
    ["FastAPI(", "Starlette(", "Quart(", "Litestar(", "get_asgi_application", "ProtocolTypeRouter("];
/// How many settings modules are read that import each other.
const MODULES: usize = 100;

/// Gives the text of a file by its path below the code.
type ReadCode<'c> = Box<dyn Fn(&str) -> Option<String> + 'c>;

/// The code of a site, as text.
pub(crate) struct SiteCode<'c> {
    /// Directories at the top of what is on `sys.path`, ordered.
    pub(crate) packages: Vec<String>,
    pub(crate) read: ReadCode<'c>,
}

/// An application as gunicorn names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedApplication {
    /// `mysite.wsgi:application`, or `mysite:create_app()` for what a call gives.
    pub(crate) name: String,
    pub(crate) is_asgi: bool,
}

/// What was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FoundApplication {
    One(NamedApplication),
    Nothing,
    /// Nothing says which.
    Several(Vec<String>),
}

impl SiteCode<'_> {
    /// Of a directory on `sys.path`. Links are no packages: they lead to what the site's user may write.
    pub(crate) fn beneath(directory: Directory) -> Self {
        let entries = directory.entries().unwrap_or_default().into_iter();
        let packages = entries.filter(|(_, kind)| *kind == FileType::Directory);
        let mut packages: Vec<_> = packages.filter_map(|(name, _)| name.into_string().ok()).collect();
        order::sort(&mut packages);
        let read = move |path: &str| String::from_utf8(directory.read(path).ok()?).ok();
        Self { packages, read: Box::new(read) }
    }

    fn module(&self, module: &str) -> Option<String> {
        let path = module.replace('.', "/");
        (self.read)(&format!("{path}.py")).or_else(|| (self.read)(&format!("{path}/__init__.py")))
    }

    /// An application that somebody names: its module says which kind it is.
    pub(crate) fn named(&self, name: String) -> NamedApplication {
        let module = name.split(':').next().unwrap_or_default();
        let is_asgi = is_asgi(module, &self.module(module).unwrap_or_default());
        NamedApplication { name, is_asgi }
    }

    /// The package of the settings that `manage.py` names: the others are examples, tests, or tools.
    fn preferred(&self) -> Option<String> {
        let settings = named_in(&(self.read)("manage.py")?)?;
        settings.split('.').next().map(str::to_owned)
    }

    /// Modules that may be Django's settings; the first counts.
    pub(crate) fn settings_modules(&self) -> Vec<String> {
        let preferred = self.preferred();
        let mut packages: Vec<&String> = self.packages.iter().collect();
        order::sort_by_key(&mut packages, |package| preferred.as_ref() != Some(package));
        // What serves counts; manage.py names the settings of whoever develops in many a project.
        let files = packages.iter().flat_map(|package| SERVED.map(|name| format!("{package}/{name}.py")));
        let files = files.chain(["wsgi.py", "asgi.py", "manage.py"].map(str::to_owned));
        files.filter_map(|path| named_in(&(self.read)(&path)?)).collect()
    }

    /// The settings of everything that the site runs: none if its servers name several.
    pub(crate) fn common_settings(&self) -> Option<String> {
        let mut modules = self.settings_modules();
        let of_developers = (self.read)("manage.py").and_then(|text| named_in(&text));
        let is_common = |module: &String| *module == modules[0] || Some(module) == of_developers.as_ref();
        modules.iter().all(is_common).then(|| modules.drain(..).next()).flatten()
    }

    /// The value of WSGI_APPLICATION or ASGI_APPLICATION, in the module or in what it imports all of.
    fn served(&self, settings: &str, seen: &mut BTreeSet<String>) -> Option<NamedApplication> {
        if seen.len() >= MODULES || !seen.insert(settings.to_owned()) {
            return None;
        }
        let text = self.module(settings)?;
        for (key, is_asgi) in [("WSGI_APPLICATION", false), ("ASGI_APPLICATION", true)] {
            let value = text.lines().find_map(|line| string_of(line, key));
            if let Some((module, object)) = value.as_deref().and_then(|value| value.rsplit_once('.'))
                && self.module(module).is_some()
            {
                return Some(NamedApplication { name: format!("{module}:{object}"), is_asgi });
            }
        }
        let base = if self.module(&format!("{settings}.__init__")).is_some() {
            settings
        } else {
            settings.rsplit_once('.').map_or("", |(base, _)| base)
        };
        let mut imported = text.lines().filter_map(|line| {
            let from = line.strip_prefix("from ")?.trim().strip_suffix("import *")?.trim();
            absolute(base, from)
        });
        imported.find_map(|module| self.served(&module, seen))
    }

    fn in_module(&self, module: &str) -> Option<NamedApplication> {
        let text = self.module(module)?;
        let object = object_in(&text)?;
        Some(NamedApplication { name: format!("{module}:{object}"), is_asgi: is_asgi(module, &text) })
    }

    /// In the modules of this name of all packages.
    fn in_packages(&self, name: &str) -> FoundApplication {
        let module = |package: &String| match name {
            "" => package.clone(),
            name => format!("{package}.{name}"),
        };
        let mut found: Vec<_> =
            self.packages.iter().filter_map(|package| self.in_module(&module(package))).collect();
        match found.len() {
            0 => FoundApplication::Nothing,
            1 => FoundApplication::One(found.remove(0)),
            _ => FoundApplication::Several(found.into_iter().map(|found| found.name).collect()),
        }
    }
}

/// The settings module that the code in a directory names, as a release would find it.
pub fn settings_module_in(code: &Path) -> Option<String> {
    SiteCode::beneath(Directory::open(code).ok()?).settings_modules().into_iter().next()
}

/// Looks for the application; `settings` is the value of DJANGO_SETTINGS_MODULE, where it is known.
pub(crate) fn find(code: &SiteCode<'_>, settings: Option<&str>) -> FoundApplication {
    let modules = settings.map_or_else(|| code.settings_modules(), |settings| vec![settings.to_owned()]);
    let preferred = code.preferred();
    let of_django = modules.iter().find_map(|settings| code.served(settings, &mut BTreeSet::new()));
    let of_package =
        || SERVED.iter().find_map(|name| code.in_module(&format!("{}.{name}", preferred.as_ref()?)));
    let at_top = |names: &[&str]| names.iter().find_map(|name| code.in_module_at_top(name));
    let in_packages = |names: &[&str]| {
        names.iter().map(|name| code.in_packages(name)).find(|found| *found != FoundApplication::Nothing)
    };
    let one = of_django.or_else(of_package).or_else(|| at_top(&SERVED)).map(FoundApplication::One);
    one.or_else(|| in_packages(&SERVED))
        .or_else(|| at_top(&USUAL).map(FoundApplication::One))
        .or_else(|| in_packages(&["app", "main", "api", ""]))
        .unwrap_or(FoundApplication::Nothing)
}

impl SiteCode<'_> {
    /// A package of the name is looked at among the packages.
    fn in_module_at_top(&self, name: &str) -> Option<NamedApplication> {
        (self.read)(&format!("{name}.py")).and_then(|_| self.in_module(name))
    }
}

/// `mysite.settings` of `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")`, as `startproject` writes it.
fn named_in(text: &str) -> Option<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let rest = code.split_once(VARIABLE)?.1;
    let rest = rest.get(1..)?.trim_start_matches([']', ' ', '\n', ',', '=']);
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let name = rest[1..].split(quote).next()?;
    let is_module = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.');
    (!name.is_empty() && name.chars().all(is_module)).then(|| name.to_owned())
}

/// `"a.b"` of `KEY = "a.b"`.
fn string_of(line: &str, key: &str) -> Option<String> {
    let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}

/// The module that `from FROM import` means in a package.
fn absolute(package: &str, from: &str) -> Option<String> {
    let name = from.trim_start_matches('.');
    let mut base = match from.len() - name.len() {
        0 => return Some(name.to_owned()),
        dots => {
            let parts: Vec<&str> = package.split('.').collect();
            parts[..(parts.len() + 1).checked_sub(dots)?].join(".")
        }
    };
    if !base.is_empty() && !name.is_empty() {
        base.push('.');
    }
    Some(base + name)
}

fn is_asgi(module: &str, text: &str) -> bool {
    module.ends_with("asgi") || ASGI.iter().any(|words| text.contains(words))
}

/// The name that a module binds, or the call of a factory that needs no arguments.
fn object_in(text: &str) -> Option<String> {
    let binds = |name: &&&str| text.lines().any(|line| binds(line, name));
    if let Some(name) = NAMES.iter().find(binds) {
        return Some((*name).to_owned());
    }
    let factory = FACTORIES.iter().find(|name| is_factory(text, name))?;
    Some(format!("{factory}()"))
}

/// Whether a line at the top level of a module gives `name` a value.
fn binds(line: &str, name: &str) -> bool {
    if let Some(rest) = line.strip_prefix(name) {
        let rest = rest.trim_start();
        return rest.starts_with('=') && !rest.starts_with("==")
            || (rest.starts_with(':') && rest.contains('='));
    }
    let definition = ["def ", "async def ", "class "].iter().find_map(|word| line.strip_prefix(word));
    if let Some(rest) = definition.and_then(|rest| rest.strip_prefix(name)) {
        return rest.starts_with(['(', ':']);
    }
    let Some((_, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) else {
        return false;
    };
    names.trim_matches(['(', ')', ' ']).split(',').any(|item| item.trim().rsplit(" as ").next() == Some(name))
}

/// Whether a function needs no arguments.
fn is_factory(text: &str, name: &str) -> bool {
    let opening = format!("def {name}(");
    let Some(place) = text.find(&opening).filter(|place| *place == 0 || text[..*place].ends_with('\n'))
    else {
        return text.lines().any(|line| binds(line, name));
    };
    let parameters = text[place + opening.len()..].split("):").next().unwrap_or_default();
    let parameters = parameters.split(") ->").next().unwrap_or_default();
    parameters
        .split(',')
        .map(str::trim)
        .all(|one| one.is_empty() || one.starts_with('*') || one.contains('='))
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    fn search(files: &[(&str, &str)]) -> FoundApplication {
        let place = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        find(&SiteCode::beneath(Directory::open(place.path()).unwrap()), None)
    }

    fn name(files: &[(&str, &str)]) -> String {
        match search(files) {
            FoundApplication::One(found) if found.is_asgi => format!("asgi {}", found.name),
            FoundApplication::One(found) => found.name,
            FoundApplication::Nothing => "nothing".to_owned(),
            FoundApplication::Several(names) => names.join(" or "),
        }
    }

    #[test]
    fn settings_that_import_themselves_again_and_again_are_read_once() {
        let many = "from site.s import *\n".repeat(3000);
        let files = [
            ("site/wsgi.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site.s')\n"),
            ("site/s.py", many.as_str()),
        ];
        assert_eq!(name(&files), "nothing");
    }

    const APPLICATION: &str = "application = get_wsgi_application()\n";

    #[test]
    fn the_settings_of_django_count_first() {
        let docker = ("docker/wsgi.py", APPLICATION);
        let mysite = ("mysite/wsgi.py", APPLICATION);
        let manage = |module: &'static str| ("manage.py", module);
        assert_eq!(name(&[docker, mysite]), "docker.wsgi:application or mysite.wsgi:application");
        let named = manage("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n");
        assert_eq!(name(&[docker, mysite, named]), "mysite.wsgi:application");
        let settings = ("mysite/settings.py", "WSGI_APPLICATION = \"docker.wsgi.application\"\n");
        assert_eq!(name(&[docker, mysite, named, settings]), "docker.wsgi:application");
        // Settings for each place, of one base.
        let production = manage("os.environ['DJANGO_SETTINGS_MODULE'] = 'conf.settings.production'\n");
        let files = [
            docker,
            mysite,
            production,
            ("conf/settings/__init__.py", ""),
            ("conf/settings/production.py", "from .base import *\n"),
            ("conf/settings/base.py", "from conf.common import *\n"),
            ("conf/common.py", "ASGI_APPLICATION = 'mysite.asgi.application'\n"),
            ("mysite/asgi.py", "application = x\n"),
        ];
        assert_eq!(name(&files), "asgi mysite.asgi:application");
    }

    #[test]
    fn the_module_of_a_named_application_says_its_kind() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("site")).unwrap();
        for (path, text) in [
            ("main.py", "app = FastAPI()\n"),
            ("site/__init__.py", "def create_app():\n    return Quart(__name__)\n"),
            ("site/wsgi.py", "application = get_wsgi_application()\n"),
        ] {
            fs::write(place.path().join(path), text).unwrap();
        }
        let code = SiteCode::beneath(Directory::open(place.path()).unwrap());
        let is_asgi = |name: &str| code.named(name.to_owned()).is_asgi;
        assert!(["main:app", "site:create_app()", "gone.asgi:application"].into_iter().all(is_asgi));
        assert!(!["site.wsgi:application", "gone:app", ""].into_iter().any(is_asgi));
    }

    #[test]
    fn usual_application_names_are_found() {
        for (files, found) in [
            (&[("wsgi.py", "from site import app\n")][..], "wsgi:app"),
            (&[("app.py", "app = Flask(__name__)\n")], "app:app"),
            (&[("app.py", "def create_app(config=None, *, debug=False):\n    pass\n")], "app:create_app()"),
            (&[("app.py", "def create_app(\n    config=None,\n) -> Flask:\n    pass\n")], "app:create_app()"),
            (&[("app.py", "def create_app(config):\n    pass\n")], "nothing"),
            (&[("app.py", "VERSION = 1\nif app == 2:\n    app = 1\n")], "nothing"),
            (&[("main.py", "app: FastAPI = FastAPI()\n")], "asgi main:app"),
            (&[("main.py", "async def app(scope, receive, send):\n    pass\n")], "main:app"),
            (&[("app/main.py", "app = FastAPI()\n"), ("app/__init__.py", "")], "asgi app.main:app"),
            (&[("flaskr/__init__.py", "def create_app():\n    pass\n")], "flaskr:create_app()"),
            (&[("mysite/__init__.py", "from .celery import app as celery_app\n")], "nothing"),
            (&[("mysite/asgi.py", "application = x\n")], "asgi mysite.asgi:application"),
            (&[("a/app.py", "app = 1\n"), ("b/app.py", "app = 1\n")], "a.app:app or b.app:app"),
            (&[("wsgi.py", "import x\n"), ("x/wsgi.py", APPLICATION)], "x.wsgi:application"),
        ] {
            assert_eq!(name(files), found, "{files:?}");
        }
    }

    #[test]
    fn settings_are_common_if_all_servers_name_them() {
        let common = |files: &[(&str, &str)]| {
            let (packages, files) = (vec!["a".to_owned(), "b".to_owned()], files.to_vec());
            let read = move |path: &str| {
                let (_, module) = files.iter().find(|(name, _)| *name == path)?;
                Some(format!("setdefault('{VARIABLE}', '{module}')"))
            };
            SiteCode { packages, read: Box::new(read) }.common_settings()
        };
        let served = [("a/wsgi.py", "a.production"), ("a/asgi.py", "a.production"), ("manage.py", "a.local")];
        assert_eq!(common(&served).as_deref(), Some("a.production"));
        assert_eq!(common(&[("manage.py", "a.local")]).as_deref(), Some("a.local"));
        assert_eq!(common(&[("a/wsgi.py", "a.s"), ("b/wsgi.py", "b.s")]), None);
        assert_eq!(common(&[]), None);
    }

    #[test]
    fn the_settings_module_is_found() {
        let found = |text| named_in(text).unwrap_or_default();
        let lines = "# DJANGO_SETTINGS_MODULE, 'no'\nos.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"a.settings\")";
        assert_eq!(found(lines), "a.settings");
        assert_eq!(found("os.environ['DJANGO_SETTINGS_MODULE'] = 'b'"), "b");
        assert_eq!(found("setdefault(\n    'DJANGO_SETTINGS_MODULE',\n    'c.d')"), "c.d");
        assert_eq!(found("setdefault('DJANGO_SETTINGS_MODULE', NAME)"), "");
        assert_eq!(found(""), "");
    }
}
