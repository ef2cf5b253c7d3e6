//! The kind of value of each setting, for errors that name the key, its line and an example.
//!
//! serde has the types too, but loses the line of a value behind a tagged enum.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{SettingsError, line};

#[derive(Clone, Copy)]
pub(super) enum Shape {
    Text,
    Texts,
    /// An integer that is not negative.
    Whole,
    Wholes,
    Flag,
    /// Words in a list, or in a string.
    Command,
    Commands,
    /// A command, a table with one, or a list of these.
    Hook,
    OneOf(&'static [&'static str]),
    /// Variables: a table of strings, or the path of a file.
    Variables,
    Table,
    Tables,
}

use Shape::{Command, Commands, Flag, Hook, OneOf, Table, Tables, Text, Texts, Variables, Whole, Wholes};

/// Keys with what they hold and an example. A key that is not among them is serde's to judge; `release.check` is
/// a table or `false`.
pub(super) const SHAPES: &[(&str, Shape, &str)] = &[
    ("audit", Table, "[audit]"),
    ("audit.allow", Texts, "allow = [\"elf-glibc:numpy=the servers are newer\"]"),
    ("build", Table, "[build]"),
    ("build.collectstatic", Flag, "collectstatic = true"),
    ("build.container", Text, "container = \"localhost/build\""),
    ("build.container-engine", Text, "container-engine = \"podman\""),
    ("build.environment", Variables, "environment = { SECRET_KEY = \"for the build\" }"),
    ("build.packages", Texts, "packages = [\"libpq-dev\"]"),
    ("bytecode", OneOf(&["auto", "always", "never"]), "bytecode = \"auto\""),
    ("environment", Table, "[environment]"),
    ("environment.precedence", OneOf(&["file", "process"]), "precedence = \"file\""),
    ("environment.private", Flag, "private = true"),
    ("environment.required", Texts, "required = [\"SECRET_KEY\"]"),
    ("exclude", Texts, "exclude = [\"/docs/\"]"),
    ("extra-index-url", Texts, "extra-index-url = [\"https://packages.example.org/simple\"]"),
    ("extras", Texts, "extras = [\"web\"]"),
    ("find-links", Texts, "find-links = [\"wheels\"]"),
    ("groups", Texts, "groups = [\"ops\"]"),
    ("import-path", Text, "import-path = \"src\""),
    ("index-url", Text, "index-url = \"https://packages.example.org/simple\""),
    ("install-project", Flag, "install-project = true"),
    ("lock", Text, "lock = \"pylock.toml\""),
    ("name", Text, "name = \"mysite\""),
    ("output", Text, "output = \"dist/mysite.zip\""),
    ("python", Texts, "python = [\"3.12\"]"),
    ("release", Table, "[release]"),
    ("release.application", Text, "application = \"mysite.wsgi:application\""),
    ("release.check.allow", Texts, "allow = [\"security.W004=the proxy sets it\"]"),
    ("release.check.enabled", Flag, "enabled = false"),
    ("release.check.expected", Wholes, "expected = [200, 302]"),
    ("release.check.host", Text, "host = \"www.example.org\""),
    ("release.check.path", Text, "path = \"/\""),
    ("release.check.scheme", OneOf(&["http", "https"]), "scheme = \"https\""),
    ("release.fork", Flag, "fork = false"),
    ("release.group", Text, "group = \"www-data\""),
    ("release.hooks", Table, "[release.hooks]"),
    ("release.hooks.after-rollback", Hook, "after_rollback = \"sh ops/run.sh\""),
    ("release.hooks.after-switch", Hook, "after_switch = \"sh ops/run.sh\""),
    ("release.hooks.before-migrate", Hook, "before_migrate = \"sh ops/run.sh\""),
    ("release.hooks.on-failure", Hook, "on_failure = \"sh ops/run.sh\""),
    ("release.keep", Whole, "keep = 5"),
    ("release.keep-static", Whole, "keep_static = 1"),
    ("release.owner", Text, "owner = \"www-data\""),
    ("release.pass-environment", Texts, "pass_environment = [\"HTTPS_PROXY\"]"),
    ("release.prepare", Commands, "prepare = [\"django-admin migrate --noinput\"]"),
    ("release.probe", Table, "[release.probe]"),
    ("release.probe.deadline", Whole, "deadline = 30"),
    ("release.probe.expected", Wholes, "expected = [200]"),
    ("release.probe.host", Text, "host = \"www.example.org\""),
    ("release.probe.socket", Text, "socket = \"/run/mysite.sock\""),
    ("release.probe.successes", Whole, "successes = 3"),
    ("release.probe.url", Text, "url = \"http://127.0.0.1:8000/health/\""),
    ("release.server", Table, "[release.server]"),
    ("release.server-log", Text, "server_log = \"/var/log/mysite.log\""),
    ("release.server.action", OneOf(&["restart", "reload"]), "action = \"restart\""),
    ("release.server.command", Command, "command = \"kill -HUP 7\""),
    ("release.server.kind", OneOf(&["systemd", "touch", "command", "none"]), "kind = \"systemd\""),
    ("release.server.path", Text, "path = \"/etc/uwsgi/mysite.ini\""),
    ("release.server.unit", Text, "unit = \"mysite.service\""),
    ("release.service", Tables, "[[release.service]]"),
    ("release.service.action", OneOf(&["restart", "reload"]), "action = \"restart\""),
    ("release.service.command", Command, "command = \"kill -HUP 7\""),
    ("release.service.handover", OneOf(&["restart", "drain"]), "handover = \"drain\""),
    ("release.service.hosts", OneOf(&["all", "one"]), "hosts = \"one\""),
    ("release.service.instances", Whole, "instances = 2"),
    ("release.service.loosen", Texts, "loosen = [\"home\"]"),
    ("release.service.name", Text, "name = \"worker\""),
    ("release.service.probe", Table, "probe = { path = \"/health/\" }"),
    ("release.service.probe.command", Command, "command = \"celery -A mysite inspect ping\""),
    ("release.service.probe.deadline", Whole, "deadline = 30"),
    ("release.service.probe.expected", Wholes, "expected = [200]"),
    ("release.service.probe.host", Text, "host = \"www.example.org\""),
    ("release.service.probe.path", Text, "path = \"/health/\""),
    ("release.service.probe.socket", Text, "socket = \"/run/mysite.sock\""),
    ("release.service.probe.successes", Whole, "successes = 3"),
    ("release.service.probe.url", Text, "url = \"http://127.0.0.1:8000/health/\""),
    ("release.service.run", Command, "run = \"celery -A mysite worker\""),
    ("release.service.schedule", Text, "schedule = \"daily\""),
    ("release.service.socket", Flag, "socket = true"),
    ("release.service.stays-up", Whole, "stays-up = 3"),
    ("release.service.stop", Table, "stop = { signal = \"TERM\", timeout = 600 }"),
    ("release.service.stop.signal", Text, "signal = \"TERM\""),
    ("release.service.stop.timeout", Whole, "timeout = 90"),
    ("release.service.touch", Text, "touch = \"/etc/uwsgi/mysite.ini\""),
    ("release.service.unit", Text, "unit = \"celery.service\""),
    ("release.service.watchdog", Whole, "watchdog = 20"),
    ("release.settings", Text, "settings = \"mysite.settings\""),
    ("release.shared", Texts, "shared = [\"media\"]"),
    ("release.singletons", Flag, "singletons = false"),
    ("release.static-root", Text, "static_root = \"static\""),
    ("release.systemd", OneOf(&["system", "user"]), "systemd = \"user\""),
    ("release.timeouts", Table, "[release.timeouts]"),
    ("release.timeouts.check", Whole, "check = 60"),
    ("release.timeouts.hook", Whole, "hook = 600"),
    ("release.timeouts.prepare", Whole, "prepare = 3600"),
    ("release.timeouts.reload", Whole, "reload = 120"),
    ("release.unit-name", Text, "unit_name = \"mysite\""),
    ("requirements", Texts, "requirements = [\"requirements.txt\"]"),
    ("shebang", Text, "shebang = \"#!/usr/bin/env python3\""),
    ("static", Texts, "static = [\"frontend/dist\"]"),
    ("target", Tables, "[[target]]"),
    ("target.container", Text, "container = \"localhost/build\""),
    ("target.libraries", Texts, "libraries = [\"libpq.so.5\"]"),
    ("target.packages", Texts, "packages = [\"libpq-dev\"]"),
    ("target.target", Text, "target = \"debian-12\""),
    ("version", Text, "version = \"1.4\""),
    ("with", Texts, "with = [\"gunicorn\"]"),
];

impl Shape {
    fn describe(self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Texts => "a list of strings".to_owned(),
            Self::Whole => "a number, 0 or more".to_owned(),
            Self::Wholes => "a list of numbers".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Command => "a command: a string, or a list of strings".to_owned(),
            Self::Commands => "a list of commands, each a string or a list of strings".to_owned(),
            Self::Hook => "a command, a table with `run`, or a list of these".to_owned(),
            Self::OneOf(words) => format!("one of \"{}\"", words.join("\", \"")),
            Self::Variables => "a table of strings, or the path of a JSON file".to_owned(),
            Self::Table => "a table".to_owned(),
            Self::Tables => "a list of tables".to_owned(),
        }
    }

    /// Where a value is not of this shape: at itself, or at an item of it.
    fn misfit(self, value: &Spanned<DeValue<'_>>) -> Option<usize> {
        let inner = value.get_ref();
        let here = |fits: bool| (!fits).then_some(value.span().start);
        let items = |shape: Self| match inner {
            DeValue::Array(items) => items.iter().find_map(|item| shape.misfit(item)),
            _ => here(false),
        };
        match self {
            Self::Text => here(inner.is_str()),
            Self::Texts => items(Self::Text),
            Self::Whole => {
                here(matches!(inner, DeValue::Integer(number) if !number.as_str().starts_with('-')))
            }
            Self::Wholes => items(Self::Whole),
            Self::Flag => here(inner.is_bool()),
            Self::Command if inner.is_str() => None,
            Self::Command => items(Self::Text),
            Self::Commands => items(Self::Command),
            Self::Hook if inner.is_str() || inner.is_table() => None,
            Self::Hook => here(inner.is_array()),
            Self::OneOf(words) => here(inner.as_str().is_some_and(|text| words.contains(&text))),
            Self::Variables => match inner.as_table() {
                Some(table) => table.values().find_map(|value| Self::Text.misfit(value)),
                None => here(inner.is_str()),
            },
            Self::Table => here(inner.is_table()),
            Self::Tables => items(Self::Table),
        }
    }
}

/// Refuses the first value that is not of its setting's kind.
pub(super) fn check(path: &Path, text: &str, table: &DeTable<'_>) -> Result<(), SettingsError> {
    let mut found = Vec::new();
    collect_shapes(table, "", &mut found);
    let Some((at, key, shape, example)) = found.into_iter().min_by_key(|(at, ..)| *at) else { return Ok(()) };
    Err(SettingsError::Kind {
        path: path.to_path_buf(),
        line: line(text, at),
        key,
        expected: shape.describe(),
        example,
    })
}

fn collect_shapes(table: &DeTable<'_>, prefix: &str, found: &mut Vec<(usize, String, Shape, &'static str)>) {
    for (key, value) in table {
        let written = format!("{prefix}{}", key.get_ref());
        let name = written.replace('_', "-");
        let known = SHAPES.iter().find(|(known, ..)| *known == name);
        if let Some((_, shape, example)) = known
            && let Some(at) = shape.misfit(value)
        {
            found.push((at, written, *shape, example));
            continue;
        }
        let below = format!("{written}.");
        match value.get_ref() {
            DeValue::Table(inner) => collect_shapes(inner, &below, found),
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.for_each(|inner| collect_shapes(inner, &below, found));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every example is right itself.
    #[test]
    fn examples_are_of_their_shape() {
        for &(key, shape, example) in SHAPES {
            if matches!(shape, Table | Tables) {
                continue;
            }
            let document = DeTable::parse(example).unwrap();
            let (name, value) = document.get_ref().iter().next().unwrap();
            assert_eq!(name.get_ref().replace('_', "-"), key.rsplit('.').next().unwrap());
            assert!(shape.misfit(value).is_none(), "{example}");
        }
        assert!(SHAPES.is_sorted_by_key(|(key, ..)| *key));
    }
}
