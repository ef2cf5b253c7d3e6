//! Pages about artifacts, and what differs between two of them. What others wrote is text in there, whatever it looks like.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use crate::site::{cache, is_built};
use crate::support::{Place, Said, wheelbarrow};
use crate::wheels::{Wheel, lock};

const IMAGE: &str = "<img src=x onerror=alert(1)>.py";
const ENDS: &str = "</title></style></svg><script>document.title='taken'</script>";

/// Two versions of a site, the second with a wheel more, other code and other settings; full of markup. None where nothing can be built.
fn two_versions() -> Option<Place> {
    let place = Place::with(&[
        ("project/app.py", "x = 1\n"),
        ("project/gone.py", ""),
        ("assets/site.css", "body {}\n"),
    ]);
    place.write(&format!("project/{IMAGE}"), "");
    for name in ["kept", "fresh"] {
        let mut wheel = Wheel::begin(&place.path(), name);
        wheel.add(&format!("{name}/__init__.py"), format!("x = {name:?}\n").repeat(500).as_bytes());
        wheel.licence(ENDS);
        wheel.finish();
    }
    let build = |version: &str, names: &[&str], settings: &str| {
        place.write(
            "project/wheelbarrow.toml",
            &format!("version = '{version}'\n[release]\ncheck = false\n{settings}"),
        );
        lock(&place.path().join("pylock.toml"), names);
        let mut build = wheelbarrow(&place.path());
        build.args([
            "build",
            "project",
            "--lock",
            "pylock.toml",
            "--static",
            "assets",
            "--name",
            "site",
            "-o",
        ]);
        is_built(&place.finish(build.arg(format!("{version}.zip")).arg("--cache-dir").arg(cache())))
    };
    if !build("1", &["kept"], "keep = 3\n") {
        return None;
    }
    place.write("project/app.py", "x = 22\n");
    fs::remove_file(place.path().join("project/gone.py")).unwrap();
    assert!(build("2", &["kept", "fresh"], &format!("keep = 5\nprepare = [[\"echo\", \"{ENDS}\"]]\n")));
    Some(place)
}

/// Fails where something of the site is markup.
fn is_only_text(html: &str) {
    let elements = ["img", "script", "a", "link", "iframe", "object", "form"];
    for begin in elements.map(|name| format!("<{name}")) {
        let ends = [" ", ">", "/"].map(|end| format!("{begin}{end}"));
        assert!(!ends.iter().any(|element| html.contains(element.as_str())), "{begin} in {html}");
    }
    assert!(html.contains("content=\"default-src "), "{html}");
    assert_eq!(html.matches("</style>").count(), 1, "{html}");
    assert_eq!(html.matches("<title>").count(), html.matches("</title>").count(), "{html}");
}

#[test]
fn a_difference_is_printed_as_text_and_json() {
    let Some(place) = two_versions() else { return };
    let said = place.run(&["diff", "1.zip", "2.zip"]);
    assert_eq!(said.code, 0, "{}", said.all());
    for line in [
        "site 1 -> site 2, ",
        "added  fresh  1",
        "release.keep     3 -> 5",
        "changed  site/app.py   +1 B",
        "removed  site/gone.py  -0 B",
        "a thin artifact for a host that has the old one: about ",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = line.replace("  -0 B", "");
        assert!(words(&said.out).contains(&words(&line)), "{line}: {}", said.all());
    }
    let difference: Value =
        serde_json::from_str(&place.run(&["diff", "1.zip", "2.zip", "--json"]).out).unwrap();
    assert_eq!(difference["distributions"][0]["name"], "fresh");
    assert_eq!(difference["distributions"].as_array().unwrap().len(), 1);
    assert_eq!(difference["files"][0]["path"], "site/app.py");
    assert_eq!(difference["files"][1]["change"], "removed");

    // A thin artifact is as large as was said, to a thousandth.
    let thinned = place.run(&["thin", "2.zip", "--base", "1.zip", "-o", "thin.zip"]);
    assert_eq!(thinned.code, 0, "{}", thinned.all());
    let size = fs::metadata(place.path().join("thin.zip")).unwrap().len() as f64;
    let told = difference["thin_bytes"].as_f64().unwrap();
    assert!((told / size - 1.0).abs() < 0.01, "{told} of {size}");

    let same = place.run(&["diff", "2.zip", "2.zip"]);
    assert!(same.out.contains("both install the same"), "{}", same.all());
    let said = place.run(&["diff", "1.zip", "nothing.zip"]);
    assert!(said.code != 0 && said.err.contains("nothing.zip"), "{}", said.all());

    // A word was forgotten: the older artifact is in the place of the page.
    let before = fs::read(place.path().join("1.zip")).unwrap();
    let said = place.run(&["inspect", "--html", "1.zip", "2.zip"]);
    insta::assert_snapshot!(said.all(), @r"
    exit code: 2
    error: 1.zip is an artifact, not a page
    hint: name the page first: `--html page.html`
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-2
    ");
    assert!(fs::read(place.path().join("1.zip")).unwrap() == before);
}

#[test]
fn what_others_wrote_is_text() {
    let Some(place) = two_versions() else { return };
    let said = |arguments: &[&str]| -> Said {
        let said = place.run(arguments);
        assert_eq!(said.code, 0, "{}", said.all());
        said
    };
    said(&["inspect", "1.zip", "--html", "artifact.html"]);
    said(&["diff", "1.zip", "2.zip", "--html", "difference.html"]);
    // Both ways, so that what was added is shown as removed too.
    said(&["diff", "2.zip", "1.zip", "--html", "back.html"]);
    for name in ["artifact.html", "difference.html", "back.html"] {
        is_only_text(&place.read(name));
    }
    assert!(place.read("artifact.html").contains("&lt;/title&gt;"), "the licence is shown");
    assert!(place.read("difference.html").contains("&lt;script&gt;"), "the setting is shown");

    let Some(chromium) = chromium() else { return };
    for name in ["artifact.html", "difference.html"] {
        let shown = open(&chromium, &place, name);
        assert!(shown.contains("</html>") && !shown.contains("<title>taken"), "{shown}");
        is_only_text(&shown);
    }
}

#[test]
fn a_page_is_written_whole_or_not_at_all() {
    let Some(place) = two_versions() else { return };
    let said = place.run(&["inspect", "1.zip", "--html", "nowhere/page.html"]);
    assert!(said.code != 0 && said.err.contains("cannot write nowhere/page.html"), "{}", said.all());
}

fn chromium() -> Option<PathBuf> {
    let path = Path::new("/usr/bin/chromium");
    if !path.exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must have chromium");
        println!("skipped: no chromium to open pages with");
        return None;
    }
    Some(path.to_owned())
}

/// What Chromium made of a page, with nothing on its console.
fn open(chromium: &Path, place: &Place, name: &str) -> String {
    let mut command = Command::new(chromium);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--enable-logging=stderr",
        "--dump-dom",
    ]);
    command.arg(format!("--user-data-dir={}", place.path().join(format!("profile-{name}")).display()));
    command.arg(format!("file://{}", place.path().join(name).display()));
    let said = place.finish(&mut command);
    assert_eq!(said.code, 0, "{}", said.all());
    let console: Vec<_> = said.err.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:?}");
    said.out
}
