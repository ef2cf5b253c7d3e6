//! What the modules of a Rust crate name of each other.

mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fs_err as fs;
use syn::{Attribute, Item};

use super::graph::Graph;
use names::{Names, Use};

/// The names of the modules above it and its own; none for the crate's root.
type ModulePath = Vec<String>;

/// A module: what it defines, and what it names.
#[derive(Default)]
struct Module {
    /// The items that are defined here, and whether each is a type.
    items: BTreeMap<String, bool>,
    names: Names,
}

pub(super) fn graph(root: &Path) -> Result<Graph> {
    let mut modules = BTreeMap::new();
    let directory = root.parent().context("a crate's root is in a directory")?;
    read(root, directory, Vec::new(), &mut modules)?;
    let mut graph = Graph::default();
    for (path, module) in &modules {
        for used in module.names.used() {
            let Some((to, is_type)) = find(&modules, path, used, 0) else { continue };
            if is_error(path) && is_type {
                continue;
            }
            graph.import(&shown(path), &shown(&to));
        }
    }
    Ok(graph)
}

fn is_error(path: &[String]) -> bool {
    path.last().is_some_and(|name| name == "error")
}

fn shown(path: &[String]) -> String {
    if path.is_empty() { "(the root)".to_owned() } else { path.join("::") }
}

/// Reads a file and the modules below it, whose files are in `directory`.
fn read(
    file: &Path,
    directory: &Path,
    path: ModulePath,
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Result<()> {
    let parsed = syn::parse_file(&fs::read_to_string(file)?)
        .with_context(|| format!("read {} as Rust", file.display()))?;
    read_items(&parsed.items, directory, path, modules)
}

fn read_items(
    items: &[Item],
    directory: &Path,
    path: ModulePath,
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Result<()> {
    let mut module = Module::default();
    for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
        if let Item::Mod(below) = item {
            let name = below.ident.to_string();
            let below_path = [path.as_slice(), std::slice::from_ref(&name)].concat();
            let inside = directory.join(&name);
            match &below.content {
                Some((_, items)) => read_items(items, &inside, below_path, modules)?,
                None => read(&file_of(directory, &name)?, &inside, below_path, modules)?,
            }
        } else {
            if let Some((name, is_type)) = defined(item) {
                module.items.insert(name, is_type);
            }
            module.names.read(item);
        }
    }
    modules.insert(path, module);
    Ok(())
}

fn file_of(directory: &Path, name: &str) -> Result<PathBuf> {
    [directory.join(format!("{name}.rs")), directory.join(name).join("mod.rs")]
        .into_iter()
        .find(|file| file.is_file())
        .with_context(|| format!("no file for the module {name} in {}", directory.display()))
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item gives to its module, and whether that is a type's.
fn defined(item: &Item) -> Option<(String, bool)> {
    let (name, is_type) = match item {
        Item::Enum(item) => (&item.ident, true),
        Item::Struct(item) => (&item.ident, true),
        Item::Type(item) => (&item.ident, true),
        Item::Union(item) => (&item.ident, true),
        Item::Trait(item) => (&item.ident, true),
        Item::Const(item) => (&item.ident, false),
        Item::Static(item) => (&item.ident, false),
        Item::Fn(item) => (&item.sig.ident, false),
        Item::Macro(item) => (item.ident.as_ref()?, false),
        _ => return None,
    };
    Some((name.to_string(), is_type))
}

/// As many re-exports of re-exports as are followed.
const DEEPEST: usize = 16;

/// The module that defines what `used` names where it stands in the module `from`, and whether that is a type.
fn find(
    modules: &BTreeMap<ModulePath, Module>,
    from: &[String],
    used: &Use,
    depth: usize,
) -> Option<(ModulePath, bool)> {
    if depth > DEEPEST {
        return None;
    }
    let (mut here, mut rest) = start(modules, from, &used.path)?;
    // A name alone is a variable's, a function's or a type's: nothing can be done with a module but to look into it.
    let is_alone = used.path.len() == 1;
    loop {
        let Some((next, after)) = rest.split_first() else {
            // A module was named and nothing in it.
            return Some((here, false));
        };
        let below = [here.as_slice(), std::slice::from_ref(next)].concat();
        if !is_alone && modules.contains_key(&below) {
            (here, rest) = (below, after);
            continue;
        }
        let module = modules.get(&here)?;
        if let Some(is_type) = module.items.get(next) {
            return Some((here, *is_type));
        }
        // What was imported there from elsewhere.
        if let Some(imported) = module.names.imported(next) {
            let longer = Use { path: [imported.path.as_slice(), after].concat() };
            return find(modules, &here, &longer, depth + 1);
        }
        return module.names.globs().find_map(|glob| {
            let longer = Use { path: [glob.path.as_slice(), rest].concat() };
            find(modules, &here, &longer, depth + 1).filter(|(module, _)| *module != here)
        });
    }
}

/// Where a path begins, and what is left of it: nothing for another crate's.
fn start<'a>(
    modules: &BTreeMap<ModulePath, Module>,
    from: &[String],
    path: &'a [String],
) -> Option<(ModulePath, &'a [String])> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some((Vec::new(), rest)),
        "self" => Some((from.to_vec(), rest)),
        "super" => {
            let above = from.split_last().map_or(&[][..], |(_, above)| above);
            let mut above = above.to_vec();
            let mut rest = rest;
            while rest.first().is_some_and(|next| next == "super") {
                above.pop();
                rest = rest.get(1..).unwrap_or_default();
            }
            Some((above, rest))
        }
        name => {
            let below = [from, &[name.to_owned()]].concat();
            let module = modules.get(from)?;
            let is_here = modules.contains_key(&below)
                || module.items.contains_key(name)
                || module.names.imported(name).is_some_and(|imported| imported.path != path);
            is_here.then(|| (from.to_vec(), path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        graph(&place.path().join("lib.rs")).unwrap().circles()
    }

    #[test]
    fn names_are_followed_through_reexports_to_where_they_are_defined() {
        let found = circles(&[
            ("lib.rs", "mod a; mod b; pub use b::inner::f;"),
            ("a.rs", "pub struct A; fn g() { println!(\"{}\", crate::f()); }"),
            ("b/mod.rs", "pub mod inner;"),
            ("b/inner.rs", "use super::super::a; pub fn f() -> a::A { a::A }"),
        ]);
        assert_eq!(found, [["a", "b::inner", "a"]]);
    }

    #[test]
    fn what_is_above_and_what_is_below_do_not_name_each_other() {
        let found = circles(&[
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; pub fn f() { b::g() }"),
            ("a/b.rs", "pub fn g() { super::f() }"),
        ]);
        assert_eq!(found, [["a", "a::b", "a"]]);
    }

    #[test]
    fn a_name_alone_is_no_module() {
        let files =
            |more| [("lib.rs", "mod a;"), ("a.rs", more), ("a/b.rs", "use super::A; pub fn b(_: A) {}")];
        assert!(circles(&files("mod b; pub struct A; fn f(b: u8) -> u8 { b }")).is_empty());
        let reexported = files("mod b; pub use b::b; pub struct A; fn f() { b(A) }");
        assert_eq!(circles(&reexported), [["a", "a::b", "a"]]);
    }

    #[test]
    fn tests_visibility_and_reexports_import_nothing() {
        let found = circles(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "pub(crate) use crate::b::f; pub(in crate::b) struct A; #[cfg(test)] mod tests { use crate::b::f; }",
            ),
            ("b.rs", "use crate::a::A; pub fn f(_: A) {}"),
        ]);
        assert_eq!(found, Vec::<Vec<String>>::new());
    }

    #[test]
    fn an_error_enum_holds_types_of_all_modules() {
        let files = |more| {
            [
                ("lib.rs", "mod a; mod error;"),
                ("a.rs", "use crate::error::Error; pub struct A; pub fn f() -> Error { Error::A(A) }"),
                ("error.rs", more),
            ]
        };
        assert!(circles(&files("use crate::a::A; pub enum Error { A(A) }")).is_empty());
        assert_eq!(
            circles(&files("pub enum Error { A(crate::a::A) } fn g() { crate::a::f(); }")),
            [["a", "error", "a"]]
        );
    }
}
