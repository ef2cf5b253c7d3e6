//! A private index with a password: what a build says, runs and writes has none of it.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;

use crate::support::{Place, wheelbarrow};

pub(crate) const PASSWORD: &str = "s3cr3t-of-joe";

/// An index of one package with a wheel and one with a source only, for joe; prints its port.
const INDEX: &str = r#"
import base64, hashlib, http.server, io, os, zipfile
PASSWORD = os.environ['INDEX_PASSWORD']
def wheel():
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        files = {'private_one.py': 'one = 1\n', 'private_one-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\nName: private-one\nVersion: 1.0\n',
                 'private_one-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n'}
        record = ''
        for name, text in files.items():
            z.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')
            record += '%s,sha256=%s,%d\n' % (name, digest, len(text))
        z.writestr('private_one-1.0.dist-info/RECORD', record + 'private_one-1.0.dist-info/RECORD,,\n')
    return out.getvalue()
WHEEL = wheel()
class Index(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        login = 'Basic ' + base64.b64encode(('joe:' + PASSWORD).encode()).decode()
        if self.headers.get('Authorization') != login:
            return self.answer(401, b'', 'text/plain')
        if self.path == '/simple/private-one/':
            page = '<a href="/files/private_one-1.0-py3-none-any.whl#sha256=%s">private_one-1.0-py3-none-any.whl</a>'
            return self.answer(200, (page % hashlib.sha256(WHEEL).hexdigest()).encode(), 'text/html')
        if self.path.startswith('/files/'):
            return self.answer(200, WHEEL, 'application/octet-stream')
        self.answer(404, b'', 'text/plain')
    do_HEAD = do_GET
    def answer(self, status, body, kind):
        self.send_response(status)
        if status == 401: self.send_header('WWW-Authenticate', 'Basic')
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command == 'GET': self.wfile.write(body)
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Index)
print(server.server_port, flush=True)
server.serve_forever()
"#;

pub(crate) struct Index {
    server: Child,
    pub(crate) port: u16,
}

impl Index {
    pub(crate) fn start() -> Self {
        let mut server = Command::new("python3")
            .args(["-c", INDEX])
            // Another test watches the arguments of all processes.
            .env("INDEX_PASSWORD", PASSWORD)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { server, port: line.trim().parse().unwrap() }
    }

    fn url(&self, password: &str) -> String {
        format!("http://joe:{password}@127.0.0.1:{}/simple", self.port)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Runs it to its end; gives what it said, and every command line that any process but the index had meanwhile.
pub(crate) fn watched(
    place: &Place,
    command: &mut Command,
    index: &Index,
) -> (i32, String, BTreeSet<String>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let number = entry.file_name().to_string_lossy().parse::<u32>();
                    if number.is_ok_and(|number| number != index.server.id()) {
                        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                        seen.insert(String::from_utf8_lossy(&line).into_owned());
                    }
                }
            }
            seen
        });
        let said = place.finish(command);
        done.store(true, Ordering::Relaxed);
        (said.code, said.all(), watcher.join().unwrap())
    })
}

pub(crate) fn holds_password(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holds_password(&path));
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(PASSWORD.len()).any(|at| at == PASSWORD.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_password_is_in_no_output_argument_or_file() {
    let place = Place::with(&[("project/requirements.txt", ""), ("project/manage.py", "")]);
    let build = |variables: &[(&str, &str)]| {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "-vv", "project", "--cache-dir", "cache", "-o", "site.zip"]);
        command.envs(variables.iter().copied()).env("UV_CACHE_DIR", place.path().join("uv"));
        command
    };
    // pip comes from the usual index.
    let said = place.finish(&mut build(&[]));
    if said.code != 0 {
        assert!(std::env::var_os("CI").is_none(), "CI must have uv and an index: {}", said.err);
        return println!("skipped: {}", said.err.lines().next().unwrap_or_default());
    }
    place.write("project/requirements.txt", "private-one\n");
    let index = Index::start();

    let wrong = index.url("wrong-one");
    let (code, said, lines) = watched(&place, &mut build(&[("UV_INDEX_URL", &wrong)]), &index);
    assert_ne!(code, 0);
    assert!(said.contains("127.0.0.1") && !said.contains("wrong-one"), "{said}");
    assert!(lines.iter().any(|line| line.contains("compile")), "uv was seen");
    assert!(!lines.iter().any(|line| line.contains("wrong-one")), "{lines:?}");

    let right = index.url(PASSWORD);
    for variable in ["UV_INDEX_URL", "PIP_INDEX_URL", "UV_DEFAULT_INDEX"] {
        let _ = fs::remove_file(place.path().join("pylock.project.toml"));
        let (code, said, lines) = watched(&place, &mut build(&[(variable, &right)]), &index);
        assert_eq!(code, 0, "{variable}: {said}");
        assert!(!said.contains(PASSWORD), "{said}");
        assert!(!lines.iter().any(|line| line.contains(PASSWORD)), "{lines:?}");
    }
    // An index of the settings gets the login of a variable for the same host, whatever the path.
    place.write(
        "project/wheelbarrow.toml",
        &format!("index-url = 'http://127.0.0.1:{}/simple'\n", index.port),
    );
    let other_path = right.replace("/simple", "/other");
    for (variable, code) in [("UV_INDEX_URL", 0), ("PIP_EXTRA_INDEX_URL", 0), ("UV_HTTP_TIMEOUT", 9)] {
        let _ = fs::remove_file(place.path().join("pylock.project.toml"));
        let _ = fs::remove_dir_all(place.path().join("uv"));
        let value = if code == 0 { &*other_path } else { "30" };
        let (got, said, lines) = watched(&place, &mut build(&[(variable, value)]), &index);
        assert_eq!(got, code, "{variable}: {said}");
        assert!(!said.contains(PASSWORD), "{said}");
        assert!(!lines.iter().any(|line| line.contains(PASSWORD)), "{lines:?}");
        if code == 0 {
            let lock = place.read("pylock.project.toml");
            assert!(lock.contains(&format!("http://127.0.0.1:{}/files/", index.port)), "{lock}");
        }
    }
    assert_eq!(holds_password(&place.path()), Vec::<String>::new());
    fs::remove_file(place.path().join("project/wheelbarrow.toml")).unwrap();
    assert_eq!(place.finish(&mut build(&[("UV_INDEX_URL", &right)])).code, 0);
    let lock = place.read("pylock.project.toml");
    assert!(lock.contains(&format!("http://127.0.0.1:{}/files/", index.port)), "{lock}");
    let found = holds_password(&place.path());
    assert_eq!(found, Vec::<String>::new());
}

/// One package from its own index, everything else from the usual one.
#[test]
fn a_package_may_have_an_index_of_its_own() {
    let index = Index::start();
    let pyproject = format!(
        "[project]\nname = 'site'\nversion = '1'\nrequires-python = '>=3.9'\ndependencies = ['private-one', 'asgiref==3.8.1']\n\
         [tool.uv]\npackage = false\n[tool.uv.sources]\nprivate-one = {{ index = 'corp' }}\n\
         [[tool.uv.index]]\nname = 'corp'\nurl = 'http://127.0.0.1:{}/simple'\nexplicit = true\n",
        index.port
    );
    let place = Place::with(&[("project/pyproject.toml", &pyproject), ("project/manage.py", "")]);
    let build = |variables: &[(&str, &str)]| {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "--bytecode", "never", "--cache-dir"]);
        command.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        place.finish(command.envs(variables.iter().copied()).env("UV_CACHE_DIR", place.path().join("uv")))
    };
    let login = [("UV_INDEX_CORP_USERNAME", "joe"), ("UV_INDEX_CORP_PASSWORD", PASSWORD)];
    let said = build(&login);
    if said.code != 0 && std::env::var_os("CI").is_none() {
        return println!("skipped: {}", said.err.lines().next().unwrap_or_default());
    }
    assert_eq!(said.code, 0, "{}", said.all());
    let lock = place.read("pylock.site.toml");
    assert!(lock.contains(&format!("http://127.0.0.1:{}/files/private_one-1.0", index.port)), "{lock}");
    assert_eq!(lock.matches("127.0.0.1").count(), lock.matches("/private_one-1.0").count(), "{lock}");
    assert_eq!(holds_password(&place.path()), Vec::<String>::new());
    fs::remove_dir_all(place.path().join("uv")).unwrap();
    fs::remove_file(place.path().join("pylock.site.toml")).unwrap();
    assert_ne!(build(&[]).code, 0, "without the login it cannot be had");
}

/// Pip takes a URL there.
#[test]
fn a_login_in_the_place_of_a_path_is_not_shown() {
    let place = Place::with(&[("app.py", "")]);
    let url = "http://bob:p%40SswrdXq9@127.0.0.1:9/r.txt";
    for words in [
        &["build", "-r", url][..],
        &["build", "--with-python", url, "--json"],
        &["build", url],
        &["verify", url],
        &["deploy", url, "--root", "root"],
    ] {
        let said = place.run(words);
        let all = said.all();
        assert!(said.code != 0 && all.contains("****@127.0.0.1:9/r.txt"), "{words:?}: {all}");
        assert!(!all.contains("SswrdXq9"), "{words:?}: {all}");
    }
}

/// A proxy that repeats the login it was sent.
#[test]
fn a_password_of_a_proxy_is_not_shown() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let answer = "HTTP/1.1 503 busy cHh1OnB4UGFzc3cwcmRY pxPassw0rdX\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    let place = Place::with(&[("requirements.txt", "a==1\n"), ("app.py", "")]);
    for proxy in ["http://pxu:pxPassw0rdX@", "pxu:pxPassw0rdX@"] {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "--index-url", "http://invalid.example/simple", "--cache-dir", "cache"]);
        command.env("HTTP_PROXY", format!("{proxy}{address}")).env("UV_HTTP_RETRIES", "0");
        let said = place.finish(command.env("UV_CACHE_DIR", place.path().join("uv")).env_remove("NO_PROXY"));
        assert!(said.err.contains("503 busy **** ****"), "{}", said.all());
    }
}
