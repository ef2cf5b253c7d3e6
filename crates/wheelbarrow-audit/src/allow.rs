//! Allowed findings and their reasons.

use std::str::FromStr;

use wheelbarrow_artifact::manifest::Allowed;
use wheelbarrow_wheel::name;

use crate::finding::{Finding, Rule};

/// In place of a reason.
pub(crate) const NO_REASON: &str = "no reason given";

/// `RULE:NAME=REASON`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allowance {
    pub rule: Rule,
    /// A distribution; for [`Rule::ElfLibrary`] also a library; for [`Rule::Collision`] a path, and all that is below it.
    pub name: String,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowanceError {
    #[error(
        "invalid allowance `{text}`: use RULE:NAME=REASON, such as `elf-glibc:numpy=the servers are newer`"
    )]
    Shape { text: String },
    #[error("unknown audit rule `{rule}`")]
    Rule { rule: String },
}

impl AllowanceError {
    pub fn hint(&self) -> String {
        let rules: Vec<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        format!("RULE:NAME=REASON; the rules are {}", rules.join(", "))
    }
}

impl FromStr for Allowance {
    type Err = AllowanceError;

    fn from_str(text: &str) -> Result<Self, AllowanceError> {
        let shape = || AllowanceError::Shape { text: text.to_owned() };
        let (rule, rest) = text.split_once(':').ok_or_else(shape)?;
        let (name, reason) = rest.split_once('=').unwrap_or((rest, ""));
        let (name, reason) = (name.trim(), reason.trim());
        if name.is_empty() {
            return Err(shape());
        }
        let rule = rule.trim();
        let rule = rule.parse().map_err(|()| AllowanceError::Rule { rule: rule.to_owned() })?;
        let name = if rule == Rule::Collision { name.trim_end_matches('/') } else { name };
        Ok(Self { rule, name: name.to_owned(), reason: (!reason.is_empty()).then(|| reason.to_owned()) })
    }
}

impl Allowance {
    pub fn allows(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && (self.name == finding.name
                || name::normalise(&self.name) == finding.name
                || finding.library.as_deref() == Some(self.name.as_str()))
    }

    /// Whether two wheels may write `path`, one over the other.
    pub(crate) fn allows_path(&self, path: &str) -> bool {
        self.rule == Rule::Collision
            && path.strip_prefix(&self.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it speaks of a library of the wheel `distribution`.
    pub(crate) fn allows_library(&self, distribution: &str, library: &str) -> bool {
        self.rule == Rule::ElfLibrary && (self.name == library || name::normalise(&self.name) == distribution)
    }

    /// As the manifest keeps it.
    pub fn to_manifest(&self) -> Allowed {
        Allowed { rule: self.rule.id().to_owned(), name: self.name.clone(), reason: self.reason.clone() }
    }

    /// From a manifest; nothing where the rule is one of another version of this program.
    pub fn from_manifest(allowed: &Allowed) -> Option<Self> {
        let Allowed { rule, name, reason } = allowed;
        Some(Self { rule: rule.parse().ok()?, name: name.clone(), reason: reason.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_has_a_rule_a_name_and_perhaps_a_reason() {
        let parse = |text: &str| text.parse::<Allowance>();
        let allowance = parse("elf-glibc:Num_Py = they are newer = really").unwrap();
        assert_eq!((allowance.rule, allowance.name.as_str()), (Rule::ElfGlibc, "Num_Py"));
        assert_eq!(allowance.reason.as_deref(), Some("they are newer = really"));
        assert_eq!(parse("yanked:x=").unwrap().reason, None);
        for text in ["elf-glibc", "elf-glibc:", "elf-glibc:=x"] {
            assert!(matches!(parse(text), Err(AllowanceError::Shape { .. })), "{text}");
        }
        assert!(matches!(parse("glibc:x"), Err(AllowanceError::Rule { .. })));
        let directory = parse("collision:pkg/tests/=nobody imports them").unwrap();
        let allows = |path| directory.allows_path(path);
        assert!(allows("pkg/tests") && allows("pkg/tests/__init__.py"));
        assert!(!allows("pkg/tests2") && !allows("pkg") && !allows("tests"));
    }
}
