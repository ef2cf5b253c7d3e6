//! The status of projects: what an index says of them is told, refused, let pass and written down.

use std::io::BufRead;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use serde_json::Value;
use wheelbarrow_artifact::manifest::Sha256;

use crate::site::{cache, is_built};
use crate::support::{Place, Said, wheelbarrow};

/// An index of three projects, whose pages have a status; prints its port.
const INDEX: &str = r#"
import base64, hashlib, http.server, io, zipfile
PAGES = {
    'old-one': '<meta name="pypi:project-status" content="archived"><meta name="pypi:project-status-reason" content="see &lt;https://example.org&gt;&#27;[2J">',
    'bad-one': '<meta name="pypi:project-status" content="quarantined">',
    'good-one': '<meta name="pypi:project-status" content="active">',
}
def wheel(name):
    out, name = io.BytesIO(), name.replace('-', '_')
    with zipfile.ZipFile(out, 'w') as z:
        files = {name + '.py': 'one = 1\n', name + '-1.dist-info/METADATA': 'Metadata-Version: 2.1\nName: %s\nVersion: 1\n' % name,
                 name + '-1.dist-info/WHEEL': 'Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n'}
        record = ''
        for path, text in files.items():
            z.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')
            record += '%s,sha256=%s,%d\n' % (path, digest, len(text))
        z.writestr(zipfile.ZipInfo(name + '-1.dist-info/RECORD'), record + name + '-1.dist-info/RECORD,,\n')
    return out.getvalue()
class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.split('/')[2].split('-1-')[0].replace('_', '-')
        if name not in PAGES: return self.answer(404, b'', 'text/plain')
        if self.path.startswith('/files/'): return self.answer(200, wheel(name), 'application/octet-stream')
        file = name.replace('-', '_') + '-1-py3-none-any.whl'
        page = '<html><head>%s</head><body><a href="/files/%s#sha256=%s">%s</a></body></html>'
        page = page % (PAGES[name], file, hashlib.sha256(wheel(name)).hexdigest(), file)
        self.answer(200, page.encode(), 'text/html')
    do_HEAD = do_GET
    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command == 'GET': self.wfile.write(body)
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Index)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Index {
    server: Child,
    url: String,
}

impl Index {
    fn start() -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", INDEX]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { server, url: format!("http://127.0.0.1:{}/simple", line.trim()) }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_build_reports_the_status_of_projects() {
    let place = Place::with(&[
        ("project/requirements.txt", "old-one\ngood-one\n"),
        ("project/manage.py", ""),
        ("project/wheelbarrow.toml", "name = 'site'\nversion = '1'\n"),
    ]);
    let index = Index::start();
    let build = |words: &[&str]| -> Said {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "--bytecode", "never", "--extra-index-url", &index.url]);
        command.args(words).arg("--cache-dir").arg(cache()).env("UV_CACHE_DIR", place.path().join("uv"));
        place.finish(&mut command)
    };
    let said = build(&[]);
    if !is_built(&said) {
        return;
    }
    let told = "note: project-status:old-one: the project is archived on its index: see <https://example.org>\\x1b[2J\n";
    assert!(said.err.contains(told) && !said.err.contains("good-one:"), "{}", said.all());
    let findings = |said: Said| -> Value {
        let json: Value = serde_json::from_str(&said.out).unwrap();
        json["findings"].clone()
    };
    let found = findings(build(&["--json"]));
    let [finding] = &found.as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&finding["rule"], &finding["severity"]), (&"project-status".into(), &"warning".into()));
    assert_eq!(
        (&finding["name"], &finding["wheel"]),
        (&"old-one".into(), &"old_one-1-py3-none-any.whl".into())
    );
    let allow = ["--allow", "project-status:old-one=it is finished"];
    let said = build(&allow);
    assert!(said.code == 0 && !said.err.contains("archived"), "{}", said.all());
    let allowed = fs::read(place.path().join("site-1.zip")).unwrap();
    let table = place.run(&["inspect", "site-1.zip"]).out;
    assert!(table.contains("project-status:old-one, it is finished"), "{table}");
    assert_eq!(findings(build(&[&allow[..], &["--json"]].concat()))[0]["allowed"], "it is finished");

    // The artifact is the same, whether an index answers or not.
    let kept = Sha256::of(format!("{}/", index.url).as_bytes()).to_string();
    fs::remove_dir_all(cache().join("statuses").join(kept)).unwrap();
    let said = build(&[&allow[..], &["--offline"]].concat());
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(fs::read(place.path().join("site-1.zip")).unwrap() == allowed);

    place.write("project/requirements.txt", "bad-one\n");
    let said = build(&[]);
    let refused = "project-status:bad-one  the project is quarantined on its index\n";
    assert!(said.code == 8 && said.err.contains(refused), "{}", said.all());
    assert!(said.err.contains("`--allow project-status:bad-one=REASON`"), "{}", said.all());
    let said = build(&["--allow", "project-status:bad-one=we read all of it"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let table = place.run(&["inspect", "site-1.zip"]).out;
    assert!(table.contains("project-status:bad-one, we read all of it"), "{table}");
}
