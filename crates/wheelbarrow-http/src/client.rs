//! HTTP with the machine's configuration: certificates, proxies, timeouts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use ureq::http::header::AUTHORIZATION;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::WithoutBody;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Proxy, RequestBuilder};
use url::Url;

use wheelbarrow_base::variable;

use crate::credentials::{Credentials, redact};
use crate::error::HttpError;
use crate::names::Names;
use crate::patience::Patience;

type Result<T> = std::result::Result<T, HttpError>;

/// Agents for each way out; a connection is kept and used again by all threads.
pub struct Client {
    direct: Agent,
    http: Option<Agent>,
    https: Option<Agent>,
    /// Without checking certificates, for [`Client::trusted`].
    unchecked: Agent,
    /// Hosts that `UV_INSECURE_HOST` or `PIP_TRUSTED_HOST` name.
    trusted: Vec<String>,
    no_proxy: Vec<String>,
    /// The proxies of `http` and `https`, and the variables that name them, for people.
    proxies: [Option<String>; 2],
    /// Whether somebody was told of a wait.
    waited: AtomicBool,
}

/// Where Linux systems keep their certificates.
const SYSTEM_CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Client {
    /// `stall` is how long a connection may stay silent.
    pub fn new(stall: Duration) -> Result<Self> {
        let tls = TlsConfig::builder().root_certs(roots()?).build();
        let unchecked = TlsConfig::builder().disable_verification(true).build();
        let names = Names::default();
        let agent = |proxy: Option<Proxy>, tls: &TlsConfig| agent(proxy, tls, stall, &names);
        let all = &["ALL_PROXY", "all_proxy"][..];
        let proxy = |names: &[&'static str]| proxy(&[names, &["PIP_PROXY"], all].concat());
        let http = proxy(&["HTTP_PROXY", "http_proxy"])?;
        let https = proxy(&["HTTPS_PROXY", "https_proxy"])?;
        let proxies = [&http, &https].map(|named| {
            let (name, proxy) = named.as_ref()?;
            Some(format!("the proxy {}:{} ({name})", proxy.host(), proxy.port()))
        });
        let through = |named: Option<(&str, Proxy)>| named.map(|(_, proxy)| agent(Some(proxy), &tls));
        let hosts = |names: &[&str]| {
            let text = variable(names).unwrap_or_default();
            text.split([',', ' '])
                .map(|host| host.trim().to_ascii_lowercase())
                .filter(|host| !host.is_empty())
                .collect()
        };
        Ok(Self {
            direct: agent(None, &tls),
            unchecked: agent(https.clone().map(|(_, proxy)| proxy), &unchecked),
            http: through(http),
            https: through(https),
            trusted: hosts(&["UV_INSECURE_HOST", "PIP_TRUSTED_HOST"]),
            no_proxy: hosts(&["NO_PROXY", "no_proxy"]),
            proxies,
            waited: AtomicBool::new(false),
        })
    }

    /// True for the first who asks.
    pub(crate) fn is_first_wait(&self) -> bool {
        !self.waited.swap(true, Ordering::Relaxed)
    }

    /// The proxy through which `url` is asked for, as `the proxy HOST:PORT (VARIABLE)`.
    pub(crate) fn proxy_of(&self, url: &Url) -> Option<&str> {
        let is_direct = std::ptr::eq(self.agent(url), &raw const self.direct);
        let [http, https] = &self.proxies;
        let proxy = if url.scheme() == "https" { https } else { http };
        proxy.as_deref().filter(|_| !is_direct)
    }

    /// The agent to ask for `url`.
    fn agent(&self, url: &Url) -> &Agent {
        let host = url.host_str().unwrap_or_default();
        let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        if url.scheme() == "https"
            && self.trusted.iter().any(|trusted| *trusted == host || *trusted == with_port)
        {
            return &self.unchecked;
        }
        if bypasses(&self.no_proxy, host, &with_port) {
            return &self.direct;
        }
        let through = if url.scheme() == "https" { &self.https } else { &self.http };
        through.as_ref().unwrap_or(&self.direct)
    }

    /// A question for `url`, with its login.
    pub(crate) fn request(&self, url: &Url, credentials: &Credentials) -> RequestBuilder<WithoutBody> {
        let mut bare = url.clone();
        let _ = (bare.set_username(""), bare.set_password(None));
        bare.set_fragment(None);
        let request = self.agent(url).get(bare.as_str());
        match credentials.authorization(url) {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }
}

/// A text on a server whose hash is not known, as a requirements file may be.
pub fn text(url: &Url, credentials: &Credentials) -> Result<Vec<u8>> {
    let failed = |reason: String| HttpError::Fetch { url: redact(url.as_str()), reason: redact(&reason) };
    let client = Client::new(Patience::default().stall)?;
    let request = client.request(url, credentials);
    let mut response = request.call().map_err(|error| failed(error.to_string()))?;
    if !response.status().is_success() {
        return Err(failed(format!("HTTP {}", response.status())));
    }
    response.body_mut().read_to_vec().map_err(|error| failed(error.to_string()))
}

/// `*`, a host, or a domain with or without a dot in front; each may have a port.
fn bypasses(no_proxy: &[String], host: &str, with_port: &str) -> bool {
    no_proxy.iter().any(|entry| {
        let domain = entry.trim_start_matches('.');
        let within = |host: &str| host == domain || host.ends_with(&format!(".{domain}"));
        entry == "*" || within(host) || within(with_port)
    })
}

/// With the variable that names it.
fn proxy(names: &[&'static str]) -> Result<Option<(&'static str, Proxy)>> {
    let set = names.iter().find_map(|name| Some((*name, variable(&[name])?)));
    let Some((name, text)) = set else { return Ok(None) };
    let wrong = |_| HttpError::Proxy { variable: name.to_owned(), value: redact(&text) };
    // No exceptions in here: `Client::agent` knows them, and asks another agent then.
    Proxy::new(&text).map(|proxy| Some((name, proxy))).map_err(wrong)
}

fn agent(proxy: Option<Proxy>, tls: &TlsConfig, stall: Duration, names: &Names) -> Agent {
    let config = Agent::config_builder()
        .proxy(proxy)
        .tls_config(tls.clone())
        .http_status_as_error(false)
        .user_agent(concat!("wheelbarrow/", env!("CARGO_PKG_VERSION")))
        // A wheel is compressed already, and what is hashed are the file's own bytes.
        .accept_encoding("identity")
        .max_idle_connections(64)
        .max_idle_connections_per_host(32)
        .timeout_connect(Some(stall))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
        .build();
    Agent::with_parts(config, DefaultConnector::default(), names.clone())
}

/// The file with the certificates that are trusted: the one that the variables name, else the system's.
pub fn certificates() -> Option<PathBuf> {
    named_certificates().or_else(|| SYSTEM_CERTIFICATES.iter().map(PathBuf::from).find(|file| file.is_file()))
}

fn named_certificates() -> Option<PathBuf> {
    variable(&["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]).map(PathBuf::from)
}

/// Certificates that are trusted: those that the variables name, else the system's, else Mozilla's.
fn roots() -> Result<RootCerts> {
    let mut certificates = Vec::new();
    if let Some(file) = named_certificates() {
        if file.is_dir() {
            certificates.extend(in_directory(&file));
        } else {
            let found = in_file(&file)?;
            if found.is_empty() {
                return Err(HttpError::Certificates {
                    path: file,
                    reason: "no certificate in it".to_owned(),
                });
            }
            certificates.extend(found);
        }
    }
    if let Some(directory) = variable(&["SSL_CERT_DIR"]) {
        std::env::split_paths(&directory).for_each(|directory| certificates.extend(in_directory(&directory)));
    }
    if certificates.is_empty()
        && let Some(file) = SYSTEM_CERTIFICATES.iter().map(Path::new).find(|file| file.is_file())
    {
        certificates = in_file(file)?;
    }
    Ok(if certificates.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(certificates)) })
}

/// What does not parse is passed over, as OpenSSL does.
fn in_file(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let unreadable = |error: std::io::Error| HttpError::Certificates {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let pem = fs::read(path).map_err(unreadable)?;
    Ok(parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect())
}

/// Each file once, although the directories that c_rehash makes name each several times.
fn in_directory(directory: &Path) -> Vec<Certificate<'static>> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let files: std::collections::BTreeSet<PathBuf> = entries
        .filter_map(|entry| entry.ok()?.path().canonicalize().ok())
        .filter(|path| path.is_file())
        .collect();
    files.iter().filter_map(|file| in_file(file).ok()).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_need_no_proxy() {
        let entries = ["localhost", ".corp.example", "10.0.0.1:8080"].map(str::to_owned);
        let bypassed = |host: &str, port: u16| bypasses(&entries, host, &format!("{host}:{port}"));
        assert!(bypassed("localhost", 80) && bypassed("a.corp.example", 443) && bypassed("10.0.0.1", 8080));
        assert!(bypassed("corp.example", 443));
        assert!(!bypassed("10.0.0.1", 80) && !bypassed("notcorp.example", 443));
        assert!(bypasses(&["*".to_owned()], "h", "h:1"));
    }
}
