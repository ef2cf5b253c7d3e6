//! The paths that the items of a module name.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Macro, Path, UseTree, Visibility};

/// A path as it stands in the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    imports: BTreeMap<String, Use>,
    globs: Vec<Use>,
    used: BTreeSet<Use>,
}

impl Names {
    pub(super) fn read(&mut self, item: &Item) {
        self.visit_item(item);
    }

    /// What a `use` has given this name to.
    pub(super) fn imported(&self, name: &str) -> Option<&Use> {
        self.imports.get(name)
    }

    pub(super) fn globs(&self) -> impl Iterator<Item = &Use> {
        self.globs.iter()
    }

    pub(super) fn used(&self) -> impl Iterator<Item = &Use> {
        self.used.iter()
    }

    fn tree(&mut self, before: &[String], tree: &UseTree, is_exported: bool) {
        let with = |name: &syn::Ident| match name == "self" && !before.is_empty() {
            true => before.to_vec(),
            false => [before, &[name.to_string()]].concat(),
        };
        let (name, path) = match tree {
            UseTree::Path(path) => {
                return self.tree(&[before, &[path.ident.to_string()]].concat(), &path.tree, is_exported);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(before, tree, is_exported));
            }
            UseTree::Glob(_) => {
                let glob = Use { path: before.to_vec() };
                if !is_exported {
                    self.used.insert(glob.clone());
                }
                return self.globs.push(glob);
            }
            UseTree::Name(name) => {
                let path = with(&name.ident);
                (path.last().cloned().unwrap_or_default(), path)
            }
            UseTree::Rename(rename) => (rename.rename.to_string(), with(&rename.ident)),
        };
        let used = Use { path };
        if !is_exported {
            self.used.insert(used.clone());
        }
        self.imports.insert(name, used);
    }

    /// Paths in what a macro is given, which is no syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    self.tokens(group.stream());
                }
                _ => self.end(&mut path),
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.used.insert(Use { path });
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_exported = !matches!(item.vis, Visibility::Inherited);
        self.tree(&[], &item.tree, is_exported);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            let path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.used.insert(Use { path });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    // `#[serde(default)]` names nothing of ours, and `pub(super)` imports nothing.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}
