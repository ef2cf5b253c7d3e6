//! Downloads from servers that drop, stall, truncate and lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;
use url::Url;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::Explain;
use wheelbarrow_build::cache::Cache;
use wheelbarrow_build::fetch::{Download, FetchOptions, Place, fetch};
use wheelbarrow_build::{Error, Result};
use wheelbarrow_http::{Credentials, HttpError, Patience};

use crate::server::{Request, Server, kept, partial, respond, well};
use crate::support::Notes;

/// Bytes that are no two times the same, more than any buffer holds.
pub(crate) fn body() -> Vec<u8> {
    (0..300_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

pub(crate) struct Story {
    _directory: tempfile::TempDir,
    cache: Cache,
    pub(crate) options: FetchOptions,
    notes: Notes,
}

impl Story {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(directory.path())).unwrap();
        let options = FetchOptions {
            connections: 4,
            offline: false,
            directories: Vec::new(),
            credentials: Credentials::default(),
            patience: Patience {
                stall: Duration::from_secs(10),
                backoff: Duration::from_millis(5),
                attempts: 3,
            },
            longest: 2_000_000,
        };
        Self { _directory: directory, cache, options, notes: Notes::default() }
    }

    pub(crate) fn download(url: Url, body: &[u8]) -> Download {
        let size = Some(body.len() as u64);
        Download {
            filename: "a-1-py3-none-any.whl".to_owned(),
            place: Place::Remote(url),
            sha256: Sha256::of(body),
            size,
        }
    }

    fn fetch(&self, server: &Server, body: &[u8]) -> Result<Vec<u8>> {
        self.fetch_one(&Self::download(server.url("a.whl"), body))
    }

    pub(crate) fn fetch_one(&self, download: &Download) -> Result<Vec<u8>> {
        let entries = fetch(&self.cache, std::slice::from_ref(download), &self.options, &self.notes)?;
        Ok(fs::read(&entries[0].path).unwrap())
    }
}

/// Fetches from a server with these manners and gives its requests; what came must be right.
fn survives(
    answer: impl Fn(&Request, &mut std::net::TcpStream, &[u8]) + Send + Sync + 'static,
) -> Vec<Request> {
    let server = Server::start(move |request, stream| answer(request, stream, &body()));
    assert!(Story::new().fetch(&server, &body()).unwrap() == body());
    server.requests()
}

/// The same for one that cannot be survived.
fn fails(
    answer: impl Fn(&Request, &mut std::net::TcpStream, &[u8]) + Send + Sync + 'static,
) -> (Error, Vec<Request>) {
    let server = Server::start(move |request, stream| answer(request, stream, &body()));
    let error = Story::new().fetch(&server, &body()).unwrap_err();
    (error, server.requests())
}

#[test]
fn a_good_server_is_asked_once() {
    let server = Server::start(|request, stream| well(request, stream, &body()));
    let story = Story::new();
    assert!(story.fetch(&server, &body()).unwrap() == body());
    assert!(story.fetch(&server, &body()).unwrap() == body());
    assert_eq!(server.requests().len(), 1, "the second time it is in the cache");
    assert_eq!(story.notes.bytes.load(Ordering::Relaxed), body().len() as u64);
}

#[test]
fn a_dropped_connection_is_resumed() {
    let requests = survives(|request, stream, body| match request.number {
        0 => respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len()), &body[..700_000]),
        1 => partial(stream, body, request.start().unwrap(), 900_000),
        _ => well(request, stream, body),
    });
    let starts: Vec<_> = requests.iter().map(Request::start).collect();
    assert_eq!(starts, [None, Some(700_000), Some(900_000)]);
}

#[test]
fn drops_do_not_count_while_bytes_come() {
    let requests = survives(|request, stream, body| {
        let start = request.start().unwrap_or(0);
        partial_or_whole(stream, body, start, (start + 150_000).min(body.len()));
    });
    assert!(requests.len() >= 8, "more than the attempts in a row: {}", requests.len());
}

fn partial_or_whole(stream: &mut std::net::TcpStream, body: &[u8], start: usize, end: usize) {
    if start == 0 {
        respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len()), &body[..end]);
    } else {
        partial(stream, body, start, end);
    }
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let requests = survives(|request, stream, body| {
        let end = if request.number == 0 { 500_000 } else { body.len() };
        respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len()), &body[..end]);
    });
    assert_eq!(requests[1].start(), Some(500_000));
}

#[test]
fn a_wrong_range_is_not_trusted() {
    survives(|request, stream, body| match request.number {
        0 => respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len()), &body[..500_000]),
        1 => partial(stream, body, 400_000, body.len()),
        _ => well(request, stream, body),
    });
    survives(|request, stream, body| match request.number {
        0 => respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len()), &body[..500_000]),
        1 => respond(stream, "416 Range Not Satisfiable\r\nContent-Length: 0", b""),
        _ => well(request, stream, body),
    });
}

#[test]
fn other_bytes_after_a_resume_are_fetched_anew() {
    let requests = survives(|request, stream, body| match request.number {
        0 => respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len()), &body[1..600_000]),
        _ => well(request, stream, body),
    });
    let starts: Vec<_> = requests.iter().map(Request::start).collect();
    assert_eq!(starts, [None, Some(599_999), None]);
}

#[test]
fn wrong_content_lengths_are_detected() {
    survives(|request, stream, body| match request.number {
        0 => respond(stream, "200 OK", &body[..100_000]),
        1 => respond(stream, "200 OK\r\nContent-Length: 1000", &body[..1000]),
        _ => well(request, stream, body),
    });
    survives(|_, stream, body| {
        respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len() * 2), body)
    });
    survives(|_, stream, body| respond(stream, "200 OK", &[body, b"and more"].concat()));
}

#[test]
fn a_stalled_server_is_left() {
    let mut story = Story::new();
    story.options.patience.stall = Duration::from_secs(1);
    let server = Server::start(|request, stream| {
        if request.number < 2 {
            let start = request.start().unwrap_or(0);
            partial_or_whole(stream, &body(), start, 300_000.max(start));
            std::thread::sleep(Duration::from_secs(5));
        } else {
            well(request, stream, &body());
        }
    });
    assert!(story.fetch(&server, &body()).unwrap() == body());
    assert_eq!(server.requests().len(), 3);

    let silent = Server::start(|_, _| std::thread::sleep(Duration::from_secs(8)));
    let begun = Instant::now();
    let error = story.fetch(&silent, &body()[..1400]).unwrap_err();
    assert!(error.to_string().contains("silent"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8), "none of three attempts waited for the answer");
}

#[test]
fn busy_servers_are_asked_again() {
    let requests = survives(|request, stream, body| match request.number {
        0 => respond(stream, "503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0", b""),
        1 => respond(stream, "429 Too Many Requests\r\nContent-Length: 4", b"wait"),
        _ => well(request, stream, body),
    });
    assert_eq!(requests.len(), 3);
    let (error, requests) =
        fails(|_, stream, _| respond(stream, "502 Bad Gateway\r\nContent-Length: 0", b""));
    assert_eq!((error.exit_code(), requests.len()), (9, 3));
    assert!(error.to_string().contains("HTTP 502"), "{error}");
}

#[test]
fn a_connection_serves_one_file_after_the_other() {
    let server = Server::start(|request, stream| kept(stream, request.target.as_bytes()));
    let story = Story::new();
    let all: Vec<_> = (0..40)
        .map(|number| {
            let name = format!("file-{number}");
            Story::download(server.url(&name), format!("/{name}").as_bytes())
        })
        .collect();
    fetch(&story.cache, &all, &story.options, &story.notes).unwrap();
    assert_eq!(server.requests().len(), 40);
    assert!(server.connections() <= story.options.connections, "{} connections", server.connections());
}

#[test]
fn a_server_that_gets_nowhere_is_given_up() {
    // Each attempt brings more than the one before it, and less than the first.
    let (error, requests) = fails(|request, stream, body| {
        let end = if request.number == 0 { 500_000 } else { 1000 * (request.number % 7 + 1) };
        respond(stream, &format!("200 OK\r\nContent-Length: {}", body.len()), &body[..end]);
    });
    assert_eq!(requests.len(), 3, "{error}");
    assert!(error.to_string().contains("3 attempts in a row brought nothing"), "{error}");
}

#[test]
fn compressed_answers_are_the_file_one_way_or_the_other() {
    use std::io::Write as _;
    let compressed = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let head = |bytes: &[u8]| format!("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}", bytes.len());
    survives(move |request, stream, body| {
        assert_eq!(request.headers["accept-encoding"], "identity");
        let bytes = compressed(body);
        respond(stream, &head(&bytes), &bytes);
    });
    // The name of a .tar.gz misleads some servers.
    survives(move |_, stream, body| respond(stream, &head(body), body));
    // Ranges are those of the compressed bytes.
    survives(move |request, stream, body| {
        let bytes = compressed(body);
        match request.start() {
            None => respond(stream, &head(&bytes), &bytes[..400_000]),
            Some(start) => {
                let range = format!("Content-Range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                let rest = &bytes[start..];
                let length = rest.len();
                let head = format!(
                    "206 Partial Content\r\nContent-Encoding: gzip\r\n{range}\r\nContent-Length: {length}"
                );
                respond(stream, &head, rest);
            }
        }
    });
    let (error, _) = fails(move |_, stream, _| respond(stream, &head(b"no gzip"), b"no gzip"));
    assert_eq!(error.exit_code(), 9, "{error}");
}

#[test]
fn a_file_of_unknown_size_has_a_limit() {
    use std::io::Write as _;
    let zeros = vec![0; 9_000_000];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&zeros).unwrap();
    let compressed = encoder.finish().unwrap();
    let server = Server::start(move |request, stream| match request.target.trim_start_matches('/') {
        "good" => respond(stream, "200 OK", &body()),
        "announced" => respond(stream, "200 OK\r\nContent-Length: 9000000", &zeros[..1000]),
        "endless" => respond(stream, "200 OK", &zeros),
        _ => respond(stream, "200 OK\r\nContent-Encoding: gzip", &compressed),
    });
    let story = Story::new();
    let unsized_file =
        |name: &str, hashed: &[u8]| Download { size: None, ..Story::download(server.url(name), hashed) };
    assert!(story.fetch_one(&unsized_file("good", &body())).unwrap() == body());
    for name in ["announced", "endless"] {
        let before = server.requests().len();
        let download = unsized_file(name, name.as_bytes());
        let error = story.fetch_one(&download).unwrap_err();
        assert_eq!(error.exit_code(), 9);
        let reason = "the file has no size in the lock, and more than 2000000 bytes";
        assert!(error.to_string().ends_with(reason), "{error}");
        assert_eq!(server.requests().len(), before + 1);
        assert_eq!(story.cache.partial(download.sha256).unwrap().len().unwrap(), 0);
    }
    // It would be the file, but for the limit.
    let error = story.fetch_one(&unsized_file("compressed", &vec![0; 9_000_000])).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
}

#[test]
fn a_long_wait_is_reported_once() {
    let server = Server::start(move |request, stream| match request.number {
        0 | 1 => respond(stream, "503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 0", b""),
        _ => well(request, stream, request.target.as_bytes()),
    });
    let story = Story::new();
    let all = ["one", "two"].map(|name| Story::download(server.url(name), format!("/{name}").as_bytes()));
    fetch(&story.cache, &all, &story.options, &story.notes).unwrap();
    assert_eq!(story.notes.take(), ["waiting up to 3 s for 127.0.0.1: HTTP 503 Service Unavailable"]);
}

#[test]
fn offline_a_directory_does() {
    let mut story = Story::new();
    let wheels = tempfile::tempdir().unwrap();
    story.options.offline = true;
    story.options.directories = vec![wheels.path().to_path_buf()];
    let file = wheels.path().join("a-1-py3-none-any.whl");
    let download = Story::download(Url::parse("http://127.0.0.1:1/a.whl").unwrap(), b"right");
    fs::write(&file, b"wrong").unwrap();
    let error = story.fetch_one(&download).unwrap_err();
    assert_eq!(error.to_string(), "offline, and the cache lacks:\n  a-1-py3-none-any.whl");
    assert!(error.hint().unwrap().contains("--find-links DIR"));
    fs::write(&file, b"right").unwrap();
    assert_eq!(story.fetch_one(&download).unwrap(), b"right");
}

#[test]
fn a_missing_file_is_not_retried() {
    let (error, requests) = fails(|_, stream, _| respond(stream, "404 Not Found\r\nContent-Length: 0", b""));
    assert_eq!(requests.len(), 1);
    assert!(error.to_string().contains("HTTP 404"), "{error}");
    let story = Story::new();
    let nobody = Url::parse("http://127.0.0.1:1/a.whl").unwrap();
    let error = story.fetch_one(&Story::download(nobody, b"x")).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn the_wrong_file_is_an_error_and_not_kept() {
    let wrong = b"captive portal".repeat(100);
    let served = wrong.clone();
    let server = Server::start(move |request, stream| well(request, stream, &served));
    let story = Story::new();
    let error = story.fetch(&server, &body()[..1400]).unwrap_err();
    let Error::Hash { got, .. } = &error else { panic!("{error}") };
    assert_eq!((got.clone(), error.exit_code()), (format!("sha256:{}", Sha256::of(&wrong)), 3));
    assert_eq!(server.requests().len(), 2, "once more from the start, then no more");
    assert_eq!(story.cache.get(Sha256::of(&wrong)).unwrap(), None);
}

#[test]
fn partial_files_are_resumed_or_discarded() {
    let body = body();
    let server = Server::start({
        let body = body.clone();
        move |request, stream| well(request, stream, &body)
    });
    let story = Story::new();
    let leave = |bytes: &[u8]| {
        use std::io::Write;
        story.cache.partial(Sha256::of(&body)).unwrap().file.write_all(bytes).unwrap();
    };
    leave(&body);
    assert!(story.fetch(&server, &body).unwrap() == body);
    assert_eq!(server.requests().len(), 0, "it was whole already");

    fs::remove_dir_all(story.cache.root().join("sha256")).unwrap();
    leave(&[7; 2_000_000]);
    assert!(story.fetch(&server, &body).unwrap() == body);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn logins_go_to_their_host_only_and_are_never_printed() {
    let elsewhere = Arc::new(Server::start(|request, stream| well(request, stream, &body())));
    let port = elsewhere.port();
    let server = Server::start(move |request, stream| {
        match request.headers.get("authorization").map(String::as_str) {
            // joe:se@cret
            Some("Basic am9lOnNlQGNyZXQ=") => {
                let head =
                    format!("302 Found\r\nLocation: http://localhost:{port}/b.whl\r\nContent-Length: 0");
                respond(stream, &head, b"");
            }
            _ => respond(stream, "401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0", b""),
        }
    });
    let mut story = Story::new();
    let error = story.fetch(&server, &body()).unwrap_err();
    assert!(matches!(error, Error::Http(HttpError::Unauthorized { status: 401, .. })), "{error}");

    let mut index = server.url("simple");
    index.set_username("joe").unwrap();
    index.set_password(Some("wrong-one")).unwrap();
    story.options.credentials.add(index.as_str());
    let mut url = server.url("a.whl");
    let error = story.fetch(&server, &body()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("wrong-one"));

    url.set_username("joe").unwrap();
    url.set_password(Some("se@cret")).unwrap();
    assert!(story.fetch_one(&Story::download(url, &body())).unwrap() == body());
    assert!(elsewhere.requests().iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(server.requests().iter().all(|request| !request.target.contains("cret")));
}

#[test]
fn many_files_come_at_once_and_the_first_failure_stops_the_rest() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |request, stream| {
        highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        counted.fetch_sub(1, Ordering::SeqCst);
        match request.target.trim_start_matches('/') {
            "gone" => respond(stream, "404 Not Found\r\nContent-Length: 0", b""),
            name => well(request, stream, name.as_bytes()),
        }
    });
    let downloads = |names: Vec<String>| -> Vec<Download> {
        names.into_iter().map(|name| Story::download(server.url(&name), name.as_bytes())).collect()
    };
    let story = Story::new();
    let all = downloads((0..40).map(|number| format!("file-{number}")).collect());
    let entries = fetch(&story.cache, &all, &story.options, &story.notes).unwrap();
    assert!(entries.iter().zip(&all).all(|(entry, download)| entry.sha256 == download.sha256));
    assert_eq!(most.load(Ordering::SeqCst), 4);

    let before = server.requests().len();
    let mut some = downloads((40..80).map(|number| format!("other-file-{number}")).collect());
    some[3].place = Place::Remote(server.url("gone"));
    let error = fetch(&story.cache, &some, &story.options, &story.notes).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
    assert!(server.requests().len() - before < 20);
}

#[test]
fn local_files_are_compared_too() {
    let story = Story::new();
    let file = story.cache.root().join("a.whl");
    fs::write(&file, b"local").unwrap();
    let mut download = Story::download(Url::parse("http://127.0.0.1:1/").unwrap(), b"local");
    download.place = Place::Local(file);
    assert_eq!(story.fetch_one(&download).unwrap(), b"local");
    download.sha256 = Sha256::of(b"other");
    assert!(matches!(story.fetch_one(&download), Err(Error::Hash { .. })));
}
