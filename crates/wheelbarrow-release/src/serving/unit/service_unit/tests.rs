use wheelbarrow_artifact::release::ReleaseSettings;

use super::*;

fn site() -> SiteUnits {
    SiteUnits {
        name: "mysite".to_owned(),
        manager: Manager::System,
        root: "/srv/mysite".into(),
        code: "mysite".to_owned(),
        user: Some("mysite".to_owned()),
        group: Some("mysite".to_owned()),
        socket_group: Some("www-data".to_owned()),
        variables: BTreeMap::new(),
        settings_module: None,
    }
}

fn services(text: &str) -> Vec<Service> {
    toml::from_str::<ReleaseSettings>(text).unwrap().service.unwrap()
}

const ALL: &str = r#"
        [[service]]
        name = "web"
        run = "gunicorn mysite.wsgi --workers 3"
        socket = true
        [[service]]
        name = "worker"
        run = ["celery", "-A", "mysite", "worker", "--hostname=worker@%h", "a b"]
        instances = 2
        handover = "drain"
        stop = { timeout = 600 }
        loosen = ["home", "privileges"]
        [[service]]
        name = "beat"
        run = "celery -A mysite beat"
        hosts = "one"
        [[service]]
        name = "clearsessions"
        run = "django-admin clearsessions"
        schedule = "daily"
        [[service]]
        name = "mail"
        unit = "mail.service"
    "#;

#[test]
fn units_of_all_services() {
    let units = site().units(&services(ALL)).unwrap();
    let texts: Vec<String> = units.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"));
    assert!(units.iter().all(|unit| is_of("/srv/mysite", &unit.text) && !is_of("/srv/my", &unit.text)));
}

/// Of a user who has no other rights.
fn site_of_user() -> SiteUnits {
    let root = "/home/deployer/site".into();
    SiteUnits { manager: Manager::User, root, user: None, group: None, ..site() }
}

#[test]
fn units_of_a_user() {
    let units = site_of_user().units(&services(ALL)).unwrap();
    let texts: Vec<String> = units.iter().map(|unit| format!("# {}\n{}", unit.name, unit.text)).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn instances_have_the_name_of_their_release_where_they_outlive_it() {
    let id: ReleaseId = "3-1a2b3c4d".parse().unwrap();
    let names: Vec<_> = services(ALL).iter().flat_map(|service| started("mysite", service, &id)).collect();
    let expected = [
        "mysite-web.service",
        "mysite-worker@3-1a2b3c4d.1.service",
        "mysite-worker@3-1a2b3c4d.2.service",
        "mysite-beat.service",
        "mysite-clearsessions.timer",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_name_that_systemd_would_not_take_is_refused() {
    let long = SiteUnits { name: "a".repeat(190), ..site() };
    let error = long.units(&services(ALL)).unwrap_err().to_string();
    assert!(error.contains("too long for systemd"), "{error}");
}

#[test]
fn what_a_shell_or_systemd_would_read_is_refused() {
    for word in ["a'b", "a\"b", "$HOME", "`id`", "a\\b", "a\nb", "a\u{e4}"] {
        let service = serde_json::json!([{ "name": "a", "run": ["x", word] }]);
        let services: Vec<Service> = serde_json::from_value(service).unwrap();
        let error = site().units(&services).unwrap_err().to_string();
        assert!(error.contains("cannot stand in a unit"), "{error}");
    }
    for root in ["/srv/my site", "/srv/a'b", "/srv/a%b", "/srv/a$b"] {
        let wrong = SiteUnits { root: root.into(), ..site() };
        assert!(wrong.units(&[]).is_err(), "{root}");
    }
}

/// The programs that the shell starts, with their arguments: each word as it was written.
#[test]
fn the_shell_reads_the_words_that_were_written() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("site");
    let release = root.join("releases/3-1a2b3c4d");
    fs_err::create_dir_all(release.join("code")).unwrap();
    fs_err::create_dir_all(release.join("venv/bin")).unwrap();
    std::os::unix::fs::symlink("releases/3-1a2b3c4d", root.join("current")).unwrap();
    let program = release.join("venv/bin/program");
    fs_err::write(&program, "#!/bin/sh\npwd -P\nfor word; do echo \"<$word>\"; done\n").unwrap();
    fs_err::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let words = ["program", "", "a b", "--hostname=w@%h", "x|y;z", "*", "(a)", "#"];
    let site = SiteUnits { root: root.clone(), code: "code".to_owned(), ..site() };
    for handover in ["restart", "drain"] {
        let service = serde_json::json!([{ "name": "a", "run": words, "handover": handover }]);
        let services: Vec<Service> = serde_json::from_value(service).unwrap();
        let script = site.script(services[0].own().unwrap()).unwrap();
        let script = script.replace("$$", "$").replace("%%", "%");
        let ended = std::process::Command::new("sh").args(["-c", &script, "3-1a2b3c4d.2"]).output().unwrap();
        let printed = String::from_utf8(ended.stdout).unwrap();
        let expected: Vec<String> = words[1..].iter().map(|word| format!("<{word}>")).collect();
        let directory = fs_err::canonicalize(release.join("code")).unwrap();
        assert_eq!(printed.trim_end(), format!("{}\n{}", directory.display(), expected.join("\n")));
    }
}

#[test]
fn services_of_a_django_site_get_its_settings() {
    let with = |module: &str| SiteUnits { settings_module: Some(module.to_owned()), ..site() };
    let units = with("mysite.settings").units(&services(ALL)).unwrap();
    let line = "\nEnvironment=DJANGO_SETTINGS_MODULE=mysite.settings\n";
    for unit in units.iter().filter(|unit| unit.name.ends_with(".service")) {
        assert!(unit.text.contains(line), "{}", unit.text);
    }
    for wrong in ["a b", "a%b", "a\nb"] {
        assert!(with(wrong).units(&services(ALL)).is_err(), "{wrong:?}");
    }
}

#[test]
fn gunicorn_has_a_directory_for_its_control_socket() {
    let unit = |more: &str| {
        let services = services(&format!("[[service]]\nname = 'web'\n{more}"));
        site().units(&services).unwrap().swap_remove(1).text
    };
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("RuntimeDirectory=") || line.contains("XDG"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        lines(&unit("run = 'gunicorn a.wsgi'\n")),
        ["RuntimeDirectory=gunicorn-mysite-web", "Environment=XDG_RUNTIME_DIR=%t/gunicorn-mysite-web"]
    );
    assert_eq!(
        lines(&unit("run = 'gunicorn a.wsgi'\ninstances = 2\n")),
        ["RuntimeDirectory=gunicorn-mysite-web-%i", "Environment=XDG_RUNTIME_DIR=%t/gunicorn-mysite-web-%i"]
    );
    assert_eq!(lines(&unit("run = 'celery worker'\n")), [] as [&str; 0]);
}

/// None where there is no systemd.
fn analyze(words: &[&str], paths: &[PathBuf]) -> Option<std::process::Output> {
    match std::process::Command::new("systemd-analyze").args(words).args(paths).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI brings systemd-analyze: {error}");
            println!("skipped: systemd-analyze: {error}");
            None
        }
    }
}

#[test]
fn a_watchdog_is_in_the_unit() {
    let text = "[[service]]\nname = 'beat'\nrun = 'python beat.py'\n";
    let unit = |more: &str| {
        let services = services(&format!("{text}{more}"));
        site().units(&services).unwrap().swap_remove(1)
    };
    let watched = unit("watchdog = 20\n");
    let lines = ["Type=notify", "NotifyAccess=main", "WatchdogSec=20", "Restart=always"];
    for line in lines {
        assert!(watched.text.lines().any(|other| other == line), "{line}: {}", watched.text);
    }
    assert!(!watched.text.contains("Type=exec"));
    let plain = unit("");
    assert!(plain.text.contains("Type=exec") && !plain.text.contains("Watchdog"), "{}", plain.text);

    let place = tempfile::tempdir().unwrap();
    let path = place.path().join(&watched.name);
    fs_err::write(&path, &watched.text).unwrap();
    let Some(verified) = analyze(&["verify"], &[path]) else { return };
    let printed = String::from_utf8_lossy(&verified.stderr);
    assert!(!printed.contains("mysite"), "{printed}");
}

fn written(place: &std::path::Path, site: &SiteUnits) -> Vec<PathBuf> {
    let write = |unit: Unit| {
        let path = place.join(&unit.name);
        fs_err::write(&path, &unit.text).unwrap();
        path
    };
    site.units(&services(ALL)).unwrap().into_iter().map(write).collect()
}

#[test]
fn systemd_takes_the_units_and_finds_little_exposed() {
    let place = tempfile::tempdir().unwrap();
    let paths = written(place.path(), &site());
    let Some(verified) = analyze(&["verify"], &paths) else { return };
    let printed = String::from_utf8_lossy(&verified.stderr);
    assert!(!printed.contains("mysite"), "{printed}");
    let web = paths.iter().find(|path| path.ends_with("mysite-web.service")).unwrap();
    let output = analyze(&["security", "--offline=true", "--threshold=30"], std::slice::from_ref(web));
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_systemd_of_a_user_takes_its_units() {
    let place = tempfile::tempdir().unwrap();
    let paths = written(place.path(), &site_of_user());
    let Some(verified) = analyze(&["--user", "verify"], &paths) else { return };
    let printed = String::from_utf8_lossy(&verified.stderr);
    assert!(!printed.contains("mysite"), "{printed}");
}
