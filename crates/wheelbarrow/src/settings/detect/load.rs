//! What a settings module has once it is loaded with all that it imports. Nothing is run: assignments and imports are
//! followed in their order, and a name that depends on a condition can have several values.

use std::collections::BTreeMap;

use super::source::{PythonModule, Runs, Statement, Token, split_at};
use super::value::{Names, Scope, Value, database_names};

/// The modules of a project.
pub(super) struct Modules<'m> {
    pub(super) all: &'m [PythonModule<'m>],
    /// The directory on `sys.path`, below the project.
    pub(super) import_path: &'m str,
}

/// A settings module, and what it imports.
pub(super) struct Loader<'m> {
    modules: &'m Modules<'m>,
    /// The modules that are being loaded, the last one by the others.
    begun: Vec<&'m str>,
    loaded: BTreeMap<&'m str, Loaded>,
}

/// What a module has.
#[derive(Clone, Default)]
pub(super) struct Loaded {
    /// Whether it is loaded whatever the environment is.
    pub(super) is_certain: bool,
    pub(super) names: Names,
    pub(super) databases: Vec<Database>,
}

#[derive(Clone, PartialEq)]
pub(super) struct Database {
    pub(super) path: Option<Value>,
    /// Whether the site has it whatever its environment is.
    pub(super) is_certain: bool,
}

impl<'m> Modules<'m> {
    /// The file of a module that is named from the import path.
    pub(super) fn find(&self, dotted: &str) -> Option<&'m str> {
        self.find_in(self.import_path, dotted)
    }

    fn find_in(&self, directory: &str, dotted: &str) -> Option<&'m str> {
        let stem = join(directory, &dotted.replace('.', "/"));
        let candidates = [join(&stem, "__init__.py"), format!("{stem}.py")];
        candidates.iter().find_map(|candidate| self.named(candidate)).map(|module| module.path)
    }

    fn named(&self, path: &str) -> Option<&'m PythonModule<'m>> {
        self.all.iter().find(|module| module.path == path)
    }
}

impl<'m> Loader<'m> {
    pub(super) fn new(modules: &'m Modules<'m>) -> Self {
        Self { modules, begun: Vec::new(), loaded: BTreeMap::new() }
    }

    /// The modules that were loaded, and whether each is loaded whatever the environment is.
    pub(super) fn loaded(&self) -> impl Iterator<Item = (&'m str, bool)> {
        self.loaded.iter().map(|(path, loaded)| (*path, loaded.is_certain))
    }

    /// Loads the module in a file of the project.
    pub(super) fn load(&mut self, path: &'m str, is_certain: bool) -> Loaded {
        if let Some(loaded) = self.loaded.get(path).filter(|loaded| loaded.is_certain || !is_certain) {
            return loaded.clone();
        }
        if self.begun.contains(&path) {
            return Loaded::default();
        }
        // Packages come before what is in them.
        let mut package = directory(path);
        while let Some(above) = self.modules.named(&join(package, "__init__.py")) {
            if above.path != path && !self.begun.contains(&above.path) {
                self.load(above.path, is_certain);
            }
            if package.is_empty() {
                break;
            }
            package = directory(package);
        }
        let mut loaded = Loaded { is_certain, ..Loaded::default() };
        self.begun.push(path);
        for statement in self.modules.named(path).map(PythonModule::statements).unwrap_or_default() {
            match (&statement.tokens[..], statement.runs) {
                (_, Runs::Later) => {}
                ([Token::Name(word), ..], _) if word == "from" || word == "import" => {
                    self.import(path, &statement, &mut loaded);
                }
                _ => loaded.assign(path, &statement),
            }
        }
        self.begun.pop();
        self.loaded.insert(path, loaded.clone());
        loaded
    }

    /// `from .base import *`, `from a.b import c as d`, `import a.b`.
    fn import(&mut self, file: &str, statement: &Statement, into: &mut Loaded) {
        let is_certain = into.is_certain && statement.runs == Runs::Always;
        let mut tokens = statement.tokens[1..].to_vec();
        tokens.retain(|token| !matches!(token, Token::Sign('(' | ')')));
        let is_import = |token: &Token| matches!(token, Token::Name(word) if word == "import");
        let Some(import) = tokens.iter().position(is_import) else {
            for module in split_at(&tokens, ',') {
                if let Some(path) = self.modules.find(&dotted(module)) {
                    self.load(path, is_certain);
                }
            }
            return;
        };
        let dots = tokens.iter().take_while(|token| **token == Token::Sign('.')).count();
        let mut above = if dots == 0 { self.modules.import_path } else { directory(file) };
        for _ in 1..dots {
            above = directory(above);
        }
        let module = dotted(&tokens[dots..import]);
        let path = if module.is_empty() {
            self.modules.named(&join(above, "__init__.py")).map(|module| module.path)
        } else {
            self.modules.find_in(above, &module)
        };
        let imported = path.filter(|path| *path != file).map(|path| self.load(path, is_certain));
        for item in split_at(&tokens[import + 1..], ',') {
            let name = match item {
                [Token::Sign('*')] => {
                    if let Some(imported) = &imported {
                        into.bind_all(imported, statement.runs);
                    }
                    continue;
                }
                [Token::Name(name), ..] => name,
                _ => continue,
            };
            let below = if module.is_empty() { name.clone() } else { format!("{module}.{name}") };
            if let Some(path) = self.modules.find_in(above, &below) {
                self.load(path, is_certain);
            }
            let Some(Token::Name(alias)) = item.last() else { continue };
            match &imported {
                Some(imported) => into.bind_one(alias, imported, name, statement.runs),
                // Of another project: only hides what had that name.
                None if into.names.contains_key(alias) => into.bind(alias, vec![None], statement.runs),
                None => {}
            }
        }
    }
}

impl Loaded {
    /// What one of two modules has.
    pub(super) fn or(mut self, other: Self) -> Self {
        for (name, values) in other.names {
            self.names.entry(name).or_default().extend(values);
        }
        let doubtful = |databases: &[Database], others: &[Database]| -> Vec<Database> {
            let is_certain = |database: &Database| database.is_certain && others.contains(database);
            let all = databases.iter();
            all.map(|it| Database { path: it.path.clone(), is_certain: is_certain(it) }).collect()
        };
        let mut databases = doubtful(&self.databases, &other.databases);
        databases.extend(doubtful(&other.databases, &self.databases));
        self.databases = databases;
        self
    }

    fn bind(&mut self, name: &str, values: Vec<Option<Value>>, runs: Runs) {
        let known = self.names.entry(name.to_owned()).or_default();
        if runs == Runs::Always {
            known.clear();
        }
        known.extend(values);
    }

    fn bind_one(&mut self, alias: &str, imported: &Self, name: &str, runs: Runs) {
        self.bind(alias, imported.names.get(name).cloned().unwrap_or_else(|| vec![None]), runs);
        if alias == "DATABASES" {
            self.change_databases(runs == Runs::Always);
            let is_certain = |it: &Database| it.is_certain && runs == Runs::Always;
            let databases = imported.databases.iter();
            self.databases
                .extend(databases.map(|it| Database { path: it.path.clone(), is_certain: is_certain(it) }));
        }
    }

    fn bind_all(&mut self, imported: &Self, runs: Runs) {
        for name in imported.names.keys().filter(|name| !name.starts_with('_')) {
            self.bind_one(name, imported, name, runs);
        }
    }

    /// `DATABASES` is another, or perhaps another.
    fn change_databases(&mut self, is_another: bool) {
        if is_another {
            self.databases.clear();
        }
        for database in &mut self.databases {
            database.is_certain = false;
        }
    }

    fn assign(&mut self, file: &str, statement: &Statement) {
        let Statement { tokens, runs } = statement;
        let parts = split_at(tokens, '=');
        let Some((value, targets)) = parts.split_last() else { return };
        if targets.is_empty() {
            match value {
                [Token::Name(name), Token::Operator, ..] if self.names.contains_key(name) => {
                    self.bind(name, vec![None], *runs);
                }
                // `DATABASES["default"].update(...)`
                [Token::Name(name), Token::Sign(_), ..] if name == "DATABASES" => {
                    self.change_databases(false)
                }
                _ => {}
            }
        }
        for target in targets {
            match target {
                [Token::Name(name)] | [Token::Name(name), Token::Sign(':'), ..] => {
                    let found = Scope { file, names: &self.names }.value(value);
                    self.bind(name, vec![found], *runs);
                    if name == "DATABASES" {
                        self.change_databases(*runs == Runs::Always);
                        self.add_databases(file, value, *runs);
                    }
                }
                [Token::Name(name), Token::Sign('['), .., key, Token::Sign(']')] if name == "DATABASES" => {
                    self.change_databases(false);
                    if *key == Token::Text("NAME".to_owned()) {
                        self.add_database(file, value, *runs);
                    } else {
                        self.add_databases(file, value, *runs);
                    }
                }
                // `A, B = ...`
                [Token::Name(_), Token::Sign(','), ..] => {
                    for token in *target {
                        if let Token::Name(name) = token {
                            self.bind(name, vec![None], *runs);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn add_databases(&mut self, file: &str, value: &[Token], runs: Runs) {
        let mut names = Vec::new();
        database_names(value, &mut names);
        for name in names {
            self.add_database(file, name, runs);
        }
    }

    fn add_database(&mut self, file: &str, name: &[Token], runs: Runs) {
        let path = Scope { file, names: &self.names }.value(name);
        self.databases.push(Database { path, is_certain: runs == Runs::Always });
    }
}

/// `a.b` of `a.b as c`.
fn dotted(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Name(word) if word == "as" => break,
            Token::Name(name) => text.push_str(name),
            _ => text.push('.'),
        }
    }
    text
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
