//! Makes `loadenv.py` with the settings of one site.

use wheelbarrow_artifact::manifest::{EnvironmentRules, Precedence};
use wheelbarrow_artifact::python::LOADENV;

use super::PackError;

/// The text of `loadenv.py` for these rules: its lines `PRECEDENCE = `, `REQUIRED = ` and `PRIVATE = ` written anew.
pub(super) fn loadenv(rules: &EnvironmentRules) -> Result<String, PackError> {
    for name in &rules.required {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(PackError::Variable { name: name.clone() });
        }
    }
    let precedence = match rules.precedence {
        Precedence::File => "\"file\"",
        Precedence::Process => "\"process\"",
    };
    let required: String = rules.required.iter().map(|name| format!("{}, ", python_string(name))).collect();
    let private = if rules.private { "True" } else { "False" };
    let settings = [
        ("PRECEDENCE = ", precedence),
        ("REQUIRED = ", &format!("({})", required.trim_end())),
        ("PRIVATE = ", private),
    ];
    let rewritten = LOADENV.split_inclusive('\n').map(|line| {
        let setting = settings.iter().find(|(start, _)| line.starts_with(start));
        setting.map_or_else(|| line.to_owned(), |(start, value)| format!("{start}{value}\n"))
    });
    Ok(rewritten.collect())
}

/// A JSON string is a Python string too, since there are no lone surrogates in Rust's.
fn python_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_in_the_text() {
        let required = ["A", "B\"'"].map(str::to_owned).to_vec();
        let text =
            loadenv(&EnvironmentRules { precedence: Precedence::Process, required, private: true }).unwrap();
        let lines: Vec<_> =
            text.lines().filter(|line| line.contains(" = ") && line.starts_with(['P', 'R'])).collect();
        assert_eq!(lines, ["PRECEDENCE = \"process\"", "REQUIRED = (\"A\", \"B\\\"'\",)", "PRIVATE = True"]);
        let plain = loadenv(&EnvironmentRules::default()).unwrap();
        assert_eq!(plain.lines().count(), LOADENV.lines().count());
        assert!(plain.contains("\nREQUIRED = ()\n"));
    }

    #[test]
    fn what_cannot_be_a_variable_is_refused() {
        for name in ["", "A=B"] {
            let rules = EnvironmentRules { required: vec![name.to_owned()], ..EnvironmentRules::default() };
            assert!(matches!(loadenv(&rules), Err(PackError::Variable { .. })));
        }
    }
}
