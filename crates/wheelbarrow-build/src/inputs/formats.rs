//! Whether wheels and sources of a package may be used: pip's `--no-binary` and `--only-binary`.

use std::collections::BTreeSet;

use wheelbarrow_wheel::name;

use wheelbarrow_base::variable;

const ALL: &str = ":all:";
const NONE: &str = ":none:";

/// Names of packages (normalised), or `:all:`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    no_binary: BTreeSet<String>,
    only_binary: BTreeSet<String>,
}

/// What may be used of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) wheels: bool,
    pub(crate) sources: bool,
}

impl Formats {
    /// Of `PIP_NO_BINARY` and `PIP_ONLY_BINARY`.
    pub(crate) fn of_pip() -> Self {
        let mut formats = Self::default();
        formats.no_binary(&variable(&["PIP_NO_BINARY"]).unwrap_or_default());
        formats.only_binary(&variable(&["PIP_ONLY_BINARY"]).unwrap_or_default());
        formats
    }

    /// `value` is a list divided by commas, with `:all:` and `:none:`. What comes later wins, as with pip.
    pub(crate) fn no_binary(&mut self, value: &str) {
        exclude(value, &mut self.no_binary, &mut self.only_binary);
    }

    pub(crate) fn only_binary(&mut self, value: &str) {
        exclude(value, &mut self.only_binary, &mut self.no_binary);
    }

    /// Takes the lists of `later`, which win.
    pub(crate) fn extend(&mut self, later: &Self) {
        later.no_binary.iter().for_each(|name| self.no_binary(name));
        later.only_binary.iter().for_each(|name| self.only_binary(name));
    }

    pub(crate) fn of(&self, name: &str) -> Allowed {
        let mut allowed = Allowed { wheels: true, sources: true };
        if self.only_binary.contains(name) {
            allowed.sources = false;
        } else if self.no_binary.contains(name) {
            allowed.wheels = false;
        } else if self.only_binary.contains(ALL) {
            allowed.sources = false;
        } else if self.no_binary.contains(ALL) {
            allowed.wheels = false;
        }
        allowed
    }

    /// For uv, and for a digest.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let flags = |flag: &'static str, names: &BTreeSet<String>| {
            names.iter().flat_map(move |name| [flag.to_owned(), name.clone()]).collect::<Vec<_>>()
        };
        [flags("--no-binary", &self.no_binary), flags("--only-binary", &self.only_binary)].concat()
    }
}

/// <https://pip.pypa.io/en/stable/cli/pip_install/#cmdoption-no-binary>
fn exclude(value: &str, into: &mut BTreeSet<String>, from: &mut BTreeSet<String>) {
    let names = value.split([',', ' ', '\n']).map(str::trim).filter(|name| !name.is_empty());
    for name in names {
        match name {
            ALL => {
                from.clear();
                into.clear();
                into.insert(ALL.to_owned());
            }
            NONE => into.clear(),
            _ => {
                let name = name::normalise(name);
                from.remove(&name);
                into.insert(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_option_wins() {
        let mut formats = Formats::default();
        formats.no_binary(":all:");
        formats.only_binary("Foo_Bar,baz");
        formats.no_binary("baz");
        let of = |name: &str| (formats.of(name).wheels, formats.of(name).sources);
        assert_eq!(of("foo-bar"), (true, false));
        assert_eq!(of("baz"), (false, true));
        assert_eq!(of("other"), (false, true));
        let mut later = Formats::default();
        later.only_binary(":all:");
        formats.extend(&later);
        assert_eq!(formats, later);
        formats.only_binary(":none:");
        assert_eq!(formats, Formats::default());
    }
}
