//! The age of the bundled Python: a site with a bundled Python gets security updates only by a new build.

use std::time::SystemTime;

use serde::Serialize;
use wheelbarrow_artifact::manifest::BundledInterpreter;

use crate::allow::{Allowance, NO_REASON};
use crate::finding::{Finding, Rule, Severity};

/// From this age on it is a warning, in days: CPython has a release every two months.
const OLD: i64 = 180;
/// What `--allow python-age:NAME` names, as the SBOM does.
const NAME: &str = "cpython";

/// The bundled Python, for people and for `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundledPython {
    /// `3.12.11`
    pub version: String,
    /// `2025-07-08`, where it is known.
    pub built: Option<String>,
    /// At the time of the audit.
    pub age_days: Option<i64>,
}

impl BundledPython {
    pub fn of(own: &BundledInterpreter, now: SystemTime) -> Self {
        let today = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
        let today = i64::try_from(today).unwrap_or(i64::MAX);
        let age_days = own.built.as_deref().and_then(days).map(|built| (today - built).max(0));
        Self { version: own.version.clone(), built: own.built.clone(), age_days }
    }

    /// The warning that it is old; with the reason of an allowance, where there is one.
    pub fn finding(&self, allowances: &[Allowance]) -> Option<Finding> {
        let (built, age) = (self.built.as_ref()?, self.age_days.filter(|age| *age > OLD)?);
        let mut finding = Finding {
            rule: Rule::PythonAge,
            severity: Severity::Warning,
            name: NAME.to_owned(),
            wheel: String::new(),
            file: None,
            library: None,
            what: format!("the bundled Python {} was built on {built}, {age} days ago", self.version),
            hint: Some(
                "rebuild with a newer one: `--with-python VERSION`, an archive or a directory".to_owned(),
            ),
            allowed: None,
        };
        let allowance = allowances.iter().find(|allowance| allowance.allows(&finding));
        finding.allowed =
            allowance.map(|allowance| allowance.reason.clone().unwrap_or_else(|| NO_REASON.to_owned()));
        Some(finding)
    }
}

/// Since 1970-01-01, of `2025-07-08`.
fn days(date: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_month = (153 * month + 2) / 5;
    Some(365 * year + year / 4 - year / 100 + year / 400 + before_month + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_counted() {
        for (date, expected) in
            [("1970-01-01", 0), ("1970-03-01", 59), ("2000-02-29", 11_016), ("2026-11-29", 20_786)]
        {
            assert_eq!(days(date), Some(expected), "{date}");
        }
        assert!(["", "2025", "2025-13-01", "2025-07-xx"].iter().all(|date| days(date).is_none()));
    }

    #[test]
    fn an_old_python_is_a_warning_that_can_be_allowed() {
        let own = |built: Option<&str>| BundledInterpreter {
            version: "3.12.11".to_owned(),
            machine: "x86_64".to_owned(),
            glibc: None,
            built: built.map(str::to_owned),
            digest: wheelbarrow_artifact::manifest::Sha256::of(b""),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(20_786 * 86_400 + 3600);
        let judged = |built| BundledPython::of(&own(Some(built)), now);
        assert_eq!(judged("2026-06-02").age_days, Some(180));
        assert_eq!(judged("2026-06-02").finding(&[]), None);
        let found = judged("2026-06-01").finding(&[]).unwrap();
        assert_eq!(found.what, "the bundled Python 3.12.11 was built on 2026-06-01, 181 days ago");
        assert!(!found.refuses());
        let allowance: Allowance = "python-age:cpython=tested until March".parse().unwrap();
        let found = judged("2026-06-01").finding(&[allowance]).unwrap();
        assert_eq!(found.allowed.as_deref(), Some("tested until March"));
        assert_eq!(BundledPython::of(&own(None), now).finding(&[]), None, "nothing is known");
        assert_eq!(judged("2030-01-01").age_days, Some(0), "another clock");
    }
}
