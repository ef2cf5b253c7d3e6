//! Commands of a site that run around a switch: `[release.hooks]`.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::words::Words;

/// Every spelling of the keys of [`HookSettings`], each a list in which there may be lists.
pub(crate) const KEYS: [&str; 8] = [
    "after-rollback",
    "after-switch",
    "after_rollback",
    "after_switch",
    "before-migrate",
    "before_migrate",
    "on-failure",
    "on_failure",
];

/// What runs when. An empty list overrides an earlier source's list, None does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSettings {
    /// Before the `prepare` commands, unless no migration is pending.
    #[serde(
        default,
        alias = "before-migrate",
        deserialize_with = "one_or_many",
        skip_serializing_if = "Option::is_none"
    )]
    pub before_migrate: Option<Vec<Hook>>,
    /// When a deploy or an activation has switched to the release and verified it.
    #[serde(
        default,
        alias = "after-switch",
        deserialize_with = "one_or_many",
        skip_serializing_if = "Option::is_none"
    )]
    pub after_switch: Option<Vec<Hook>>,
    /// When an operation has failed.
    #[serde(
        default,
        alias = "on-failure",
        deserialize_with = "one_or_many",
        skip_serializing_if = "Option::is_none"
    )]
    pub on_failure: Option<Vec<Hook>>,
    /// When an earlier release is live again.
    #[serde(
        default,
        alias = "after-rollback",
        deserialize_with = "one_or_many",
        skip_serializing_if = "Option::is_none"
    )]
    pub after_rollback: Option<Vec<Hook>>,
}

/// A command. In settings words as [`Words`] has them, or a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "ShortestHook")]
pub struct Hook {
    pub run: Words,
    /// Whether the release is rolled back if it fails; for `after_switch` only.
    pub required: bool,
    /// Seconds; else `timeouts.hook`.
    pub timeout: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HookTable {
    run: Words,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    timeout: Option<u64>,
}

/// The shortest form.
#[derive(Serialize)]
#[serde(untagged)]
enum ShortestHook {
    Words(Words),
    Table {
        run: Words,
        required: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<u64>,
    },
}

impl HookSettings {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All hooks of all lists.
    pub fn all(&self) -> impl Iterator<Item = &Hook> {
        let Self { before_migrate, after_switch, on_failure, after_rollback } = self;
        [before_migrate, after_switch, on_failure, after_rollback].into_iter().flatten().flatten()
    }

    /// Each list of `later`, and this one's if `later` has none.
    #[must_use]
    pub(super) fn overridden_by(self, later: Self) -> Self {
        Self {
            before_migrate: later.before_migrate.or(self.before_migrate),
            after_switch: later.after_switch.or(self.after_switch),
            on_failure: later.on_failure.or(self.on_failure),
            after_rollback: later.after_rollback.or(self.after_rollback),
        }
    }
}

impl HookSettings {
    /// The key of the first list with a `required` hook whose failure cannot roll a release back, and what that failure does.
    pub fn wrongly_required(&self) -> Option<(&'static str, &'static str)> {
        let lists = [
            ("hooks.before_migrate", &self.before_migrate, "its failure stops the operation in any case"),
            ("hooks.on_failure", &self.on_failure, "its failure changes nothing"),
            ("hooks.after_rollback", &self.after_rollback, "its failure changes nothing"),
        ];
        let is_required = |hooks: &Option<Vec<Hook>>| hooks.iter().flatten().any(|hook| hook.required);
        lists.into_iter().find(|(_, hooks, _)| is_required(hooks)).map(|(key, _, effect)| (key, effect))
    }
}

impl From<Words> for Hook {
    fn from(run: Words) -> Self {
        Self { run, required: false, timeout: None }
    }
}

impl From<HookTable> for Hook {
    fn from(HookTable { run, required, timeout }: HookTable) -> Self {
        Self { run, required, timeout }
    }
}

impl From<Hook> for ShortestHook {
    fn from(Hook { run, required, timeout }: Hook) -> Self {
        match (required, timeout) {
            (false, None) => Self::Words(run),
            _ => Self::Table { run, required, timeout },
        }
    }
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HookVisitor;

        impl<'de> Visitor<'de> for HookVisitor {
            type Value = Hook;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a command: a string, a list of strings, or a table with the key `run`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hook, E> {
                text.parse::<Words>().map(Hook::from).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Hook, A::Error> {
                Words::deserialize(SeqAccessDeserializer::new(list)).map(Hook::from)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Hook, A::Error> {
                HookTable::deserialize(MapAccessDeserializer::new(map)).map(Hook::from)
            }
        }

        deserializer.deserialize_any(HookVisitor)
    }
}

/// A list of hooks, or a string or a table for a single one.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Hook>>, D::Error> {
    struct HooksVisitor;

    impl<'de> Visitor<'de> for HooksVisitor {
        type Value = Vec<Hook>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list of commands, or one command as a string or a table")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<Hook>, E> {
            text.parse::<Words>().map(|words| vec![words.into()]).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Hook>, A::Error> {
            let mut hooks = Vec::new();
            while let Some(hook) = list.next_element()? {
                hooks.push(hook);
            }
            Ok(hooks)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Hook>, A::Error> {
            HookTable::deserialize(MapAccessDeserializer::new(map)).map(|table| vec![table.into()])
        }
    }

    deserializer.deserialize_any(HooksVisitor).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(text: &str) -> Result<HookSettings, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_hook_is_words_or_a_table() {
        let read = hooks(
            r#"{"before-migrate": "dump 'a b'", "after_switch": ["purge", ["curl", "x"], {"run": "smoke", "required": true, "timeout": 5}],
                "on_failure": {"run": ["tell"]}, "after_rollback": []}"#,
        )
        .unwrap();
        let plain = |text: &str| Hook::from(text.parse::<Words>().unwrap());
        assert_eq!(read.before_migrate, Some(vec![plain("dump 'a b'")]));
        let smoke = Hook { run: "smoke".parse().unwrap(), required: true, timeout: Some(5) };
        assert_eq!(read.after_switch, Some(vec![plain("purge"), plain("curl x"), smoke]));
        assert_eq!(
            (read.on_failure.clone(), read.after_rollback.clone()),
            (Some(vec![plain("tell")]), Some(vec![]))
        );
        let again = serde_json::to_string(&read).unwrap();
        assert_eq!(hooks(&again).unwrap(), read, "{again}");
        for wrong in [
            r#"{"after_switch": 1}"#,
            r#"{"after_switch": [""]}"#,
            r#"{"after_switch": [{"required": true}]}"#,
            r#"{"after_switch": {"run": "x", "user": "root"}}"#,
            r#"{"before_switch": "x"}"#,
        ] {
            assert!(hooks(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn python_has_every_hook() {
        let names = KEYS.iter().filter(|key| key.contains('_'));
        let rows: String = names.map(|name| format!("    \"{name}?\",\n")).collect();
        let file = "crates/wheelbarrow-artifact/python/manifest.py";
        wheelbarrow_testing::generated::assert_part(file, "\n_HOOK_NAMES = (\n", ")\n", &rows);
    }

    #[test]
    fn a_later_list_replaces_an_earlier_one() {
        let early = hooks(r#"{"after_switch": ["a"], "on_failure": ["b"]}"#).unwrap();
        let later = hooks(r#"{"after_switch": [], "after_rollback": ["c"]}"#).unwrap();
        let both = hooks(r#"{"after_switch": [], "on_failure": ["b"], "after_rollback": ["c"]}"#).unwrap();
        assert_eq!(early.overridden_by(later), both);
    }
}
