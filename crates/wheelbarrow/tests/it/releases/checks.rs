//! Which application is checked before the switch, with what, and what is asked after it.

use super::mounts::Mounted;
use super::root::{Place, Version, deploy_words};
use super::site::Site;
use crate::support::Said;

const FINE: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n";

/// Deploys this code with these settings, as TOML has them.
fn deploy(place: &Place, version: &str, settings: &str, code: &[(&str, &str)], flags: &[&str]) -> Said {
    let release = toml::from_str(settings).unwrap();
    let code = code.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
    let mut words = deploy_words(&Site { version, release, code }.write(&place.path()));
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    place.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_site_that_cannot_be_checked_is_refused() {
    let place = Place::new();
    let nothing = [("site.py", "VERSION = 1\n")];
    let said = deploy(&place, "1", "", &nothing, &[]);
    assert!(said.code == 11 && said.err.contains("no application found"), "{}", said.all());
    assert!(
        said.err.contains("release] application =") && said.err.contains("`check = false`"),
        "{}",
        said.all()
    );
    let said = deploy(&place, "2", "check = false", &nothing, &[]);
    assert_eq!((said.code, place.live()), (0, Some(2)), "{}", said.all());

    let two = [("docker/wsgi.py", FINE), ("mysite/wsgi.py", FINE)];
    let said = deploy(&place, "3", "", &two, &[]);
    let which =
        "several applications found, and none named: docker.wsgi:application or mysite.wsgi:application";
    assert!(said.code == 11 && said.err.contains(which), "{}", said.all());
    assert_eq!(place.live(), Some(2));
}

#[test]
fn the_usual_applications_are_found_and_asked() {
    let place = Place::new();
    let factory = format!("{FINE}def create_app(config=None):\n    return application\n")
        .replace("application", "served");
    let broken = "raise ValueError('not this one')\napplication = None\n";
    let settings = "WSGI_APPLICATION = 'mysite.wsgi.application'\n";
    let manage = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n";
    for (version, code) in [
        ("1", &[("app.py", factory.as_str())][..]),
        ("2", &[("wsgi.py", &FINE.replace("application", "app"))]),
        (
            "3",
            &[(
                "main.py",
                "async def app(scope, receive, send):\n    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n    await send({'type': 'http.response.body', 'body': b''})\n",
            )],
        ),
        (
            "4",
            &[
                ("docker/wsgi.py", broken),
                ("mysite/wsgi.py", FINE),
                ("mysite/settings.py", settings),
                ("manage.py", manage),
            ],
        ),
    ] {
        let said = deploy(&place, version, "", code, &[]);
        assert_eq!(said.code, 0, "{version}: {}", said.all());
    }
    // What was found and is wrong is said to be found.
    let said = deploy(&place, "5", "", &[("wsgi.py", broken)], &[]);
    assert!(said.code == 11 && said.err.contains("release] application`"), "{}", said.all());
}

#[test]
fn allowed_findings_are_shown_in_the_status() {
    let place = Place::new();
    let settings = "check = { allow = ['pretalx.E004=mail is sent elsewhere', 'x.W1'] }";
    assert_eq!(deploy(&place, "1", settings, &[("wsgi.py", FINE)], &[]).code, 0);
    let status = place.run(&["status"]).out;
    assert!(
        status.contains("check pretalx.E004: mail is sent elsewhere") && status.contains("check x.W1"),
        "{status}"
    );
}

#[test]
fn a_first_deploy_can_leave_the_probe_out() {
    let place = Place::new();
    let reload = place.path().join("reload").display().to_string();
    let probe = "probe = { url = 'http://127.0.0.1:9/', deadline = 1 }";
    let settings = format!("check = false\nserver = {{ kind = 'touch', path = '{reload}' }}\n{probe}");
    let said = deploy(&place, "1", &settings, &[], &[]);
    assert!(said.code == 13 && said.err.contains("deploy with `--no-probe`"), "{}", said.all());
    assert_eq!(place.live(), None);
    let said = deploy(&place, "2", &settings, &[], &["--no-probe"]);
    assert!(said.code == 0 && said.err.contains("not probed: `wheelbarrow activate`"), "{}", said.all());
    assert_eq!(place.live(), Some(2));
    // It is for this time only.
    let said = place.run(&["activate", "2"]);
    assert_eq!(said.code, 14, "{}", said.all());
    assert!(said.err.contains("at the probe; it was live before, and still is; "), "{}", said.all());
    assert!(said.err.contains("hint: does the server run, and listen at"), "{}", said.all());
    assert_eq!(deploy(&place, "3", &settings, &[], &[]).code, 14);
    assert_eq!(place.run(&["activate", "2", "--no-probe"]).code, 0);
}

/// A server that answers each request with this status.
fn answering(status: u16) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    url
}

#[test]
fn a_bad_answer_of_a_first_deploy_is_not_a_server_that_did_not_start() {
    for (status, hint) in
        [(404, "`[release.probe] url`"), (400, "`[release.probe] host`"), (500, "`[release.probe] url`")]
    {
        let place = Place::new();
        let (reload, url) = (place.path().join("reload").display().to_string(), answering(status));
        let probe = format!("probe = {{ url = '{url}', deadline = 1 }}");
        let settings = format!("check = false\nserver = {{ kind = 'touch', path = '{reload}' }}\n{probe}");
        let said = deploy(&place, "1", &settings, &[], &[]);
        assert!(said.code == 13 && said.err.contains(&format!("answers {status}")), "{}", said.all());
        assert!(said.err.contains(hint) && !said.err.contains("--no-probe"), "{}", said.all());
    }
}

#[test]
fn a_release_of_the_same_code_has_the_static_files_that_were_collected() {
    let application = "import os\nopen('static/staticfiles.json').close()\n".to_owned() + FINE;
    for keep_static in [0, 1] {
        let place = Place::new();
        let settings = format!(
            "static_root = 'static'\nkeep_static = {keep_static}\n\
             prepare = [['sh', '-c', 'mkdir static/a && echo 1 > static/a/b.css && echo > static/staticfiles.json']]"
        );
        let code = vec![("wsgi.py", application.clone())];
        let release = toml::from_str(&settings).unwrap();
        let artifact = Site { version: "1", release, code }.write(&place.path());
        let shared = place.root().join("shared/wheelbarrow.toml");
        fs_err::create_dir_all(shared.parent().unwrap()).unwrap();
        // The files are not there before they are collected.
        fs_err::write(&shared, "[release]\ncheck = false\n").unwrap();
        let words = deploy_words(&artifact);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let said = place.run(&words);
        assert_eq!(said.code, 0, "{}", said.all());
        fs_err::remove_file(&shared).unwrap();
        fs_err::write(place.root().join("shared/environment.json"), "{\"A\": \"1\"}").unwrap();
        let said = place.run(&["env", "apply", "--no-prepare"]);
        assert_eq!((said.code, place.live()), (0, Some(2)), "{}", said.all());
        let css = place.root().join("current/code/static/a/b.css");
        assert_eq!(fs_err::read_to_string(css).unwrap(), "1\n");
        // A deploy of the same artifact too.
        let said = place.run(&[&words[..], &["--no-prepare"]].concat());
        assert_eq!((said.code, place.live()), (0, Some(3)), "{}", said.all());
        let said = place.run(&["prune", "--keep", "1"]);
        assert!(said.code == 0 && said.out.contains("1-"), "{}", said.all());
    }
}

#[test]
fn a_release_that_failed_after_its_static_files_were_collected_can_be_pruned() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let settings = "static_root = 'static'\nprepare = [['sh', '-c', 'echo > static/a.css; exit 1']]";
    assert_eq!(place.deploy(&Version::with("2", settings)).code, 12);
    assert_eq!(place.deploy(&Version::with("3", settings)).code, 12);
    let said = place.run(&["prune"]);
    assert!(said.code == 0 && said.out.starts_with("2-"), "{}", said.all());
}

#[test]
fn variables_that_the_python_needs_are_in_the_receipt() {
    let place = Place::new();
    let application = format!("import os\nassert os.environ['LD_LIBRARY_PATH'] == '/opt/a/lib64'\n{FINE}");
    // As an install by such a Python writes it.
    let said = deploy(&place, "1", "", &[("wsgi.py", &application)], &["--stage"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let release = fs_err::read_dir(place.root().join("releases")).unwrap().next().unwrap().unwrap().path();
    let receipt = release.join(".wheelbarrow/receipt.json");
    let mut text: serde_json::Value = serde_json::from_slice(&fs_err::read(&receipt).unwrap()).unwrap();
    text["interpreter"]["environment"] = serde_json::json!({"LD_LIBRARY_PATH": "/opt/a/lib64"});
    fs_err::write(&receipt, text.to_string()).unwrap();
    let said = place.run(&["activate", "1"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let unit = place.run(&["unit"]);
    assert!(unit.out.contains("\nEnvironment=LD_LIBRARY_PATH=/opt/a/lib64\n"), "{}", unit.all());
    let said = place.run(&["exec", "--", "python", "-c", "import os; print(os.environ['LD_LIBRARY_PATH'])"]);
    assert_eq!(said.out, "/opt/a/lib64\n", "{}", said.all());
}

/// The server of the units follows the application and what is installed, also for an application that settings name.
#[test]
fn units_serve_the_kind_of_the_application() {
    let place = Place::new();
    let code = [("main.py", "from fastapi import FastAPI\napp = FastAPI()\n"), ("site/wsgi.py", FINE)];
    let settings = "application = 'main:app'\ncheck = false";
    let said = deploy(&place, "1", settings, &code, &[]);
    assert_eq!(said.code, 0, "{}", said.all());
    let lacks = "note: the site has no gunicorn: add it to the requirements";
    for words in [&["unit"][..], &["unit", "1.zip"]] {
        let said = place.run(words);
        assert!(
            said.out.contains("-m gunicorn --worker-class uvicorn_worker.UvicornWorker"),
            "{}",
            said.all()
        );
        assert!(said.err.contains(lacks), "{}", said.all());
    }
    let said = place.run(&["unit", "1.zip", "--application", "site.wsgi:application"]);
    assert!(said.out.contains("-m gunicorn --workers 3 site.wsgi:application'"), "{}", said.all());
    fs_err::write(place.release(1).join("venv/bin/uvicorn"), "").unwrap();
    let said = place.run(&["unit"]);
    assert!(said.out.contains("-m uvicorn --fd 3") && said.err.is_empty(), "{}", said.all());
    fs_err::write(place.release(1).join("venv/bin/gunicorn"), "").unwrap();
    let said = place.run(&["unit"]);
    assert!(said.out.contains("uvicorn_worker.UvicornWorker"), "{}", said.all());
    assert!(said.err.contains("note: the site has no uvicorn-worker: add it to"), "{}", said.all());
    assert!(place.run(&["unit", "--server", "gunicorn-asgi"]).err.is_empty());
    for python in fs_err::read_dir(place.release(1).join("venv/lib")).unwrap() {
        fs_err::create_dir(python.unwrap().path().join("site-packages/uvicorn_worker")).unwrap();
    }
    let said = place.run(&["unit"]);
    assert!(said.out.contains("uvicorn_worker.UvicornWorker") && said.err.is_empty(), "{}", said.all());
}

#[test]
fn a_file_system_without_symbolic_links_is_refused_before_a_root_is_made() {
    if !super::strace::has_strace() {
        return;
    }
    let Some(mounted) = Mounted::fuse(64) else { return };
    let place = Place::new();
    let root = mounted.point().join("new/site");
    let words = deploy_words(&place.artifact(&Version::good("1")));
    let deploy = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=?symlink,symlinkat:error=ENOSYS"]);
    strace.arg(deploy.get_program()).args(deploy.get_args());
    let said = place.finish(strace.current_dir(place.path()).env("WHEELBARROW_ROOT", root));
    assert!(said.code == 5 && said.err.contains("no symbolic links can be made in "), "{}", said.all());
    assert!(said.err.contains("name a destination on another file system"), "{}", said.all());
    assert_eq!(mounted.names(), [""; 0], "not even the directory above the root");
}
