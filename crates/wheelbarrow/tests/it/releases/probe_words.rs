//! What is said of a probe that fails because of its own settings, and of one that is left out.

use fs_err as fs;

use super::root::{Place, Version, deploy_words};
use crate::support::Said;

/// Has both releases probed like this.
fn probed(place: &Place, probe: &str) {
    let text = format!(
        "[release]\nserver = {{ kind = 'command', command = ['true'] }}\n[release.probe]\ndeadline = 1\nsuccesses = 1\n{probe}\n"
    );
    fs::write(place.root().join("shared/wheelbarrow.toml"), text).unwrap();
}

fn hint(said: &Said) -> &str {
    said.err.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_default()
}

#[test]
fn a_probe_that_fails_for_both_releases_alike_is_suspected_itself() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let server = super::server::Server::of(&place.root());
    // A socket that is not there.
    probed(&place, &format!("url = 'http://localhost/'\nsocket = '{}/no.sock'", place.path().display()));
    let said = place.deploy(&Version::good("2"));
    assert_eq!(said.code, 14, "{}", said.all());
    assert!(said.err.contains("[PLACE]/no.sock: No such file or directory"), "{}", said.all());
    let both = "the probe failed in the same way after the rollback, so its settings may be wrong: ";
    assert!(hint(&said).starts_with(both), "{}", said.all());
    assert!(hint(&said).contains("listen at `[release.probe] socket`?"), "{}", said.all());
    assert!(hint(&said).contains("`wheelbarrow activate ID"), "{}", said.all());
    // A host that the site refuses.
    fs::write(place.release(1).join("code/status"), "400").unwrap();
    probed(&place, &format!("url = '{}'", server.url));
    let said = place.deploy(&Version { status: 400, ..Version::good("3") });
    assert!(said.code == 14 && hint(&said).starts_with(both), "{}", said.all());
    assert!(hint(&said).contains("ALLOWED_HOSTS") && hint(&said).contains("probe] host`"), "{}", said.all());
    // Two answers: the server is to be looked at.
    fs::write(place.release(1).join("code/status"), "503").unwrap();
    let said = place.deploy(&Version::broken("4"));
    assert!(said.code == 14 && hint(&said).starts_with("check the server"), "{}", said.all());
}

#[test]
fn a_probe_that_is_left_out_is_said_once() {
    let place = Place::new();
    fs::create_dir_all(place.root().join("shared")).unwrap();
    probed(&place, "url = 'http://127.0.0.1:9/'");
    let artifact = place.artifact(&Version::good("1"));
    let words = [deploy_words(&artifact), vec!["--no-probe".to_owned()]].concat();
    let said = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.all());
    let notes: Vec<_> = said.err.lines().filter(|line| line.contains("probe")).collect();
    let expected = "note: not probed: `wheelbarrow activate` of the live release probes the server later, and verifies its \
                    processes";
    assert_eq!(notes.iter().filter(|line| line.starts_with("note: ")).count(), 1, "{}", said.all());
    assert!(notes.contains(&expected), "{}", said.all());
}
