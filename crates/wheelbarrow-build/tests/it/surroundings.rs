//! What the variables, files and programs around a build say about reaching an index: proxies, logins, certificates.

use std::process::Command;

use fs_err as fs;
use url::Url;
use wheelbarrow_build::uv::add_logins;
use wheelbarrow_http::Credentials;

use crate::fetching::{Story, body};
use crate::server::{Server, respond, well};

/// Runs [`fetch_in_child`] with variables that this process must not have.
fn child(url: &Url, variables: &[(&str, &str)]) -> std::process::Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "surroundings::fetch_in_child"])
        .env("TEST_URL", url.as_str())
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
#[ignore = "run by others in a process of its own"]
fn fetch_in_child() {
    let url = Url::parse(&std::env::var("TEST_URL").unwrap()).unwrap();
    let mut story = Story::new();
    let index = std::env::var("TEST_INDEX").ok();
    story.options.credentials = Credentials::collect(index.as_deref());
    if let Some(project) = std::env::var_os("TEST_PROJECT") {
        add_logins(&mut story.options.credentials, project.as_ref());
    }
    match story.fetch_one(&Story::download(url, &body())) {
        Ok(bytes) => println!("fetched {}", bytes.len()),
        Err(error) => println!("failed: {error}"),
    }
}

#[test]
fn proxies_and_netrc_are_used_as_the_variables_say() {
    let proxy = Server::start(|request, stream| well(request, stream, &body()));
    let address = format!("http://someone:secret@127.0.0.1:{}", proxy.port());
    let behind = Url::parse("http://site.invalid/a.whl").unwrap();
    let output = child(&behind, &[("HTTP_PROXY", &address), ("NO_PROXY", "other.invalid")]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("fetched"), "{output:?}");
    let seen = &proxy.requests()[0];
    assert_eq!(seen.target, "site.invalid:80");
    assert_eq!(
        seen.headers.get("proxy-authorization").map(String::as_str),
        Some("Basic c29tZW9uZTpzZWNyZXQ=")
    );
    let output = child(&behind, &[("ALL_PROXY", &address), ("NO_PROXY", ".invalid")]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("failed"), "{output:?}");
    assert_eq!(proxy.requests().len(), 2, "no new one");
    let output = child(&behind, &[("HTTP_PROXY", "http://someone:secret@proxy.invalid:1")]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(", through the proxy proxy.invalid:1 (HTTP_PROXY)"), "{output:?}");
    assert!(!said.contains("secret"), "{output:?}");

    let directory = tempfile::tempdir().unwrap();
    let netrc = directory.path().join("netrc");
    fs::write(&netrc, "machine 127.0.0.1 login joe password secret\n").unwrap();
    let server = Server::start(|request, stream| match request.headers.get("authorization") {
        Some(value) if value == "Basic am9lOnNlY3JldA==" => well(request, stream, &body()),
        _ => respond(stream, "403 Forbidden\r\nContent-Length: 0", b""),
    });
    fs::write(
        directory.path().join("pyproject.toml"),
        format!("[[tool.uv.index]]\nname = \"in-house\"\nurl = \"{}\"\n", server.url("simple")),
    )
    .unwrap();
    let project = directory.path().to_string_lossy();
    let login = [("UV_INDEX_IN_HOUSE_USERNAME", "joe"), ("UV_INDEX_IN_HOUSE_PASSWORD", "secret")];
    let output = child(&server.url("a.whl"), &[&login[..], &[("TEST_PROJECT", &*project)]].concat());
    assert!(String::from_utf8_lossy(&output.stdout).contains("fetched"), "{output:?}");
    let output = child(&server.url("a.whl"), &[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("requires a valid user name"), "{output:?}");
    keyring_is_asked_where_it_may_be(&server);
    let output =
        child(&server.url("a.whl"), &[("NETRC", &netrc.to_string_lossy()), ("NO_PROXY", "127.0.0.1")]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("fetched"), "{output:?}");
}

/// By a `keyring` that knows one user of one host, as keyring's own command line tells it.
fn keyring_is_asked_where_it_may_be(server: &Server) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let keyring = directory.path().join("keyring");
    let script = "#!/bin/sh\n[ \"$*\" = 'get 127.0.0.1 joe' ] && echo secret || exit 1\n";
    fs::write(&keyring, script).unwrap();
    fs::set_permissions(&keyring, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let index = server.url("simple").to_string().replace("://", "://joe@");
    let variables = [("PATH", path.as_str()), ("TEST_INDEX", &index)];
    let output = child(&server.url("a.whl"), &variables);
    assert!(String::from_utf8_lossy(&output.stdout).contains("requires a valid user name"), "{output:?}");
    let output =
        child(&server.url("a.whl"), &[&variables[..], &[("UV_KEYRING_PROVIDER", "subprocess")]].concat());
    assert!(String::from_utf8_lossy(&output.stdout).contains("fetched"), "{output:?}");
    let named = format!("corp={}", server.url("simple"));
    let login = [("UV_INDEX_CORP_USERNAME", "joe"), ("UV_INDEX_CORP_PASSWORD", "secret")];
    let output = child(&server.url("a.whl"), &[&login[..], &[("TEST_INDEX", &named)]].concat());
    assert!(String::from_utf8_lossy(&output.stdout).contains("fetched"), "{output:?}");
}

#[test]
fn certificates_of_ones_own_are_trusted_where_they_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    fs::write(at("openssl.cnf"), OPENSSL_SETTINGS).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-config",
        &at("openssl.cnf"),
    ]);
    openssl.args(["-keyout", &at("key.pem"), "-out", &at("cert.pem")]);
    if !openssl.output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI must have openssl");
        return println!("skipped: no openssl to make a certificate with");
    }
    fs::write(directory.path().join("a.whl"), body()).unwrap();
    let mut server = Command::new("python3")
        .args(["-c", HTTPS_SERVER])
        .current_dir(directory.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut port)
        .unwrap();
    let url = Url::parse(&format!("https://localhost:{}/a.whl", port.trim())).unwrap();
    let said = |variables: &[(&str, &str)]| {
        String::from_utf8_lossy(&child(&url, &[&[("NO_PROXY", "localhost")], variables].concat()).stdout)
            .into_owned()
    };
    let (trusting, insecure, plain, broken) = (
        said(&[("SSL_CERT_FILE", &at("cert.pem"))]),
        said(&[("UV_INSECURE_HOST", "localhost")]),
        said(&[]),
        said(&[("SSL_CERT_FILE", &at("key.pem"))]),
    );
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(trusting.contains("fetched"), "{trusting}");
    assert!(insecure.contains("fetched"), "{insecure}");
    assert!(plain.contains("failed") && plain.contains("ertificate"), "{plain}");
    assert!(broken.contains("the certificates in") && broken.contains("no certificate in it"), "{broken}");
}

/// A certificate of a server that nobody else vouches for.
const OPENSSL_SETTINGS: &str = "[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = localhost
[extensions]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost
";

/// Serves its directory; prints its port.
const HTTPS_SERVER: &str = "
import http.server, ssl
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";
