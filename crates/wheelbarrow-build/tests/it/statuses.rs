//! The status of projects (PEP 792), from indexes that answer, lie, hang and want a login.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use fs_err as fs;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_audit::{ProjectStatus, StatusMarker, Statuses};
use wheelbarrow_build::lock::{Lock, Pylock};

use crate::server::{Request, Server, kept, respond};
use crate::support::{Site, has_uv};

const WHEEL: &[u8] = b"not looked into here";

/// A lock of projects with a wheel each, on the index that the server is.
fn lock(site: &Site, server: &Server, names: &[&str], more: &str) -> Lock {
    let hash = Sha256::of(WHEEL);
    let package = |name: &&str| {
        let url = server.url(&format!("files/{}-1-py3-none-any.whl", name.replace('-', "_")));
        format!(
            "[[packages]]\nname = '{name}'\nversion = '1'\n{more}\n\
             wheels = [{{ url = '{url}', hashes = {{ sha256 = '{hash}' }} }}]\n"
        )
    };
    let packages: String = names.iter().map(package).collect();
    let path = site.project().join("pylock.toml");
    site.write("pylock.toml", &format!("lock-version = '1.0'\ncreated-by = 'x'\n{packages}"));
    let pylock = Pylock::parse(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(pylock.packages.len(), names.len());
    Lock::read(&path).unwrap()
}

/// An index whose pages `answer` gives, by the name of the project. It has no pip, for which uv asks every index.
fn index(answer: impl Fn(&str, &Request, &mut TcpStream) + Send + Sync + 'static) -> Server {
    Server::start(move |request, stream| match request.target.strip_prefix("/simple/") {
        Some("pip/") => respond(stream, "404 Not Found\r\nContent-Length: 0", b""),
        Some(name) => answer(name.trim_end_matches('/'), request, stream),
        None => kept(stream, WHEEL),
    })
}

fn pages(server: &Server) -> usize {
    let is_page =
        |request: &&Request| request.target.starts_with("/simple/") && request.target != "/simple/pip/";
    server.requests().iter().filter(is_page).count()
}

fn html(stream: &mut TcpStream, head: &str) {
    let page = format!("<!DOCTYPE html><html><head>{head}</head><body></body></html>");
    let head = format!("200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}", page.len());
    respond(stream, &head, page.as_bytes());
}

fn meta(name: &str, content: &str) -> String {
    format!("<meta name=\"pypi:project-{name}\" content=\"{content}\">")
}

fn is(marker: StatusMarker, reason: &str) -> ProjectStatus {
    ProjectStatus { marker, reason: reason.to_owned() }
}

/// With a lock that names the index, and for one whose index is known by its host.
#[test]
fn an_index_is_asked_once_a_day() {
    if !has_uv() {
        return;
    }
    let server = index(|name, _, stream| match name {
        "archived-one" => html(stream, &meta("status", "archived")),
        "deprecated-one" => {
            html(
                stream,
                &(meta("status", "deprecated") + &meta("status-reason", "use &lt;other&gt;\n\u{1b}[2J")),
            );
        }
        "quarantined-one" => {
            // As long as the client takes it.
            let page = format!("<html><head>{}</head>", meta("status", "quarantined"));
            let _ = std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n");
            let _ = std::io::Write::write_all(stream, page.as_bytes());
            while std::io::Write::write_all(stream, &[b'x'; 65_536]).is_ok() {}
        }
        "json-one" => {
            let page = br#"{"files": [], "project-status": {"status": "archived", "reason": "json"}}"#;
            let head = "200 OK\r\nContent-Type: application/vnd.pypi.simple.v1+json";
            respond(stream, &format!("{head}\r\nContent-Length: {}", page.len()), page);
        }
        // Behind more than is read.
        "late-one" => html(stream, &(" ".repeat(200_000) + &meta("status", "archived"))),
        "active-one" => html(stream, &meta("status", "active")),
        "plain-one" => html(stream, ""),
        _ => respond(stream, "404 Not Found\r\nContent-Length: 0", b""),
    });
    let names = [
        "active-one",
        "archived-one",
        "deprecated-one",
        "json-one",
        "late-one",
        "missing-one",
        "plain-one",
        "quarantined-one",
    ];
    let mut site = Site::new(&[]);
    let expected = Statuses::from([
        ("archived-one".to_owned(), is(StatusMarker::Archived, "")),
        ("deprecated-one".to_owned(), is(StatusMarker::Deprecated, "use <other> \\x1b[2J")),
        ("json-one".to_owned(), is(StatusMarker::Archived, "json")),
        ("quarantined-one".to_owned(), is(StatusMarker::Quarantined, "")),
    ]);
    let named = lock(&site, &server, &names, &format!("index = '{}'", server.url("simple")));
    assert_eq!(site.gather_lock(&named).unwrap().statuses, expected);
    let asked = server.requests();
    let asked = asked.iter().find(|request| request.target == "/simple/active-one/").unwrap();
    assert!(asked.headers["accept"].starts_with("application/vnd.pypi.simple.v1+html, "), "{asked:?}");
    assert_eq!(pages(&server), names.len());

    // The cache answers, for every lock and without a network.
    assert_eq!(site.gather_lock(&named).unwrap().statuses, expected);
    site.index.extra_index_urls = vec![server.url("simple/").to_string()];
    let unnamed = lock(&site, &server, &names, "");
    assert_eq!(site.gather_lock(&unnamed).unwrap().statuses, expected);
    site.index.offline = true;
    assert_eq!(site.gather_lock(&unnamed).unwrap().statuses, expected);
    assert_eq!(pages(&server), names.len());

    // Without it, the index is asked only if the network may be.
    fs::remove_dir_all(site.cache().join("statuses")).unwrap();
    assert_eq!(site.gather_lock(&unnamed).unwrap().statuses, Statuses::new());
    assert_eq!(pages(&server), names.len());
    site.index.offline = false;
    assert_eq!(site.gather_lock(&unnamed).unwrap().statuses, expected);
    assert_eq!(pages(&server), 2 * names.len());
    fs::remove_dir_all(site.cache().join("statuses")).unwrap();
    // Nobody says that this index has the files.
    site.index.extra_index_urls = Vec::new();
    assert_eq!(site.gather_lock(&unnamed).unwrap().statuses, Statuses::new());
    assert_eq!(pages(&server), 2 * names.len());
}

#[test]
fn an_index_that_hangs_is_not_waited_for() {
    if !has_uv() {
        return;
    }
    let server = index(|_, _, stream| {
        // The head of a page is never complete.
        let _ =
            std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>");
        std::thread::sleep(Duration::from_secs(60));
    });
    let site = Site::new(&[]);
    let names: Vec<String> = (0..30).map(|number| format!("project-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lock = lock(&site, &server, &names, &format!("index = '{}'", server.url("simple")));
    let begun = Instant::now();
    assert_eq!(site.gather_lock(&lock).unwrap().statuses, Statuses::new());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let asked = pages(&server);
    assert!((1..=8).contains(&asked), "one for each connection: {asked}");
    let details = site.notes.details.lock().unwrap().clone();
    let [detail] = &details[..] else { panic!("{details:?}") };
    let begin = format!("the status of some projects is not known: {}: ", server.url("simple/"));
    assert!(detail.starts_with(&begin) && detail.ends_with(": no answer within 3 s"), "{detail}");
    assert_eq!(site.notes.take(), Vec::<String>::new());
    // The next build does not wait again.
    site.gather_lock(&lock).unwrap();
    assert_eq!(pages(&server), asked);
}

#[test]
fn a_slow_index_is_waited_for_a_few_seconds() {
    if !has_uv() {
        return;
    }
    let server = index(|_, _, stream| {
        std::thread::sleep(Duration::from_secs(1));
        html(stream, &meta("status", "archived"));
    });
    let site = Site::new(&[]);
    let names: Vec<String> = (0..400).map(|number| format!("project-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lock = lock(&site, &server, &names, &format!("index = '{}'", server.url("simple")));
    let begun = Instant::now();
    let found = site.gather_lock(&lock).unwrap().statuses.len();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!((1..=48).contains(&found), "{found}");
    // What came is kept.
    let more = site.gather_lock(&lock).unwrap().statuses.len();
    assert!(more > found, "{more}");
}

#[test]
fn an_index_gets_its_login_and_nobody_else() {
    if !has_uv() {
        return;
    }
    // joe:s3cr3t
    let server = index(|_, request, stream| match request.headers.get("authorization").map(String::as_str) {
        Some("Basic am9lOnMzY3IzdA==") => html(stream, &meta("status", "archived")),
        _ => respond(stream, "401 Unauthorized\r\nContent-Length: 0", b""),
    });
    let mut site = Site::new(&[]);
    let names = ["one", "two", "three"];
    let url = server.url("simple");
    let lock = lock(&site, &server, &names, &format!("index = '{url}'"));
    assert_eq!(site.gather_lock(&lock).unwrap().statuses, Statuses::new());
    let details = site.notes.details.lock().unwrap().join("\n");
    assert!(details.contains("HTTP 401"), "{details}");
    let login = |password: &str| url.as_str().replace("//", &format!("//joe:{password}@"));
    // It answered: nothing keeps the next build from asking.
    site.index.extra_index_urls = vec![login("wr0ng-one")];
    assert_eq!(site.gather_lock(&lock).unwrap().statuses, Statuses::new());
    site.index.extra_index_urls = vec![login("s3cr3t")];
    assert_eq!(site.gather_lock(&lock).unwrap().statuses.len(), 3);
    let details = site.notes.details.lock().unwrap().join("\n");
    assert!(!details.contains("wr0ng") && !details.contains("joe"), "{details}");
    for entry in walkdir::WalkDir::new(site.cache().join("statuses")) {
        let entry = entry.unwrap();
        assert!(entry.file_type().is_dir() || !fs::read_to_string(entry.path()).unwrap().contains("s3cr3t"));
    }
}
