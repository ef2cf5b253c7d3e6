//! Licences from METADATA:
//! <https://packaging.python.org/en/latest/specifications/licensing-examples-and-user-scenarios/>.
//!
//! If there is an expression (PEP 639), only it counts. Older wheels have classifiers, some of which name one
//! licence and some a family of licences, and a free field that may contain the whole text of a licence.

use serde_json::{Value, json};
use wheelbarrow_wheel::metadata::Metadata;

/// What people write in the field for anything, where it is a name.
const LONGEST_NAME: usize = 80;

/// Classifiers that name one licence, without `License :: `, and its SPDX identifier.
const CLASSIFIERS: [(&str, &str); 24] = [
    ("OSI Approved :: Academic Free License (AFL)", "AFL-3.0"),
    ("OSI Approved :: Apache Software License", "Apache-2.0"),
    ("OSI Approved :: Blue Oak Model License (BlueOak-1.0.0)", "BlueOak-1.0.0"),
    ("OSI Approved :: Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    ("OSI Approved :: GNU Affero General Public License v3", "AGPL-3.0-only"),
    ("OSI Approved :: GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"),
    ("OSI Approved :: GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    ("OSI Approved :: GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("OSI Approved :: GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    ("OSI Approved :: GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
    ("OSI Approved :: GNU Lesser General Public License v2 (LGPLv2)", "LGPL-2.0-only"),
    ("OSI Approved :: GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.0-or-later"),
    ("OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
    ("OSI Approved :: GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
    ("OSI Approved :: ISC License (ISCL)", "ISC"),
    ("OSI Approved :: MIT License", "MIT"),
    ("OSI Approved :: MIT No Attribution License (MIT-0)", "MIT-0"),
    ("OSI Approved :: Mozilla Public License 1.1 (MPL 1.1)", "MPL-1.1"),
    ("OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("OSI Approved :: The Unlicense (Unlicense)", "Unlicense"),
    ("OSI Approved :: Universal Permissive License (UPL)", "UPL-1.0"),
    ("OSI Approved :: Zope Public License", "ZPL-2.1"),
    ("OSI Approved :: zlib/libpng License", "Zlib"),
    ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
];

/// Identifiers that the field for anything may hold as they are.
const IDENTIFIERS: [&str; 16] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "GPL-2.0-or-later",
    "GPL-3.0-or-later",
    "HPND",
    "ISC",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
];

/// CycloneDX's `licenses`: one expression, or licences by identifier or name; empty where nothing is said.
pub(super) fn of(metadata: &Metadata) -> Vec<Value> {
    if let Some(expression) = &metadata.license_expression {
        return vec![json!({ "expression": expression, "acknowledgement": "declared" })];
    }
    let mut licences = Vec::new();
    for classifier in &metadata.classifiers {
        let Some(licence) = classifier.strip_prefix("License ::").map(str::trim) else { continue };
        match CLASSIFIERS.iter().find(|(known, _)| *known == licence) {
            Some((_, id)) => licences.push(by("id", id)),
            None if licence == "OSI Approved" => {}
            None => licences.push(by("name", licence.rsplit(" :: ").next().unwrap_or(licence))),
        }
    }
    if licences.is_empty() {
        licences.extend(metadata.license.as_deref().and_then(named));
    }
    licences.dedup();
    licences
}

fn named(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Some(id) = IDENTIFIERS.iter().find(|id| **id == text) {
        return Some(by("id", id));
    }
    let is_name = !text.is_empty() && text.chars().count() <= LONGEST_NAME && text != "UNKNOWN";
    is_name.then(|| by("name", text))
}

fn by(key: &str, value: &str) -> Value {
    json!({ "license": { key: value, "acknowledgement": "declared" } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn licences(metadata: &str) -> String {
        let text = format!("Metadata-Version: 2.1\nName: a\nVersion: 1\n{metadata}");
        let all = of(&Metadata::parse(text.as_bytes()).unwrap());
        let words: Vec<_> = all
            .iter()
            .map(|it| {
                it.get("license").unwrap_or(it).to_string().replace(r#""acknowledgement":"declared","#, "")
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn the_most_exact_word_counts() {
        let classifier = "Classifier: License :: OSI Approved :: MIT License\n";
        assert_eq!(
            licences(&format!("License-Expression: MIT OR Apache-2.0\n{classifier}")),
            r#"{"expression":"MIT OR Apache-2.0"}"#
        );
        assert_eq!(licences(&format!("License: Modified MIT\n{classifier}")), r#"{"id":"MIT"}"#);
        assert_eq!(
            licences("Classifier: License :: OSI Approved :: BSD License\n"),
            r#"{"name":"BSD License"}"#
        );
        assert_eq!(
            licences("Classifier: License :: OSI Approved\nLicense: BSD-3-Clause\n"),
            r#"{"id":"BSD-3-Clause"}"#
        );
        assert_eq!(licences("License: BSD\n"), r#"{"name":"BSD"}"#);
        assert_eq!(licences(&format!("License: {}\n", "word ".repeat(30))), "");
        assert_eq!(licences(""), "");
    }
}
