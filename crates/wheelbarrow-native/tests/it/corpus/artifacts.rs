//! Artifacts: what their manifests say, where their members are, and where links lead.

use serde_json::{Value, json};
use wheelbarrow_artifact::manifest::Sha256;

use super::{Case, WHEEL};
use crate::hostile_artifacts::artifact_of;
use crate::site::wheel_members;
use crate::zips::{Member, zip, zip_behind};

const LINE: &[u8] = b"#!/usr/bin/env python3\n";

pub(super) fn cases() -> Vec<Case> {
    [places(), links(), projects(), wheels(), texts()].into_iter().flatten().collect()
}

/// An artifact whose bundled pip is this wheel.
pub(super) fn with_pip(wheel: &[u8]) -> Vec<u8> {
    let path = "bootstrap_wheels/pip-2-py3-none-any.whl";
    let members = [Member::new("code/a.py", "a = 1\n"), Member { method: 0, ..Member::new(path, wheel) }];
    artifact_of(&members, |manifest| {
        manifest["wheels"].as_array_mut().unwrap().push(json!({"path": path, "name": "pip", "version": "2"}));
        manifest["targets"][0]["pip"] = json!(path);
    })
}

fn of(members: &[Member]) -> Vec<u8> {
    artifact_of(members, |_| ())
}

/// An artifact with a changed manifest.
pub(super) fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    artifact_of(&[Member::new("code/a.py", "a = 1\n")], change)
}

/// Names of members of artifacts, and whether format 1 knows their places.
fn places() -> Vec<Case> {
    let names = [
        ("code/b.py", true),
        ("code/ünï.py", true),
        ("code/line\nend", false),
        ("code/start\u{1}", false),
        ("code/escape\u{1b}[2J", false),
        ("code/c1\u{9b}", false),
        ("code/turned\u{202e}", false),
        ("code/control\u{7f}/b.py", false),
        ("\u{2028}.pth", false),
        ("static.in/0/a\tb", false),
        ("code/a\\b", true),
        ("static.in/0/a.css", true),
        ("static.in/a.css", true),
        ("loadenv.py", true),
        ("loadenv-init.pth", true),
        ("loadenv.start", true),
        ("code.pth", true),
        ("other.pth", true),
        ("__main__.py", true),
        ("__main__.pyc", true),
        (".wheelbarrow/anything", true),
        ("wheels/anything", true),
        ("bootstrap_wheels/anything", true),
        ("other.py", false),
        ("other.start", false),
        ("README", false),
        ("code", false),
        ("static.in", false),
        ("wheels", false),
        ("other/b.py", false),
        ("venv/bin/python", false),
        ("venv/x", false),
        ("environment.json", false),
        ("sitecustomize.py", false),
        ("/etc/a", false),
        ("../a", false),
        ("code/../a", false),
        ("code//a", false),
        ("code/./a", false),
        ("code/", false),
        ("code/a\0b", false),
        ("", false),
    ];
    let member = |name: &str| {
        let member = Member::new(name, "x = 1\n");
        if name.is_ascii() { member } else { member.utf8() }
    };
    let case =
        |(name, taken): &(&str, bool)| Case::new(&format!("place {name:?}"), of(&[member(name)]), *taken);
    let mut cases: Vec<Case> = names.iter().map(case).collect();
    let kinds = [
        ("an executable loadenv.py", Member { mode: 0o100_755, ..member("loadenv.py") }, true),
        ("a pipe in the code", Member { mode: 0o010_644, ..member("code/p") }, false),
        ("a directory entry", Member { mode: 0o040_755, method: 0, ..Member::new("code/d/", "") }, false),
        ("a name twice", member("code/a.py"), false),
        ("a thousand directories", member(&format!("code/{}a", "d/".repeat(1000))), true),
        ("a file and a directory", member("code/a.py/b"), false),
        ("a file below the manifest", member(".wheelbarrow/manifest.json/b"), false),
        ("a loadenv-init.pth of 5000 bytes", Member::new("loadenv-init.pth", vec![b'#'; 5000]), true),
    ];
    let code = Member::new("code/a.py", "a = 1\n");
    cases.extend(kinds.map(|(name, member, taken)| Case::new(name, of(&[code.clone(), member]), taken)));
    let wheel = zip(&wheel_members("pack", &[Member::new("a.pth", "import os\n")]));
    let path = format!("wheels/{WHEEL}");
    let with_wheel = |loadenv: &[Member]| {
        let mut members = vec![Member { method: 0, ..Member::new(&path, &wheel[..]) }];
        members.extend(loadenv.to_vec());
        artifact_of(&members, |manifest| {
            manifest["wheels"]
                .as_array_mut()
                .unwrap()
                .push(json!({"path": path, "name": "pack", "version": "1"}));
            manifest["targets"][0]["wheels"] = json!([path]);
        })
    };
    cases.push(Case::new("a wheel with a .pth, and no loadenv", with_wheel(&[]), true));
    let long = Member::new("loadenv-init.pth", vec![b'#'; 5000]);
    cases.push(Case::new("a wheel with a .pth, and a long loadenv", with_wheel(&[long]), false));
    cases
}

fn links() -> Vec<Case> {
    let targets: [(&[u8], bool); 17] = [
        (b"a.py", true),
        (b"./a.py", true),
        (b"d//a.py", true),
        (b"d/", true),
        (b"..", true),
        (b"../a.py", true),
        ("ünï".as_bytes(), true),
        (b"gone", true),
        (b"line\nend", true),
        (b"", false),
        (b"\xff", false),
        (b"a\0b", false),
        (b"/etc/passwd", false),
        (b"../..", false),
        (b"../../venv", false),
        (b"x/../../../y", false),
        (&[b'x'; 5000], false),
    ];
    let link = |name: &str, target: &[u8]| Member { mode: 0o120_777, method: 0, ..Member::new(name, target) };
    let name = |target: &[u8]| String::from_utf8_lossy(&target[..target.len().min(20)]).into_owned();
    let mut cases: Vec<Case> = targets
        .iter()
        .map(|(target, taken)| {
            Case::new(&format!("link to {:?}", name(target)), of(&[link("code/d/l", target)]), *taken)
        })
        .collect();
    for (path, taken) in [
        ("static.in/0/l", true),
        ("static.in/l", true),
        ("loadenv.py", false),
        ("code.pth", false),
        ("__main__.py", false),
        (".wheelbarrow/l", false),
        ("wheels/l", false),
    ] {
        cases.push(Case::new(&format!("link at {path:?}"), of(&[link(path, b"x")]), taken));
    }
    for (links, taken) in several_links() {
        let members: Vec<_> = links.iter().map(|(path, target)| link(path, target.as_bytes())).collect();
        let file = Member::new("code/d/a.py", "a = 1\n");
        cases.push(Case::new(&format!("links {links:?}"), of(&[&members[..], &[file]].concat()), taken));
    }
    let through = Member::new("code/d/a.py", "a = 1\n");
    cases.push(Case::new("a file through a link", of(&[link("code/d", b"e"), through.clone()]), false));
    cases.push(Case::new("a file through a link, first", of(&[through, link("code/d", b"e")]), false));
    cases
}

/// Links beside the file `code/d/a.py`, and whether all of them stay inside.
fn several_links() -> Vec<(Vec<(String, String)>, bool)> {
    let cases: [(&[(&str, &str)], bool); 14] = [
        (&[("code/s", "."), ("code/t", "s/s/d/a.py")], true),
        (&[("code/s", "."), ("code/t", "s/s/../etc")], false),
        (&[("code/s", "."), ("code/t", "s/s/s/s/../../../../etc")], false),
        (&[("code/d/up", ".."), ("code/t", "d/up/d")], true),
        (&[("code/d/up", ".."), ("code/t", "d/up/../x")], false),
        (&[("code/l", "d/../d/a.py")], true),
        (&[("code/l", "gone/../d")], false),
        (&[("code/l", "d/a.py/../a.py")], false),
        (&[("code/l", "m/../d/a.py"), ("code/m", "d")], true),
        (&[("code/l", "m/../d"), ("code/m", "gone")], false),
        (&[("code/a", "b"), ("code/b", "a")], true),
        (&[("code/a", "b/x"), ("code/b", "a/x")], false),
        (&[("static.in/0/l", "../1/x"), ("static.in/1/l", "../0/l/y")], true),
        (&[("static.in/0/l", "m/../x"), ("static.in/0/m", "..")], false),
    ];
    let own = |links: &[(&str, &str)]| {
        links.iter().map(|(path, target)| ((*path).to_owned(), (*target).to_owned())).collect()
    };
    let mut cases: Vec<_> = cases.iter().map(|(links, taken)| (own(links), *taken)).collect();
    for (length, taken) in [(40, true), (41, false)] {
        let target = |number| if number == 0 { "d".to_owned() } else { format!("l{}/../d", number - 1) };
        let chain = (0..=length).map(|number| (format!("code/l{number}"), target(number))).collect();
        cases.push((chain, taken));
    }
    cases
}

fn projects() -> Vec<Case> {
    let with_directory = |directory: &str| {
        let path = format!("{directory}/a.py");
        let member = Member::new(&path, "a = 1\n");
        let member = if path.is_ascii() { member } else { member.utf8() };
        artifact_of(&[member], |manifest| {
            manifest["project"]["directory"] = json!(directory);
            manifest["project"]["import_path"] = json!(directory);
        })
    };
    let mut cases = Vec::new();
    for (directory, taken) in [
        ("site", true),
        ("ünï", true),
        ("a b", true),
        ("a/b", false),
        ("..", false),
        (".", false),
        ("", false),
        ("/etc", false),
        ("a\0b", false),
        ("a\u{1b}b", false),
        ("venv", false),
        ("wheels", false),
        ("bootstrap_wheels", false),
        ("static.in", false),
        (".wheelbarrow", false),
        ("environment.json", false),
    ] {
        cases.push(Case::new(&format!("project.directory {directory:?}"), with_directory(directory), taken));
    }
    for (path, taken) in [
        ("code", true),
        ("code/src", true),
        ("code/a/b", true),
        ("codes", false),
        ("other", false),
        ("code/../../etc", false),
        ("code/", false),
        ("code//src", false),
        ("code/.", false),
        ("../etc", false),
        ("/etc", false),
        ("", false),
        ("code/a\0b", false),
        ("code/a\nb", false),
    ] {
        let artifact = changed(|manifest| manifest["project"]["import_path"] = json!(path));
        cases.push(Case::new(&format!("project.import_path {path:?}"), artifact, taken));
    }
    for (path, taken) in [
        ("code/static", true),
        ("code/src/static", true),
        ("code/gone", true),
        ("code", false),
        ("code/", false),
        ("code/static/", false),
        ("code/src", false),
        ("codes/static", false),
        ("static.in/0", false),
        ("code/../static", false),
        ("/etc", false),
        ("", false),
        ("code/a\nb", false),
    ] {
        let artifact = changed(|manifest| {
            manifest["project"]["import_path"] = json!("code/src/app");
            manifest["project"]["static_root"] = json!(path);
        });
        cases.push(Case::new(&format!("project.static_root {path:?}"), artifact, taken));
    }
    cases
}

/// What the manifest says of wheels.
fn wheels() -> Vec<Case> {
    let wheel = zip(&wheel_members("pack", &[Member::new("pack.py", "a = 1\n")]));
    let path = format!("wheels/{WHEEL}");
    let described = |path: &str, name: &str| json!({"path": path, "name": name, "version": "1"});
    let with = |method: u16, path: &str, change: &dyn Fn(&mut Value)| {
        let members =
            [Member { method, ..Member::new(path, &wheel[..]) }, Member::new("code/a.py", "a = 1\n")];
        artifact_of(&members, |manifest| {
            manifest["wheels"].as_array_mut().unwrap().push(described(path, "pack"));
            manifest["targets"][0]["wheels"] = json!([path]);
            change(manifest);
        })
    };
    let usual = |change: &dyn Fn(&mut Value)| with(0, &path, change);
    let pip = "bootstrap_wheels/pip-1-py3-none-any.whl";
    let cases: Vec<(&str, Vec<u8>, bool)> = vec![
        ("a wheel", usual(&|_| ()), true),
        ("a deflated wheel", with(8, &path, &|_| ()), false),
        ("a wheel among the bundled", with(0, &format!("bootstrap_wheels/{WHEEL}"), &|_| ()), true),
        ("a wheel in the code", with(0, &format!("code/{WHEEL}"), &|_| ()), false),
        ("a wheel further down", with(0, &format!("wheels/sub/{WHEEL}"), &|_| ()), false),
        ("another name", usual(&|manifest| manifest["wheels"][1]["name"] = json!("other")), false),
        (
            "a name that is not normalised",
            usual(&|manifest| manifest["wheels"][1]["name"] = json!("Pack")),
            false,
        ),
        ("the name of pip", usual(&|manifest| manifest["wheels"][1]["name"] = json!("pip")), false),
        (
            "an executable wheel",
            usual(&|manifest| manifest["members"][0]["kind"] = json!("executable")),
            false,
        ),
        (
            "a wheel that is not there",
            usual(&|manifest| manifest["wheels"][1]["path"] = json!("wheels/x.whl")),
            false,
        ),
        (
            "a wheel described twice",
            usual(&|manifest| manifest["wheels"].as_array_mut().unwrap().push(described(&path, "pack"))),
            false,
        ),
        (
            "a wheel twice in a target",
            usual(&|manifest| manifest["targets"][0]["wheels"] = json!([path, path])),
            false,
        ),
        ("a wheel that no target has", usual(&|manifest| manifest["targets"][0]["wheels"] = json!([])), true),
        (
            "a target with an unknown wheel",
            usual(&|manifest| manifest["targets"][0]["wheels"] = json!(["wheels/x"])),
            false,
        ),
        ("a pip that is not pip", usual(&|manifest| manifest["targets"][0]["pip"] = json!(path)), false),
        (
            "a pip that is not there",
            usual(&|manifest| manifest["targets"][0]["pip"] = json!("wheels/pip")),
            false,
        ),
        (
            "pip among the wheels",
            usual(&|manifest| manifest["targets"][0]["wheels"] = json!([path, pip])),
            false,
        ),
        (
            "a CPU of a level that every machine has",
            usual(&|manifest| manifest["targets"][0]["needs"] = json!({"cpu": "x86-64"})),
            true,
        ),
        (
            "a CPU of an unknown level",
            usual(&|manifest| manifest["targets"][0]["needs"] = json!({"cpu": "x86-64-v5"})),
            false,
        ),
        (
            "a winner that is no wheel of the target",
            usual(&|manifest| manifest["targets"][0]["collisions"] = json!([{"path": "a", "wheel": pip}])),
            false,
        ),
    ];
    cases.into_iter().map(|(name, artifact, taken)| Case::new(name, artifact, taken)).collect()
}

/// The text of a manifest, changed as text.
fn texts() -> Vec<Case> {
    let code = Member::new("code/a.py", "a = 1\n");
    let pip = Member { method: 0, ..Member::new("bootstrap_wheels/pip-1-py3-none-any.whl", "no pip") };
    let listed = [&code, &pip].map(|member| {
        json!({"path": member.name, "size": member.contents.len(), "sha256": Sha256::of(&member.contents), "kind": "file"})
    });
    let manifest = json!({
        "format": 1, "name": "site", "built_by": "a test", "environment": {}, "members": listed,
        "project": {"directory": "code", "import_path": "code", "digest": Sha256::of(b"")},
        "targets": [{"python": "3.12", "abi": "cp312", "platform": "any", "wheels": [], "pip": pip.name,
                     "unpacked": {"bytes": 0, "inodes": 0}}],
        "wheels": [{"path": pip.name, "name": "pip", "version": "1"}],
    });
    let text = serde_json::to_string(&manifest).unwrap();
    let url =
        |value: &str| text.replace(r#""version":"1""#, &format!(r#""version":"1","direct_url":{value}"#));
    let name = |value: &str| text.replace(r#""name":"site""#, &format!(r#""name":{value}"#));
    let more = |key: &str| text.replacen('{', &format!("{{{key},"), 1);
    let cases: Vec<(String, bool)> = vec![
        (text.clone(), true),
        (format!(" \t\r\n{text}\n"), true),
        (format!("\u{feff}{text}"), false),
        (format!("{text}\0"), false),
        (format!("{text}{{}}"), false),
        (more(r#""version":"ünï""#), true),
        (more(r#""version":"\u00fc\ud83d\ude00""#), true),
        (name(r#""a-1""#), true),
        (name(r#""ünï""#), false),
        (name(r#""Site""#), false),
        (name(r#""a_b""#), false),
        (name(r#""a.b""#), false),
        (name(r#""a--b""#), false),
        (name(r#""-a""#), false),
        (name(r#""a-""#), false),
        (name(r#""""#), false),
        (name(r#""a/b""#), false),
        (name(r#""\ud800""#), false),
        (name("null"), false),
        (name("\"a\u{1}\""), false),
        (more(r#""version":null"#), false),
        (more(r#""version":"1","version":"1""#), false),
        (more(r#""format":2"#), false),
        (text.replace("\"any\"", "\"manylinux_2_17_x86_64\""), true),
        (text.replace("\"any\"", "\"manylinux2014_x86_64\""), false),
        (text.replace("\"any\"", "\"manylinux_2_017_x86_64\""), false),
        (text.replace("\"any\"", "\"manylinux_2_17_\""), false),
        (text.replace("\"any\"", "\"linux_x86_64\""), false),
        (text.replace("\"3.12\"", "\"3.12t\""), false),
        (text.replace("\"3.12\"", "\"3.012\""), false),
        (text.replace("\"3.12\"", "\"3\""), false),
        (text.replace("\"cp312\"", "\"cp\""), false),
        (text.replace("\"cp312\"", "\"py312\""), false),
        (more(r#""extra":1"#), false),
        (more(r#""allowed":[]"#), true),
        (more(r#""allowed":[{"rule":"r","name":"n","reason":null}]"#), false),
        (text.replace(r#""bytes":0"#, r#""bytes":0.0"#), false),
        (text.replace(r#""bytes":0"#, r#""bytes":-1"#), false),
        (text.replace(r#""bytes":0"#, r#""bytes":-0"#), false),
        (text.replace(r#""bytes":0"#, r#""bytes":1e3"#), false),
        (text.replace(r#""bytes":0"#, r#""bytes":NaN"#), false),
        (text.replace(r#""bytes":0"#, r#""bytes":true"#), false),
        (text.replace(r#""bytes":0"#, r#""bytes":18446744073709551615"#), true),
        (text.replace(r#""bytes":0"#, r#""bytes":18446744073709551616"#), false),
        (text.replace(r#""format":1"#, r#""format":1.0"#), false),
        (text.replace(r#""format":1"#, r#""format":"1""#), false),
        (text.replace(r#""format":1"#, r#""format":0"#), false),
        (text.replace(r#""format":1"#, r#""format":true"#), false),
        (
            text.replace(
                r#""environment":{}"#,
                r#""environment":{"precedence":"process","required":["A"],"private":true}"#,
            ),
            true,
        ),
        (text.replace(r#""environment":{}"#, r#""environment":{"precedence":"none"}"#), false),
        (text.replace(r#""environment":{}"#, r#""environment":[]"#), false),
        (url(r#"{"url":"file:///x","dir_info":{"editable":true}}"#), true),
        (url(r#"{"url":"https://x/y","archive_info":{"hash":"sha256=x","hashes":{"sha256":"x"}}}"#), true),
        (
            url(
                r#"{"url":"https://x/y","vcs_info":{"vcs":"git","commit_id":"x","requested_revision":"y"},"subdirectory":"z"}"#,
            ),
            true,
        ),
        (url("null"), false),
        (url("1"), false),
        (url("{}"), false),
        (url(r#"{"url":1}"#), false),
        (url(r#"{"url":"x","more":1}"#), false),
        (url(r#"{"url":"x","dir_info":{"editable":1}}"#), false),
        (url(r#"{"url":"x","dir_info":null}"#), false),
        (url(r#"{"url":"x","archive_info":{"hashes":{"a":"b","a":"c"}}}"#), false),
        (url(r#"{"url":"x","archive_info":{"hashes":{"a":1}}}"#), false),
        (url(r#"{"url":"x","vcs_info":{"vcs":"git"}}"#), false),
        (url(r#"{"url":"\ud800"}"#), false),
        (format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), false),
        (more(&format!(r#""extra":[{}0]"#, "0,".repeat(600_000))), false),
        (String::new(), false),
        ("[]".to_owned(), false),
        ("null".to_owned(), false),
    ];
    let artifact = |text: &[u8]| {
        let members = [code.clone(), pip.clone(), Member::new(".wheelbarrow/manifest.json", text)];
        zip_behind(LINE, &members)
    };
    let named = |text: &str| format!("manifest {:?}", text.chars().take(300).collect::<String>());
    let mut found: Vec<Case> = cases
        .iter()
        .map(|(text, taken)| Case::new(&named(text), artifact(text.as_bytes()), *taken))
        .collect();
    for (name, mode) in [("a file", 0o100_644), ("a link", 0o120_777), ("executable", 0o100_755)] {
        let place = ".wheelbarrow/manifest.json";
        let manifest = |mode| Member { mode, ..Member::new(place, text.as_bytes()) };
        let of = |last: &[Member]| zip_behind(LINE, &[&[code.clone(), pip.clone()], last].concat());
        let taken = mode == 0o100_644;
        found.push(Case::new(&format!("a manifest that is {name}"), of(&[manifest(mode)]), taken));
        let signature = Member { mode, ..Member::new(".wheelbarrow/manifest.json.sig", "x") };
        let signed = of(&[manifest(0o100_644), signature]);
        found.push(Case::new(&format!("a signature that is {name}"), signed, taken));
        if taken {
            continue;
        }
        let thin =
            Member { mode, ..Member::new(".wheelbarrow/thin.json", r#"{"format": 1, "left_out": []}"#) };
        let thin = of(&[thin, manifest(0o100_644)]);
        found.push(Case::new(&format!("a thin.json that is {name}"), thin, false));
    }
    let thin = Member::new(".wheelbarrow/thin.json", r#"{"format": 1, "left_out": []}"#);
    let thin = zip_behind(
        LINE,
        &[code.clone(), pip.clone(), thin, Member::new(".wheelbarrow/manifest.json", text.as_bytes())],
    );
    found.push(Case::new("a thin.json that leaves nothing out", thin, false));
    let latin = [text.trim_end_matches('}').as_bytes(), b",\"version\":\"\xe9\"}"].concat();
    found.push(Case::new("a manifest that is not UTF-8", artifact(&latin), false));
    found
}
