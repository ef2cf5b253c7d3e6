use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// Documents that are right, and others that are wrong in each way there is.
fn documents() -> Vec<Vec<u8>> {
    let texts = [
        "{}",
        " {\n} \n",
        "{\"A\": \"1\"}",
        "{\"A\": \"1\", \"B\": \"\"}\n",
        "\u{feff}{\"A\":\"x\"}",
        "{\"Ä\": \"ö\u{10ffff}\"}",
        "",
        " \n",
        "[]",
        "\"A\"",
        "nul",
        "\u{feff}\u{feff}{}",
        "{",
        "{\n",
        "{,}",
        "{A: 1}",
        "{'A': '1'}",
        "{\"A\"",
        "{\"A",
        "{\"A\"}",
        "{\"A\" \"1\"}",
        "{\"A\":\n}",
        "{\"A\": }",
        "{\"A\": 1}",
        "{\"A\": -1}",
        "{\"A\":\n\n true}",
        "{\"A\": false}",
        "{\"A\": null}",
        "{\"A\": [\"1\"]}",
        "{\"A\": {\"B\": \"1\"}}",
        "{\"A\": x}",
        "{\"A\": \"1\"",
        "{\"A\": \"1\" \"B\": \"2\"}",
        "{\"A\": \"1\",}",
        "{\"A\": \"1\",, \"B\": \"2\"}",
        "{\"A\": \"1\"} x",
        "{\"A\": \"1\"}}",
        "{\"A\": \"1\",\n\"B\": \"2\",\n\"A\": \"3\"}",
        "{\"\": \"1\"}",
        "{\"A=B\": \"1\"}",
        "{\"A=B=C\": 1}",
        "{\"A\\u0000\": \"1\"}",
        "{\"A\": \"\\u0000\"}",
        "{\"A\": \"one\ntwo\"}",
        "{\"A\": \"tab\there\"}",
        "{\"A\": \"\\t\ttwo\"}",
        "{\"A\": \"\\x\"}",
        "{\"A\": \"\\u12\"}",
        "{\"A\": \"\\u12g4\"}",
        "{\"A\": \"\\ud83d\\ude00\"}",
        "{\"A\": \"\\ud83d\"}",
        "{\"A\": \"\\ude00\\ud83d\"}",
        "{\"A\": \"\\ud83d\\x\"}",
        "{\"A\": \"\\ud83d\\u12\"}",
        "{\"A\\ud83d\": \"1\"}",
        "{\"A\": \"\\",
        "{\"A\": \"\\\"}",
        "{\"A\": \"\\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u00e9\"}",
        "{\"\\u0041\": \"1\", \"A\": \"2\"}",
        "{\"A\u{7f}\": 1}",
        "{\"A\\n\": 1}",
        "{\"\u{300}\u{e9}\u{202e}\u{a0}'\\\"\": 1}",
        "{\"A\": \"1\"}\u{a0}",
        "// c\n{}",
        "{\"A\": \"1\" /* c */}",
        "{\"A\": NaN}",
    ];
    let mut documents: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).to_vec();
    documents.push(b"{\"A\":\n\"caf\xe9\"}".to_vec());
    documents.push(b"\xff\xfe{\0}\0".to_vec());
    documents.push(format!("{{\"{}\": 1}}", "K".repeat(100)).into_bytes());
    documents
}

const REQUIRED: &[&str] = &["A"];

fn judge(document: &[u8], required: &[&str]) -> String {
    let required = required.iter().map(|&key| key.to_owned()).collect();
    match check(document, 0o600, &EnvironmentRules { required, ..EnvironmentRules::default() }, |_| false) {
        Ok(keys) => format!("sets {}", keys.join(" ")),
        Err(error) => error.to_string(),
    }
}

/// Gives every document to the real `loadenv.py`, a JSON list of results out.
const ASK: &str = "
import json, sys
loadenv = {}
exec(sys.argv[1], loadenv)
loadenv['REQUIRED'] = tuple(sys.argv[2:])
said = []
for document in json.load(sys.stdin):
    try:
        said.append('sets ' + ' '.join(loadenv['check'](bytes(document), {})))
    except loadenv['Broken'] as broken:
        said.append(str(broken))
json.dump(said, sys.stdout)
";

fn loadenv_judges(documents: &[Vec<u8>], required: &[&str]) -> Option<Vec<String>> {
    let mut child = Command::new("python3")
        .args(["-I", "-S", "-c", ASK, wheelbarrow_artifact::python::LOADENV])
        .args(required)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(&serde_json::to_vec(documents).ok()?).ok()?;
    let output = child.wait_with_output().ok()?;
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).ok()
}

#[test]
fn loadenv_and_this_crate_agree_on_every_document() {
    let documents = documents();
    for required in [&[], REQUIRED] {
        let Some(theirs) = loadenv_judges(&documents, required) else {
            println!("skipped: there is no python3 here");
            return;
        };
        for (document, theirs) in documents.iter().zip(theirs) {
            assert_eq!(judge(document, required), theirs, "{}", String::from_utf8_lossy(document));
        }
    }
}

#[test]
fn an_environment_has_a_limit() {
    let of_size = |size: usize| {
        let text = format!("{{\"A\": \"{}\"}}", "x".repeat(size - 9));
        assert_eq!(text.len(), size);
        text.into_bytes()
    };
    let limit = LARGEST_ENVIRONMENT as usize;
    let documents = [of_size(limit), of_size(limit + 1)];
    let ours = documents.each_ref().map(|document| judge(document, &[]));
    assert_eq!(ours, ["sets A", ": larger than 1 MB"]);
    let Some(theirs) = loadenv_judges(&documents, &[]) else {
        println!("skipped: there is no python3 here");
        return;
    };
    assert_eq!(theirs, ours);
}

#[test]
fn no_message_holds_a_value() {
    for document in documents() {
        let secret = String::from_utf8_lossy(&document).replace("\"1\"", "\"hunter2\"");
        assert!(!judge(secret.as_bytes(), REQUIRED).contains("hunter2"), "{secret}");
    }
    for document in ["{\"A=hunter2\": \"1\"}", "{\"A=hunter2\" 1}", "{\"A=hunter2\": 1}"] {
        let text = judge(document.as_bytes(), &[]);
        assert!(text.starts_with(", line 1: key \"A=...\": "), "{text}");
    }
}

#[test]
fn the_rules_of_the_artifact_count() {
    let rules =
        EnvironmentRules { required: vec!["A".to_owned()], private: true, ..EnvironmentRules::default() };
    assert!(check(b"{}", 0o600, &rules, |key| key == "A").is_ok());
    let open = check(b"{}", 0o644, &rules, |_| true).unwrap_err();
    insta::assert_snapshot!(open, @": every user may read it; use `chmod o-r`");
    let missing = check(b"{}", 0o600, &rules, |_| false).unwrap_err();
    insta::assert_snapshot!(missing, @": key \"A\": is required; not in the file, and the process has not inherited it");
    let rules = EnvironmentRules { required: ["A", "B", "C"].map(str::to_owned).into(), ..rules };
    let missing = check(b"{\"B\": \"\"}", 0o600, &rules, |_| false).unwrap_err();
    insta::assert_snapshot!(missing, @": key \"A\": is required, so is \"C\"; not in the file, and the process has not inherited them");
}
