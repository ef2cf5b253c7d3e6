//! Where settings come from: the artifact's manifest, overridden by the root's own file, overridden by flags.

use serde_json::{Value, json};

use super::root::{Place, Version, deploy_words};

fn plan(place: &Place, flags: &[&str]) -> Value {
    let settings =
        "prepare = ['echo manifest']\nshared = ['media']\nkeep = 9\n[probe]\nurl = 'http://127.0.0.1:1/'";
    let mut words = deploy_words(&place.artifact(&Version::with("1", settings)));
    words.extend(["--dry-run", "--json"].iter().chain(flags).map(|word| (*word).to_owned()));
    let said = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.code, 0, "{}", said.all());
    let plan: Value = serde_json::from_str(&said.out).unwrap();
    json!([plan["prepare"], plan["shared"], plan["keep"], plan["server"], plan["probe"]])
}

#[test]
fn later_sources_win() {
    let place = Place::new();
    let url = "http://127.0.0.1:1/";
    assert_eq!(plan(&place, &[]), json!([["echo manifest"], ["media"], 9, "none", url]));
    fs_err::create_dir_all(place.root().join("shared")).unwrap();
    let own = place.root().join("shared/wheelbarrow.toml");
    fs_err::write(
        &own,
        "[release]\nkeep = 7\nshared = []\nserver = { kind = 'systemd', unit = 'a.service' }\n",
    )
    .unwrap();
    assert_eq!(plan(&place, &[]), json!([["echo manifest"], [], 7, "systemctl restart a.service", url]));
    let flags = ["--keep", "3", "--prepare", "echo flag", "--prepare", "echo 'and more'", "--server", "none"];
    assert_eq!(plan(&place, &flags), json!([["echo flag", "echo 'and more'"], [], 3, "none", url]));

    fs_err::write(&own, "[release]\nkeep = 7\nkeeps = 8\n").unwrap();
    let said = place.deploy(&Version::good("1"));
    assert!(said.code == 8 && said.err.contains("shared/wheelbarrow.toml: line 3"), "{}", said.all());
    for (key, wrong) in
        [("owner", "'nobody-of-that-name'"), ("static_root", "'../static'"), ("shared", "['/x']")]
    {
        fs_err::write(&own, format!("[release]\n{key} = {wrong}\n")).unwrap();
        let said = place.deploy(&Version::good("1"));
        assert!(said.code == 8 && said.err.contains(key), "{}", said.all());
    }
    assert!(!place.root().join("releases").exists(), "nothing was made");
}

#[test]
fn a_service_without_its_program_is_reported_before_it_is_started() {
    let place = Place::new();
    let service = |run: &str| format!("service = [{{ name = 'work', run = '{run}' }}]\nsystemd = 'system'");
    let artifact = |run: &str| place.artifact(&Version::with("1", &service(run)));
    let dry_run = |run: &str| {
        let words = deploy_words(&artifact(run));
        let words = words.iter().map(String::as_str).chain(["--dry-run"]).collect::<Vec<_>>();
        place.run(&words)
    };
    let unit = |run: &str| place.run(&["unit", artifact(run).to_str().unwrap()]);
    let missing =
        "the service work runs celeri, which is neither in the virtualenv nor on the PATH of this host";
    let (planned, printed) = (dry_run("celeri -A site"), unit("celeri -A site"));
    assert!(planned.code == 0 && planned.out.contains(missing), "{}", planned.all());
    assert!(printed.code == 0 && printed.err.contains(missing), "{}", printed.all());
    for run in ["sh x.sh", "python -m site", "/bin/sh x.sh", "./x.sh"] {
        let (planned, printed) = (dry_run(run), unit(run));
        assert!(planned.code == 0 && !planned.out.contains("runs "), "{}", planned.all());
        assert!(printed.code == 0 && !printed.err.contains("runs "), "{}", printed.all());
    }
    let refused = dry_run("sh -c \"echo $HOME\"");
    assert!(refused.code == 8 && refused.err.contains("cannot stand in a unit"), "{}", refused.all());
}

#[test]
fn units_have_the_name_that_the_settings_of_the_root_give_them() {
    let place = Place::new();
    let artifact = place.artifact(&Version::good("1"));
    let first = |words: &[&str]| {
        let artifact = artifact.to_str().unwrap();
        let said = place.run(&[&["unit", artifact, "--application", "app:application"], words].concat());
        assert_eq!(said.code, 0, "{}", said.all());
        said.out.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(first(&[]), "# /etc/systemd/system/site.service");
    fs_err::create_dir_all(place.root().join("shared")).unwrap();
    let own = "[release]\nserver = { kind = 'systemd', unit = 'other.service' }\n";
    fs_err::write(place.root().join("shared/wheelbarrow.toml"), own).unwrap();
    assert_eq!(first(&[]), "# /etc/systemd/system/other.service");
    assert_eq!(first(&["--name", "third"]), "# /etc/systemd/system/third.service");
}

/// As on a controller of Ansible, which may have a site root of that path itself.
#[test]
fn units_for_another_machine_have_the_settings_of_the_artifact_only() {
    let place = Place::new();
    let settings = "server = { kind = 'systemd', unit = 'a.service' }\napplication = 'app:application'\n\
                    service = [{ name = 'night', run = 'true', schedule = 'daily' }]\nowner = 'site'";
    let artifact = place.artifact(&Version::with("1", settings)).display().to_string();
    fs_err::create_dir_all(place.root().join("shared")).unwrap();
    let touched = "[release]\nunit-name = 'mine'\nserver = { kind = 'touch', path = 'x' }\n";
    fs_err::write(place.root().join("shared/wheelbarrow.toml"), touched).unwrap();
    let names = |words: &[&str]| {
        let said = place.run(&[&["unit", &artifact, "--json"], words].concat());
        assert_eq!(said.code, 0, "{}", said.all());
        let units: Value = serde_json::from_str(&said.out).unwrap();
        let names = units.as_array().unwrap().iter().map(|unit| unit["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let services = ["mine.target", "mine-night.service", "mine-night.timer"];
    assert_eq!(names(&[]), services);
    assert_eq!(names(&["--artifact-settings"]), services.map(|name| name.replace("mine", "site")));
    let server = ["a.service", "a.socket"];
    assert_eq!(names(&["--artifact-settings", "--only", "server"]), server);
    // Not even a file that this machine would refuse is read.
    fs_err::write(place.root().join("shared/wheelbarrow.toml"), "[release]\nx = 1\n").unwrap();
    assert_eq!(names(&["--artifact-settings", "--only", "server"]), server);
    let refused = place.run(&["unit", "--artifact-settings"]);
    assert!(refused.code == 2 && refused.err.contains("name an artifact"), "{}", refused.all());
}

#[test]
fn a_selection_of_units_that_selects_none_is_reported() {
    let place = Place::new();
    let service = "service = [{ name = 'night', run = 'true', schedule = 'daily' }]\nowner = 'site'";
    let has_services = place.artifact(&Version::with("1", service));
    let has_none = place.artifact(&Version::good("2"));
    for (artifact, only, why) in [
        (
            &has_services,
            "server",
            "`[release.server]` names no unit; `--only services` prints the units of services",
        ),
        (
            &has_none,
            "services",
            "no `[[release.service]]` has `run`; `--only server` prints the units of a server",
        ),
    ] {
        let words = ["unit", artifact.to_str().unwrap(), "--only", only];
        let said = place.run(&words);
        let note = format!("note: no units for `--only {only}`: ");
        assert!(said.code == 0 && said.out.is_empty() && said.err.contains(&note), "{}", said.all());
        assert!(said.err.contains(why), "{}", said.all());
        let said = place.run(&[&words[..], &["--json"]].concat());
        assert!(said.out == "[]\n" && said.err.contains(&note), "{}", said.all());
    }
}

/// `owner` is the user that the site runs as, in settings and for `deploy`; `--user` was another name for it.
#[test]
fn the_user_of_a_unit_is_the_owner() {
    let place = Place::new();
    let artifact = place.artifact(&Version::good("1")).display().to_string();
    for flag in ["--owner", "--user"] {
        let said = place.run(&["unit", &artifact, "--application", "app:application", flag, "site"]);
        assert!(said.code == 0 && said.out.contains("\nUser=site\nGroup=site\n"), "{}", said.all());
    }
}

#[test]
fn commands_are_stopped_at_their_timeout() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let slow = "prepare = ['sleep 60']\ntimeouts = { prepare = 1 }";
    let said = place.deploy(&Version::with("2", slow));
    assert!(said.code == 12 && said.err.contains("was stopped after 1 s, its timeout"), "{}", said.all());
    let slow = "server = { kind = 'command', command = 'sleep 60' }\ntimeouts = { reload = 1 }";
    let said = place.deploy(&Version::with("3", slow));
    // The one before has no such server, and is live again.
    assert!(said.code == 13 && said.err.contains("was stopped after 1 s, its timeout"), "{}", said.all());
    assert_eq!(place.live(), Some(1));

    // Who, what, how it ended: the table has it all.
    let told = place.run(&["history"]).out;
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].split_whitespace().eq(["WHEN", "BY", "WHAT", "RELEASE", "TOOK", "RESULT"]), "{told}");
    assert!(lines[1].contains(" deploy ") && lines[1].ends_with("done"), "{told}");
    assert!(lines[2].contains("failed at the prepare, nothing switched: `sleep 60` was stopped"), "{told}");
    assert!(lines[3].contains("failed at the reload, rolled back: `sleep 60` was stopped"), "{told}");
    let operator = std::env::var("SUDO_USER").unwrap_or_else(|_| "root".to_owned());
    let is_root = rustix::process::getuid().is_root();
    assert!(!is_root || lines[1..].iter().all(|line| line.contains(&format!(" {operator} "))), "{told}");
}

#[test]
fn a_table_on_the_server_that_lacks_a_field_is_refused_with_the_reason() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    fs_err::write(place.root().join("shared/wheelbarrow.toml"), "[release.probe]\nhost = 'a'\n").unwrap();
    let error = "shared/wheelbarrow.toml: line 1: missing field `url`; a table here replaces the whole table of the \
                 project";
    let said = place.run(&["activate", "1"]);
    assert!(said.code == 8 && said.err.contains(error), "{}", said.all());
    let said = place.run(&["status", "--check"]);
    let finding = "site/shared/wheelbarrow.toml: line 1: missing field `url`; a table here replaces the whole table of \
                   the project, so the site was not probed (hint: correct it: a deploy refuses it too)";
    assert!(
        said.all().contains(finding) && said.all().matches("wheelbarrow.toml").count() == 1,
        "{}",
        said.all()
    );
}
