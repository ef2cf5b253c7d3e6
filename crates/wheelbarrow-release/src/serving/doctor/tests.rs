//! What files say; what real servers do is seen by `cargo xtask servers`.

use fs_err as fs;

use super::*;
use crate::root::release::{FORMAT, RELEASE_PATH};

struct Machine {
    place: tempfile::TempDir,
    root: Root,
}

impl Machine {
    /// A root with one live release, and these settings.
    fn new(settings: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(&place.path().join("srv/site")).unwrap();
        let id: ReleaseId = "1-1a2b3c4d".parse().unwrap();
        let release = root.release(&id);
        fs::create_dir_all(release.join(".wheelbarrow")).unwrap();
        let digest = "0".repeat(64);
        let record = format!(
            r#"{{"format": {FORMAT}, "id": "{id}", "name": "site", "version": null, "manifest_sha256": "{digest}",
                "parent": null, "environment_sha256": null, "made_at": 0}}"#
        );
        fs::write(release.join(RELEASE_PATH), record).unwrap();
        let manifest = format!(
            r#"{{"project": {{"directory": "site", "import_path": "site", "digest": "{digest}"}},
                "environment": {{"required": [], "precedence": "file", "private": false}}, "release": null}}"#
        );
        fs::write(release.join(wheelbarrow_artifact::manifest::MANIFEST_PATH), manifest).unwrap();
        fs::create_dir_all(release.join("venv/bin")).unwrap();
        // A Python that starts, and does nothing.
        std::os::unix::fs::symlink("/bin/true", release.join("venv/bin/python")).unwrap();
        std::os::unix::fs::symlink(format!("releases/{id}"), root.current()).unwrap();
        fs::write(root.shared().join("wheelbarrow.toml"), format!("[release]\n{settings}")).unwrap();
        Self { place, root }
    }

    /// ROOT stands for the root.
    fn write(&self, path: &str, text: &str) {
        let path = self.place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("ROOT", &self.root.path().display().to_string())).unwrap();
    }

    /// Rules, with the file and line where they were found.
    fn found(&self) -> Vec<String> {
        self.found_with(&|_: &Path| None)
    }

    fn found_with(&self, labels: &dyn Fn(&Path) -> Option<&'static str>) -> Vec<String> {
        let before = listing(self.place.path());
        let report = examine_on(&self.root, self.place.path(), &Table(labels)).unwrap();
        assert_eq!(before, listing(self.place.path()), "nothing is written");
        let place = format!("{}/", self.place.path().display());
        report
            .findings
            .iter()
            .map(|found| format!("{} {}", found.rule, found.place.replace(&place, "")))
            .collect()
    }
}

/// Labels that the kernel here could not keep.
struct Table<'t>(&'t dyn Fn(&Path) -> Option<&'static str>);

impl Labels for Table<'_> {
    fn label(&self, path: &Path) -> Option<String> {
        (self.0)(path).map(|kind| format!("unconfined_u:object_r:{kind}:s0"))
    }
}

fn listing(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let status = entry.metadata().unwrap();
        all.push(format!("{} {} {:?}", entry.path().display(), status.len(), status.modified().unwrap()));
        if status.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all.sort();
    all
}

const PROBE: &str = "[release.probe]\nurl = 'http://localhost/'\nsocket = '/run/no-such.sock'\n";

#[test]
fn a_root_that_nothing_serves_has_no_findings() {
    assert_eq!(Machine::new("").found(), [] as [&str; 0]);
}

#[test]
fn units_are_read_with_their_drop_ins() {
    let machine =
        Machine::new(&format!("[release.server]\nkind = 'systemd'\nunit = 'site.service'\n{PROBE}"));
    machine.write(
        "etc/systemd/system/site.service",
        "[Service]\n# ROOT/releases/1-1a2b3c4d\nExecStart=ROOT/current/venv/bin/python -m gunicorn \\\n  \
         --bind unix:/tmp/site.sock site.wsgi\nPrivateTmp=yes\n",
    );
    machine.write("etc/systemd/system/site.service.d/local.conf", "[Service]\nKillMode=process\n");
    machine.write(
        "etc/systemd/system/other.service",
        "[Service]\nKillMode=process\nExecStart=ROOT-2/current/x\n",
    );
    machine.write(
        "etc/systemd/system/worker.service",
        "[Service]\nWorkingDirectory=ROOT/releases/1-1a2b3c4d/site\n",
    );
    let expected = [
        "private-tmp etc/systemd/system/site.service:5",
        "kill-mode etc/systemd/system/site.service.d/local.conf:2",
        "names-a-release etc/systemd/system/worker.service:2",
    ];
    assert_eq!(machine.found(), expected);
}

#[test]
fn a_system_that_is_read_only_for_the_site_needs_a_way_to_shared() {
    let machine = Machine::new("");
    machine.write(
        "etc/systemd/system/a.service",
        "[Service]\nWorkingDirectory=ROOT/current\nProtectSystem=strict\n",
    );
    assert_eq!(machine.found(), ["protect-system etc/systemd/system/a.service:3"]);
    machine.write(
        "etc/systemd/system/a.service",
        "[Service]\nWorkingDirectory=ROOT/current\nProtectSystem=strict\nReadWritePaths=-ROOT/shared\n",
    );
    assert_eq!(machine.found(), [] as [&str; 0]);
}

#[test]
fn a_python_that_needs_a_variable_gets_it_from_the_unit() {
    let machine = Machine::new("");
    machine.write(
        "srv/site/releases/1-1a2b3c4d/.wheelbarrow/receipt.json",
        r#"{"interpreter": {"executable": "/opt/python", "environment": {"LD_LIBRARY_PATH": "/opt/lib64"}},
            "pip": false, "wheels": [], "target": {"python": "3.12"}}"#,
    );
    let unit = "etc/systemd/system/a.service";
    machine.write(unit, "[Service]\nExecStart=ROOT/current/venv/bin/python -m gunicorn\n");
    assert_eq!(machine.found(), [format!("missing-variable {unit}:2")]);
    let drop_in = "etc/systemd/system/a.service.d/x.conf";
    machine.write(drop_in, "[Service]\nEnvironment=\"LD_LIBRARY_PATH=/opt/lib64\"\n");
    // A drop-in that does not speak of the root counts too.
    assert_eq!(machine.found(), [] as [&str; 0]);
}

#[test]
fn an_unwatched_touch_file_is_reported() {
    let machine = Machine::new("");
    let touch = |path: &str| {
        let path = path.replace("ROOT", &machine.root.path().display().to_string());
        let text = format!("[release.server]\nkind = 'touch'\npath = '{path}'\n{PROBE}");
        machine.write("srv/site/shared/wheelbarrow.toml", &text);
    };
    machine.write(
        "etc/uwsgi/site.ini",
        "[uwsgi]\nchdir = ROOT/current/site\ntouch-reload = ROOT/shared/reload\n",
    );
    touch("ROOT/shared/reload");
    assert_eq!(machine.found(), [] as [&str; 0]);
    touch("ROOT/shared/other");
    assert_eq!(machine.found(), ["touch-not-watched srv/site/shared/wheelbarrow.toml"]);
    // The script of an Apache is as good, and an emperor watches the file itself.
    machine.write(
        "etc/apache2/sites-enabled/site.conf",
        "WSGIScriptAlias / \"ROOT/shared/other\" process-group=site\n",
    );
    assert_eq!(machine.found(), [] as [&str; 0]);
    machine.write(
        "etc/uwsgi/site.ini",
        "[uwsgi]\nchdir = ROOT/current/site\nfs-reload = ROOT/current/site/app.py\n",
    );
    assert_eq!(machine.found(), ["touch-file-in-release etc/uwsgi/site.ini:3"]);
}

#[test]
fn a_uwsgi_of_the_site_needs_the_path_of_its_program() {
    let machine = Machine::new("");
    let place = machine.place.path().display().to_string();
    machine.write(
        "etc/systemd/system/site.service",
        &format!("[Service]\nExecStart=ROOT/current/venv/bin/uwsgi --ini {place}/etc/uwsgi/site.ini\n"),
    );
    let ini = |line: &str| {
        machine.write("etc/uwsgi/site.ini", &format!("[uwsgi]\nchdir = ROOT/current/site\n{line}\n"))
    };
    ini("");
    let found = "uwsgi-binary etc/systemd/system/site.service:2";
    assert_eq!(machine.found(), [found]);
    ini("binary-path = ROOT/releases/1-1a2b3c4d/venv/bin/uwsgi");
    assert_eq!(machine.found(), [found, "names-a-release etc/uwsgi/site.ini:3"]);
    ini("binary-path = ROOT/current/venv/bin/uwsgi");
    assert_eq!(machine.found(), [] as [&str; 0]);
    ini("");
    machine.write(
        "etc/systemd/system/site.service",
        "[Service]\nExecStart=/usr/bin/uwsgi --chdir ROOT/current/site\n",
    );
    assert_eq!(machine.found(), [] as [&str; 0]);
}

#[test]
fn apache_is_judged_by_its_hosts() {
    let machine = Machine::new("[release.server]\nkind = 'command'\ncommand = 'apachectl graceful'\n");
    let host = "etc/apache2/sites-enabled/site.conf";
    machine.write(host, "WSGIScriptAlias / ROOT/current/site/wsgi.py\n");
    let no_probe = "no-probe srv/site/shared/wheelbarrow.toml";
    assert_eq!(machine.found(), [no_probe, &format!("embedded-mode {host}:1")]);
    machine.write(host, "WSGIProcessGroup site\nWSGIScriptAlias / ROOT/current/site/wsgi.py\n");
    assert_eq!(machine.found(), [no_probe, &format!("graceful {host}:2")]);
    machine.write(host, "WSGIScriptAlias / /srv/another/wsgi.py\n");
    assert_eq!(machine.found(), [no_probe]);
}

#[test]
fn a_command_that_restarts_reloads_nothing_in_place() {
    let restarts = |command: &str| {
        let settings = format!("[release.server]\nkind = 'command'\ncommand = {command}\n{PROBE}");
        let machine = Machine::new(&settings);
        let release = machine.root.complete(&"1-1a2b3c4d".parse().unwrap()).unwrap();
        let settings = Settings::of(&machine.root, &release, &Default::default()).unwrap();
        let real = machine.root.path().to_path_buf();
        JudgedSite {
            root: &machine.root,
            real,
            settings: Some(settings),
            live: None,
            variables: Default::default(),
        }
        .restarts()
    };
    for command in [
        "'systemctl restart acme'",
        "'systemctl --user try-restart acme.service'",
        "['sudo', 'systemctl', 'restart', 'acme']",
        "['sh', '-c', 'systemctl restart acme && echo done']",
        "'supervisorctl restart acme:*'",
    ] {
        assert!(restarts(command), "{command}");
    }
    for command in ["'systemctl reload acme'", "'systemctl reload-or-restart acme'", "'kill -HUP 1'"] {
        assert!(!restarts(command), "{command}");
    }
}

#[test]
fn labels_that_an_enforcing_policy_refuses_are_found() {
    let machine = Machine::new("static_root = \"static\"\n[release.probe]\nurl = \"http://localhost/\"\n");
    let home =
        |path: &Path| Some(if path.ends_with("static") { "httpd_sys_content_t" } else { "user_home_t" });
    assert_eq!(machine.found_with(&home), [""; 0], "no SELinux");
    machine.write("sys/fs/selinux/enforce", "0");
    assert_eq!(machine.found_with(&home), [""; 0], "it is permissive");
    machine.write("sys/fs/selinux/enforce", "1");
    assert_eq!(machine.found(), [""; 0], "a file system without labels");
    assert_eq!(machine.found_with(&|_| Some("usr_t")), [""; 0]);
    assert_eq!(machine.found_with(&home), ["selinux-label srv/site"]);
    let report = examine_on(&machine.root, machine.place.path(), &Table(&home)).unwrap();
    assert_eq!(report.selinux, Some(SelinuxMode::Enforcing));
    let root = machine.root.path().display().to_string();
    let text = |text: &str| text.replace(&root, "ROOT").replace(&root.replace('.', "\\."), "ROOT");
    let finding = &report.findings[0];
    insta::assert_snapshot!(text(&finding.what), @"SELinux enforces its policy, and ROOT has the type user_home_t, ROOT/current has the type user_home_t, ROOT/releases/1-1a2b3c4d/venv/bin/python has the type user_home_t: systemd cannot start the site's Python, or a web server cannot read static files");
    insta::assert_snapshot!(text(&finding.hint), @"semanage fcontext -a -t httpd_sys_content_t 'ROOT(/.*)?' && semanage fcontext -a -t bin_t 'ROOT/(releases|store)/.*/bin(/.*)?' && restorecon ROOT ROOT/current ROOT/shared && find ROOT/releases -exec restorecon {} + ! -user root -prune # then deploy again: a deploy labels the static files of the site's user");
    let statics = |path: &Path| Some(if path.ends_with("static") { "default_t" } else { "usr_t" });
    let report = examine_on(&machine.root, machine.place.path(), &Table(&statics)).unwrap();
    assert!(report.findings[0].what.contains("/site/static has the type default_t"), "{report:?}");
    let report = examine_on(&machine.root, machine.place.path(), &Table(&|_| Some("var_t"))).unwrap();
    let finding = text(&report.findings[0].what);
    let only = "SELinux enforces its policy, and ROOT/releases/1-1a2b3c4d/site/static has the type var_t: ";
    assert!(finding.starts_with(only), "systemd starts a Python of /srv: {finding}");
}

#[test]
fn a_fapolicyd_that_does_not_know_the_root_is_found() {
    let machine = Machine::new("[release.probe]\nurl = \"http://localhost/\"\n");
    machine.write("etc/fapolicyd/rules.d/90-deny-execute.rules", "deny_audit perm=execute all : all\n");
    assert_eq!(machine.found(), [""; 0], "it does not run");
    fs::create_dir_all(machine.place.path().join("run/fapolicyd")).unwrap();
    assert_eq!(machine.found(), [""; 0], "it has ended");
    machine.write("run/fapolicyd.pid", "1");
    assert_eq!(machine.found(), ["fapolicyd etc/fapolicyd"]);
    let report = examine_on(&machine.root, machine.place.path(), &KernelLabels).unwrap();
    let hint = report.findings[0].hint.replace(&machine.root.path().display().to_string(), "ROOT");
    assert!(hint.contains("echo 'allow perm=any all : dir=ROOT/releases/' >"), "{hint}");
    machine.write("etc/fapolicyd/rules.d/35-wheelbarrow.rules", "allow perm=any all : dir=ROOT/releases/\n");
    assert_eq!(machine.found(), [""; 0]);
}

#[test]
fn a_deploy_restarts_the_units_of_services() {
    let machine = Machine::new(
        "unit_name = 'site'\n[[release.service]]\nname = 'web'\nrun = 'gunicorn a'\n[[release.service]]\n\
         name = 'old'\nunit = 'old.service'\naction = 'reload'\n",
    );
    let live = machine.root.live().unwrap().unwrap();
    let release = machine.root.complete(&live).unwrap();
    let settings = Settings::of(&machine.root, &release, &Default::default()).unwrap();
    let site = JudgedSite {
        root: &machine.root,
        real: machine.root.path().to_path_buf(),
        settings: Some(settings),
        live: Some(live),
        variables: Default::default(),
    };
    for unit in ["site-web.service", "site-web@2-1a2b3c4d.1.service"] {
        assert!(site.restarts_unit(Some(unit)), "{unit}");
    }
    for unit in [Some("old.service"), Some("other.service"), None] {
        assert!(!site.restarts_unit(unit), "{unit:?}");
    }
}

#[test]
fn an_instance_of_an_old_release_is_stopped_and_not_restarted() {
    let (live, old): (ReleaseId, ReleaseId) = ("3-1a2b3c4d".parse().unwrap(), "2-1a2b3c4d".parse().unwrap());
    let hint = |unit: &str| {
        let service = Service {
            unit: Some(unit.to_owned()),
            listener: None,
            verdict: Verdict::One { id: old.clone() },
            environment: None,
            processes: Vec::new(),
            is_partial: false,
        };
        stale(rule::RUNS_ANOTHER_RELEASE, &service, service.unit.clone(), &live).hint
    };
    assert_eq!(hint("site-beat.service"), "systemctl restart site-beat.service");
    let worker = "site-worker@2-1a2b3c4d.1.service";
    assert_eq!(hint(worker), format!("systemctl stop --no-block {worker}"));
}

#[test]
fn shared_paths_of_other_users_are_found() {
    let machine = Machine::new("owner = '54321'\nshared = ['media', 'db.sqlite3']\n");
    let media = machine.root.shared().join("media");
    let found =
        || machine.found().into_iter().filter(|line| line.starts_with("shared-owner ")).collect::<Vec<_>>();
    assert_eq!(found(), [] as [&str; 0], "nothing is there yet");
    fs::create_dir(&media).unwrap();
    assert_eq!(found(), ["shared-owner srv/site/shared/media"]);
    let open: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&media, open).unwrap();
    assert_eq!(found(), [] as [&str; 0], "everybody may write there");
    fs::remove_dir(&media).unwrap();
    std::os::unix::fs::symlink("/not/mounted", &media).unwrap();
    assert_eq!(found(), ["shared-owner srv/site/shared/media"]);
}

/// Somebody else has put a link in the way, through which a command of root's would go.
#[test]
fn no_command_is_printed_for_a_path_that_others_may_change() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root can make what belongs to others");
        return;
    }
    let machine = Machine::new("owner = '54321'\nshared = ['var/a/b']\n");
    let found = || {
        let live = machine.root.live().unwrap().unwrap();
        let release = machine.root.complete(&live).unwrap();
        let settings = Settings::of(&machine.root, &release, &Default::default()).unwrap();
        let findings = unusable_shared(&machine.root, &settings);
        findings.into_iter().map(|found| (found.what, found.hint)).collect::<Vec<_>>()
    };
    let (var, victim) = (machine.root.shared().join("var"), machine.place.path().join("victim"));
    fs::create_dir_all(var.join("a/b")).unwrap();
    let [(what, hint)] = &found()[..] else { panic!("{:?}", found()) };
    assert!(what.contains("belongs to the user 0"), "{what}");
    assert_eq!(*hint, format!("chown -R 54321: {}", var.join("a/b").display()));

    std::os::unix::fs::chown(&var, Some(54321), None).unwrap();
    let [(what, hint)] = &found()[..] else { panic!("{:?}", found()) };
    assert!(what.contains("belongs to the user 0") && !hint.contains("chown"), "{what}; {hint}");

    fs::create_dir_all(victim.join("b")).unwrap();
    fs::remove_dir_all(var.join("a")).unwrap();
    std::os::unix::fs::symlink(&victim, var.join("a")).unwrap();
    let [(what, hint)] = &found()[..] else { panic!("{:?}", found()) };
    assert!(what.contains("symbolic link") && !what.contains("user 0"), "{what}");
    assert!(!hint.contains("chown"), "{hint}");

    // The copy of a root from a host where the user had another number.
    let files = machine.root.shared().join(".files");
    fs::create_dir_all(files.join("a/b")).unwrap();
    fs::remove_file(var.join("a")).unwrap();
    fs::remove_dir(&var).unwrap();
    std::os::unix::fs::symlink(".files", &var).unwrap();
    for path in [files.join("a/b"), files.clone()] {
        std::os::unix::fs::chown(path, Some(12345), None).unwrap();
    }
    let [(_, hint)] = &found()[..] else { panic!("{:?}", found()) };
    assert_eq!(*hint, format!("chown -R 54321: {}", files.display()));
}

/// Slow processes of other users can take all the time for the search.
#[test]
fn a_listener_that_was_not_found_in_time_is_not_a_process_of_others() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let machine = Machine::new(&format!("[release.probe]\nurl = 'http://{address}/'\n"));
    let of_live = || proof::of_live(&machine.root).unwrap();
    let found = crate::command::deadline::within(std::time::Duration::ZERO, of_live);
    assert!(found.is_partial && found.listener == Some(address.to_string()), "{found:?}");
    // This one runs nothing of the root.
    assert_eq!(of_live().listener, None);
}

/// Whoever is in a group that may be written makes groups with the names of other units below it.
#[test]
fn no_command_restarts_a_unit_that_the_sites_user_has_named() {
    let service = |unit: &str| Service {
        unit: Some(unit.to_owned()),
        listener: None,
        verdict: Verdict::Nothing,
        environment: None,
        processes: vec![Process { unit: Some(unit.to_owned()), ..Process::default() }],
        is_partial: false,
    };
    let system_unit = |_: &Process| Some("site-worker.service".to_owned());
    let restarted = |unit: &str| unit_to_restart(&service(unit), &system_unit);
    assert_eq!(restarted("site-worker.service").as_deref(), Some("site-worker.service"));
    assert_eq!(restarted("postgresql.service"), None);
    assert_eq!(unit_to_restart(&service("site-worker.service"), &|_| None), None);
}
