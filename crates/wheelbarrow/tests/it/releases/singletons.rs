//! Services that only one host of a fleet may run.

use serde_json::{Value, json};

use super::root::{Place, Version, deploy_words};

/// Whoever is told writes a line.
fn settings(place: &Place) -> String {
    let service = |name: &str| {
        let command = format!("echo told >> {}", place.path().join(name).display());
        json!({"name": name, "command": ["sh", "-c", command], "hosts": if name == "beat" { "one" } else { "all" }})
    };
    // JSON of strings is TOML, but for the colons.
    let services = json!([service("beat"), service("web")]).to_string().replace("\":", "\"=");
    format!("service = {services}\n")
}

fn told(place: &Place, name: &str) -> usize {
    fs_err::read_to_string(place.path().join(name)).unwrap_or_default().lines().count()
}

fn json(place: &Place, words: &[&str]) -> Value {
    let said = place.run(&[words, &["--json"]].concat());
    assert_eq!(said.code, 0, "{}", said.all());
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn hosts_run_singletons_by_default() {
    let place = Place::new();
    let settings = settings(&place);
    assert_eq!(place.deploy(&Version::with("1", &settings)).code, 0);
    assert_eq!((told(&place, "beat"), told(&place, "web")), (1, 1));
    let found = json(&place, &["singletons"]);
    assert_eq!(
        (&found["runs"], &found["said_by"], &found["services"]),
        (&json!(true), &json!("nobody"), &json!(["beat"]))
    );
    assert_eq!(json(&place, &["status"])["singletons"]["services"], json!(["beat"]));

    let said = place.run(&["singletons", "no"]);
    assert!(
        said.code == 0 && said.all().contains("the service `beat` has no unit: stop it by hand"),
        "{}",
        said.all()
    );
    assert!(place.run(&["singletons"]).out.contains("this host does not run beat\n"));
    assert_eq!(json(&place, &["singletons", "no"])["is_changed"], json!(false));
    assert_eq!(place.deploy(&Version::with("2", &settings)).code, 0);
    assert_eq!((told(&place, "beat"), told(&place, "web")), (1, 2));
    // A release of before does not run them either.
    assert_eq!(place.run(&["rollback"]).code, 0);
    assert_eq!((told(&place, "beat"), told(&place, "web")), (1, 3));
    assert!(place.run(&["status"]).out.contains("beat: one host of the fleet runs it"));

    let found = json(&place, &["singletons", "yes"]);
    assert_eq!((&found["runs"], &found["is_changed"]), (&json!(true), &json!(true)));
    assert_eq!((told(&place, "beat"), told(&place, "web")), (2, 3));
    assert_eq!(json(&place, &["singletons", "yes"])["is_changed"], json!(false));
    assert_eq!(told(&place, "beat"), 2);
}

#[test]
fn settings_of_the_host_count_more() {
    let place = Place::new();
    let mut words = deploy_words(&place.artifact(&Version::with("1", &settings(&place))));
    words.push("--stage".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(place.run(&words).code, 0);
    let found = json(&place, &["singletons", "--release", "1"]);
    assert_eq!(found["services"], json!(["beat"]), "nothing is live, and a release is named");

    let file = place.root().join("shared/wheelbarrow.toml");
    fs_err::write(file, "[release]\nsingletons = false\n").unwrap();
    let said = place.run(&["singletons", "yes"]);
    assert!(
        said.code == 8 && said.err.contains("shared/wheelbarrow.toml has another value"),
        "{}",
        said.all()
    );
    assert_eq!(json(&place, &["singletons"])["said_by"], json!("settings"));
    assert_eq!(place.run(&["activate", "1"]).code, 0);
    assert_eq!((told(&place, "beat"), told(&place, "web")), (0, 1));
}

/// One that cannot be started leaves the host as it was.
#[test]
fn a_failed_start_of_singletons_is_not_recorded() {
    let place = Place::new();
    let service =
        "service = [{ name = 'beat', command = ['sh', '-c', 'test ! -e /dev/shm'], hosts = 'one' }]\n";
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    assert_eq!(place.run(&["singletons", "no"]).code, 0);
    assert_eq!(place.deploy(&Version::with("2", service)).code, 0);
    let said = place.run(&["singletons", "yes"]);
    assert!(said.code != 0 && said.err.contains("the service `beat`"), "{}", said.all());
    assert_eq!(json(&place, &["singletons"])["runs"], json!(false));
}
